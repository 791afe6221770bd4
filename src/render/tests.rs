//! The rendered files, read back and held against the descriptors that `service` sends.

use super::*;
use crate::config::{LimitService, Rules, ServiceDialect};
use crate::limit::counter::{Counter, Tokens};
use crate::limit::{Unit, Window};
use crate::service::tests::{MINUTE, counter, limit, service};
use serde_json::Value;

fn config(file: &str) -> Config {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/config/valid/");
    let document = std::fs::read_to_string(format!("{path}{file}.yaml")).unwrap();
    Config::from_yaml(&document).unwrap()
}

/// Compares with the file, or writes it if `UPDATE` is set.
fn same_as(file: &str, rendered: &str) {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, rendered).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(rendered, kept, "{file}; UPDATE=1 writes it");
}

#[test]
fn the_tutorials_files_are_what_is_rendered() {
    let config = config("tutorial");
    same_as("envoy/ratelimit.yaml", &ratelimit(&config));
    same_as("envoy/limitador.yaml", &limitador(&config));
}

#[test]
fn every_level_is_rendered() {
    let config = config("levels");
    same_as("testdata/render/levels.ratelimit.yaml", &ratelimit(&config));
    same_as("testdata/render/levels.limitador.yaml", &limitador(&config));
}

#[test]
fn a_configuration_without_limits_is_rendered() {
    let mut config = config("levels");
    config.consumer_groups.clear();
    config.ceilings = Rules::default();
    let yaml = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    assert_eq!(yaml(&limitador(&config)), serde_json::json!([]));
    assert_eq!(
        yaml(&ratelimit(&config)),
        serde_json::json!({"domain": "llm/eu"})
    );
}

/// A request of a sub-sub-group, under every kind of limit.
fn counters() -> Vec<Rc<Counter>> {
    let per_second = limit(Unit::Requests, Window::Sliding(1), 100);
    vec![
        counter(
            Some("web"),
            None,
            Some("gpt-4o*"),
            vec![limit(Unit::Tokens, MINUTE, 50_000)],
        ),
        counter(
            Some("web"),
            Some("ann"),
            None,
            vec![limit(Unit::Requests, MINUTE, 10)],
        ),
        counter(
            Some("web"),
            None,
            None,
            vec![limit(Unit::Requests, MINUTE, 60)],
        ),
        counter(
            Some("company"),
            None,
            None,
            vec![limit(Unit::Tokens, Window::Month, 1_000_000_000)],
        ),
        counter(None, None, None, vec![per_second]),
    ]
}

fn sent(service: &LimitService) -> Vec<Vec<(String, String)>> {
    use crate::service::wire::Request;
    use prost::Message;
    let counters = counters();
    let question = crate::service::Question {
        service,
        counters: &counters,
    };
    let calls = question.ask(1, &Tokens::default(), &Tokens::default());
    let messages = calls
        .into_iter()
        .map(|call| crate::service::unframed(call.message));
    let requests = messages.map(|message| Request::decode(&*message.unwrap()).unwrap());
    let descriptors = requests.flat_map(|request| request.descriptors);
    let entries = descriptors.map(|descriptor| {
        let entries = descriptor.entries.into_iter();
        entries.map(|entry| (entry.key, entry.value)).collect()
    });
    entries.collect()
}

/// As envoyproxy/ratelimit looks a limit up: key and value, else the key alone; at exact depth.
#[test]
fn every_descriptor_finds_its_limit_in_the_tree() {
    let rendered: Value = serde_saphyr::from_str(&ratelimit(&config("levels"))).unwrap();
    let mut found = Vec::new();
    for entries in sent(&service(ServiceDialect::Envoy)) {
        let mut at = &rendered;
        for (key, value) in &entries {
            let all = at["descriptors"].as_array().unwrap();
            let with = |wanted: Option<&str>| {
                let mut all = all.iter();
                all.find(|one| one["key"] == **key && one["value"].as_str() == wanted)
            };
            at = with(Some(value)).or_else(|| with(None)).unwrap();
        }
        found.push(at["rate_limit"]["requests_per_unit"].as_u64().unwrap());
    }
    assert_eq!(found, [50_000, 10, 60, 1_000_000_000, 100]);
}

/// The conditions are simple enough to be judged here; the server's own judgement is tested with the server.
#[test]
fn the_one_descriptor_meets_the_conditions_of_its_limits_alone() {
    let rendered: Value = serde_saphyr::from_str(&limitador(&config("levels"))).unwrap();
    let mut found = Vec::new();
    for entries in sent(&service(ServiceDialect::Kuadrant)) {
        let entry = |key: &str| {
            let mut entries = entries.iter();
            let found = entries.find(|(name, _)| name == key);
            found.map(|(_, value)| value.as_str())
        };
        let holds = |condition: &str| {
            let rest = condition.strip_prefix("descriptors[0].").unwrap();
            let literals: Vec<_> = rest.split('\'').skip(1).step_by(2).collect();
            if let Some(key) = rest.split(" == ").next().filter(|_| rest.contains(" == ")) {
                return entry(key) == Some(literals[0]);
            }
            if let Some((key, _)) = rest.split_once(" in [") {
                return entry(key).is_some_and(|value| literals.contains(&value));
            }
            let key = rest
                .strip_suffix(')')
                .unwrap()
                .split_once(".contains(")
                .unwrap()
                .0;
            entry(key).is_some_and(|value| value.contains(literals[0]))
        };
        for limit in rendered.as_array().unwrap() {
            let mut conditions = limit["conditions"].as_array().unwrap().iter();
            let variables = limit["variables"].as_array().unwrap();
            if conditions.all(|condition| holds(condition.as_str().unwrap()))
                && (variables.is_empty() || entry("consumer").is_some())
            {
                found.push(limit["name"].as_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(
        found,
        [
            "group/web requests_per_minute",
            "group/web/consumer requests_per_minute",
            "ceilings requests_per_second",
            "group/web/models/gpt-4o* tokens_per_minute",
            "group/company tokens_per_month",
        ]
    );
}
