//! Every recorded request and answer through a real Envoy.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::client::{Request, Response};
use support::envoy::Gateway;
use support::fixture::{Action, Answered, Asked, Usage};
use support::upstream::{Answer, Seen, Upstream};
use tokio::task::JoinSet;

/// The one key of all recorded requests. Here each group has its own, which only begins with it.
const KEY: &str = "sk-team-a-0001";
/// A model that no recorded request names.
const ANOTHER: &str = "another-model";
/// What SPEC closes to groups that do not name it.
const CLOSED: [&str; 14] = [
    "anthropic.batches",
    "gemini.files",
    "mistral.agents",
    "ollama.admin",
    "openai.assistants",
    "openai.batches",
    "openai.chat.stored",
    "openai.conversations",
    "openai.files",
    "openai.fine_tuning",
    "openai.realtime",
    "openai.responses.stored",
    "openai.videos.stored",
    "unknown",
];

/// A recorded request, sent by a group of its own.
#[derive(Clone, Debug)]
struct Try<'a> {
    asked: &'a Asked,
    group: String,
    allowed_models: Option<Vec<String>>,
    default_model: Option<&'static str>,
    /// Whether the group may use what is closed to others.
    everywhere: bool,
    chunk: Option<usize>,
    verdict: Verdict,
}

/// What is to come of a try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Passes,
    /// Or is refused with this status.
    PassesOr(u16),
    Refused(u16, Option<&'static str>),
    /// With one of these.
    RefusedEither(u16, u16),
}

impl<'a> Try<'a> {
    fn new(number: usize, asked: &'a Asked, how: &str, verdict: Verdict) -> Self {
        let mut group = format!("{number}-{how}-{}", asked.name);
        group.truncate(64);
        Self {
            asked,
            group,
            allowed_models: None,
            default_model: None,
            everywhere: true,
            chunk: None,
            verdict,
        }
    }

    fn allowing(mut self, models: impl IntoIterator<Item = String>) -> Self {
        self.allowed_models = Some(models.into_iter().collect());
        self
    }

    /// All that is to be tried with a recorded request.
    fn all(number: usize, asked: &'a Asked) -> Vec<Self> {
        let expected = &asked.expected;
        let new = |how: &str, verdict| Self::new(number, asked, how, verdict);
        let status = expected.status.unwrap_or(400);
        let closed = CLOSED.contains(&expected.format.as_str());
        let open = |verdict| {
            if closed {
                Verdict::Refused(403, Some("endpoint_not_allowed"))
            } else {
                verdict
            }
        };
        let nowhere = |verdict| Self {
            everywhere: false,
            ..new("closed", open(verdict))
        };
        let without = |verdict| {
            let models = expected.models.iter().enumerate();
            models.map(move |(index, left_out)| {
                let others = expected
                    .models
                    .iter()
                    .filter(move |model| *model != left_out);
                Self::new(number, asked, &format!("without{index}"), verdict)
                    .allowing(others.cloned().chain([ANOTHER.to_owned()]))
            })
        };
        let exact = || expected.models.iter().cloned();
        match expected.action {
            Action::CheckModel => {
                let mut tries = vec![
                    new("exact", Verdict::Passes).allowing(exact()),
                    nowhere(Verdict::Passes).allowing(exact()),
                ];
                if !asked.body.is_empty() {
                    let chunked = new("chunked", Verdict::Passes).allowing(exact());
                    tries.push(Self {
                        chunk: Some(7),
                        ..chunked
                    });
                }
                tries.extend(without(Verdict::Refused(403, Some("model_not_allowed"))));
                tries
            }
            Action::CheckModelOrReject => {
                let mut tries = vec![new("exact", Verdict::PassesOr(status)).allowing(exact())];
                tries.extend(without(Verdict::RefusedEither(403, status)));
                tries
            }
            Action::NoModelEndpoint => {
                vec![new("any", Verdict::Passes), nowhere(Verdict::Passes)]
            }
            Action::Reject => {
                let mut tries = vec![new("any", Verdict::Refused(status, None))];
                if !closed {
                    tries.push(nowhere(Verdict::Refused(status, None)));
                    tries.extend([1, 7].map(|chunk| Self {
                        chunk: Some(chunk),
                        ..new(&format!("chunked{chunk}"), Verdict::Refused(status, None))
                    }));
                }
                tries.retain(|one| one.chunk.is_none() || !asked.body.is_empty());
                tries
            }
            Action::RejectOrDefault => vec![
                new("any", Verdict::Refused(status, None)),
                Self {
                    default_model: Some(ANOTHER),
                    ..new("default", Verdict::PassesOr(status))
                },
            ],
        }
    }

