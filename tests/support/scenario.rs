//! Scenario files: a configuration, requests in order, and what is to come of each.
//!
//! The same files run through the pure core (`tests/scenarios.rs`) and through a real Envoy (`tests/envoy_scenarios.rs`).

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// One file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// A file of `testdata/config/valid`, without `.yaml`; `tutorial` where nothing is said.
    #[serde(default = "tutorial")]
    pub(crate) config: String,
    /// Laid over the configuration's top level.
    #[serde(default)]
    pub(crate) with: Option<Value>,
    /// Why this scenario cannot run in an Envoy, whose clock nobody can set.
    #[serde(default)]
    pub(crate) core_only: Option<String>,
    /// Why this scenario cannot run in an Envoy that does not hold the request's header.
    #[serde(default)]
    pub(crate) hold_only: Option<String>,
    /// Further routes of Envoy, by their names, and the clusters that they lead to. A request says which by [`ROUTE`].
    #[serde(default)]
    pub(crate) routes: BTreeMap<String, String>,
    /// In order.
    pub(crate) steps: Vec<Step>,
}

/// The field by which a request picks one of the scenario's routes.
pub(crate) const ROUTE: &str = "x-test-route";

fn tutorial() -> String {
    "tutorial".to_owned()
}

/// One request, perhaps several times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// When, in milliseconds after the first request.
    #[serde(default)]
    pub(crate) at: u64,
    /// How often.
    #[serde(default = "once")]
    pub(crate) times: u32,
    pub(crate) request: Request,
    /// What the upstream answers if it is reached.
    #[serde(default)]
    pub(crate) upstream: Answer,
    pub(crate) expect: Expect,
}

fn once() -> u32 {
    1
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    #[serde(default = "post")]
    pub(crate) method: String,
    #[serde(default = "chat")]
    pub(crate) path: String,
    /// The name of one of the scenario's routes.
    #[serde(default)]
    pub(crate) route: Option<String>,
    /// Short for `authorization: Bearer …`.
    #[serde(default)]
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Sent as JSON…
    #[serde(default)]
    pub(crate) json: Option<Value>,
    /// … or as it stands.
    #[serde(default)]
    pub(crate) body: Option<String>,
}

fn post() -> String {
    "POST".to_owned()
}

fn chat() -> String {
    "/v1/chat/completions".to_owned()
}

impl Request {
    /// The fields as a client sends them, without pseudo-headers.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let mut fields: Vec<_> = self.headers.clone().into_iter().collect();
        if let Some(route) = &self.route {
            fields.push((ROUTE.to_owned(), route.clone()));
        }
        if let Some(key) = &self.key {
            fields.push(("authorization".to_owned(), format!("Bearer {key}")));
        }
        if self.json.is_some() && !self.headers.contains_key("content-type") {
            fields.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        fields
    }

    /// The body as a client sends it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (&self.json, &self.body) {
            (Some(json), _) => json.to_string().into_bytes(),
            (None, Some(body)) => body.clone().into_bytes(),
            (None, None) => Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Sent as JSON…
    #[serde(default)]
    pub(crate) json: Option<Value>,
    /// … or as an event stream, one event each, with `[DONE]` at the end…
    #[serde(default)]
    pub(crate) events: Option<Vec<Value>>,
    /// … or as it stands.
    #[serde(default)]
    pub(crate) body: Option<String>,
}

