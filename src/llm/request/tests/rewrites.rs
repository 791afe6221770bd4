//! Rewritten bodies: what changes, and that nothing else does.

use super::{chat, read};
use crate::guardrail::{Entity, Findings, Redaction, Search};
use crate::llm::endpoint::classify;
use crate::llm::request::{Facts, Reader, Rewrite};
use std::rc::Rc;

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

/// Whatever a body has of it already: of each key there is one, and the number of a bound is no text.
#[test]
#[rustfmt::skip]
fn all_changes_fit_into_one_body() {
    let mut search = Search::default();
    search.entities.insert(Entity::CreditCard);
    let search = Rc::new(search);
    let mut kinds = Findings::default();
    kinds.entities.insert(Entity::CreditCard);
    let chat = "/v1/chat/completions";
    let gemini = "/v1beta/models/g:generateContent";
    for (target, body, new) in [
        (
            chat,
            r#"{"stream":true,"messages":["4111 1111 1111 1111"]}"#,
            r#"{"model":"m","max_completion_tokens":9,"stream_options":{"include_usage":true},"stream":true,"messages":["[REDACTED_CREDIT_CARD]"]}"#,
        ),
        (
            chat,
            r#"{"max_tokens":4111111111111111,"stream_options":{ },"messages":"4111 1111 1111 1111","max_completion_tokens":null}"#,
            r#"{"model":"m","max_tokens":9,"stream_options":{"include_usage":true },"messages":"[REDACTED_CREDIT_CARD]","max_completion_tokens":null}"#,
        ),
        (
            chat,
            r#"{"max_tokens":null,"stream_options":null,"messages":"4111 1111 1111 1111","max_completion_tokens":null}"#,
            r#"{"model":"m","max_tokens":null,"stream_options":{"include_usage":true},"messages":"[REDACTED_CREDIT_CARD]","max_completion_tokens":9}"#,
        ),
        (
            chat,
            r#"{"stream_options":{"x":[],"include_usag\u0065":false},"max_completion_tokens":-1}"#,
            r#"{"model":"m","stream_options":{"x":[],"include_usag\u0065":true},"max_completion_tokens":9}"#,
        ),
        (
            gemini,
            r#"{"contents":"4111 1111 1111 1111","generationConfig":{"maxOutputTokens":4111111111111111,"seed":1}}"#,
            r#"{"contents":"[REDACTED_CREDIT_CARD]","generationConfig":{"maxOutputTokens":9,"seed":1}}"#,
        ),
        (
            gemini,
            r#"{"generationConfig":{"stopSequences":["4111 1111 1111 1111"]}}"#,
            r#"{"generationConfig":{"maxOutputTokens":9,"stopSequences":["[REDACTED_CREDIT_CARD]"]}}"#,
        ),
    ] {
        let call = classify(b"POST", target.as_bytes(), false, &[String::new()]).unwrap();
        let mut reader = Reader::new(&call, None, None).unwrap();
        reader.search(Some(&search), kinds.clone(), false);
        reader.push(body.as_bytes()).unwrap();
        let mut rewrite = Rewrite::new(reader.finish().unwrap());
        if target == chat {
            assert!(rewrite.insert_model("m"));
        }
        assert!(rewrite.bound_output(call.endpoint, true, 9), "{body}");
        if !rewrite.facts().findings().is_empty() {
            let search = Rc::clone(&search);
            assert!(rewrite.redact(Redaction { search, kinds: kinds.clone() }));
        }
        if target == chat {
            rewrite.include_usage();
        }
        let new_body = rewrite.apply(body.as_bytes()).map(|new| String::from_utf8(new).unwrap());
        assert_eq!(new_body.as_deref(), Some(new), "{body}");
    }
}
