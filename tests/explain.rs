//! `cohort explain`, held against the core: of hundreds of random policies and requests it says what the core does, and
//! which scope each rule came from.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use support::core::Core;
use support::scenario::{Answer, Outcome, ROUTE, Request};

const CASES: u64 = 400;

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn of(&mut self, values: &[Value]) -> Value {
        values[self.below(values.len() as u64) as usize].clone()
    }
}

fn limits(random: &mut Random, names: &[&str]) -> Value {
    let mut limits = Map::new();
    for name in names {
        if random.once_in(2) {
            let most = if name.contains("tokens") {
                1_000_000
            } else {
                40
            };
            // Now and then there is none at all.
            let quota = if random.once_in(40) {
                0
            } else {
                5 + random.below(most)
            };
            limits.insert((*name).to_owned(), quota.into());
        }
    }
    limits.into()
}

type Field = (&'static str, fn(&mut Random) -> Value);

/// What a scope says: now this, now that.
fn rules(random: &mut Random, mut entry: Value) -> Value {
    let fields: [Field; 15] = [
        ("allowed_models", |r| {
            r.of(&[
                json!(["m1", "m2"]),
                json!(["m*"]),
                json!(["m1", "m2", "m3", "x"]),
                json!(["m2", "m3"]),
            ])
        }),
        ("denied_models", |r| {
            r.of(&[json!(["m3"]), json!(["x*"]), json!([])])
        }),
        ("default_model", |r| r.of(&[json!("m1"), json!("m2")])),
        ("model_aliases", |r| {
            r.of(&[json!({"fast": "m1"}), json!({"fast": "m2", "m1": "m3"})])
        }),
        ("allowed_endpoints", |r| {
            r.of(&[
                json!(["chat", "models"]),
                json!(["chat", "embeddings", "messages"]),
                json!(["/v1"]),
            ])
        }),
        ("rate_limits", |r| {
            limits(
                r,
                &[
                    "requests_per_minute",
                    "requests_per_hour",
                    "tokens_per_day",
                    "concurrent_requests",
                ],
            )
        }),
        ("consumer_rate_limits", |r| {
            limits(
                r,
                &[
                    "requests_per_minute",
                    "requests_per_hour",
                    "prompt_tokens_per_day",
                ],
            )
        }),
        ("model_rate_limits", |r| {
            let quota = 5 + r.below(40);
            let models = r.of(&[json!(["m1"]), json!(["m2", "m3"]), json!(["*"])]);
            json!([{"models": models, "rate_limits": {"requests_per_day": quota}}])
        }),
        ("pricing", |r| {
            let price = json!({"input_per_million": 1_000_000, "output_per_million": 1_000_000});
            let models = r.of(&[json!("*"), json!("m*"), json!("m1")]);
            json!({models.as_str().unwrap(): price})
        }),
        ("budgets", |r| {
            let mut budgets = Vec::new();
            for per in ["day", "week", "month", "total"] {
                if r.once_in(3) {
                    let amount = 10 + r.below(90);
                    budgets.push(json!({"amount_usd": amount, "per": per, "alert_at": [0.001]}));
                }
            }
            budgets.into()
        }),
        ("unpriced", |r| r.of(&[json!("allow"), json!("deny")])),
        ("request_limits", |r| {
            r.of(&[
                json!({"max_n": 1}),
                json!({"stream": "deny"}),
                json!({"max_output_tokens": 50, "on_exceeded": "clamp"}),
                json!({"max_output_tokens": 80}),
                json!({"tools": "deny"}),
            ])
        }),
        ("policies", policies),
        ("input_policies", policies),
        ("output_policies", policies),
    ];
    for (name, value) in fields {
        let refuses = [
            "allowed_endpoints",
            "request_limits",
            "policies",
            "input_policies",
        ];
        if random.once_in(if refuses.contains(&name) { 9 } else { 4 }) {
            entry[name] = value(random);
        }
    }
    entry
}

fn policies(random: &mut Random) -> Value {
    let mut policies = Vec::new();
    for name in ["p", "q"] {
        policies.extend(match random.below(4) {
            0 => Some(json!({"name": name, "enabled": false})),
            1 | 2 => {
                let action = random.of(&[json!("block"), json!("flag")]);
                let word = random.of(&[json!("alpha"), json!("beta")]);
                Some(json!({"name": name, "type": "keyword_filter", "action": action, "config": {"words": [word]}}))
            }
            _ => None,
        });
    }
    policies.into()
}

fn policy(random: &mut Random) -> Value {
    let mut groups = Vec::new();
    for index in 0..=random.below(4) {
        let mut group = json!({
            "name": format!("g{index}"),
            "api_keys": [{"id": format!("id-{index}"), "sha256": digest(&format!("key-of-g{index}"))}],
            "priority": random.below(3),
            "features": [format!("feature-{index}")],
        });
        if index > 0 && random.once_in(2) {
            group["parent"] = json!(format!("g{}", random.below(index)));
        }
        if random.once_in(6) {
            group["mode"] = json!("shadow");
        }
        groups.push(rules(random, group));
    }
    let consumers: Vec<_> = (0..3)
        .map(|index| {
            let mut of: Vec<_> = (0..groups.len()).filter(|_| random.once_in(2)).collect();
            of.truncate(2);
            let of: Vec<_> = of.iter().map(|group| format!("g{group}")).collect();
            let consumer = json!({"name": format!("c{index}"), "api_key": format!("key-of-c{index}"), "groups": of});
            rules(random, consumer)
        })
        .collect();
    let target =
        |id: &str| json!({"id": id, "provider": id, "secret_key_ref": {"env": id.to_uppercase()}});
    let mut policy = json!({
        "version": "1",
        "failed_auth_per_minute": 0,
        "rate_limit_headers": ["ietf"],
        "default_group": "g0",
        "providers": {"targets": [target("openai"), target("anthropic")]},
        "consumer_groups": groups,
        "consumers": consumers,
        "defaults": rules(random, json!({})),
        "services": [rules(random, json!({"name": "s1"})), rules(random, json!({"name": "s2"}))],
        "routes": [rules(random, json!({"name": "r1"})), rules(random, json!({"name": "r2"}))],
    });
    if random.once_in(2) {
        policy["ceilings"] = rules(random, json!({}));
    }
    policy
}

fn digest(key: &str) -> String {
    use sha2::Digest as _;
    let digest: [u8; 32] = sha2::Sha256::digest(key).into();
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A request, and Envoy's name of its route.
fn request(random: &mut Random) -> (Value, Option<&'static str>) {
    let mut keys = vec![json!("key-of-nobody"), Value::Null];
    for name in ["c0", "c1", "c2", "g0"] {
        keys.extend(vec![json!(format!("key-of-{name}")); 4]);
    }
    let prompt = random.of(&[json!("Hi"), json!("alpha"), json!("beta and alpha")]);
    let path = random.of(&[
        json!("/v1/chat/completions"),
        json!("/v1/chat/completions"),
        json!("/v1/chat/completions"),
        json!("/v1/messages"),
        json!("/v1/messages"),
        json!("/v1/embeddings"),
        json!("/v1/files"),
    ]);
    let mut body = match path.as_str() {
        Some("/v1/embeddings") => json!({"input": prompt}),
        _ => json!({"messages": [{"role": "user", "content": prompt}]}),
    };
    for (name, values) in [
        (
            "model",
            vec![
                json!("m1"),
                json!("m2"),
                json!("m3"),
                json!("fast"),
                json!("x"),
                json!("m1"),
            ],
        ),
        ("n", vec![json!(2)]),
        ("stream", vec![json!(true)]),
        ("max_tokens", vec![json!(60), json!(100)]),
        ("tools", vec![json!([{"type": "function"}])]),
    ] {
        let odds = if name == "model" { 10 } else { 5 };
        if random.once_in(odds) != (name == "model") {
            body[name] = random.of(&values);
        }
    }
    let mut request = json!({"path": path, "key": random.of(&keys), "json": body});
    if random.once_in(9) {
        request["headers"] = json!({"x-consumer-group": random.of(&[json!("g0"), json!("g1")])});
    }
    let route = [None, Some("r1"), Some("r2")][random.below(3) as usize];
    (request, route)
}

/// Of each route, its cluster.
fn service(route: Option<&str>) -> &'static str {
    match route {
        Some("r1") => "s1",
        Some("r2") => "s2",
        _ => "other",
    }
}

/// The saved request, as `cohort explain` reads it.
fn saved(request: &Request) -> String {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in request.fields() {
        if name != ROUTE {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    text + "\r\n" + &String::from_utf8(request.bytes()).unwrap()
}

fn explain(directory: &Path, policy: &Value, request: &Request, route: Option<&str>) -> Value {
    std::fs::write(directory.join("policy.yaml"), policy.to_string()).unwrap();
    std::fs::write(directory.join("request.http"), saved(request)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohort"));
    command.current_dir(directory);
    command.args([
        "explain",
        "request.http",
        "--config",
        "policy.yaml",
        "--format",
        "json",
    ]);
    command.args(["--service", service(route)]);
    if let Some(route) = route {
        command.args(["--route", route]);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{policy}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_is_explained_is_what_happens() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain");
    std::fs::create_dir_all(&directory).unwrap();
    let mut seen = BTreeMap::<String, usize>::new();
    for case in 1..=CASES {
        let mut random = Random(case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let policy = policy(&mut random);
        let (asked, route) = request(&mut random);
        let mut asked: Request = serde_json::from_value(asked).unwrap();
        asked.route = route.map(str::to_owned);
        let mut core = Core::new(&policy).unwrap_or_else(|error| panic!("{error}\n{policy}"));
        core.routes = ["r1", "r2"]
            .map(|name| (name.to_owned(), service(Some(name)).to_owned()))
            .into();
        if route.is_none() {
            core.routes.insert(String::new(), "other".to_owned());
        }
        // What it costs is above every threshold of every budget.
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "input_tokens": 1, "output_tokens": 1});
        let answer: Answer = serde_json::from_value(json!({"json": {"usage": usage}})).unwrap();
        let outcome = core.run(&asked, &answer, 0);
        let explained = explain(&directory, &policy, &asked, route);
        let differences = Case {
            policy: &policy,
            asked: &asked,
            route,
            outcome: &outcome,
            explained: &explained,
        }
        .differences();
        assert!(
            differences.is_empty(),
            "case {case}: {}\n{policy:#}\n{asked:?}\n{explained:#}\n{outcome:?}",
            differences.join("\n")
        );
        let reason = outcome.event["reason"].as_str().unwrap_or("passed");
        *seen.entry(reason.to_owned()).or_default() += 1;
    }
    // It was about something.
    for reason in [
        "passed",
        "model_not_allowed",
        "model_missing",
        "model_unpriced",
        "endpoint_not_allowed",
        "invalid_api_key",
        "missing_api_key",
        "content_blocked",
        "request_limit_exceeded",
        "rate_limit_exceeded",
        "consumer_group_not_allowed",
    ] {
        assert!(seen.contains_key(reason), "{reason}: {seen:?}");
    }
    assert!(seen["passed"] > CASES as usize / 5, "{seen:?}");
}

struct Case<'a> {
    policy: &'a Value,
    asked: &'a Request,
    route: Option<&'a str>,
    outcome: &'a Outcome,
    explained: &'a Value,
}

impl Case<'_> {
    fn differences(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let Self {
            outcome, explained, ..
        } = self;
        let mut same = |what: &str, happened: Value, said: Value| {
            if happened != said {
                wrong.push(format!("{what}: happened {happened}, said {said}"));
            }
        };
        for field in [
            "consumer_group",
            "consumer",
            "key_id",
            "model",
            "provider",
            "endpoint",
            "policies",
        ] {
            same(
                field,
                outcome.event[field].clone(),
                explained[field].clone(),
            );
        }
        let passes = outcome.upstream.is_some();
        let verdict = explained["verdict"].as_str().unwrap();
        same(
            "passes",
            passes.into(),
            verdict.starts_with("let through").into(),
        );
        if let Some(upstream) = &outcome.upstream {
            same("reply", Value::Null, explained["reply"].clone());
            same("header", self.sent().into(), told(upstream));
            let body = String::from_utf8(upstream.body.clone()).unwrap();
            let unchanged = body.as_bytes() == self.asked.bytes();
            let said = &explained["upstream_body"];
            let body = if unchanged { Value::Null } else { body.into() };
            same("body", body, said.clone());
            same("limits", self.limits_that_counted(), self.limits_said());
            if outcome.event["cost_usd"].as_f64().unwrap() > 0.0 {
                same("budgets", self.budgets_that_counted(), self.budgets_said());
            }
        } else {
            same(
                "status",
                outcome.status.into(),
                explained["reply"]["status"].clone(),
            );
            same(
                "code",
                outcome.event["reason"].clone(),
                explained["reply"]["code"].clone(),
            );
            let body: Value = serde_json::from_slice(&outcome.body).unwrap();
            same("answer", body, explained["reply"]["body"].clone());
        }
        if !explained["consumer_group"].is_null() {
            same("scopes", self.scopes(), self.scopes_said());
            same(
                "limits of scopes",
                self.limits_of_rules(),
                self.limits_said_without_models(),
            );
        }
        wrong
    }

    /// The caller's fields, with what is said to change.
    fn sent(&self) -> Map<String, Value> {
        let mut fields: Map<String, Value> = (self.asked.fields().into_iter())
            .map(|(name, value)| (name, value.into()))
            .collect();
        for (name, value) in self.explained["upstream_fields"]
            .as_object()
            .into_iter()
            .flatten()
        {
            match value {
                Value::Null => fields.remove(name),
                value => fields.insert(name.clone(), value.clone()),
            };
        }
        fields
    }

    /// `RateLimit-Policy` names every limit, whoever's it is.
    fn limits_that_counted(&self) -> Value {
        let mut headers = self.outcome.headers.iter();
        let policy = headers.find(|(name, _)| name == "ratelimit-policy");
        let policy = policy.map_or("", |(_, value)| value.as_str());
        let each = policy
            .split(", ")
            .filter(|item| !item.is_empty())
            .map(|item| {
                let mut parts = item.split(';');
                let name = parts.next().unwrap().trim_matches('"');
                let quota = parts.next().unwrap().trim_start_matches("q=");
                json!([name.rsplit('.').next(), quota.parse::<u64>().unwrap()])
            });
        each.collect()
    }

    fn limits_said(&self) -> Value {
        let limits = self.explained["limits"].as_array().unwrap().iter();
        let limits = limits.filter(|limit| !is_budget(limit));
        limits
            .map(|limit| json!([limit["limit"], limit["quota"]]))
            .collect()
    }

    fn limits_said_without_models(&self) -> Value {
        let limits = self.explained["limits"].as_array().unwrap().iter();
        let limits = limits.filter(|limit| {
            !is_budget(limit) && !limit["of"].as_str().unwrap().contains(", models ")
        });
        sorted(limits.map(|limit| json!([limit["limit"], limit["quota"]])))
    }

    /// Every budget had a threshold that was crossed.
    fn budgets_that_counted(&self) -> Value {
        let alerts = self.outcome.event["alerts"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        sorted(alerts.iter().map(|alert| {
            let amount = alert["amount_usd"].as_u64().unwrap() * 1_000_000;
            json!([alert["limit"], amount])
        }))
    }

    fn budgets_said(&self) -> Value {
        let limits = self.explained["limits"].as_array().unwrap().iter();
        let budgets = limits.filter(|limit| is_budget(limit));
        sorted(budgets.map(|limit| json!([limit["limit"], limit["quota"]])))
    }

    /// What is said to come from scopes is what is said to apply, and nothing else.
    fn limits_of_rules(&self) -> Value {
        let rules = self.explained["rules"].as_array().unwrap().iter();
        sorted(rules.filter_map(|rule| {
            let field = rule["field"].as_str().unwrap();
            let (list, name) = field.split_once('.')?;
            let quota = || rule["value"].as_str().unwrap().parse::<u64>().unwrap();
            matches!(list, "rate_limits" | "consumer_rate_limits").then(|| json!([name, quota()]))
        }))
    }

    fn scopes_said(&self) -> Value {
        let rules = self.explained["rules"].as_array().unwrap().iter();
        sorted(rules.map(|rule| json!([rule["field"], rule["scope"]])))
    }

    /// As SPEC and `docs/consumers.md` have it, read off the document.
    fn scopes(&self) -> Value {
        let entry = |list: &str, name: &Value| {
            let entries = self.policy[list].as_array().unwrap();
            let at = entries.iter().position(|entry| entry["name"] == *name)?;
            let scope = format!("{list}[{at}] ({})", name.as_str()?);
            Some((scope, entries[at].clone()))
        };
        let explained = self.explained;
        let group = entry("consumer_groups", &explained["consumer_group"]);
        let route = self.route.map(Value::from).unwrap_or_default();
        let places = [
            entry("routes", &route),
            entry("services", &service(self.route).into()),
            Some(("defaults".to_owned(), self.policy["defaults"].clone())),
        ];
        let mut parent = group.as_ref().map(|(_, group)| group["parent"].clone());
        let group = group.into_iter().chain(places.into_iter().flatten());
        let group: Vec<_> = group.map(|(scope, entry)| (scope, said(&entry))).collect();
        let consumer = entry("consumers", &explained["consumer"]);
        let consumer = consumer.map(|(scope, entry)| (scope, said(&entry)));
        let ceilings = said(&self.policy["ceilings"]);
        let mut scopes = Vec::new();
        let fields: std::collections::BTreeSet<String> = (group.iter().chain(&consumer))
            .flat_map(|(_, fields)| fields.clone())
            .collect();
        for field in fields {
            if ["default_model", "model_aliases", "pricing", "unpriced"].contains(&field.as_str())
                && ceilings.contains(&field)
            {
                continue;
            }
            let by_group = group.iter().find(|(_, said)| said.contains(&field));
            let by_consumer = consumer.as_ref().filter(|(_, said)| said.contains(&field));
            let own = |name: &str| {
                consumer
                    .as_ref()
                    .is_some_and(|(_, said)| said.contains(&name.to_owned()))
            };
            let from: Vec<_> = match field.split_once('.') {
                // The consumer's own count beside the group's.
                Some(("rate_limits", _)) => by_consumer.into_iter().chain(by_group).collect(),
                Some(("consumer_rate_limits", name)) if own(&format!("rate_limits.{name}")) => {
                    Vec::new()
                }
                None if ["budgets", "model_rate_limits"].contains(&field.as_str()) => {
                    by_consumer.into_iter().chain(by_group).collect()
                }
                _ => by_consumer.or(by_group).into_iter().collect(),
            };
            scopes.extend(from.into_iter().map(|(scope, _)| json!([field, scope])));
        }
        while let Some((scope, above)) = parent
            .as_ref()
            .and_then(|name| entry("consumer_groups", name))
        {
            let holds = |field: &String| {
                let name = field.split('.').next().unwrap();
                [
                    "allowed_models",
                    "denied_models",
                    "rate_limits",
                    "consumer_rate_limits",
                    "model_rate_limits",
                    "budgets",
                ]
                .contains(&name)
            };
            let fields = said(&above).into_iter().filter(holds);
            scopes.extend(fields.map(|field| json!([field, format!("{scope}, above")])));
            parent = Some(above["parent"].clone());
        }
        scopes.extend(ceilings.into_iter().map(|field| json!([field, "ceilings"])));
        sorted(scopes)
    }
}

/// The fields that an entry has, those that merge key by key and name by name each for itself.
fn said(entry: &Value) -> Vec<String> {
    let mut fields = Vec::new();
    for (name, value) in entry.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            (
                "name" | "api_key" | "api_keys" | "groups" | "priority" | "features" | "parent"
                | "mode",
                _,
            ) => {}
            ("rate_limits" | "consumer_rate_limits", Value::Object(limits)) => {
                fields.extend(limits.keys().map(|limit| format!("{name}.{limit}")));
            }
            ("policies" | "input_policies" | "output_policies", Value::Array(policies)) => {
                let names = policies
                    .iter()
                    .map(|policy| policy["name"].as_str().unwrap());
                fields.extend(names.map(|policy| format!("{name}.{policy}")));
            }
            _ => fields.push(name.clone()),
        }
    }
    fields
}

fn is_budget(limit: &Value) -> bool {
    limit["limit"].as_str().unwrap().starts_with("budget")
}

/// The header as the upstream saw it; secrets are not shown.
fn told(upstream: &support::scenario::Seen) -> Value {
    let fields = upstream
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(':'));
    let shown = fields.map(|(name, value)| {
        let value = if value.contains("secret-of-") {
            "(the provider's key)"
        } else {
            value
        };
        (name.clone(), Value::from(value))
    });
    Value::Object(shown.collect())
}

fn sorted(values: impl IntoIterator<Item = Value>) -> Value {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by_key(Value::to_string);
    values.into()
}