impl Default for Answer {
    fn default() -> Self {
        let json = serde_json::json!({"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}});
        Self {
            status: 200,
            headers: BTreeMap::new(),
            json: Some(json),
            events: None,
            body: None,
        }
    }
}

fn ok() -> u16 {
    200
}

impl Answer {
    /// The fields as an upstream sends them, without pseudo-headers.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let mut fields: Vec<_> = self.headers.clone().into_iter().collect();
        if !self.headers.contains_key("content-type") {
            let kind = if self.events.is_some() {
                "text/event-stream"
            } else {
                "application/json"
            };
            fields.push(("content-type".to_owned(), kind.to_owned()));
        }
        fields
    }

    /// The body, in the pieces in which it is sent.
    pub(crate) fn chunks(&self) -> Vec<Vec<u8>> {
        if let Some(events) = &self.events {
            let events = events
                .iter()
                .map(|event| format!("data: {event}\n\n").into_bytes());
            return events.chain([b"data: [DONE]\n\n".to_vec()]).collect();
        }
        let whole = self
            .json
            .as_ref()
            .map(Value::to_string)
            .or_else(|| self.body.clone());
        whole.into_iter().map(String::into_bytes).collect()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    pub(crate) status: u16,
    /// Where no header is held: that of an answer is gone before its body turns out to be no good.
    #[serde(default)]
    pub(crate) status_without_hold: Option<u16>,
    /// The code of the refusal; also the event's `reason`.
    #[serde(default)]
    pub(crate) code: Option<String>,
    /// Fields of the answer; `null`: must not be there.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, Option<String>>,
    /// Fields that the upstream saw; `null`: must not be there.
    #[serde(default)]
    pub(crate) upstream_headers: BTreeMap<String, Option<String>>,
    /// The path that the upstream saw.
    #[serde(default)]
    pub(crate) upstream_path: Option<String>,
    /// The body that the upstream saw, as JSON.
    #[serde(default)]
    pub(crate) upstream_json: Option<Value>,
    /// JSON pointers into the answer's body.
    #[serde(default)]
    pub(crate) body: BTreeMap<String, Value>,
    /// The whole body of the answer.
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// JSON pointers into the event.
    #[serde(default)]
    pub(crate) event: BTreeMap<String, Value>,
}

/// What came of a step, however it was run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What the upstream saw, if it was reached.
    pub(crate) upstream: Option<Seen>,
    pub(crate) event: Value,
    /// Further lines that came with it, of requests before.
    pub(crate) late: Vec<Value>,
}

/// A request as the upstream saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Scenario {
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())
    }

    /// The configuration as the filter gets it.
    pub(crate) fn config(&self) -> Result<Value, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config/valid");
        let path = root.join(&self.config).with_extension("yaml");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut config: Value = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
        if let (Some(config), Some(Value::Object(with))) = (config.as_object_mut(), &self.with) {
            config.extend(with.clone());
        }
        Ok(config)
    }
}

impl Expect {
    /// Everything that is not as expected.
    pub(crate) fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |what: String, expected: Value, found: Value| {
            if expected != found {
                wrong.push(format!("{what}: expected {expected}, found {found}"));
            }
        };
        check(
            "status".to_owned(),
            self.status.into(),
            outcome.status.into(),
        );
        let body: Value = serde_json::from_slice(&outcome.body).unwrap_or_default();
        if let Some(code) = &self.code {
            let found = [
                "/error/code",
                "/error/details/error_code",
                "/error/details/0/reason",
            ];
            let found = found
                .iter()
                .filter_map(|pointer| body.pointer(pointer)?.as_str());
            let found = found
                .map(str::to_ascii_lowercase)
                .any(|found| found == *code);
            check(format!("code {code} in {body}"), true.into(), found.into());
            check(
                "event /reason".to_owned(),
                code.as_str().into(),
                outcome.event["reason"].clone(),
            );
            check(
                "upstream reached".to_owned(),
                false.into(),
                outcome.upstream.is_some().into(),
            );
        }
        for (name, expected) in &self.headers {
            check(
                format!("header {name}"),
                expected.clone().into(),
                field(&outcome.headers, name).into(),
            );
        }
        if let Some(text) = &self.text {
            check(
                "text".to_owned(),
                text.as_str().into(),
                String::from_utf8_lossy(&outcome.body).into(),
            );
        }
        for (pointer, expected) in &self.body {
            check(
                format!("body {pointer}"),
                expected.clone(),
                body.pointer(pointer).cloned().unwrap_or_default(),
            );
        }
        for (pointer, expected) in &self.event {
            let found = outcome.event.pointer(pointer).cloned().unwrap_or_default();
            check(format!("event {pointer}"), expected.clone(), found);
        }
        let asks = self.upstream_json.is_some()
            || self.upstream_path.is_some()
            || !self.upstream_headers.is_empty();
        match &outcome.upstream {
            None => check("upstream reached".to_owned(), asks.into(), false.into()),
            Some(seen) => {
                for (name, expected) in &self.upstream_headers {
                    check(
                        format!("upstream header {name}"),
                        expected.clone().into(),
                        field(&seen.headers, name).into(),
                    );
                }
                if let Some(path) = &self.upstream_path {
                    check(
                        "upstream path".to_owned(),
                        path.as_str().into(),
                        seen.path.as_str().into(),
                    );
                }
                if let Some(json) = &self.upstream_json {
                    let found = serde_json::from_slice(&seen.body).unwrap_or_default();
                    check("upstream body".to_owned(), json.clone(), found);
                }
            }
        }
        wrong
    }
}

fn field(fields: &[(String, String)], name: &str) -> Option<String> {
    let mut values = fields
        .iter()
        .filter(|(n, _)| n == name)
        .map(|(_, value)| value.as_str());
    let first = values.next()?;
    Some(values.fold(first.to_owned(), |all, value| format!("{all}, {value}")))
}
