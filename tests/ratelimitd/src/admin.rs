//! The tests' own door, HTTP/1.1 on a port of its own: `PUT /fault` with what is to go wrong, `GET /counts`,
//! `POST /reset`.

use std::convert::Infallible;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::{Shared, lock};

const MAX_REQUEST: usize = 1 << 16;

/// Serves until the program ends.
pub(crate) async fn serve(listener: TcpListener, server: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let server = Shared::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let server = Shared::clone(&server);
                async move { Ok::<_, Infallible>(answer(request, &server).await) }
            });
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
        });
    }
}

async fn answer(request: Request<Incoming>, server: &Shared) -> Response<Full<Bytes>> {
    let (status, body) = match act(request, server).await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (StatusCode::BAD_REQUEST, error),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}

async fn act(request: Request<Incoming>, server: &Shared) -> Result<String, String> {
    match (request.method(), request.uri().path()) {
        (&Method::PUT, "/fault") => {
            let body = Limited::new(request.into_body(), MAX_REQUEST)
                .collect()
                .await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            let fault = str::from_utf8(&body).map_err(|error| error.to_string())?;
            lock(server).set_fault(fault.parse()?);
            Ok(String::new())
        }
        (&Method::GET, "/counts") => {
            serde_json::to_string(lock(server).counts()).map_err(|error| error.to_string())
        }
        (&Method::POST, "/reset") => lock(server).reset().map(|()| String::new()),
        (method, path) => Err(format!("no {method} {path}")),
    }
}
