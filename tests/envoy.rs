//! The filter in a real Envoy.

mod support;

use support::envoy;

const DEMO: &str = include_str!("../envoy/demo.yaml");
const OPENAI: &str = include_str!("../envoy/openai.yaml");

#[tokio::test]
async fn examples_are_valid() {
    for example in [DEMO, OPENAI] {
        let Some(result) = envoy::validate(example).await else {
            return;
        };
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn examples_hold_the_same_policy() {
    let policy = |text| {
        let example = support::yaml(text);
        let filter = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config";
        example.pointer(filter).unwrap()["config"]["configuration"].clone()
    };
    assert_eq!(policy(DEMO)["value"]["version"], "1");
    assert_eq!(policy(DEMO), policy(OPENAI));
}
