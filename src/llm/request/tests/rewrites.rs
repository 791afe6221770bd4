//! Rewritten bodies: what changes, and that nothing else does.

use super::{chat, read};
use crate::llm::request::{Facts, Rewrite};

fn rewritten(body: &str, change: impl FnOnce(&mut Rewrite)) -> String {
    let mut rewrite = Rewrite::new(chat(body).unwrap());
    change(&mut rewrite);
    let new = String::from_utf8(rewrite.apply(body.as_bytes()).unwrap()).unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(&new).is_ok(),
        "{new}"
    );
    new
}

#[test]
#[rustfmt::skip]
fn names_another_model() {
    let rename = |body| rewritten(body, |rewrite| _ = rewrite.rename("fast", "gpt-4o-mini"));
    for (body, new) in [
        (r#"{ "model" : "fast" , "x": 1.50 }"#, r#"{ "model" : "gpt-4o-mini" , "x": 1.50 }"#),
        (r#"{"mod\u0065l":"f\u0061st"}"#, r#"{"mod\u0065l":"gpt-4o-mini"}"#),
        (r#"{"models":["x","fast"],"model":"fast"}"#, r#"{"models":["x","gpt-4o-mini"],"model":"gpt-4o-mini"}"#),
        (r#"{"user":"fast","model":"slow"}"#, r#"{"user":"fast","model":"slow"}"#),
    ] {
        assert_eq!(rename(body), new);
    }
    let quoted = rewritten(r#"{"model":"fast"}"#, |rewrite| {
        rewrite.rename("fast", "a\"b\\c\u{1}é");
    });
    assert_eq!(chat_model(&quoted), "a\"b\\c\u{1}é");
}

fn chat_model(body: &str) -> String {
    serde_json::from_str::<serde_json::Value>(body).unwrap()["model"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn names_a_model_where_none_is() {
    let insert = |body| rewritten(body, |rewrite| assert!(rewrite.insert_model("m")));
    assert_eq!(insert("{}"), r#"{"model":"m"}"#);
    assert_eq!(insert(" { } "), r#" {"model":"m" } "#);
    assert_eq!(insert(r#"{"a":1}"#), r#"{"model":"m","a":1}"#);
    let insertable = |facts: Box<Facts>| Rewrite::new(facts).insert_model("m");
    assert!(!insertable(
        read("/v1/messages/batches", "application/json", &[b"{}"]).unwrap()
    ));
    let form = b"--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n--B--\r\n";
    let facts = read(
        "/v1/audio/transcriptions",
        "multipart/form-data; boundary=B",
        &[form],
    )
    .unwrap();
    assert!(!insertable(facts.clone()));
    let mut rewrite = Rewrite::new(facts);
    rewrite.include_usage();
    assert!(rewrite.is_empty());
    assert_eq!(rewrite.apply(form).unwrap(), form);
}

#[test]
#[rustfmt::skip]
fn asks_for_usage() {
    let ask = |body| {
        rewritten(body, |rewrite| {
            rewrite.include_usage();
        })
    };
    for (body, new) in [
        ("{}", r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{"stream":true}"#, r#"{"stream_options":{"include_usage":true},"stream":true}"#),
        (r#"{"stream_options":null}"#, r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{"stream_options":{}}"#, r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{"stream_options":{ },"a":{"b":1}}"#, r#"{"stream_options":{"include_usage":true },"a":{"b":1}}"#),
        (r#"{"stream_options":{"x":1}}"#, r#"{"stream_options":{"include_usage":true,"x":1}}"#),
        (r#"{"stream_options":{"include_usage":false,"x":1}}"#, r#"{"stream_options":{"include_usage":true,"x":1}}"#),
        (r#"{"stream_options":{"x":1,"include_usage": null }}"#, r#"{"stream_options":{"x":1,"include_usage": true }}"#),
        (r#"{"stream_options":{"include_usage":true}}"#, r#"{"stream_options":{"include_usage":true}}"#),
    ] {
        assert_eq!(ask(body), new);
    }
}

#[test]
#[rustfmt::skip]
fn does_all_at_once() {
    let body =
        r#"{"messages":[],"stream_options":{"include_usage":false},"models":["a"],"stream":true}"#;
    let new = rewritten(body, |rewrite| {
        rewrite.include_usage();
        rewrite.rename("a", "b");
        rewrite.insert_model("m");
    });
    assert_eq!(
        new,
        r#"{"model":"m","messages":[],"stream_options":{"include_usage":true},"models":["b"],"stream":true}"#
    );
    let new = rewritten("{}", |rewrite| {
        rewrite.insert_model("m");
        rewrite.include_usage();
    });
    assert_eq!(
        new,
        r#"{"model":"m","stream_options":{"include_usage":true}}"#
    );
}

#[test]
fn refuses_another_body() {
    let mut rewrite = Rewrite::new(chat(r#"{"model":"a"}"#).unwrap());
    assert!(rewrite.rename("a", "b"));
    assert_eq!(rewrite.apply(b"{}"), None);
}
