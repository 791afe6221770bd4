//! Every way in which an exchange can end, in one gateway: the cases behind the table of `docs/limits.md`.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
#[allow(clippy::disallowed_types, reason = "tests have threads")]
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Request;
use super::crowd::held_at_once;
use super::envoy::{Gateway, HCM, Running};
use super::upstream::{Answer, Gate, Seen, Upstream, chat, nobody};

/// What an upstream says that a chat costs, in tokens.
const USAGE: u64 = 15;
/// The prompt, of 400 bytes of text.
const PROMPT: u64 = 100;
/// What comes of an answer that breaks off: 400 bytes of text.
const PART: u64 = 100;
/// What a model of Anthropic's says of the prompt in its first event.
const SO_FAR: u64 = 501;
/// Room for so many at a time.
const SLOTS: usize = 40;
const REQUESTS: u64 = 1_000_000;
const TOKENS: u64 = 1_000_000_000;

/// The table: ending, whether the request counts, which tokens do.
pub(crate) fn rows() -> Vec<[String; 3]> {
    let page = include_str!("../../docs/limits.md");
    let mut lines = page.lines();
    lines
        .find(|line| *line == "| the exchange ends | the request | its tokens |")
        .expect("docs/limits.md has the table");
    let rows = lines.skip(1).map_while(|line| line.strip_prefix("| "));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
        let cells: [&str; 3] = cells.try_into().expect("three cells");
        cells.map(str::to_owned)
    })
    .collect()
}

/// One way to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// As the table has it.
    pub(crate) ending: &'static str,
    ask: Ask,
    /// Tells upstream and routes what to do.
    model: &'static str,
    leaves: Leaves,
    header: Option<(&'static str, &'static str)>,
    /// What of the answer is there to be estimated by.
    answered: u64,
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Anthropic,
    Json,
    Models,
    Stream,
}

/// When the client goes away.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// When the upstream has the request.
    Asked,
    /// When these bytes of the answer are there.
    At(&'static str),
    /// In the middle of its own request.
    Halfway,
    /// When the answer is over, whatever it is.
    Last,
}

const fn case(ending: &'static str, ask: Ask, model: &'static str, leaves: Leaves) -> Case {
    Case {
        ending,
        ask,
        model,
        leaves,
        header: None,
        answered: 0,
    }
}

const fn part(case: Case) -> Case {
    Case {
        answered: PART,
        ..case
    }
}

const fn with(case: Case, name: &'static str, value: &'static str) -> Case {
    Case {
        header: Some((name, value)),
        ..case
    }
}

