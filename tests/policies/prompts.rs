//! Policies on what stands in requests.

use super::places::{places, with};
use super::support::scenario::Answer;
use super::{
    ACTIONS, Core, KINDS, Request, Value, assert_found, configuration, filled, json, post,
};

#[test]
fn every_kind_is_found_in_every_place() {
    let mut core = Core::new(&configuration("input_policies")).unwrap();
    for (path, template) in places() {
        for kind in KINDS {
            let [text, left] = kind.texts();
            let body = filled(&template, &text);
            for chunk in [usize::MAX, 1] {
                core.chunk = chunk;
                let place = format!("{path} {template}");
                let blocked = core.run(&post(kind, "block", path, &body), &Answer::default(), 0);
                assert_eq!(blocked.status, 400, "{kind:?} {place}");
                assert!(blocked.upstream.is_none());
                assert_eq!(blocked.event["reason"], "content_blocked");
                assert_found(kind, &blocked, &place);
                let redacted = core.run(&post(kind, "redact", path, &body), &Answer::default(), 0);
                assert_eq!(redacted.status, 200, "{kind:?} {place}");
                assert_found(kind, &redacted, &place);
                let sent: Value = serde_json::from_slice(&redacted.upstream.unwrap().body).unwrap();
                assert_eq!(sent, filled(&template, &left), "{kind:?} {place}");
                // A nested document is one still.
                assert_documents(&sent, &filled(&template, "x"));
            }
        }
        // What has nothing in it keeps its bytes.
        let plain = filled(&template, "nothing of note");
        for action in ACTIONS {
            let passed = core.run(&post(KINDS[0], action, path, &plain), &Answer::default(), 0);
            assert_eq!(passed.status, 200, "{template}");
            assert_eq!(passed.upstream.unwrap().body, plain.to_string().as_bytes());
        }
    }
}

/// Strings that are documents in `like` are documents.
pub(super) fn assert_documents(value: &Value, like: &Value) {
    match (value, like) {
        (Value::String(text), Value::String(like))
            if like.starts_with(['{', '[']) && serde_json::from_str::<Value>(like).is_ok() =>
        {
            serde_json::from_str::<Value>(text).expect(text);
        }
        (Value::Array(items), Value::Array(like)) => {
            for (item, like) in items.iter().zip(like) {
                assert_documents(item, like);
            }
        }
        (Value::Object(members), Value::Object(like)) => {
            for (name, member) in members {
                assert_documents(member, &like[name]);
            }
        }
        _ => {}
    }
}

/// Forms are looked through; what would have to be taken out of one is refused.
#[test]
fn every_kind_is_found_in_forms() {
    let mut core = Core::new(&configuration("input_policies")).unwrap();
    for (path, field) in [
        ("/v1/audio/transcriptions", "prompt"),
        ("/v1/audio/translations", "prompt"),
        ("/v1/images/edits", "prompt"),
        ("/v1/audio/transcriptions", "unheard_of"),
    ] {
        for kind in KINDS {
            for (action, text, status) in [
                ("block", &kind.texts()[0], 400),
                ("redact", &kind.texts()[0], 400),
                ("block", &"nothing".to_owned(), 200),
                ("redact", &"nothing".to_owned(), 200),
            ] {
                let part = |name: &str, value: &str| {
                    format!(
                        "--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                    )
                };
                let file = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n";
                let form = format!("{}{}{file}--B--\r\n", part("model", "m"), part(field, text));
                let request = json!({"key": kind.key(action), "path": path, "headers": {"content-type": "multipart/form-data; boundary=B"}, "body": form});
                let request: Request = serde_json::from_value(request).unwrap();
                for chunk in [usize::MAX, 1] {
                    core.chunk = chunk;
                    let outcome = core.run(&request, &Answer::default(), 0);
                    assert_eq!(outcome.status, status, "{kind:?} {action} {path} {field}");
                    if status == 400 {
                        assert_found(kind, &outcome, path);
                    }
                }
            }
        }
    }
}

/// Who asks, and settings: no model reads them.
#[test]
fn what_no_model_reads_is_not_looked_at() {
    let mut core = Core::new(&configuration("input_policies")).unwrap();
    let [text, _] = KINDS[2].texts();
    for member in [
        json!({"user": text}),
        json!({"metadata": {"who": text}}),
        json!({"safety_identifier": text}),
        json!({"prompt_cache_key": text}),
    ] {
        let body = with(&json!({"model": "m", "messages": []}), &member);
        for action in ACTIONS {
            let path = "/v1/chat/completions";
            let passed = core.run(&post(KINDS[2], action, path, &body), &Answer::default(), 0);
            assert_eq!(passed.status, 200, "{member}");
            assert_eq!(passed.event["policies"], json!([]));
        }
    }
    let body = json!({"model": "m", "seed": 4_111_111_111_111_111_u64, "messages": []});
    let request = post(KINDS[0], "block", "/v1/chat/completions", &body);
    assert_eq!(core.run(&request, &Answer::default(), 0).status, 200);
}

/// Numbers in what a tool is called with, and in what it answers.
#[test]
fn numbers_that_are_taken_out_become_strings() {
    let mut core = Core::new(&configuration("input_policies")).unwrap();
    let number = 4_111_111_111_111_111_u64;
    for (path, body, pointer) in [
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"n": number}}]}]}),
            "/messages/0/content/0/input/n",
        ),
        (
            "/v1beta/models/m:generateContent",
            json!({"contents": [{"parts": [{"functionResponse": {"response": {"n": [number]}}}]}]}),
            "/contents/0/parts/0/functionResponse/response/n/0",
        ),
        (
            "/model/m/converse",
            json!({"messages": [{"role": "user", "content": [{"toolResult": {"content": [{"json": {"n": number}}]}}]}]}),
            "/messages/0/content/0/toolResult/content/0/json/n",
        ),
    ] {
        let outcome = core.run(
            &post(KINDS[0], "redact", path, &body),
            &Answer::default(),
            0,
        );
        let sent: Value = serde_json::from_slice(&outcome.upstream.unwrap().body).unwrap();
        assert_eq!(sent.pointer(pointer).unwrap(), KINDS[0].label, "{path}");
        let outcome = core.run(&post(KINDS[0], "block", path, &body), &Answer::default(), 0);
        assert_eq!(outcome.status, 400);
    }
}