    fn key(&self) -> String {
        format!("{KEY}.{}", self.group)
    }

    fn policy(&self) -> Value {
        let mut group = json!({"name": self.group, "api_key": self.key()});
        if self.everywhere {
            group["allowed_endpoints"] = json!(["/"]);
        }
        if let Some(models) = &self.allowed_models {
            // No name in an allow-list may begin with a space.
            let models = models
                .iter()
                .map(|model| model.replace(char::is_whitespace, "*"));
            group["allowed_models"] = models.collect();
        }
        if let Some(model) = self.default_model {
            group["default_model"] = json!(model);
        }
        group
    }

    fn request(&self) -> Request {
        let own = |text: &str| text.replace(KEY, &self.key());
        let mut request = Request::new(&self.asked.method, &own(&self.asked.path));
        for (name, value) in &self.asked.headers {
            let close = if name == "connection" { ", close" } else { "" };
            request = request.header(name, own(value) + close);
        }
        request = request.body(self.asked.body.clone());
        match self.chunk {
            Some(size) => request.chunked(size),
            None => request,
        }
    }

    /// All that is not as it should be.
    fn differences(
        &self,
        answer: &Response,
        seen: Option<&Seen>,
        event: Option<&Value>,
        hold: bool,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |holds: bool, what: String| {
            if !holds {
                wrong.push(format!("{}: {what}", self.group));
            }
        };
        let reason = event.map_or("", |event| event["reason"].as_str().unwrap_or_default());
        let what = format!(
            "{:?}, but {} {reason} {}",
            self.verdict,
            answer.status,
            answer.text()
        );
        let passed = answer.status == 200 && seen.is_some();
        let refused = |status| answer.status == status && seen.is_none();
        let right = match self.verdict {
            Verdict::Passes => passed,
            Verdict::PassesOr(status) => passed || refused(status),
            Verdict::Refused(status, code) => {
                refused(status) && code.is_none_or(|code| reason == code)
            }
            Verdict::RefusedEither(one, other) => refused(one) || refused(other),
        };
        check(right, what);
        if let (Some(seen), Some(event)) = (seen, event) {
            let key = self.key();
            let said = seen
                .headers
                .iter()
                .map(|(_, value)| String::from_utf8_lossy(value));
            let leaks = said
                .chain([seen.path.as_str().into()])
                .any(|text| text.contains(&key));
            check(!leaks, format!("the key reached the upstream: {seen:?}"));
            if self.default_model.is_none() {
                let body = seen.body.as_ref() == Some(&self.asked.body);
                check(body, format!("the body was changed: {seen:?}"));
                let models = &self.asked.expected.models;
                let judged = match event["models"].as_array() {
                    Some(models) => models.clone(),
                    None => event["model"]
                        .as_str()
                        .map(|model| json!(model))
                        .into_iter()
                        .collect(),
                };
                check(
                    json!(judged) == json!(models),
                    format!("{models:?}, but judged {judged:?}"),
                );
                let told = seen.header("x-cohort-model").map(String::from_utf8_lossy);
                // What cannot stand in a header as it is, is not told; where the header is gone, nothing need be.
                let first = models
                    .first()
                    .filter(|model| model.is_ascii() && model.trim() == model.as_str());
                check(
                    told.as_deref() == first.map(String::as_str) || (!hold && told.is_none()),
                    format!("told {told:?}"),
                );
            } else {
                check(
                    seen.json()["model"] == json!(self.default_model),
                    format!("{seen:?}"),
                );
            }
        } else if !right || answer.status >= 400 {
            // A refusal is an object that the SDKs can read, never with the key in it.
            let told = answer.text();
            let error =
                serde_json::from_str::<Value>(&told).is_ok_and(|body| body["error"].is_object());
            check(
                error && !told.contains(&self.key()),
                format!("not an error: {told}"),
            );
        }
        wrong
    }
}

#[tokio::test]
async fn requests() {
    play(true).await;
}

/// As where Envoy cannot hold the header: that of a refused request may reach the upstream, nothing else of it.
#[tokio::test]
async fn requests_without_header_hold() {
    play(false).await;
}

