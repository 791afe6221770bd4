//! Kinds of requests, with the answers that an upstream would give: what a gateway of teams sees, a refused one of each
//! sort among them.

use super::{Message, Outcome, Vm};
use std::fmt::Write as _;

pub(crate) const KEY: &str = "Bearer sk-team-1-07-0123456789abcdef";

/// The tutorial's limits for six teams: a hundred keys, and one more whose limits are used up at once.
pub(crate) fn configuration() -> String {
    configuration_with("")
}

/// The same, with members in front of it.
pub(crate) fn configuration_with(members: &str) -> String {
    const MODELS: &str = r#"["gpt-4o-mini","gpt-4o","gpt-4.1","gpt-4.1-mini","o3","o4-mini","claude-sonnet-4","claude-haiku","gemini-2.5-flash","gemini-2.5-pro"]"#;
    let group = |name: &str, keys: &[String], requests: u32| {
        format!(
            r#"{{"name":"{name}","api_keys":["{}"],"allowed_models":{MODELS},"rate_limits":{{"requests_per_minute":{requests},"tokens_per_minute":100000000,"tokens_per_day":2000000000}}}}"#,
            keys.join("\",\"")
        )
    };
    let mut groups: Vec<String> = (0..5)
        .map(|team| {
            let keys: Vec<String> = (0..20)
                .map(|key| format!("sk-team-{team}-{key:02}-0123456789abcdef"))
                .collect();
            group(&format!("team-{team}"), &keys, 1_000_000)
        })
        .collect();
    groups.push(group("limited", &["sk-limited".to_owned()], 0));
    format!(
        r#"{{{members}"version":"1","failed_auth_per_minute":1000000,"providers":{{"targets":[{{"id":"openai","provider":"openai","secret_key_ref":{{"env":"OPENAI_API_KEY"}}}}]}},"consumer_groups":[{}]}}"#,
        groups.join(",")
    )
}

/// A chat request as the SDK for Python writes it, of about `size` bytes: text with escapes and an accent.
pub(crate) fn chat(size: usize, rest: &str) -> String {
    const UNIT: &str = "Translate this: \\\"the quick brown fox\\\" jumps over the lazy dog.\\nLine two \u{2013} caf\u{e9}. ";
    let head = r#"{"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":""#;
    let tail = format!("\"}}],\"model\":\"gpt-4o-mini\",\"temperature\":0.7{rest}}}");
    let room = size.saturating_sub(head.len() + tail.len());
    let filler = "x".repeat(room % UNIT.len());
    head.to_owned() + &UNIT.repeat(room / UNIT.len()) + &filler + &tail
}

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I help you today?"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#;

/// A stream of so many events, then the chunk that says the usage.
fn stream(events: usize) -> String {
    let chunk = |rest: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-mini\",{rest}}}\n\n"
        )
    };
    let mut stream = String::new();
    for event in 0..events {
        stream += &chunk(&format!(
            "\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" tok{event}\"}},\"finish_reason\":null}}],\"usage\":null"
        ));
    }
    stream += &chunk(
        "\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":20,\"total_tokens\":39}",
    );
    stream + "data: [DONE]\n\n"
}

fn models() -> String {
    let mut list = String::from(r#"{"object":"list","data":["#);
    for model in 0..20 {
        let comma = if model == 0 { "" } else { "," };
        let id = if model % 4 == 0 { "gpt-4o" } else { "whisper" };
        let _ = write!(
            list,
            r#"{comma}{{"id":"{id}","object":"model","created":1700000000,"owned_by":"openai"}}"#
        );
    }
    list + "]}"
}

/// One kind of request, and the answer that an upstream would give.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) authorization: &'static str,
    pub(crate) body: String,
    pub(crate) content_type: &'static str,
    pub(crate) answer: String,
    /// Whether each of its events comes by itself.
    pub(crate) trickles: bool,
    pub(crate) status: u16,
    /// What the event says.
    pub(crate) says: &'static str,
}

