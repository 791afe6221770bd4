//! Which scope wins: every one against every other, for every field; and the table of `testdata/inheritance.yaml`.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use support::core::Core;
use support::scenario::{Answer, Expect, Outcome, Request, Step};

/// The widest first.
const SCOPES: [&str; 5] = ["defaults", "service", "route", "consumer_group", "consumer"];

/// Ann, of one group, on a route to a service; each scope with rules of its own.
fn gateway(rules: &BTreeMap<&str, Value>) -> Core {
    let of = |scope: &str, own: Value| {
        let mut entry = own;
        let rules = rules.get(scope).cloned().unwrap_or_else(|| json!({}));
        let rules = rules.as_object().unwrap().clone();
        entry.as_object_mut().unwrap().extend(rules);
        entry
    };
    let mut core = Core::new(&json!({
        "version": "1",
        "defaults": of("defaults", json!({})),
        "services": [{"name": "other", "denied_models": ["*"]}, of("service", json!({"name": "cluster"}))],
        "routes": [{"name": "other", "denied_models": ["*"]}, of("route", json!({"name": "route"}))],
        "consumer_groups": [
            {"name": "other", "api_key": "key-of-others", "denied_models": ["*"]},
            of("consumer_group", json!({"name": "group"})),
        ],
        "consumers": [
            {"name": "bob", "groups": ["group"], "denied_models": ["*"]},
            of("consumer", json!({"name": "ann", "api_key": "key-of-ann", "groups": ["group"]})),
        ],
    }))
    .unwrap();
    core.routes = BTreeMap::from([("route".to_owned(), "cluster".to_owned())]);
    core
}

fn ask(core: &mut Core, path: &str, body: &Value) -> Outcome {
    let request: Request = serde_json::from_value(json!({
        "path": path, "route": "route", "key": "key-of-ann", "json": body,
    }))
    .unwrap();
    core.run(&request, &Answer::default(), 0)
}

#[allow(clippy::needless_pass_by_value, reason = "made where it is used")]
fn chat(core: &mut Core, body: Value) -> Outcome {
    let mut chat = json!({"model": "m", "messages": []});
    chat.as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    ask(core, "/v1/chat/completions", &chat)
}

fn sent(outcome: &Outcome) -> Value {
    let seen = outcome.upstream.as_ref().expect("it reached the upstream");
    serde_json::from_slice(&seen.body).unwrap()
}

fn limit(outcome: &Outcome) -> u64 {
    let mut headers = outcome.headers.iter();
    let (_, value) = headers
        .find(|(name, _)| name == "ratelimit-limit")
        .expect("a limit");
    value.parse().unwrap()
}

/// The one of two that passes.
fn passes(core: &mut Core, mut ask: impl FnMut(&mut Core, usize) -> Outcome) -> usize {
    let statuses = [1, 2].map(|which| ask(core, which).status);
    match statuses {
        [200, 200] => panic!("both pass"),
        [200, _] => 1,
        [_, 200] => 2,
        _ => panic!("none passes"),
    }
}

/// A field: its name, two values for it, and how to see which of the two holds.
struct Field {
    name: &'static str,
    value: fn(usize) -> Value,
    holds: fn(&mut Core) -> usize,
    /// What a consumer says of it holds beside what its group says.
    adds_for_consumers: bool,
}