/// In the order of the table.
pub(crate) const CASES: [Case; 28] = {
    use Ask::{Anthropic, Json, Models, Stream};
    use Leaves::{Asked, At, Halfway, Last};
    [
        case("with an answer that says its usage", Json, "chat", Last),
        case("with a stream that says its usage", Stream, "chat", Last),
        part(case("with an answer that does not", Json, "silent", Last)),
        part(case("with a stream that does not", Stream, "silent", Last)),
        case(
            "with a stream of an error and no text",
            Stream,
            "sorry",
            Last,
        ),
        case("with a list of models", Models, "", Last),
        with(
            case(
                "with a list of models that cannot be filtered: 502",
                Models,
                "",
                Last,
            ),
            "x-test",
            "garbage",
        ),
        case("in the upstream's own 4xx", Json, "bad", Last),
        case("in the upstream's own 5xx", Stream, "broken", Last),
        case(
            "reset by the upstream, before the answer's header",
            Json,
            "none",
            Last,
        ),
        part(case(
            "reset by the upstream, in the middle of an answer",
            Json,
            "cut",
            Last,
        )),
        part(case(
            "reset by the upstream, in the middle of a stream",
            Stream,
            "cut",
            Last,
        )),
        case(
            "at the route's timeout, before the answer's header",
            Json,
            "late",
            Last,
        ),
        part(case(
            "at the route's timeout, in the middle of a stream",
            Stream,
            "slow",
            Last,
        )),
        case("well, at the second try of Envoy's", Json, "again", Last),
        case(
            "because the client leaves before the answer's header",
            Stream,
            "mute",
            Asked,
        ),
        part(case(
            "because the client leaves in the middle of an answer",
            Json,
            "stuck",
            At("xxxxEND"),
        )),
        part(case(
            "because the client leaves in the middle of a stream",
            Stream,
            "stuck",
            At("xxxxEND"),
        )),
        part(case(
            "the same, after more usage was said than can be estimated",
            Anthropic,
            "stuck",
            At("xxxxEND"),
        )),
        case(
            "because the client leaves after a stream's last event",
            Stream,
            "open",
            At("[DONE]"),
        ),
        case(
            "because the client leaves with half its request unsent",
            Json,
            "chat",
            Halfway,
        ),
        case("for want of a route", Json, "nowhere", Last),
        case("for want of a host in the cluster", Json, "nobody", Last),
        case(
            "for want of a connection to the upstream",
            Stream,
            "refused",
            Last,
        ),
        case(
            "for want of room in the cluster's circuit breaker",
            Json,
            "full",
            Last,
        ),
        with(
            case("in a refusal of a filter behind ours", Json, "chat", Last),
            "x-test",
            "denied",
        ),
        with(
            case(
                "in a fault that a filter behind ours injects",
                Stream,
                "chat",
                Last,
            ),
            "x-envoy-fault-abort-request",
            "503",
        ),
        case("in a refusal of ours", Json, "denied", Last),
    ]
};

impl Case {
    /// How many tokens a word of the table's last column stands for.
    pub(crate) fn tokens(&self, cell: &str) -> u64 {
        match cell {
            "none" => 0,
            "usage" => USAGE,
            "usage so far" => SO_FAR,
            "estimate" => PROMPT + self.answered,
            other => panic!("{other}"),
        }
    }

    /// What the table says that it costs: requests, tokens.
    pub(crate) fn charge(&self, rows: &[[String; 3]]) -> (u64, u64) {
        let row = rows.iter().find(|[ending, ..]| ending == self.ending);
        let [_, request, tokens] = row.expect("every case has a row");
        let requests = match request.as_str() {
            "counted" => 1,
            "not counted" => 0,
            other => panic!("{other}"),
        };
        (requests, self.tokens(tokens))
    }

    fn request(&self, key: &str, id: &str) -> Request {
        let messages = json!([{"role": "user", "content": "x".repeat(396)}]);
        let mut body = json!({"model": self.model, "user": id, "messages": messages});
        let request = match self.ask {
            Ask::Models => Request::get("/v1/models").bearer(key),
            Ask::Json => Request::post("/v1/chat/completions")
                .bearer(key)
                .json(&body),
            Ask::Stream => {
                body["stream"] = json!(true);
                Request::post("/v1/chat/completions")
                    .bearer(key)
                    .json(&body)
            }
            Ask::Anthropic => {
                body["stream"] = json!(true);
                body["max_tokens"] = json!(100);
                Request::post("/v1/messages").bearer(key).json(&body)
            }
        };
        match self.header {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }
}

/// Envoy follows a redirect by itself: the same request comes to the filter twice.
pub(crate) const REDIRECT: Case = case("", Ask::Json, "redirect", Leaves::Last);

/// Where a group stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Used {
    /// With the one that asked for this.
    pub(crate) requests: u64,
    pub(crate) tokens: u64,
    /// With the one that asked for this.
    pub(crate) slots: u64,
}

/// A gateway in which exchanges can end in every way.
pub(crate) struct Endings {
    pub(crate) gateway: Running,
    upstream: Upstream,
    /// The `user` of each request that has come to the upstream.
    arrived: Arrived,
    gate: Gate,
    _nobody: TcpSocket,
    next: AtomicU32,
}

#[allow(clippy::disallowed_types, reason = "tests have threads")]
type Arrived = Arc<Mutex<HashSet<String>>>;

