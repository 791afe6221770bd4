//! Clients: HTTP/1.1 by hand, which can send what no library would, and HTTP/2 without TLS.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A request, exactly as it is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    chunk: Option<usize>,
    stop_after: Option<usize>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            chunk: None,
            stop_after: None,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// A chat completion of one short message.
    pub(crate) fn chat(key: &str, model: &str) -> Self {
        let body =
            serde_json::json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
        Self::post("/v1/chat/completions").bearer(key).json(&body)
    }

    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn bearer(self, key: &str) -> Self {
        self.header("authorization", format!("Bearer {key}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body chunked, each chunk of `size` bytes in a write of its own (HTTP/2: in a frame of its own).
    pub(crate) fn chunked(mut self, size: usize) -> Self {
        self.chunk = Some(size);
        self
    }

    /// Goes away after `bytes` of the body.
    pub(crate) fn stop_after(mut self, bytes: usize) -> Self {
        self.stop_after = Some(bytes);
        self
    }

    /// Sends over a connection of its own and reads the answer to the end that its framing tells: after a refusal Envoy
    /// leaves the connection open for a second. An error: there was no answer.
    pub(crate) async fn send(&self, address: SocketAddr) -> io::Result<Response> {
        timeout(TIMEOUT, self.stay(address)).await?
    }

    /// The same, however long it takes.
    pub(crate) async fn stay(&self, address: SocketAddr) -> io::Result<Response> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        // A refusal may come, and the connection close, while the body is still being written.
        let write = self.write(&mut writer);
        let read = async {
            while reader.read_buf(&mut answer).await? > 0 && !Response::is_whole(&answer) {}
            io::Result::Ok(())
        };
        tokio::pin!(write, read);
        let exchange = async {
            tokio::select! {
                result = &mut read => return result,
                result = &mut write => if let Ok(true) = result { return Ok(()) },
            }
            read.await
        };
        let result = exchange.await;
        match Response::parse(&answer) {
            Some(response) => Ok(response),
            None => Err(result
                .err()
                .unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Goes away as soon as these bytes are in the answer.
    pub(crate) async fn leave_at(&self, address: SocketAddr, last: &[u8]) -> io::Result<()> {
        let mut stream = TcpStream::connect(address).await?;
        let mut answer = Vec::new();
        let exchange = async {
            self.write(&mut stream).await?;
            while !answer.windows(last.len()).any(|window| window == last) {
                if stream.read_buf(&mut answer).await? == 0 {
                    return Err(io::Error::other(lossy(&answer)));
                }
            }
            Ok(())
        };
        timeout(TIMEOUT, exchange).await?
    }

    /// Goes away when `moment` has come; an error: the answer came first.
    pub(crate) async fn leave_when(
        &self,
        address: SocketAddr,
        moment: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut stream = TcpStream::connect(address).await?;
        self.write(&mut stream).await?;
        tokio::select! {
            () = moment => Ok(()),
            _ = stream.readable() => Err(io::Error::other("an answer")),
        }
    }

    /// Writes the request; true when it stopped in the middle.
    async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in [("host", "gateway.test"), ("connection", "close")] {
            if !self.headers.iter().any(|(known, _)| known == name) {
                head.extend(format!("{name}: {value}\r\n").bytes());
            }
        }
        match self.chunk {
            Some(_) => head.extend(b"transfer-encoding: chunked\r\n"),
            None if self.body.is_empty() && self.method == "GET" => {}
            None => head.extend(format!("content-length: {}\r\n", self.body.len()).bytes()),
        }
        for (name, value) in &self.headers {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        to.write_all(&head).await?;

        let body = self
            .body
            .get(..self.stop_after.unwrap_or(self.body.len()))
            .unwrap_or(&self.body);
        match self.chunk {
            None => to.write_all(body).await?,
            Some(size) => {
                for chunk in body.chunks(size) {
                    let framed =
                        [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                    to.write_all(&framed).await?;
                }
            }
        }
        if self.stop_after.is_some() {
            return Ok(true);
        }
        if self.chunk.is_some() {
            to.write_all(b"0\r\n\r\n").await?;
        }
        Ok(false)
    }

    /// Sends over HTTP/2 with prior knowledge, `trailers` after the body if there are any.
    pub(crate) async fn send_http2(
        &self,
        address: SocketAddr,
        trailers: &[(&str, &str)],
    ) -> io::Result<Response> {
        timeout(TIMEOUT, self.exchange_http2(address, trailers))
            .await?
            .map_err(io::Error::other)
    }

    /// The header as HTTP/2 has it.
    pub(crate) fn head(&self) -> hyper::Request<()> {
        let mut request = hyper::Request::builder()
            .method(self.method.as_str())
            .uri(format!("http://gateway.test{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value.as_slice());
        }
        request.body(()).expect("HTTP/2 can carry the request")
    }

    async fn exchange_http2(
        &self,
        address: SocketAddr,
        trailers: &[(&str, &str)],
    ) -> Result<Response, Box<dyn Error + Send + Sync>> {
        let stream = TcpStream::connect(address).await?;
        let (client, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let request = self.head();
        let bodiless = self.body.is_empty() && trailers.is_empty();
        let (answer, mut body) = client.ready().await?.send_request(request, bodiless)?;
        if !bodiless {
            let frames: Vec<_> = self.body.chunks(self.chunk.unwrap_or(16384)).collect();
            for (index, frame) in frames.iter().enumerate() {
                let end = trailers.is_empty() && index + 1 == frames.len();
                body.send_data(Bytes::copy_from_slice(frame), end)?;
            }
            if !trailers.is_empty() {
                let mut map = HeaderMap::new();
                for (name, value) in trailers {
                    map.insert(
                        name.parse::<HeaderName>().unwrap(),
                        HeaderValue::from_str(value).unwrap(),
                    );
                }
                body.send_trailers(map)?;
            }
        }
        let (head, mut body) = answer.await?.into_parts();
        let mut response = Response {
            status: head.status.as_u16(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), lossy(value.as_bytes())))
                .collect(),
            body: Vec::new(),
            complete: true,
        };
        while let Some(data) = body.data().await {
            let Ok(data) = data else {
                response.complete = false;
                break;
            };
            let _ = body.flow_control().release_capacity(data.len());
            response.body.extend(data);
        }
        connection.abort();
        Ok(response)
    }
}

/// Sends bytes as they are and reads the answer to its end.
pub(crate) async fn send_raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut answer = Vec::new();
    let read = async {
        while stream.read_buf(&mut answer).await? > 0 && !Response::is_whole(&answer) {}
        io::Result::Ok(())
    };
    let _ = timeout(TIMEOUT, read).await?;
    Response::parse(&answer).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its framing says, and not in the middle.
    pub(crate) complete: bool,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        lossy(&self.body)
    }

    /// The `code` of an error in `OpenAI`'s form.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether an answer that says where it ends is there to its end.
    fn is_whole(bytes: &[u8]) -> bool {
        Self::parse(bytes).is_some_and(|answer| {
            let framed = ["content-length", "transfer-encoding"]
                .iter()
                .any(|name| answer.header(name).is_some());
            framed && answer.complete
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut response = Self {
            status,
            headers: headers.collect(),
            body: Vec::new(),
            complete: true,
        };
        let rest = &bytes[end + 4..];
        if status == 100 {
            return Self::parse(rest);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            (response.body, response.complete) = unchunk(rest);
        } else {
            response.body = rest.to_vec();
            let length = response
                .header("content-length")
                .and_then(|length| length.parse::<usize>().ok());
            response.complete = length.is_none_or(|length| length == rest.len());
        }
        Some(response)
    }
}

/// A chunked body, and whether its end came.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return (body, false);
        };
        let Ok(size) = usize::from_str_radix(&lossy(&rest[..end]), 16) else {
            return (body, false);
        };
        if size == 0 {
            return (body, true);
        }
        let data = &rest[end + 2..];
        body.extend(&data[..size.min(data.len())]);
        if data.len() < size + 2 {
            return (body, false);
        }
        rest = &data[size + 2..];
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
