//! `cohort schema`, held against the decoder by a validator that is not ours.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use cohort::config::{Config, ConfigError, schema};
use cohort::llm::endpoint;
use cohort::policy::Policy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use support::envoy;

/// Which of these documents the schema takes; `None`: there is no Python here.
fn taken<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Option<Vec<bool>> {
    let python = envoy::required("PYTHON")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/schema.py");
    let mut lines = schema(&endpoint::names()).to_string();
    for document in documents {
        lines.push('\n');
        lines.push_str(&document.to_string());
    }
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap();
    assert!(
        output.status.success(),
        "the schema is one of draft 2020-12"
    );
    let answers = String::from_utf8(output.stdout).unwrap();
    Some(answers.lines().map(|line| line == "yes").collect())
}

/// The documents of a folder, by their names, as JSON; files that are not YAML or have a field twice are left out.
fn documents(folder: &str) -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut documents = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        if let Ok(document) = serde_saphyr::from_str::<Value>(&text) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            documents.insert(name, document);
        }
    }
    assert!(documents.len() > 3);
    documents
}

fn valid() -> BTreeMap<String, Value> {
    let mut documents = documents("testdata/config/valid");
    // What the files above do not say.
    let more = "
version: '1'
mode: enforce
default_group: a
anonymous_group: a
identity: {metadata: {filter: envoy.filters.http.jwt_authn, consumer: [jwt, sub], group: [jwt, team]}}
defaults: {description: d, request_limits: {max_output_tokens: 4k, on_exceeded: clamp, max_body_bytes: 1M, max_n: 2, stream: deny, tools: allow}}
services: [{name: openai, description: d, rate_limits: {concurrent_requests: 3}}]
routes: [{name: r, budgets: [{amount_usd: '12.5', per: week, on_exceeded: alert, alert_at: [0.5, '0.9', 1]}]}]
ceilings: {denied_models: [x], output_policies: [{name: p, enabled: false}]}
pricing: {'*': {input_per_million: 0.5, cached_input_per_million: 0, cache_write_per_million: '1.25', output_per_million: 2}}
unpriced: allow
consumer_groups:
  - {name: a, priority: 3, enabled: false, not_before: '2026-01-01', consumers: [ann], features: ['tier:1', eu]}
  - {name: b, consumer_rate_limits: [{unit: concurrent_requests, limit: 1}, {unit: requests, limit: 2, per: 90s}]}
consumers:
  - {name: ann@x.y, description: d, groups: [a, {name: b, not_after: '2027-01-01T00:00:00Z'}], allowed_models: [m], api_keys: [{id: i, sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad', features: [f]}, k]}
  - {name: ann, rate_limits: {requests_per_hour: 10k, window: fixed}, policies: [{name: q, type: pii_detector, config: {entities: [ssn]}}]}
";
    documents.insert("more".to_owned(), support::yaml(more));
    documents.insert(
        "headers".to_owned(),
        support::yaml("{version: 1, identity: {consumer_header: x-user, group_header: x-team, trusted: true}}"),
    );
    documents
}

/// As the filter does it.
fn decoded(document: &Value) -> Result<Policy, Vec<ConfigError>> {
    let config = Config::from_json(document.to_string().as_bytes())?;
    Policy::compile(config, |_| Some("secret".to_owned()))
}

#[test]
fn every_valid_policy_is_taken() {
    let documents = valid();
    let Some(answers) = taken(documents.values()) else {
        return;
    };
    assert_eq!(answers.len(), documents.len());
    for ((name, document), answer) in documents.iter().zip(answers) {
        let errors = decoded(document).err();
        assert!(errors.is_none(), "{name}: {errors:?}");
        assert!(answer, "{name}");
    }
}

/// What a schema cannot know: which names there are, which keys differ, what hangs together across the document.
const BEYOND: [&str; 7] = [
    "alias_of_a_key.yaml",
    "aliases.yaml",
    "duplicate_group.yaml",
    "duplicate_key.yaml",
    "duplicate_key_by_digest.yaml",
    "duplicate_policy.yaml",
    "held_headers.yaml",
];

#[test]
fn what_is_invalid_is_refused_as_far_as_a_schema_can() {
    let documents = documents("testdata/config/invalid");
    let Some(answers) = taken(documents.values()) else {
        return;
    };
    let mut unknown = 0;
    let mut beyond = Vec::new();
    for ((name, document), answer) in documents.iter().zip(answers) {
        let Err(errors) = decoded(document) else {
            continue; // it is invalid as YAML only
        };
        let fields = errors.iter().any(|error| error.message == "unknown field");
        unknown += usize::from(fields);
        assert!(!(fields && answer), "{name} has an unknown field");
        if answer {
            beyond.push(name.clone());
        }
    }
    assert!(unknown >= 5, "{unknown}");
    assert_eq!(beyond, BEYOND);
}

/// Every member and item of a document, by its pointer.
fn pointers(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                pointers(item, &format!("{path}/{at}"), all);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, &format!("{path}/{name}"), all);
            }
        }
        _ => {}
    }
}

