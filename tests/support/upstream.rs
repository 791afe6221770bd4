//! An HTTP/1.1 upstream inside the test: records what reaches it and answers as told.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
#[allow(clippy::disallowed_types, reason = "tests have threads")]
use std::sync::Mutex;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request as the upstream saw it. `body` is `None` until all of it has come.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_deref().expect("the whole body came"))
            .expect("the body is JSON")
    }
}

/// Answers a chat completion as `OpenAI` does, at a cost of 10 + 5 tokens.
pub(crate) fn chat(seen: &Seen) -> Answer {
    chat_of(seen, 10, 5)
}

/// The same at another cost.
pub(crate) fn chat_of(seen: &Seen, prompt: u64, completion: u64) -> Answer {
    let request = seen.json();
    let usage = json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion});
    if request["stream"] != true {
        let message = json!({"role": "assistant", "content": "Hello there"});
        let choices = json!([{"index": 0, "message": message, "finish_reason": "stop"}]);
        return Answer::json(
            &json!({"object": "chat.completion", "model": request["model"], "choices": choices, "usage": usage}),
        );
    }
    let chunk = |choices: Value| json!({"object": "chat.completion.chunk", "model": request["model"], "choices": choices});
    let mut chunks = ["Hello", " there"]
        .map(|word| chunk(json!([{"index": 0, "delta": {"content": word}, "finish_reason": null}])))
        .to_vec();
    if request["stream_options"]["include_usage"] == true {
        let mut last = chunk(json!([]));
        last["usage"] = usage;
        chunks.push(last);
    }
    let events = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    Answer::sse(events.collect::<String>() + "data: [DONE]\n\n")
}

/// What a moderation endpoint says of a text that nobody minds.
fn clean() -> Answer {
    let result = json!({"flagged": false, "categories": {"hate": false}, "category_scores": {"hate": 0.0001}});
    Answer::json(&json!({"id": "modr-1", "results": [result]}))
}

/// Holds answers back until it is opened; open it stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn close(&self) {
        self.0.send_replace(false);
    }

    async fn passed(self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Bytes(Bytes),
    Gate(Gate),
    Pause(Duration),
    Reset,
}

/// What the upstream answers: a head, and a body in steps.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: VecDeque<Step>,
    sized: bool,
    late: Option<Gate>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: VecDeque::new(),
            sized: false,
            late: None,
        }
    }

    /// None at all: the connection breaks.
    pub(crate) fn none() -> Self {
        Self::new(0)
    }

    pub(crate) fn json(body: &Value) -> Self {
        Self::new(200)
            .header("content-type", "application/json")
            .bytes(body.to_string())
            .sized()
    }

    pub(crate) fn sse(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200)
            .header("content-type", "text/event-stream")
            .bytes(body)
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body.push_back(Step::Bytes(Bytes::from(bytes.into())));
        self
    }

    pub(crate) fn pause(mut self, pause: Duration) -> Self {
        self.body.push_back(Step::Pause(pause));
        self
    }

    /// Waits here until the gate is open.
    pub(crate) fn gate(mut self, gate: &Gate) -> Self {
        self.body.push_back(Step::Gate(gate.clone()));
        self
    }

    /// Waits with the head, too.
    pub(crate) fn late(mut self, gate: &Gate) -> Self {
        self.late = Some(gate.clone());
        self
    }

    /// The connection breaks here, after what was sent.
    pub(crate) fn reset(mut self) -> Self {
        self.body.push_back(Step::Reset);
        self
    }

    /// Sends `content-length` instead of chunks.
    pub(crate) fn sized(mut self) -> Self {
        self.sized = true;
        self
    }

    /// The body so far in pieces of `size` bytes, `pause` between them.
    pub(crate) fn split(mut self, size: usize, pause: Duration) -> Self {
        let mut steps = VecDeque::new();
        for step in self.body {
            let Step::Bytes(bytes) = step else {
                steps.push_back(step);
                continue;
            };
            for piece in bytes.chunks(size) {
                steps.extend([
                    Step::Bytes(Bytes::copy_from_slice(piece)),
                    Step::Pause(pause),
                ]);
            }
        }
        self.body = steps;
        self
    }

    fn into_response(self) -> Response<Steps> {
        let length = self.body.iter().map(|step| {
            if let Step::Bytes(bytes) = step {
                bytes.len()
            } else {
                0
            }
        });
        let mut response = Response::builder().status(StatusCode::from_u16(self.status).unwrap());
        if self.sized {
            response = response.header("content-length", length.sum::<usize>());
        }
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        response
            .body(Steps {
                steps: self.body,
                pause: None,
            })
            .unwrap()
    }
}