impl Endings {
    /// With these groups; the key of `a` is `key-of-a`.
    pub(crate) async fn start(groups: &[String]) -> Option<Self> {
        Self::start_under(groups, json!({})).await
    }

    /// The same, with these rules for all of them.
    pub(crate) async fn start_under(groups: &[String], defaults: Value) -> Option<Self> {
        let arrived = Arrived::default();
        let (gate, never) = (Gate::default(), Gate::default());
        let upstream = Upstream::start({
            let (arrived, gate) = (Arc::clone(&arrived), gate.clone());
            move |seen| answer(seen, &arrived, &gate, &never)
        })
        .await;
        let (nobody, refused) = nobody();
        let groups = groups.iter().map(|name| {
            json!({
                "name": name,
                "api_key": format!("key-of-{name}"),
                "denied_models": ["denied"],
                "rate_limits": {
                    "requests_per_day": REQUESTS,
                    "tokens_per_day": TOKENS,
                    "concurrent_requests": SLOTS,
                },
            })
        });
        let policy = json!({
            "version": "1",
            "rate_limit_headers": ["ietf"],
            "defaults": defaults,
            "consumer_groups": groups.collect::<Vec<_>>(),
        });
        let gateway = Gateway::new(policy)
            .cluster("openai", upstream.address())
            .cluster("refused", refused)
            .edit(add_endings)
            .start()
            .await?;
        Some(Self {
            gateway,
            upstream,
            arrived,
            gate,
            _nobody: nobody,
            next: AtomicU32::new(0),
        })
    }

    /// Lets one exchange end so, as far as its client can tell.
    pub(crate) async fn end(&self, case: &Case, key: &str) {
        let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let address = self.gateway.address();
        end(
            case,
            case.request(key, &id),
            id,
            address,
            Arc::clone(&self.arrived),
        )
        .await;
    }

    /// Waits until so many exchanges are over for the gateway as well.
    pub(crate) async fn settled(&self, count: usize) {
        let lines = || {
            let log = std::fs::read_to_string(self.gateway.events_path()).unwrap_or_default();
            log.matches('\n').count()
        };
        for _ in 0..1_000 {
            if lines() >= count {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{} exchanges of {count} are over", lines());
    }

    /// How often exchanges ended how, and at what cost: for whoever has to find out what went wrong.
    fn ended(&self) -> BTreeMap<String, (u64, u64)> {
        let mut ended = BTreeMap::new();
        let log = std::fs::read_to_string(self.gateway.events_path()).unwrap_or_default();
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).expect("a line is an event");
            let of = ["endpoint", "model", "status", "reason"].map(|name| event[name].to_string());
            let (count, tokens): &mut (u64, u64) = ended.entry(of.join(" ")).or_default();
            *count += 1;
            *tokens += event["usage"]["total_tokens"].as_u64().unwrap_or(0);
        }
        ended
    }