async fn play(hold: bool) {
    let asked = Asked::all();
    assert!(asked.len() >= 240, "only {} recorded requests", asked.len());
    let tries: Vec<Try<'_>> = asked
        .iter()
        .enumerate()
        .flat_map(|(number, asked)| Try::all(number, asked))
        .filter(|one| hold || one.default_model.is_none())
        .collect();
    let groups: Vec<Value> = tries.iter().map(Try::policy).collect();
    let policy = json!({
        "version": "1",
        "consumer_groups": groups,
        "failed_auth_per_minute": 0,
        "hold_request_headers": hold,
    });

    let upstream = Upstream::start(|_| Answer::json(&json!({"data": [], "models": []}))).await;
    let mut gateway = Gateway::new(policy)
        .cluster("upstream", upstream.address())
        .upgrades("websocket");
    if !hold {
        gateway = gateway.without_header_hold();
    }
    let gateway = gateway.start().await;
    let Some(gateway) = gateway else { return };

    let mut answers = Vec::new();
    for one in &tries {
        answers.push(gateway.send(one.request()).await);
    }
    let seen = upstream.seen();
    let seen: BTreeMap<_, _> = seen
        .iter()
        .filter(|seen| hold || seen.body.is_some())
        .map(|seen| (seen.header("x-consumer-group").unwrap(), seen))
        .collect();
    let events = gateway.events(tries.len()).await;
    let events: BTreeMap<_, _> = events
        .iter()
        .filter_map(|event| Some((event["consumer_group"].as_str()?, event)))
        .collect();
    let wrong: Vec<String> = tries
        .iter()
        .zip(&answers)
        .flat_map(|(one, answer)| {
            let event = events.get(one.group.as_str());
            let seen = seen.get(one.group.as_bytes());
            one.differences(answer, seen.copied(), event.copied(), hold)
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    gateway.assert_healthy().await;
}

/// How an upstream cuts an answer into pieces.
#[derive(Clone, Copy, Debug)]
enum Cut {
    At(usize),
    By(usize),
}

impl Cut {
    /// Pieces of several sizes, and two pieces cut at places all over the answer.
    fn all(length: usize) -> Vec<Self> {
        let places = (1..length).step_by((length / 24).max(1));
        [1, 7, 4096]
            .map(Self::By)
            .into_iter()
            .chain(places.map(Self::At))
            .collect()
    }

    fn make(self, mut answer: Answer, body: &[u8]) -> Answer {
        const PAUSE: Duration = Duration::from_millis(1);
        match self {
            Self::At(at) => {
                let (left, right) = body.split_at(at);
                answer = answer.bytes(left).pause(PAUSE).bytes(right);
                answer
            }
            Self::By(size) => answer.bytes(body).split(size, PAUSE),
        }
    }
}

/// A recorded answer to be asked for, and what the client must get.
struct Play {
    answered: Answered,
    group: String,
    token_limit: bool,
    body: Vec<u8>,
}

impl Play {
    fn all() -> Vec<Self> {
        let plain = Answered::all().into_iter().map(|answered| Self {
            group: format!("plain-{}", answered.expected.file.replace('.', "-")),
            body: answered.body.clone(),
            answered,
            token_limit: false,
        });
        // With a token limit usage is asked for in the client's name, and its chunk taken out again.
        let limited = Answered::all().into_iter().map(|answered| Self {
            group: format!("limited-{}", answered.expected.file.replace('.', "-")),
            body: without_usage_chunk(&answered),
            answered,
            token_limit: true,
        });
        plain.chain(limited).collect()
    }

    fn policy(&self) -> Value {
        let mut group =
            json!({"name": self.group, "api_key": self.group, "allowed_endpoints": ["/"]});
        if self.token_limit {
            group["rate_limits"] = json!({"tokens_per_minute": "900M"});
        }
        group
    }

    fn request(&self, cut: usize) -> Request {
        let expected = &self.answered.expected;
        let request = Request::post(&expected.request_path)
            .bearer(&self.group)
            .header("x-play", self.group.as_str())
            .header("x-cut", cut.to_string());
        let path = &expected.request_path;
        if path.contains("/audio/tr") {
            let form =
                "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n";
            return request
                .header("content-type", "multipart/form-data; boundary=b")
                .body(form);
        }
        let mut body = json!({"stream": expected.stream});
        if !["/models/", "/model/", "/deployments/"]
            .iter()
            .any(|named| path.contains(named))
        {
            body["model"] = json!("m");
        }
        request.json(&body)
    }

    fn answer(&self, cut: usize) -> Answer {
        let expected = &self.answered.expected;
        let mut answer =
            Answer::new(expected.status).header("content-type", &expected.content_type);
        for (name, value) in &expected.headers {
            answer = answer.header(name, value);
        }
        let body = &self.answered.body;
        Cut::all(body.len())[cut].make(answer, body)
    }

    fn check_answer(&self, cut: Cut, answer: &Response) -> Option<String> {
        let expected = &self.answered.expected;
        let mut headers = expected
            .headers
            .iter()
            .filter(|(name, _)| !name.contains("ratelimit"));
        let same = answer.status == expected.status
            && answer.complete
            && answer.body == self.body
            && answer.header("content-type") == Some(&expected.content_type)
            && headers.all(|(name, value)| answer.header(name) == Some(value));
        (!same).then(|| format!("{} {cut:?}: {answer:?}\n{}", self.group, answer.text()))
    }

    fn check_event(&self, event: &Value) -> Option<String> {
        let expected = &self.answered.expected;
        let usage: Usage = serde_json::from_value(event["usage"].clone()).unwrap();
        let zeros = usage.total_tokens == 0;
        let estimated = event["estimated"] == true;
        let right = [&expected.usage]
            .into_iter()
            .chain(&expected.accept_usage)
            .any(|known| match known {
                Some(known) => {
                    let usage = Usage {
                        cache_write_tokens: known.cache_write_tokens,
                        ..usage.clone()
                    };
                    *known == usage && !estimated && cost(known, expected.billed) == spent(event)
                }
                None => estimated || zeros,
            });
        let free = self.answered.expected.status >= 400;
        let right = right && (!free || (zeros && !estimated));
        (!right).then(|| format!("{}: {event}", self.group))
    }
}

/// In millionths of a dollar, what an event says.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few dollars"
)]
fn spent(event: &Value) -> u64 {
    (event["cost_usd"].as_f64().unwrap() * 1e6).round() as u64
}

