//! The demo upstream: a stand-in for a provider that needs no key.
//!
//! Speaks enough of the OpenAI and Anthropic APIs for their SDKs: JSON and event streams, with usage. JSON
//! answers echo the request's headers, so that one can see what the gateway sends on. It checks no
//! credential and knows nothing of groups.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::time::Sleep;

const MODELS: [&str; 4] = [
    "gpt-4o",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "claude-haiku-4-5",
];
const WORDS: [&str; 6] = ["Hello", " from", " the", " demo", " upstream", "!"];
const OUTPUT_TOKENS: usize = WORDS.len();
/// Slow enough to see a stream arrive, fast enough for tests.
const PAUSE: Duration = Duration::from_millis(20);
const MAX_BODY: usize = 32 << 20;
/// When every answer was made: 2026-01-01. The demo has no clock.
const CREATED: u32 = 1_767_225_600;

/// Answers on `listener` until the task is dropped.
pub(in crate::cli) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // An error here is a client that went away.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(respond))
                .await;
        });
    }
}

async fn respond(request: Request<Incoming>) -> Result<Response<Paced>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let answer = match body {
        Ok(body) => answer(&parts.method, parts.uri.path(), &body.to_bytes()),
        Err(_) => Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "The body cannot be read."),
    };
    Ok(answer.into_response(&parts.headers))
}

fn answer(method: &Method, path: &str, body: &[u8]) -> Answer {
    if method == Method::GET {
        return match path.strip_prefix("/v1/models") {
            Some("") => Answer::ok(json!({"object": "list", "data": MODELS.map(model)})),
            Some(id) => match MODELS
                .iter()
                .find(|known| id.strip_prefix('/') == Some(**known))
            {
                Some(id) => Answer::ok(model(id)),
                None => Answer::error(StatusCode::NOT_FOUND, "There is no such model."),
            },
            None => Answer::error(StatusCode::NOT_FOUND, "There is no such path."),
        };
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Answer::error(StatusCode::BAD_REQUEST, "The body is not JSON.");
    };
    let call = Call::new(&body);
    match path {
        "/v1/chat/completions" => call.chat(),
        "/v1/completions" => call.completion(),
        "/v1/responses" => call.response(),
        "/v1/embeddings" => call.embeddings(),
        "/v1/messages" => call.message(),
        "/v1/moderations" => moderation(&body),
        _ => Answer::error(StatusCode::NOT_FOUND, "There is no such path."),
    }
}

fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": CREATED, "owned_by": "demo"})
}

/// What the answers are made from.
struct Call<'a> {
    model: &'a str,
    stream: bool,
    include_usage: bool,
    input_tokens: usize,
    inputs: usize,
}

impl<'a> Call<'a> {
    fn new(body: &'a Value) -> Self {
        let input = ["messages", "prompt", "input"]
            .iter()
            .find_map(|key| body.get(key));
        Self {
            model: body
                .get("model")
                .and_then(Value::as_str)
                .unwrap_or_default(),
            stream: body.get("stream") == Some(&Value::Bool(true)),
            include_usage: body.pointer("/stream_options/include_usage")
                == Some(&Value::Bool(true)),
            input_tokens: input.map_or(0, text_length).div_ceil(4),
            inputs: input.and_then(Value::as_array).map_or(1, Vec::len),
        }
    }

    fn total_tokens(&self) -> usize {
        self.input_tokens.saturating_add(OUTPUT_TOKENS)
    }

