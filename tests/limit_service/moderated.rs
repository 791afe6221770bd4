//! Prompts that a moderation endpoint judges first.

use super::*;
use support::upstream::Answer;

/// Of what the endpoint has refused, the service hears nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_is_judged_before_the_service_is_asked() {
    let moderation = Upstream::start(|seen| {
        let awful = seen.json()["input"].as_str().unwrap().contains("awful");
        Answer::json(&json!({"results": [{"categories": {"hate": awful}}]}))
    })
    .await;
    let filter = |name: &str, action: &str, path: &str| {
        let config = json!({"cluster": "moderation", "path": path, "timeout": "20s"});
        json!({"name": name, "type": "content_filter", "action": action, "config": config})
    };
    let document = json!({"consumer_groups": [{
        "name": "a",
        "api_key": "key-of-a",
        "rate_limits": {"requests_per_day": 2},
        "input_policies": [filter("held", "block", "/held"), filter("aside", "flag", "/aside")],
    }]});
    let Some(world) = World::start(Dialect::Envoy, document.clone(), 0).await else {
        return;
    };
    let gateway = world
        .gateway(policy(Dialect::Envoy, document))
        .cluster("moderation", moderation.address());
    let Some(gateway) = gateway.start().await else {
        return;
    };
    for (text, status) in [
        ("awful", 400),
        ("nice", 200),
        ("awful", 400),
        ("fine", 200),
        ("good", 429),
    ] {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
        let request = Request::post("/v1/chat/completions").bearer("key-of-a");
        let answer = gateway.send(request.json(&body)).await;
        assert_eq!(answer.status, status, "{text}: {}", answer.text());
    }
    let counts = world.service.counts().await;
    let asked = counts.hits("cohort|group=a|limit=requests_per_day").asked;
    assert_eq!(asked, 3);
    let asked = |path: &str| {
        let seen = moderation.seen();
        seen.iter().filter(|seen| seen.path == path).count()
    };
    assert_eq!(asked("/held"), 5);
    // What goes no further is not asked about aside.
    assert_eq!(asked("/aside"), 2);
    gateway.assert_healthy().await;
}
