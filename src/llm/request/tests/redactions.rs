//! Redacted bodies: what is taken out, and that nothing else changes.

use super::call;
use crate::guardrail::{Entity, Findings, Keywords, Redaction, Search, Words};
use crate::llm::request::{Facts, Reader, Rewrite};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::rc::Rc;

const CHAT: &str = "/v1/chat/completions";

fn what() -> Redaction {
    let mut search = Search {
        words: vec![Keywords::new(Words::new(["falcon".to_owned()]), &[]).unwrap()],
        ..Search::default()
    };
    search.entities.insert(Entity::CreditCard);
    search.entities.insert(Entity::Email);
    search.entities.insert(Entity::Ssn);
    let mut kinds = Findings::default();
    kinds.entities.insert(Entity::CreditCard);
    kinds.entities.insert(Entity::Email);
    kinds.words.push(0);
    Redaction {
        search: Rc::new(search),
        kinds,
    }
}

fn read(target: &str, content_type: &str, pieces: &[&[u8]]) -> Box<Facts> {
    let what = what();
    let call = call("POST", target);
    let mut reader = Reader::new(&call, Some(content_type.as_bytes()), None).unwrap();
    reader.search(Some(&what.search), what.kinds, false);
    for piece in pieces {
        reader.push(piece).unwrap();
    }
    reader.finish().unwrap()
}

fn redacted(body: &str) -> String {
    let mut rewrite = Rewrite::new(read(CHAT, "application/json", &[body.as_bytes()]));
    if !rewrite.redact(what()) {
        return body.to_owned();
    }
    String::from_utf8(rewrite.apply(body.as_bytes()).unwrap()).unwrap()
}

fn content(text: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":{text}}}]}}"#)
}