    fn chat_usage(&self) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": self.total_tokens(),
        })
    }

    fn chat(&self) -> Answer {
        if !self.stream {
            let message = json!({"role": "assistant", "content": WORDS.concat()});
            return Answer::ok(json!({
                "id": "chatcmpl-demo", "object": "chat.completion", "created": CREATED, "model": self.model,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": self.chat_usage(),
            }));
        }
        let chunk = |delta: &Value, finish: Option<&str>| {
            json!({
                "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": CREATED, "model": self.model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            })
        };
        let mut chunks = vec![chunk(&json!({"role": "assistant", "content": ""}), None)];
        chunks.extend(WORDS.map(|word| chunk(&json!({"content": word}), None)));
        chunks.push(chunk(&json!({}), Some("stop")));
        self.openai_stream(chunks)
    }

    fn completion(&self) -> Answer {
        let completion = |text: &str, finish: Option<&str>| {
            json!({
                "id": "cmpl-demo", "object": "text_completion", "created": CREATED, "model": self.model,
                "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}],
            })
        };
        if self.stream {
            let mut chunks = WORDS.map(|word| completion(word, None)).to_vec();
            chunks.push(completion("", Some("stop")));
            return self.openai_stream(chunks);
        }
        Answer::ok(with(
            completion(&WORDS.concat(), Some("stop")),
            "usage",
            self.chat_usage(),
        ))
    }

    /// As OpenAI does it: with `include_usage` every chunk has the field, null but in one last chunk of its own.
    fn openai_stream(&self, mut chunks: Vec<Value>) -> Answer {
        if self.include_usage {
            let last = chunks.last().cloned().unwrap_or_default();
            chunks = chunks
                .into_iter()
                .map(|chunk| with(chunk, "usage", Value::Null))
                .collect();
            chunks.push(with(
                with(last, "choices", json!([])),
                "usage",
                self.chat_usage(),
            ));
        }
        let data = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
        Answer::Events(data.chain(["data: [DONE]\n\n".to_owned()]).collect())
    }

    fn response(&self) -> Answer {
        let item = |status: &str, content: Value| json!({"id": "msg_demo", "type": "message", "role": "assistant", "status": status, "content": content});
        let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
        let response = |status: &str, output: Value, usage: Value| {
            json!({
                "id": "resp_demo", "object": "response", "created_at": CREATED, "model": self.model,
                "status": status, "output": output, "usage": usage, "error": null,
                "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
            })
        };
        let text = WORDS.concat();
        let done = item("completed", json!([part(&text)]));
        let usage = json!({
            "input_tokens": self.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": OUTPUT_TOKENS, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.total_tokens(),
        });
        let completed = response("completed", json!([done]), usage);
        if !self.stream {
            return Answer::ok(completed);
        }
        let at = |event: Value| {
            with(
                with(event, "output_index", json!(0)),
                "item_id",
                json!("msg_demo"),
            )
        };
        let at_part = |event: Value| with(at(event), "content_index", json!(0));
        let started = response("in_progress", json!([]), Value::Null);
        let mut events = vec![
            json!({"type": "response.created", "response": started}),
            at(
                json!({"type": "response.output_item.added", "item": item("in_progress", json!([]))}),
            ),
            at_part(json!({"type": "response.content_part.added", "part": part("")})),
        ];
        events.extend(WORDS.map(|word| {
            at_part(json!({"type": "response.output_text.delta", "delta": word, "logprobs": []}))
        }));
        events.extend([
            at_part(json!({"type": "response.output_text.done", "text": text, "logprobs": []})),
            at_part(json!({"type": "response.content_part.done", "part": part(&text)})),
            at(json!({"type": "response.output_item.done", "item": done})),
            json!({"type": "response.completed", "response": completed}),
        ]);
        let numbered = events.into_iter().enumerate();
        typed_stream(numbered.map(|(number, event)| with(event, "sequence_number", json!(number))))
    }

    fn embeddings(&self) -> Answer {
        let embedding = |index| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5, 0.125]});
        Answer::ok(json!({
            "object": "list", "model": self.model,
            "data": (0..self.inputs).map(embedding).collect::<Vec<_>>(),
            "usage": {"prompt_tokens": self.input_tokens, "total_tokens": self.input_tokens},
        }))
    }

    fn message(&self) -> Answer {
        let message = |content: Value, stop: Option<&str>, output_tokens: usize| {
            json!({
                "id": "msg_demo", "type": "message", "role": "assistant", "model": self.model, "content": content,
                "stop_reason": stop, "stop_sequence": null,
                "usage": {"input_tokens": self.input_tokens, "output_tokens": output_tokens},
            })
        };
        if !self.stream {
            let content = json!([{"type": "text", "text": WORDS.concat()}]);
            return Answer::ok(message(content, Some("end_turn"), OUTPUT_TOKENS));
        }
        let mut events = vec![
            json!({"type": "message_start", "message": message(json!([]), None, 1)}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
        ];
        events.extend(WORDS.map(|word| {
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
        }));
        events.extend([
            json!({"type": "content_block_stop", "index": 0}),
            json!({
                "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": OUTPUT_TOKENS},
            }),
            json!({"type": "message_stop"}),
        ]);
        typed_stream(events.into_iter())
    }
}

/// Minds one word only.
fn moderation(body: &Value) -> Answer {
    let text = body.get("input").and_then(Value::as_str);
    let mut words = text.unwrap_or_default().split(|c: char| !c.is_alphabetic());
    let hate = words.any(|word| word.eq_ignore_ascii_case("hate"));
    let score = if hate { 0.9 } else { 0.001 };
    Answer::ok(json!({
        "id": "modr-demo", "model": "omni-moderation-latest",
        "results": [{
            "flagged": hate,
            "categories": {"hate": hate, "violence": false},
            "category_scores": {"hate": score, "violence": 0.001},
        }],
    }))
}

/// A stream whose events carry their type twice, as Anthropic's and the Responses API's do.
fn typed_stream(events: impl Iterator<Item = Value>) -> Answer {
    let event = |event: Value| {
        let name = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default();
        format!("event: {name}\ndata: {event}\n\n")
    };
    Answer::Events(events.map(event).collect())
}

fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    object
}

/// Bytes of text in a prompt: a string, or what its messages and parts hold.
fn text_length(prompt: &Value) -> usize {
    match prompt {
        Value::String(text) => text.len(),
        Value::Array(parts) => parts.iter().map(text_length).fold(0, usize::saturating_add),
        Value::Object(fields) => {
            let texts = ["content", "text"]
                .iter()
                .filter_map(|key| fields.get(*key));
            texts.map(text_length).fold(0, usize::saturating_add)
        }
        _ => 0,
    }
}

enum Answer {
    Events(VecDeque<String>),
    Json(StatusCode, Value),
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self::Json(StatusCode::OK, body)
    }

    fn error(status: StatusCode, message: &str) -> Self {
        let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": null});
        Self::Json(status, json!({"error": error}))
    }

    fn into_response(self, seen: &HeaderMap) -> Response<Paced> {
        let (status, content_type, chunks) = match self {
            Self::Events(events) => (StatusCode::OK, "text/event-stream", events),
            Self::Json(status, body) => {
                let body = with(body, "headers", Value::Object(echo(seen)));
                (
                    status,
                    "application/json",
                    VecDeque::from([format!("{body}\n")]),
                )
            }
        };
        let mut response = Response::new(Paced {
            chunks,
            pause: None,
        });
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

fn echo(headers: &HeaderMap) -> Map<String, Value> {
    let mut seen = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        seen.insert(name.to_string(), Value::String(values.join(", ")));
    }
    seen
}

/// A body that pauses after each chunk, as a model does.
struct Paced {
    chunks: VecDeque<String>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
        }
        let chunk = self.chunks.pop_front();
        self.pause = (!self.chunks.is_empty()).then(|| Box::pin(tokio::time::sleep(PAUSE)));
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(Bytes::from(chunk)))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }
}