    /// Where a group stands, by a request of its own that costs 15 tokens when it is over.
    pub(crate) async fn used(&self, key: &str) -> Used {
        let answer = self.gateway.send(Request::chat(key, "chat")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let state = answer.header("ratelimit").expect("the ietf family");
        let left = |name: &str| -> u64 {
            let (_, rest) = state.split_once(&format!("\"{name}\";r=")).expect(state);
            let digits = rest.split(';').next().unwrap_or_default();
            digits.parse().expect("a number")
        };
        Used {
            requests: REQUESTS - left("requests_per_day"),
            tokens: TOKENS - left("tokens_per_day"),
            slots: SLOTS as u64 - left("concurrent_requests"),
        }
    }

    /// Lets many exchanges end, in all ways mixed, of a group that nobody used; then every figure is that of the table,
    /// and everything that was held is there again. Answers what is due by the table and what was found.
    pub(crate) async fn end_many(&self, count: usize, key: &str) -> (Used, Used) {
        let rows = rows();
        let (mut requests, mut tokens) = (0, 0);
        let mut under_way = JoinSet::new();
        for at in 0..count {
            if under_way.len() >= SLOTS - 10 {
                under_way.join_next().await.expect("one").expect("it ends");
            }
            // Strides that meet every case, and neighbours that are not always the same.
            let case = CASES[(at * 5 + at / 97) % CASES.len()];
            let (request, of_it) = case.charge(&rows);
            requests += request;
            tokens += of_it;
            let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            let request = case.request(key, &id);
            let (address, arrived) = (self.gateway.address(), Arc::clone(&self.arrived));
            under_way.spawn(async move { end(&case, request, id, address, arrived).await });
        }
        under_way.join_all().await;
        self.settled(count).await;
        let used = self.used(key).await;
        let expected = Used {
            requests: requests + 1,
            tokens,
            slots: 1,
        };
        assert_eq!(used, expected, "after {count} endings: {:#?}", self.ended());
        self.settled(count + 1).await;

        // All slots are there…
        let held = case("", Ask::Json, "held", Leaves::Last).request(key, "held");
        let crowd = vec![held; SLOTS + 20];
        let address = self.gateway.address();
        let (passed, _) = held_at_once(address, crowd, SLOTS, &self.upstream, &self.gate).await;
        assert!(passed.iter().all(|answer| answer.status == 200));
        self.settled(count + 1 + SLOTS + 20).await;
        // … and all that is left of the tokens, to the last one.
        let left = TOKENS - tokens - USAGE * (1 + SLOTS as u64);
        for (more, status) in [(1, 429), (0, 200)] {
            let body = json!({
                "model": "chat",
                "max_tokens": left - PROMPT + more,
                "messages": [{"role": "user", "content": "x".repeat(396)}],
            });
            let request = Request::post("/v1/chat/completions")
                .bearer(key)
                .json(&body);
            let answer = self.gateway.send(request).await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        self.gateway.assert_healthy().await;
        (expected, used)
    }
}

/// Ends one exchange as its client.
async fn end(case: &Case, request: Request, id: String, address: SocketAddr, arrived: Arrived) {
    let ended = match case.leaves {
        Leaves::Last => request.send(address).await.map(drop),
        Leaves::At(last) => request.leave_at(address, last.as_bytes()).await,
        Leaves::Halfway => {
            // There is no answer to wait for.
            let _ = request.stop_after(40).send(address).await;
            Ok(())
        }
        Leaves::Asked => {
            let moment = async {
                while !arrived.lock().unwrap().contains(&id) {
                    sleep(Duration::from_millis(3)).await;
                }
            };
            request.leave_when(address, moment).await
        }
    };
    ended.unwrap_or_else(|error| panic!("{}: {error}", case.ending));
}

/// What the upstream does, by model.
fn answer(seen: &Seen, arrived: &Arrived, gate: &Gate, never: &Gate) -> Answer {
    if seen.method == "GET" {
        let garbage = seen.header("x-test").is_some();
        let models = json!({"object": "list", "data": [{"id": "chat"}, {"id": "denied"}]});
        let list = Answer::json(&models);
        return if garbage {
            Answer::json(&json!("?"))
        } else {
            list
        };
    }
    let body = seen.json();
    let first_time = arrived
        .lock()
        .unwrap()
        .insert(body["user"].as_str().unwrap_or_default().to_owned());
    let stream = body["stream"] == true;
    let text = "x".repeat(397) + "END";
    let silent = if seen.path == "/v1/messages" {
        anthropic(&text)
    } else if stream {
        let choices = json!([{"index": 0, "delta": {"content": text}}]);
        Answer::sse(format!("data: {}\n\n", json!({"choices": choices})))
    } else {
        // Cut before the closing quote, where it is.
        Answer::new(200)
            .header("content-type", "application/json")
            .bytes(format!(r#"{{"choices":[{{"message":{{"content":"{text}"#))
    };
    match body["model"].as_str().unwrap_or_default() {
        "again" if first_time => Answer::none(),
        "bad" => chat(seen).status(400),
        "broken" => chat(seen).status(500),
        "cut" => silent.pause(Duration::from_millis(20)).reset(),
        "held" => Answer::new(200)
            .header("content-type", "application/json")
            .gate(gate)
            .bytes(json!({"usage": {"total_tokens": USAGE}}).to_string()),
        "late" | "mute" => chat(seen).late(never),
        "none" => Answer::none(),
        "open" => chat(seen).gate(never),
        "silent" if stream => silent.bytes("data: [DONE]\n\n"),
        "silent" => silent.bytes(r#""}}]}"#),
        "slow" | "stuck" => silent.gate(never),
        "redirect" => Answer::new(302).header("location", "http://gateway.test/v1/elsewhere"),
        "sorry" => Answer::sse("data: {\"error\":{\"message\":\"overloaded\"}}\n\n"),
        _ => chat(seen),
    }
}

/// The beginning of a stream as Anthropic has it: the usage of the prompt comes first.
fn anthropic(text: &str) -> Answer {
    let usage = json!({"input_tokens": SO_FAR - 1, "output_tokens": 1});
    let start = json!({"type": "message_start", "message": {"usage": usage}});
    let delta = json!({"type": "text_delta", "text": text});
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": delta});
    Answer::sse(format!(
        "event: message_start\ndata: {start}\n\nevent: content_block_delta\ndata: {delta}\n\n"
    ))
}

/// Routes, clusters and filters in which requests end.
fn add_endings(bootstrap: &mut Value) {
    let routes = format!("{HCM}/route_config/virtual_hosts/0/routes");
    let routes = bootstrap
        .pointer_mut(&routes)
        .unwrap()
        .as_array_mut()
        .unwrap();
    let mut default = routes.pop().unwrap();
    for (model, route) in [
        (
            "again",
            json!({"cluster": "openai", "timeout": "0s", "retry_policy": {"retry_on": "reset"}}),
        ),
        ("full", json!({"cluster": "full"})),
        ("late", json!({"cluster": "openai", "timeout": "0.3s"})),
        ("nobody", json!({"cluster": "nobody"})),
        (
            "redirect",
            json!({"cluster": "openai", "internal_redirect_policy": {}}),
        ),
        ("refused", json!({"cluster": "refused"})),
        ("slow", json!({"cluster": "openai", "timeout": "0.3s"})),
    ] {
        routes.push(json!({
            "name": model,
            "match": {"prefix": "/", "headers": [
                {"name": "x-cohort-model", "string_match": {"exact": model}},
            ]},
            "route": route,
        }));
    }
    default["match"]["headers"] = json!([
        {"name": "x-cohort-model", "string_match": {"exact": "nowhere"}, "invert_match": true, "treat_missing_header_as_empty": true},
    ]);
    routes.push(default);

    let clusters = bootstrap.pointer_mut("/static_resources/clusters").unwrap();
    let clusters = clusters.as_array_mut().unwrap();
    let mut full = clusters[0].clone();
    full["name"] = json!("full");
    full["circuit_breakers"] = json!({"thresholds": [{"max_pending_requests": 0}]});
    // Envoy allows three retries at a time: on a machine that stands still for a moment more are due at once.
    clusters[0]["circuit_breakers"] = json!({"thresholds": [{"max_retries": 1_000}]});
    let mut nobody = clusters[0].clone();
    nobody["name"] = json!("nobody");
    nobody["load_assignment"] = json!({"cluster_name": "nobody"});
    clusters.extend([full, nobody]);

    let filters = bootstrap
        .pointer_mut(&format!("{HCM}/http_filters"))
        .unwrap();
    let filters = filters.as_array_mut().unwrap();
    let last = filters.pop().unwrap();
    let denied = json!({"header": {"name": "x-test", "string_match": {"exact": "denied"}}});
    filters.push(json!({
        "name": "rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "DENY", "policies": {
                "denied": {"permissions": [denied], "principals": [{"any": true}]},
            }},
        },
    }));
    filters.push(json!({
        "name": "fault",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"header_abort": {}, "percentage": {"numerator": 100}},
        },
    }));
    filters.push(last);
}