const FIELDS: [Field; 15] = [
    Field {
        name: "allowed_models",
        value: |which| json!([format!("m{which}")]),
        holds: |core| {
            passes(core, |core, which| {
                chat(core, json!({"model": format!("m{which}")}))
            })
        },
        adds_for_consumers: false,
    },
    Field {
        name: "denied_models",
        value: |which| json!([format!("m{which}")]),
        holds: |core| {
            3 - passes(core, |core, which| {
                chat(core, json!({"model": format!("m{which}")}))
            })
        },
        adds_for_consumers: false,
    },
    Field {
        name: "default_model",
        value: |which| json!(format!("m{which}")),
        holds: |core| {
            let outcome = ask(core, "/v1/chat/completions", &json!({"messages": []}));
            [json!("m1"), json!("m2")]
                .iter()
                .position(|model| *model == sent(&outcome)["model"])
                .unwrap()
                + 1
        },
        adds_for_consumers: false,
    },
    Field {
        name: "model_aliases",
        value: |which| json!({"m": format!("m{which}")}),
        holds: |core| {
            let outcome = chat(core, json!({}));
            [json!("m1"), json!("m2")]
                .iter()
                .position(|model| *model == sent(&outcome)["model"])
                .unwrap()
                + 1
        },
        adds_for_consumers: false,
    },
    Field {
        name: "allowed_endpoints",
        value: |which| json!([if which == 1 { "chat" } else { "embeddings" }]),
        holds: |core| {
            passes(core, |core, which| {
                ask(
                    core,
                    ["/v1/chat/completions", "/v1/embeddings"][which - 1],
                    &json!({"model": "m"}),
                )
            })
        },
        adds_for_consumers: false,
    },
    Field {
        name: "rate_limits",
        value: |which| json!({"requests_per_hour": which}),
        holds: |core| usize::try_from(limit(&chat(core, json!({})))).unwrap(),
        adds_for_consumers: true,
    },
    Field {
        name: "consumer_rate_limits",
        value: |which| json!({"requests_per_hour": which}),
        holds: |core| usize::try_from(limit(&chat(core, json!({})))).unwrap(),
        adds_for_consumers: false,
    },
    Field {
        name: "model_rate_limits",
        value: |which| json!([{"models": ["m"], "rate_limits": {"requests_per_hour": which}}]),
        holds: |core| usize::try_from(limit(&chat(core, json!({})))).unwrap(),
        adds_for_consumers: true,
    },
    Field {
        name: "pricing",
        value: |which| json!({"*": {"input_per_million": which, "output_per_million": 0}}),
        holds: |core| {
            // Seven tokens of a prompt.
            let cost = chat(core, json!({})).event["cost_usd"].as_f64().unwrap();
            [7e-6, 14e-6]
                .iter()
                .position(|known| (cost - known).abs() < 1e-9)
                .unwrap()
                + 1
        },
        adds_for_consumers: false,
    },
    Field {
        name: "budgets",
        value: |which| json!([{"amount_usd": if which == 1 { 0.000_007 } else { 100.0 }, "per": "day"}]),
        holds: |core| {
            assert_eq!(chat(core, json!({})).status, 200, "what is idle admits one");
            if chat(core, json!({})).status == 200 {
                2
            } else {
                1
            }
        },
        adds_for_consumers: true,
    },
    Field {
        name: "unpriced",
        value: |which| json!(["deny", "allow"][which - 1]),
        holds: |core| {
            if chat(core, json!({})).status == 200 {
                2
            } else {
                1
            }
        },
        adds_for_consumers: false,
    },
    Field {
        name: "request_limits",
        value: |which| json!({"max_n": which}),
        holds: |core| {
            if chat(core, json!({"n": 2})).status == 200 {
                2
            } else {
                1
            }
        },
        adds_for_consumers: false,
    },
    Field {
        name: "policies",
        value: keyword,
        holds: |core| 3 - passes(core, word),
        adds_for_consumers: false,
    },
    Field {
        name: "input_policies",
        value: keyword,
        holds: |core| 3 - passes(core, word),
        adds_for_consumers: false,
    },
    // Whole, not member by member.
    Field {
        name: "request_limits",
        value: |which| [json!({"stream": "deny"}), json!({"tools": "deny"})][which - 1].clone(),
        holds: |core| {
            3 - passes(core, |core, which| {
                chat(
                    core,
                    [json!({"stream": true}), json!({"tools": [{}]})][which - 1].clone(),
                )
            })
        },
        adds_for_consumers: false,
    },
];

fn keyword(which: usize) -> Value {
    json!([{"name": "p", "type": "keyword_filter", "config": {"words": [format!("word{which}")]}}])
}

fn word(core: &mut Core, which: usize) -> Outcome {
    chat(
        core,
        json!({"messages": [{"role": "user", "content": format!("a word{which} b")}]}),
    )
}

#[test]
fn the_narrower_scope_wins_field_by_field() {
    let mut cases = 0;
    for field in &FIELDS {
        let needs: &[(&str, Value)] = match field.name {
            "budgets" => &[(
                "pricing",
                json!({"*": {"input_per_million": 1, "output_per_million": 0}}),
            )],
            "unpriced" => &[("budgets", json!([{"amount_usd": 1, "per": "day"}]))],
            _ => &[],
        };
        for (narrow, scope) in SCOPES.iter().enumerate() {
            if field.adds_for_consumers && *scope == "consumer" {
                continue;
            }
            for wide in &SCOPES[..narrow] {
                for values in [[1, 2], [2, 1]] {
                    let mut rules: BTreeMap<&str, Value> = BTreeMap::new();
                    for (name, value) in needs {
                        rules.entry("defaults").or_insert_with(|| json!({}))[*name] = value.clone();
                    }
                    for (scope, value) in [wide, scope].into_iter().zip(values) {
                        let rules = rules.entry(scope).or_insert_with(|| json!({}));
                        rules[field.name] = (field.value)(value);
                    }
                    let mut core = gateway(&rules);
                    assert_eq!(
                        (field.holds)(&mut core),
                        values[1],
                        "{} of {scope} over {wide}",
                        field.name
                    );
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 2 * (12 * 10 + 3 * 6));
}

/// One case of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    config: Value,
    #[serde(default)]
    routes: BTreeMap<String, String>,
    steps: Vec<TableStep>,
}

/// A step without what all have in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableStep {
    ask: Value,
    #[serde(default)]
    times: Option<u32>,
    expect: Expect,
}

#[test]
fn the_table_holds() {
    let text = std::fs::read_to_string("testdata/inheritance.yaml").unwrap();
    let cases: Vec<Case> = serde_saphyr::from_str(&text).unwrap();
    assert!(cases.len() >= 25, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let mut config = case.config;
        config["version"] = json!("1");
        config["failed_auth_per_minute"] = json!(0);
        let mut core = match Core::new(&config) {
            Ok(core) => core,
            Err(error) => panic!("{}: {error}", case.name),
        };
        core.routes = case.routes;
        for (number, step) in (1..).zip(case.steps) {
            let mut request = json!({"json": {"model": "m", "messages": []}});
            let own = step.ask.as_object().unwrap().clone();
            request.as_object_mut().unwrap().extend(own);
            let step = Step {
                at: 0,
                times: step.times.unwrap_or(1),
                request: serde_json::from_value(request).unwrap(),
                upstream: Answer::default(),
                expect: step.expect,
            };
            for _ in 0..step.times {
                let outcome = core.run(&step.request, &step.upstream, 0);
                for difference in step.expect.differences(&outcome) {
                    wrong.push(format!("{}, step {number}: {difference}", case.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
