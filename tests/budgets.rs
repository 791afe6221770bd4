//! What a request costs, counted: calls between Envoy and the filter, and instructions of the module in between. A clock
//! would say more and be believed less: these numbers are the same on every machine.
//!
//! `UPDATE=1 cargo test --test budgets` writes down what is measured. A rise needs a reason in the commit's message.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use support::vm::{Cost, Message, Outcome, Vm};

const BUDGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/budgets.txt");
/// Another version of the compiler makes a little more or less of the same code.
const TOLERANCE_PERCENT: u64 = 3;

const KEY: &str = "Bearer sk-team-1-07-0123456789abcdef";

/// The tutorial's limits for six teams: a hundred keys, and one more whose limits are used up at once.
fn configuration() -> String {
    configuration_with("")
}

/// The same, with members in front of it.
fn configuration_with(members: &str) -> String {
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
fn chat(size: usize, rest: &str) -> String {
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
struct Kind {
    name: &'static str,
    path: &'static str,
    authorization: &'static str,
    body: String,
    content_type: &'static str,
    answer: String,
    /// Whether each of its events comes by itself.
    trickles: bool,
    status: u16,
    /// What the event says.
    says: &'static str,
}

impl Kind {
    fn chat(name: &'static str, body: String) -> Self {
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

    fn run(&self, vm: &mut Vm) -> Outcome {
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

fn kinds() -> Vec<Kind> {
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

/// Ways of asking a rate-limit service, and what their `counters` say for it.
const SERVICES: [(&str, &str); 2] = [
    ("rate-limit service, one look and one report", ""),
    ("lease hit", r#","lease":{"requests":100,"max_age":"10s"}"#),
];

fn render(name: &str, cost: &Cost) -> String {
    let mut calls = 0;
    let mut lines = String::new();
    for (function, count) in &cost.calls {
        if *function == "callbacks" {
            continue;
        }
        calls += count;
        let _ = writeln!(lines, "    {count:3} {function}");
    }
    let callbacks = cost.calls.get("callbacks").copied().unwrap_or(0);
    format!(
        "{name}\n  {} instructions\n  {callbacks} callbacks\n  {calls} host calls\n{lines}\n",
        cost.instructions
    )
}

#[test]
fn requests_cost_what_is_written_down() {
    let Some(mut vm) = Vm::start(&configuration()) else {
        return;
    };
    let mut measured = render("start of a worker", &vm.cost());
    for kind in kinds() {
        // The first of a kind defines its stats.
        kind.run(&mut vm);
        let outcome = kind.run(&mut vm);
        assert_eq!(outcome.status, kind.status, "{}", kind.name);
        if kind.name.contains("injected") {
            assert!(!outcome.body.contains("prompt_tokens"));
        }
        measured += &render(kind.name, &outcome.cost);
    }
    for (name, lease) in SERVICES {
        let counters =
            format!(r#""counters":{{"store":"rate_limit_service","cluster":"ratelimit"{lease}}},"#);
        let mut vm = Vm::start(&configuration_with(&counters)).unwrap();
        let kind = Kind::chat(name, chat(200, ""));
        // A lease grows: hits are asked for by the first, the second, and the fourth.
        for _ in 0..4 {
            kind.run(&mut vm);
        }
        let cost = kind.run(&mut vm).cost;
        let calls = cost.calls.get("http_call").copied();
        assert_eq!(calls, lease.is_empty().then_some(2), "{name}");
        measured += &render(name, &cost);
    }
    // Shown by `--nocapture`, and where the test fails.
    #[allow(clippy::print_stdout, reason = "the table is what one runs this for")]
    {
        println!("{measured}");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(BUDGETS, &measured).unwrap();
        return;
    }
    let budgets = fs::read_to_string(BUDGETS).expect("testdata/budgets.txt is there");
    let same = |measured: &str, budget: &str| match (instructions(measured), instructions(budget)) {
        (Some(measured), Some(budget)) => {
            measured.abs_diff(budget) * 100 <= budget * TOLERANCE_PERCENT
        }
        _ => measured == budget,
    };
    for (measured, budget) in measured.split("\n\n").zip(budgets.split("\n\n")) {
        let lines = measured.lines().zip(budget.lines());
        assert!(
            measured.lines().count() == budget.lines().count()
                && lines
                    .clone()
                    .all(|(measured, budget)| same(measured, budget)),
            "not as in testdata/budgets.txt (UPDATE=1 writes it); measured:\n{measured}\nbudget:\n{budget}"
        );
    }
    assert_eq!(
        measured.split("\n\n").count(),
        budgets.split("\n\n").count()
    );
}

fn instructions(line: &str) -> Option<u64> {
    line.trim().strip_suffix(" instructions")?.parse().ok()
}

#[test]
fn memory_stays_what_it_is() {
    let Some(mut vm) = Vm::start(&configuration()) else {
        return;
    };
    let kinds = kinds();
    let round = |vm: &mut Vm, times: usize| {
        for kind in &kinds {
            // Large ones take long; what they leave behind is as large.
            let times = if kind.body.len() > 1_000 || kind.answer.len() > 10_000 {
                2
            } else {
                times
            };
            for _ in 0..times {
                kind.run(vm);
            }
        }
    };
    round(&mut vm, 5);
    let before = vm.memory();
    round(&mut vm, 200);
    assert_eq!(vm.memory(), before);
    assert!(before <= 6 << 20, "{before} bytes");
}

/// So many groups, consumers and keys, where the tutorial's traffic asks with one of them.
fn crowd(groups: usize, consumers: usize, keys: usize) -> String {
    const MODELS: &str = r#"["gpt-4o-mini","gpt-4o","gpt-4.1","gpt-4.1-mini","o3","o4-mini","claude-sonnet-4","claude-haiku","gemini-2.5-flash","gemini-2.5-pro"]"#;
    let mut groups: Vec<String> = (0..groups)
        .map(|group| format!(r#"{{"name":"group-{group}","allowed_models":{MODELS},"rate_limits":{{"requests_per_minute":1000000,"tokens_per_minute":100000000,"tokens_per_day":2000000000}}}}"#))
        .collect();
    let count = groups.len();
    let mut digest = 0_u64;
    let consumers: Vec<String> = (0..consumers)
        .map(|consumer| {
            let keys: Vec<String> = (0..keys / consumers)
                .map(|_| {
                    // Distinct, and spread as digests are.
                    digest = digest.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    format!(r#"{{"sha256":"{digest:016x}{digest:016x}{digest:016x}{digest:016x}"}}"#)
                })
                .collect();
            let own = if consumer == 7 { format!(r#","api_key":"{}""#, KEY.trim_start_matches("Bearer ")) } else { String::new() };
            format!(
                r#"{{"name":"user-{consumer}@example.org","groups":["group-{}"],"api_keys":[{}]{own}}}"#,
                consumer % count,
                keys.join(",")
            )
        })
        .collect();
    groups.push(r#"{"name":"limited","api_key":"sk-limited"}"#.to_owned());
    format!(
        r#"{{"version":"1","providers":{{"targets":[{{"id":"openai","provider":"openai","secret_key_ref":{{"env":"OPENAI_API_KEY"}}}}]}},"consumer_groups":[{}],"consumers":[{}]}}"#,
        groups.join(","),
        consumers.join(",")
    )
}

#[test]
fn a_hundred_thousand_keys_cost_a_request_nothing() {
    let Some(mut few) = Vm::start(&crowd(8, 10, 10)) else {
        return;
    };
    let mut many = Vm::start(&crowd(1_000, 10_000, 100_000)).unwrap();
    #[allow(clippy::print_stdout, reason = "what one may want to know")]
    {
        println!(
            "{} instructions to load, {} bytes",
            many.cost().instructions,
            many.memory()
        );
    }
    assert!(many.memory() < 56_000_000, "{} bytes", many.memory());
    // A second or so, with Envoy's compiler.
    let load = many.cost().instructions;
    assert!(load < 2_500_000_000, "{load} instructions");
    let cost = |vm: &mut Vm| {
        let kind = Kind::chat("chat", chat(200, ""));
        kind.run(vm);
        kind.run(vm).cost
    };
    let (few, many) = (cost(&mut few), cost(&mut many));
    assert_eq!(few.calls, many.calls);
    assert!(
        many.instructions * 100 <= few.instructions * (100 + TOLERANCE_PERCENT),
        "{} against {}",
        many.instructions,
        few.instructions
    );
}