impl Kind {
    pub(crate) fn chat(name: &'static str, body: String) -> Self {
        Self {
            name,
            path: "/v1/chat/completions",
            authorization: KEY,
            body,
            content_type: "application/json",
            answer: ANSWER.to_owned(),
            trickles: false,
            status: 200,
            says: r#""total_tokens":29"#,
        }
    }

    fn refused(name: &'static str, status: u16, says: &'static str) -> Self {
        Self {
            status,
            says,
            ..Self::chat(name, chat(200, ""))
        }
    }

    fn stream(name: &'static str, asks: &str, events: usize, trickles: bool) -> Self {
        Self {
            content_type: "text/event-stream",
            answer: stream(events),
            trickles,
            says: r#""total_tokens":39"#,
            ..Self::chat(name, chat(200, asks))
        }
    }

    pub(crate) fn run(&self, vm: &mut Vm) -> Outcome {
        let length = self.body.len().to_string();
        let method = if self.body.is_empty() { "GET" } else { "POST" };
        let request = [
            (":authority", "127.0.0.1:10000"),
            (":path", self.path),
            (":method", method),
            (":scheme", "http"),
            ("user-agent", "OpenAI/Python 2.7.1"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip, deflate"),
            ("authorization", self.authorization),
            ("content-type", "application/json"),
            ("x-stainless-lang", "python"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "5f2a9e4c-0d0b-4b51-9d8c-0a6c9f1d8e77"),
            ("content-length", &length),
        ];
        let answer = [
            (":status", "200"),
            ("content-type", self.content_type),
            ("date", "Thu, 01 Jan 2026 12:00:20 GMT"),
            ("x-envoy-upstream-service-time", "321"),
        ];
        let pieces = if self.trickles {
            let events = self.answer.split_inclusive("\n\n");
            events.map(str::as_bytes).collect()
        } else {
            vec![self.answer.as_bytes()]
        };
        // The length is not sent where there is no body.
        let count = request.len() - usize::from(self.body.is_empty());
        let outcome = vm.exchange(
            &Message {
                headers: &request[..count],
                body: self.body.as_bytes().chunks(65_536).collect(),
            },
            &Message {
                headers: &answer,
                body: pieces,
            },
        );
        assert!(
            outcome.event.contains(self.says),
            "{}: {}",
            self.name,
            outcome.event
        );
        outcome
    }
}

pub(crate) fn kinds() -> Vec<Kind> {
    let asked = r#","stream":true,"stream_options":{"include_usage":true}"#;
    let not_asked = r#","stream":true"#;
    vec![
        Kind::chat("chat of 200 bytes", chat(200, "")),
        Kind::chat("chat of 16 KiB", chat(16 << 10, "")),
        Kind::chat("chat of 256 KiB", chat(256 << 10, "")),
        Kind::stream("stream of 20 events", asked, 20, false),
        Kind::stream("stream of 200 events, one a chunk", asked, 200, true),
        Kind::stream("stream of 20 events, usage injected", not_asked, 20, false),
        Kind::stream(
            "stream of 200 events, one a chunk, usage injected",
            not_asked,
            200,
            true,
        ),
        Kind {
            path: "/v1/models",
            body: String::new(),
            answer: models(),
            says: r#""endpoint":"models""#,
            ..Kind::chat("list of models", String::new())
        },
        Kind {
            authorization: "Bearer sk-of-nobody",
            ..Kind::refused("401, unknown key", 401, "invalid_api_key")
        },
        Kind {
            body: chat(200, "").replace("gpt-4o-mini", "gpt-5"),
            ..Kind::refused("403, model", 403, "model_not_allowed")
        },
        Kind {
            authorization: "Bearer sk-limited",
            ..Kind::refused("429", 429, "rate_limit_exceeded")
        },
    ]
}