/// Each place of each valid document, changed in every way that comes to mind: what the decoder takes, so does the schema;
/// what has an unknown field, a missing one or a value of a wrong kind, neither takes.
#[test]
fn the_schema_and_the_decoder_agree() {
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e18),
        json!(""),
        json!("a b"),
        json!("x"),
        json!("10k"),
        json!("50%"),
        json!("2026-01-01"),
        json!("90s"),
        json!("*"),
        json!([]),
        json!(["x", "x"]),
        json!([{}]),
        json!({}),
        json!({"zzz": 1}),
    ];
    let mut changed = Vec::new();
    for (name, document) in valid() {
        let mut all = Vec::new();
        pointers(&document, "", &mut all);
        for pointer in all {
            for value in &wrong {
                let mut copy = document.clone();
                *copy.pointer_mut(&pointer).unwrap() = value.clone();
                changed.push((format!("{name}{pointer} = {value}"), copy));
            }
            if let Some(members) = document.pointer(&pointer).and_then(Value::as_object) {
                let mut copy = document.clone();
                let map = copy.pointer_mut(&pointer).unwrap();
                map["zzz"] = json!("x");
                changed.push((format!("{name}{pointer}/zzz"), copy));
                for member in members.keys() {
                    let mut copy = document.clone();
                    let map = copy.pointer_mut(&pointer).unwrap();
                    map.as_object_mut().unwrap().remove(member);
                    changed.push((format!("{name}{pointer} without {member}"), copy));
                }
            }
        }
    }
    let Some(answers) = taken(changed.iter().map(|(_, document)| document)) else {
        return;
    };
    assert_eq!(answers.len(), changed.len());
    let (mut refused, mut both, mut told) = (0, 0, Vec::new());
    for ((what, document), answer) in changed.iter().zip(answers) {
        match (decoded(document), answer) {
            (Ok(_), true) => {}
            (Ok(_), false) => told.push(format!("only the decoder takes {what}")),
            (Err(errors), true) => {
                refused += 1;
                let structural = errors.iter().find(|error| {
                    let message = error.message.as_str();
                    message == "unknown field"
                        || message == "missing"
                        || message == "unknown value"
                        || message.starts_with("expected ")
                });
                told.extend(
                    structural.map(|error| format!("only the schema takes {what}: {error}")),
                );
            }
            (Err(_), false) => {
                refused += 1;
                both += 1;
            }
        }
    }
    assert!(
        told.is_empty(),
        "{} of {}: {:#?}",
        told.len(),
        changed.len(),
        &told[..told.len().min(40)]
    );
    assert!(changed.len() > 5_000, "{}", changed.len());
    assert!(both * 100 > refused * 97, "{both} of {refused}");
}