struct Steps {
    steps: VecDeque<Step>,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Steps {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Gate(gate)) => self.pause = Some(Box::pin(gate.passed())),
                Some(Step::Pause(pause)) => self.pause = Some(Box::pin(tokio::time::sleep(pause))),
                Some(Step::Reset) => {
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
                }
            }
        }
    }
}

#[allow(clippy::disallowed_types, reason = "tests have threads")]
type Record = Arc<Mutex<Vec<Seen>>>;

pub(crate) struct Upstream {
    address: SocketAddr,
    record: Record,
    questions: Record,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Answers each request by `answer`, once its body has come.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (record, questions) = (Record::default(), Record::default());
        let answer = Arc::new(answer);
        let task = tokio::spawn({
            let records = (Arc::clone(&record), Arc::clone(&questions));
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (records, answer) = (records.clone(), Arc::clone(&answer));
                    let service = service_fn(move |request| {
                        respond(request, records.clone(), Arc::clone(&answer))
                    });
                    tokio::spawn(
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                    );
                }
            }
        });
        Self {
            address,
            record,
            questions,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, also those whose body never came.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.record.lock().unwrap().clone()
    }

    /// What the gateway itself asked of it as `OpenAI`'s moderation endpoint, and heard that nothing is wrong.
    pub(crate) fn questions(&self) -> Vec<Seen> {
        self.questions.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a request reached the upstream")
    }

    pub(crate) fn count(&self) -> usize {
        self.record.lock().unwrap().len()
    }

    /// Forgets what it saw.
    pub(crate) fn clear(&self) {
        self.record.lock().unwrap().clear();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond<F: Fn(&Seen) -> Answer>(
    request: hyper::Request<Incoming>,
    (record, questions): (Record, Record),
    answer: Arc<F>,
) -> io::Result<Response<Steps>> {
    let (head, body) = request.into_parts();
    let is = |name: &str, value: &str| head.headers.get(name).is_some_and(|is| is == value);
    let own = is("user-agent", "cohort") && is("host", "api.openai.com");
    let record = if own { questions } else { record };
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let mut seen = Seen {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        headers: headers.collect(),
        body: None,
    };
    let index = {
        let mut record = record.lock().unwrap();
        record.push(seen.clone());
        record.len() - 1
    };
    let body = body
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes()
        .to_vec();
    seen.body = Some(body);
    if let Some(recorded) = record.lock().unwrap().get_mut(index) {
        *recorded = seen.clone();
    }
    let mut answer = if own { clean() } else { answer(&seen) };
    if let Some(gate) = answer.late.take() {
        gate.passed().await;
    }
    if answer.status == 0 {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    Ok(answer.into_response())
}

/// An address that refuses connections as long as the socket is kept: a port that is only let go may be anyone's soon.
pub(crate) fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The upstream that `cohort demo` starts, on a port of its own; it ends with the child.
pub(crate) async fn demo() -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    serving(command.args(["demo", "upstream", "--port", "0"])).await
}

/// `testdata/llm-api/mock_upstream.py`, which speaks every API and cuts its answers as the caller says. `None`: there
/// is no Python.
pub(crate) async fn mock() -> Option<(Child, SocketAddr)> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/llm-api/mock_upstream.py"
    );
    let mut command = Command::new(super::envoy::required("PYTHON")?);
    Some(serving(command.args([script, "--port", "0"])).await)
}

/// Starts a server that says where it is in its first line.
async fn serving(command: &mut Command) -> (Child, SocketAddr) {
    let mut child = command
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).await.unwrap();
    let address = line.trim().rsplit("http://").next().unwrap();
    (child, address.parse().unwrap())
}