#[test]
fn only_strings_that_have_it_in_them_change() {
    for (text, new) in [
        (r#""4111111111111111""#, r#""[REDACTED_CREDIT_CARD]""#),
        (
            r#""\u0034111\u00201111 1111 11\u00311\/""#,
            r#""[REDACTED_CREDIT_CARD]/""#,
        ),
        (
            r#"[ "jane@example.com" , "caf\u00e9" ]"#,
            r#"[ "[REDACTED_EMAIL]" , "caf\u00e9" ]"#,
        ),
        (
            r#""\"falcon\"\n\ud83d\ude00\u0001""#,
            r#""\"[REDACTED_KEYWORD]\"\u000a😀\u0001""#,
        ),
        // What others look for is none of it.
        (r#""536-90-4399 caf\u00e9""#, r#""536-90-4399 caf\u00e9""#),
        (
            r#"["536-90-4399","falcon"]"#,
            r#"["536-90-4399","[REDACTED_KEYWORD]"]"#,
        ),
        (
            r#"{"n": 4111111111111111 }"#,
            r#"{"n": "[REDACTED_CREDIT_CARD]" }"#,
        ),
        (
            r#"{"n":-4111111111111111}"#,
            r#"{"n":"-[REDACTED_CREDIT_CARD]"}"#,
        ),
    ] {
        assert_eq!(redacted(&content(text)), content(new), "{text}");
    }
    let elsewhere =
        r#"{"user":"jane@example.com","messages":[],"metadata":{"n":4111111111111111}}"#;
    assert_eq!(redacted(elsewhere), elsewhere);
}

/// The arguments of a tool are parsed by some servers.
#[test]
fn documents_in_strings_stay_documents() {
    for (arguments, new) in [
        (
            r#"{"card":4111111111111111, "to":["jane@example.com"],"n":1.0}"#,
            r#"{"card":"[REDACTED_CREDIT_CARD]", "to":["[REDACTED_EMAIL]"],"n":1.0}"#,
        ),
        (" [ 4111111111111111 ]", r#" [ "[REDACTED_CREDIT_CARD]" ]"#),
        (
            r#"{"jane@example.com":"caf\u00e9"}"#,
            r#"{"[REDACTED_EMAIL]":"caf\u00e9"}"#,
        ),
        (
            r#"{"a":"\"4111111111111111\\","b":4111111111111111}"#,
            r#"{"a":"\"[REDACTED_CREDIT_CARD]\\","b":"[REDACTED_CREDIT_CARD]"}"#,
        ),
        (
            r#"{"a":"[REDACTED_","b":"falcon é"}"#,
            r#"{"a":"[REDACTED_","b":"[REDACTED_KEYWORD] é"}"#,
        ),
        // No document, whatever it looks like.
        (
            "[4111111111111111, [REDACTED_",
            "[\"[REDACTED_CREDIT_CARD]\", [REDACTED_",
        ),
        ("- 4111111111111111", "- [REDACTED_CREDIT_CARD]"),
    ] {
        let body = content(&Value::from(arguments).to_string());
        assert_eq!(redacted(&body), content(&Value::from(new).to_string()));
    }
}

#[test]
fn a_model_is_renamed_beside_it() {
    let body = r#"{"model":"fast","messages":[{"content":"falcon"}]}"#;
    let mut rewrite = Rewrite::new(read(CHAT, "application/json", &[body.as_bytes()]));
    assert!(rewrite.redact(what()));
    assert!(rewrite.rename("fast", "slow"));
    assert_eq!(
        rewrite.apply(body.as_bytes()).unwrap(),
        br#"{"model":"slow","messages":[{"content":"[REDACTED_KEYWORD]"}]}"#
    );
    // A model's name is no text, wherever it stands.
    let batch = r#"{"requests":[{"custom_id":"a","params":{"model":"falcon","max_tokens":1,"messages":[]}}]}"#;
    let path = "/v1/messages/batches";
    let facts = read(path, "application/json", &[batch.as_bytes()]);
    assert_eq!(facts.findings().words, [0]);
    assert!(!Rewrite::new(facts).redact(what()));
}

#[test]
fn what_cannot_be_rewritten_is_not() {
    let form = "--B\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\njane@example.com\r\n--B--\r\n";
    let path = "/v1/audio/transcriptions";
    let facts = read(path, "multipart/form-data; boundary=B", &[form.as_bytes()]);
    assert!(!facts.findings().is_empty());
    assert!(!Rewrite::new(facts).redact(what()));

    let of = |strings: usize| content(&json!(vec!["falcon"; strings]).to_string());
    let most = redacted(&of(4096));
    assert_eq!(most.matches("[REDACTED_KEYWORD]").count(), 4096);
    let body = of(4097);
    let facts = read(CHAT, "application/json", &[body.as_bytes()]);
    assert!(!Rewrite::new(facts).redact(what()));

    let mut rewrite = Rewrite::new(read(CHAT, "application/json", &[most.as_bytes()]));
    assert!(!rewrite.redact(what()), "nothing is left to take out");
    let body = content(r#""falcon""#);
    rewrite = Rewrite::new(read(CHAT, "application/json", &[body.as_bytes()]));
    assert!(rewrite.redact(what()));
    assert_eq!(rewrite.apply(b"{}").as_deref(), None, "another body");
}

proptest! {
    #[test]
    fn any_text_is_redacted_and_all_else_stays(parts in proptest::collection::vec(
        prop_oneof![
            Just("4111 1111 1111 1111".to_owned()), Just("jane@example.com".to_owned()), Just("falcon".to_owned()),
            Just(" ".to_owned()), Just("\"\\\n".to_owned()), Just("{\"a\":".to_owned()), "\\PC{0,8}",
        ],
        0..12,
    ), cut in 0_usize..400) {
        let text = parts.join(", ");
        let body = json!({"messages": [{"role": "user", "content": text}], "n": 1, "user": "falcon"}).to_string();
        let cut = cut.min(body.len());
        let pieces = [&body.as_bytes()[..cut], &body.as_bytes()[cut..]];
        let mut rewrite = Rewrite::new(read(CHAT, "application/json", &pieces));
        prop_assert_eq!(rewrite.facts(), &*read(CHAT, "application/json", &[body.as_bytes()]));
        if !rewrite.redact(what()) {
            return Ok(());
        }
        let new = rewrite.apply(body.as_bytes()).unwrap();
        let new: Value = serde_json::from_slice(&new).unwrap();
        let left = read(CHAT, "application/json", &[new.to_string().as_bytes()]).findings().clone();
        prop_assert!(!left.meets(&what().kinds), "{}", new);
        prop_assert_eq!(&new["user"], "falcon");
        prop_assert!(new["messages"][0]["content"].as_str().unwrap().contains("[REDACTED_"));
    }
}
