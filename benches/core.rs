//! What the core takes on this machine, without an Envoy: a prompt scanned, a request decided, a stream read, an exchange
//! settled. `cargo bench --bench core`; for before and after, not for promises.

use cohort::config::Config;
use cohort::exchange::{Exchange, Inbound, Step, Worker};
use cohort::headers::Headers;
use cohort::json::Scanner;
use cohort::limit::{Cas, CasMismatch, SharedData};
use cohort::llm::response::Reader;
use cohort::llm::shapes::Shapes;
use cohort::llm::usage::UsageFormat;
use cohort::policy::Policy;
use cohort::time::Timestamp;
use criterion::{Criterion, Throughput};
use std::collections::HashMap;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

const POLICY: &str = r#"{"version":"1","consumer_groups":[{"name":"team","api_key":"sk-of-the-team",
"allowed_models":["gpt-4o-mini","gpt-4o"],
"rate_limits":{"requests_per_minute":1000000000000,"tokens_per_minute":1000000000000000,"tokens_per_day":1000000000000000}}]}"#;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"Hello! How can I help you today?"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#;

const NOW: Timestamp = Timestamp(1_767_268_820_000);

/// Shared data that nobody else writes.
#[derive(Debug, Default)]
struct Store(HashMap<String, Vec<u8>>);

impl SharedData for Store {
    fn get(&self, key: &str) -> (Option<Vec<u8>>, Cas) {
        let value = self.0.get(key).cloned();
        let cas = value.as_ref().map_or(Cas::ABSENT, |_| Cas(1));
        (value, cas)
    }

    fn set(&mut self, key: &str, value: &[u8], _: Cas) -> Result<(), CasMismatch> {
        self.0.insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

/// A chat request of about `size` bytes, with escapes and an accent in its text.
fn chat(size: usize) -> String {
    const UNIT: &str = "Translate this: \\\"the quick brown fox\\\" jumps.\\nLine two, caf\u{e9}. ";
    let text = UNIT.repeat(size.div_ceil(UNIT.len()).max(2).saturating_sub(1));
    format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"{text}"}}],"temperature":0.7}}"#
    )
}

fn stream(events: usize) -> String {
    let chunk = |rest: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o-mini\",{rest}}}\n\n"
        )
    };
    let mut stream: String = (0..events)
        .map(|event| {
            chunk(&format!(
                r#""choices":[{{"index":0,"delta":{{"content":" tok{event}"}},"finish_reason":null}}],"usage":null"#
            ))
        })
        .collect();
    stream += &chunk(
        r#""choices":[],"usage":{"prompt_tokens":19,"completion_tokens":20,"total_tokens":39}"#,
    );
    stream + "data: [DONE]\n\n"
}

/// A gateway without an Envoy.
struct Gateway {
    policy: Rc<Policy>,
    worker: Rc<Worker>,
    store: Store,
}

impl Gateway {
    fn new() -> Self {
        let config = Config::from_json(POLICY.as_bytes());
        let policy = config.and_then(|config| Policy::compile(config, |_| None));
        Self {
            policy: Rc::new(policy.unwrap_or_else(|errors| unreachable!("{errors:?}"))),
            worker: Rc::default(),
            store: Store::default(),
        }
    }

    /// A request, up to where it goes on.
    fn ask(&mut self, body: &[u8]) -> Exchange {
        let fields = [
            (":path", "/v1/chat/completions"),
            (":method", "POST"),
            ("user-agent", "OpenAI/Python 2.7.1"),
            ("accept-encoding", "gzip, deflate"),
            ("authorization", "Bearer sk-of-the-team"),
            ("content-type", "application/json"),
            ("x-request-id", "5f2a9e4c-0d0b-4b51-9d8c-0a6c9f1d8e77"),
        ]
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let mut exchange = Exchange::new(Rc::clone(&self.policy), Rc::clone(&self.worker));
        let inbound = Inbound {
            headers: Headers::new(&fields),
            end: false,
            property: &|_| Vec::new(),
        };
        let (edits, _) = exchange.request_headers(inbound, NOW, &mut self.store);
        black_box(edits);
        let step = exchange.request_body(body, true, NOW, &mut self.store);
        assert!(matches!(step, Step::Continue(_)), "{step:?}");
        exchange
    }

    /// The rest of it.
    fn settle(&mut self, mut exchange: Exchange) -> u64 {
        let fields = [(":status", "200"), ("content-type", "application/json")]
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        black_box(exchange.response_headers(Headers::new(&fields), false, &|| true, NOW));
        exchange.response_body(ANSWER.as_bytes(), true, NOW);
        let settlement = exchange.finish(&|| true, NOW, &mut self.store);
        settlement.charged.total
    }
}

fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let before = Instant::now();
    let result = run();
    (before.elapsed(), result)
}

fn total(times: u64, run: impl FnMut() -> Duration) -> Duration {
    std::iter::repeat_with(run)
        .take(times.try_into().unwrap_or(usize::MAX))
        .sum()
}

fn core(criterion: &mut Criterion) {
    let prompt = chat(16 << 10);
    let mut group = criterion.benchmark_group("scanner");
    group.throughput(Throughput::Bytes(prompt.len() as u64));
    group.bench_function("16 KiB", |bencher| {
        bencher.iter(|| Scanner::new().push(black_box(prompt.as_bytes()), &mut ()));
    });
    group.finish();

    // What one half of an exchange holds the other gives back, so both are run, and one is timed.
    let small = chat(200);
    let mut gateway = Gateway::new();
    criterion.bench_function("decision/200 B", |bencher| {
        bencher.iter_custom(|times| {
            total(times, || {
                let (took, exchange) = timed(|| gateway.ask(black_box(small.as_bytes())));
                gateway.settle(exchange);
                took
            })
        });
    });
    criterion.bench_function("settlement", |bencher| {
        bencher.iter_custom(|times| {
            total(times, || {
                let exchange = gateway.ask(small.as_bytes());
                let (took, charged) = timed(|| gateway.settle(exchange));
                assert_eq!(charged, 29);
                took
            })
        });
    });

    let events = stream(200);
    let mut group = criterion.benchmark_group("sse");
    group.throughput(Throughput::Bytes(events.len() as u64));
    let shapes: Rc<Shapes> = Rc::default();
    group.bench_function("200 events", |bencher| {
        bencher.iter(|| {
            let mut reader =
                Reader::new(UsageFormat::OpenAi, 200, Some(b"text/event-stream"), false);
            reader.recall(Rc::clone(&shapes));
            for event in events.split_inclusive("\n\n") {
                reader.push(black_box(event.as_bytes()));
            }
            assert!(reader.is_over());
            reader.usage()
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    core(&mut criterion);
    criterion.final_summary();
}
