//! Unary gRPC over HTTP/2 without TLS, and the faults on it.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::proto::RateLimitRequest;
use crate::server::{Fault, Method};
use crate::{Shared, lock, unix_time};

/// What gRPC servers take by default.
const MAX_REQUEST: usize = 4 << 20;
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

type Body = BoxBody<Bytes, Infallible>;

/// Why there is no answer. <https://grpc.io/docs/guides/status-codes/>
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    message: &'static str,
}

impl Status {
    pub(crate) fn unknown(message: &'static str) -> Self {
        Self { code: 2, message }
    }

    pub(crate) fn unimplemented() -> Self {
        Self {
            code: 12,
            message: "",
        }
    }

    pub(crate) fn internal(message: &'static str) -> Self {
        Self { code: 13, message }
    }

    pub(crate) fn unavailable(message: &'static str) -> Self {
        Self { code: 14, message }
    }

    /// "Trailers-Only": the status stands in the one block of headers.
    fn response(self) -> Response<Body> {
        let mut response = Response::new(body(&[]));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(STATUS, self.code.into());
        headers.insert(MESSAGE, HeaderValue::from_static(self.message));
        response
    }
}

/// Serves until the program ends.
pub(crate) async fn serve(listener: TcpListener, server: Shared) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Shared::clone(&server)));
        }
    }
}

async fn connection(stream: TcpStream, server: Shared) {
    let hang_up = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let (server, hang_up) = (Shared::clone(&server), Arc::clone(&hang_up));
        async move {
            let response = call(request, &server, &hang_up).await;
            Ok::<_, Infallible>(response.unwrap_or_else(Status::response))
        }
    });
    let serve =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = serve => {}
        () = hang_up.notified() => {}
    }
}

async fn call(
    request: Request<Incoming>,
    server: &Shared,
    hang_up: &Notify,
) -> Result<Response<Body>, Status> {
    let method = Method::from_path(request.uri().path()).ok_or_else(Status::unimplemented)?;
    let fault = lock(server).begin(method);
    let request = read(request).await;
    let decide = |request: &RateLimitRequest| lock(server).decide(method, request, unix_time());
    match fault {
        Fault::None => Ok(reply(&decide(&request?)?.encode_to_vec())),
        Fault::Delay(delay) => {
            let response = request.and_then(|request| decide(&request));
            sleep(delay).await;
            Ok(reply(&response?.encode_to_vec()))
        }
        Fault::Message(message) => Ok(reply(&message)),
        Fault::Status(code) => Err(Status {
            code,
            message: "as the test wants it",
        }),
        Fault::NotGrpc => {
            let mut page = Response::new(body(b"<html>A page</html>"));
            let html = HeaderValue::from_static("text/html");
            page.headers_mut().insert(CONTENT_TYPE, html);
            Ok(page)
        }
        Fault::Hang => pending().await,
        Fault::Drop => {
            hang_up.notify_one();
            pending().await
        }
    }
}

async fn read(request: Request<Incoming>) -> Result<RateLimitRequest, Status> {
    let body = Limited::new(request.into_body(), MAX_REQUEST)
        .collect()
        .await
        .map_err(|_| Status::internal("the request did not come, or is too large"))?
        .to_bytes();
    let framed = body.split_first_chunk::<5>();
    let message = framed.and_then(|([flag, length @ ..], message)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        (*flag == 0 && length == message.len()).then_some(message)
    });
    let message = message.ok_or_else(|| Status::internal("not one message without compression"))?;
    RateLimitRequest::decode(message).map_err(|_| Status::internal("the message does not decode"))
}

fn reply(message: &[u8]) -> Response<Body> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let framed = [&[0], length.to_be_bytes().as_slice(), message].concat();
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from(0))]);
    let body = Full::from(framed).with_trailers(ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    response
}

fn body(bytes: &'static [u8]) -> Body {
    Full::new(Bytes::from_static(bytes)).boxed()
}
