use super::*;
use crate::config::Config;

fn errors(document: &serde_json::Value, secret: Option<&str>) -> Vec<String> {
    let config = Config::from_json(document.to_string().as_bytes()).unwrap();
    let compiled = Policy::compile(config, |_| secret.map(str::to_owned));
    compiled
        .err()
        .into_iter()
        .flatten()
        .map(|error| format!("{}: {}", error.path, error.message))
        .collect()
}

#[test]
fn what_could_never_take_effect_is_an_error() {
    let document = serde_json::json!({
        "version": "1",
        "consumer_groups": [{
            "name": "a",
            "api_key": "key-of-a",
            "allowed_endpoints": ["chat", "/v1/files", "chatt"],
        }],
    });
    assert_eq!(
        errors(&document, None),
        ["consumer_groups[0].allowed_endpoints[2]: no endpoint is called 'chatt'",]
    );
}

#[test]
fn models_that_are_put_in_only_to_be_refused_are_warned_of() {
    let document = serde_json::json!({
        "version": "1",
        "consumer_groups": [{
            "name": "a",
            "api_key": "key-of-a",
            "allowed_models": ["gpt-*"],
            "denied_models": ["gpt-5"],
            "default_model": "gpt-5",
            "model_aliases": {"fast": "gpt-4o-mini", "other": "claude"},
        }],
    });
    let config = Config::from_json(document.to_string().as_bytes()).unwrap();
    let warnings = Policy::compile(config, |_| None).unwrap().warnings();
    let paths: Vec<_> = warnings
        .iter()
        .map(|warning| warning.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "consumer_groups[0].default_model",
            "consumer_groups[0].model_aliases.other"
        ]
    );
}

#[test]
fn a_secret_must_be_there_and_fit_a_header() {
    let document = serde_json::json!({
        "version": "1",
        "providers": {"targets": [{"id": "a", "provider": "openai", "secret_key_ref": {"env": "KEY"}}]},
    });
    assert_eq!(errors(&document, Some("sk-1")), [""; 0]);
    for secret in [None, Some(""), Some(" "), Some("sk-1\n"), Some("sk\u{e9}")] {
        let errors = errors(&document, secret);
        assert_eq!(errors.len(), 1, "{secret:?}");
        assert!(
            errors[0].starts_with("providers.targets[0].secret_key_ref.env: the "),
            "{errors:?}"
        );
    }
}