/// The same, by hand: no token in two of the four parts, then rounded.
fn cost(usage: &Usage, billed: Option<[u64; 2]>) -> u64 {
    let written = usage.cache_write_tokens.unwrap_or(0);
    let [input, cached, written, output] = match billed {
        Some([input, output]) => [input, 0, 0, output],
        None => [
            usage.prompt_tokens - usage.cached_tokens - written,
            usage.cached_tokens,
            written,
            usage.completion_tokens,
        ],
    };
    (10 * input + cached + 20 * written + 100 * output + 5) / 10
}

fn without_usage_chunk(answered: &Answered) -> Vec<u8> {
    let path = &answered.expected.request_path;
    if !path.ends_with("completions") || answered.expected.content_type != "text/event-stream" {
        return answered.body.clone();
    }
    let text = String::from_utf8(answered.body.clone()).unwrap();
    let ending = if text.contains("\r\n") {
        "\r\n\r\n"
    } else {
        "\n\n"
    };
    let events = text.split_inclusive(ending).filter(|event| {
        let data = event.trim().strip_prefix("data:").unwrap_or_default();
        let chunk = serde_json::from_str::<Value>(data).unwrap_or_default();
        let only_usage = chunk["choices"] == json!([]) && chunk["usage"].is_object();
        !only_usage
    });
    events.collect::<String>().into_bytes()
}

#[tokio::test]
async fn answers() {
    let plays: Arc<BTreeMap<String, Play>> = Arc::new(
        Play::all()
            .into_iter()
            .map(|play| (play.group.clone(), play))
            .collect(),
    );
    assert!(plays.len() >= 140, "only {} recorded answers", plays.len());
    let groups: Vec<Value> = plays.values().map(Play::policy).collect();
    let pricing = json!({"*": {
        "input_per_million": 1,
        "cached_input_per_million": 0.1,
        "cache_write_per_million": 2,
        "output_per_million": 10,
    }});
    let upstream = Upstream::start({
        let plays = Arc::clone(&plays);
        move |seen| {
            let header = |name| String::from_utf8_lossy(seen.header(name).unwrap()).into_owned();
            plays[&header("x-play")].answer(header("x-cut").parse().unwrap())
        }
    })
    .await;
    let gateway =
        Gateway::new(json!({"version": "1", "consumer_groups": groups, "pricing": pricing}))
            .cluster("upstream", upstream.address())
            .start()
            .await;
    let Some(gateway) = gateway else { return };

    let mut wrong = Vec::new();
    let mut sent = 0;
    let mut flying = JoinSet::new();
    for (group, play) in plays.iter() {
        for (number, cut) in Cut::all(play.answered.body.len()).into_iter().enumerate() {
            let (plays, group, address) = (Arc::clone(&plays), group.clone(), gateway.address());
            flying.spawn(async move {
                let play = &plays[&group];
                let answer = play.request(number).send(address).await.expect("an answer");
                play.check_answer(cut, &answer)
            });
            sent += 1;
            if flying.len() >= 16 {
                wrong.extend(flying.join_next().await.unwrap().unwrap());
            }
        }
    }
    wrong.extend(flying.join_all().await.into_iter().flatten());
    let events = gateway.events(sent).await;
    wrong.extend(events.iter().filter_map(|event| {
        let group = event["consumer_group"].as_str().unwrap();
        plays[group].check_event(event)
    }));
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    gateway.assert_healthy().await;
}
