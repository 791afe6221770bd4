//! Where streams have text, and texts that are cut into events anywhere.

use super::answers::asks;
use super::{
    Core, KINDS, Kind, Outcome, Value, answer, assert_found, configuration, filled, json, post,
};

/// How events are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    Events,
    Lines,
}

/// A place where a stream has a text: its path, and an event with a piece of it.
struct Place {
    path: &'static str,
    framing: Framing,
    event: Value,
    /// The text is a JSON document.
    nested: bool,
}

fn places() -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |path, framing, nested, events: Vec<Value>| {
        places.extend(events.into_iter().map(|event| Place {
            path,
            framing,
            event,
            nested,
        }));
    };
    let delta = |delta: Value| json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    let chat = "/v1/chat/completions";
    add(
        chat,
        Framing::Events,
        false,
        vec![
            delta(json!({"content": "@"})),
            delta(json!({"reasoning_content": "@"})),
            delta(json!({"refusal": "@"})),
            delta(json!({"audio": {"id": "a", "transcript": "@"}})),
            delta(
                json!({"tool_calls": [{"index": 0, "type": "custom", "custom": {"input": "@"}}]}),
            ),
        ],
    );
    add(
        chat,
        Framing::Events,
        true,
        vec![
            delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "@"}}]})),
            delta(
                json!({"tool_calls": [{"index": 3, "id": "c", "type": "function", "function": {"name": "f", "arguments": "@"}}]}),
            ),
            delta(json!({"function_call": {"arguments": "@"}})),
        ],
    );
    add(
        "/v1/completions",
        Framing::Events,
        false,
        vec![json!({"choices": [{"index": 0, "text": "@"}]})],
    );
    let item = |kind: &str| json!({"type": format!("response.{kind}.delta"), "item_id": "i", "output_index": 0, "sequence_number": 7, "delta": "@"});
    let of = |kinds: &[&str]| kinds.iter().map(|kind| item(kind)).collect::<Vec<_>>();
    add(
        "/v1/responses",
        Framing::Events,
        false,
        of(&[
            "output_text",
            "refusal",
            "reasoning_text",
            "reasoning_summary_text",
            "custom_tool_call_input",
            "code_interpreter_call_code",
            "audio.transcript",
        ]),
    );
    add(
        "/v1/responses",
        Framing::Events,
        true,
        of(&["function_call_arguments", "mcp_call_arguments"]),
    );
    let block = |delta: Value| json!({"type": "content_block_delta", "index": 1, "delta": delta});
    add(
        "/v1/messages",
        Framing::Events,
        false,
        vec![
            block(json!({"type": "text_delta", "text": "@"})),
            block(json!({"type": "thinking_delta", "thinking": "@"})),
        ],
    );
    add(
        "/v1/messages",
        Framing::Events,
        true,
        vec![block(
            json!({"type": "input_json_delta", "partial_json": "@"}),
        )],
    );
    add(
        "/v1/complete",
        Framing::Events,
        false,
        vec![json!({"type": "completion", "completion": "@", "stop_reason": null})],
    );
    add(
        "/v1beta/models/m:streamGenerateContent?alt=sse",
        Framing::Events,
        false,
        vec![
            json!({"candidates": [{"content": {"parts": [{"text": "@"}], "role": "model"}}]}),
            json!({"candidates": [{"content": {"parts": [{"text": "@", "thought": true}]}, "index": 0}]}),
        ],
    );
    add(
        "/v2/chat",
        Framing::Events,
        false,
        vec![
            json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "@"}}}}),
            json!({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "@"}}}),
        ],
    );
    add(
        "/v2/chat",
        Framing::Events,
        true,
        vec![
            json!({"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "@"}}}}}),
        ],
    );
    add(
        "/v1/chat",
        Framing::Lines,
        false,
        vec![json!({"is_finished": false, "event_type": "text-generation", "text": "@"})],
    );
    add(
        "/api/chat",
        Framing::Lines,
        false,
        vec![
            json!({"model": "m", "message": {"role": "assistant", "content": "@"}, "done": false}),
            json!({"model": "m", "message": {"role": "assistant", "content": "", "thinking": "@"}, "done": false}),
        ],
    );
    add(
        "/api/generate",
        Framing::Lines,
        false,
        vec![
            json!({"model": "m", "response": "@", "done": false}),
            json!({"model": "m", "response": "", "thinking": "@", "done": false}),
        ],
    );
    places
}

impl Place {
    fn stream(&self, pieces: &[&str]) -> String {
        let write = |event: &Value| match self.framing {
            Framing::Events => format!("data: {event}\n\n"),
            Framing::Lines => format!("{event}\n"),
        };
        let events = pieces.iter().map(|piece| filled(&self.event, piece));
        events.map(|event| write(&event)).collect()
    }

    fn content_type(&self) -> &'static str {
        match self.framing {
            Framing::Events => "text/event-stream",
            Framing::Lines => "application/x-ndjson",
        }
    }

    /// What the texts at the place come to.
    fn joined(&self, outcome: &Outcome) -> String {
        let pointer = pointer(&self.event).unwrap();
        let body = String::from_utf8_lossy(&outcome.body);
        let data = body
            .lines()
            .map(|line| line.strip_prefix("data: ").unwrap_or(line));
        let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        events
            .filter_map(|event| Some(event.pointer(&pointer)?.as_str()?.to_owned()))
            .collect()
    }

    /// The whole text, with a thing in it.
    fn text(&self, thing: &str) -> String {
        if self.nested {
            format!("{{\"n\":1,\"q\":[\"a\\n{thing}\\\\\", true]}}")
        } else {
            format!("see {thing}, please")
        }
    }
}

/// The JSON Pointer of the text.
fn pointer(template: &Value) -> Option<String> {
    match template {
        Value::String(text) => (text == "@").then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(at, item)| Some(format!("/{at}{}", pointer(item)?))),
        Value::Object(members) => members
            .iter()
            .find_map(|(name, item)| Some(format!("/{name}{}", pointer(item)?))),
        _ => None,
    }
}

/// What the client has of the text is what stood before the thing, or less.
fn assert_stopped(kind: Kind, place: &Place, outcome: &Outcome, cut: &str) {
    assert_found(kind, outcome, cut);
    let text = place.text(kind.thing);
    let (before, _) = text.split_once(kind.thing).unwrap();
    let joined = place.joined(outcome);
    assert!(before.starts_with(&joined), "{kind:?} {cut}: {joined:?}");
    let body = String::from_utf8_lossy(&outcome.body);
    assert!(body.contains("blocked by policy"), "{cut}: {body}");
    assert_eq!(outcome.event["result"], "blocked");
}

fn assert_redacted(kind: Kind, place: &Place, outcome: &Outcome, cut: &str) {
    assert_found(kind, outcome, cut);
    let joined = place.joined(outcome);
    assert_eq!(
        joined,
        place.text(kind.label),
        "{kind:?} {} {cut}",
        place.event
    );
    if place.nested {
        let document: Value = serde_json::from_str(&joined).expect(&joined);
        assert_eq!(document["q"][0], format!("a\n{}\\", kind.label));
    }
}

/// Cut into two events at every character, and each character an event.
#[test]
fn every_kind_is_found_in_every_place_however_cut() {
    let mut core = Core::new(&configuration("output_policies")).unwrap();
    for place in places() {
        for kind in KINDS {
            let text = place.text(kind.thing);
            let cuts = (0..=text.len()).filter(|at| text.is_char_boundary(*at));
            let mut splits: Vec<Vec<&str>> =
                cuts.map(|at| vec![&text[..at], &text[at..]]).collect();
            splits.push(text.split_inclusive(|_: char| true).collect());
            for pieces in splits {
                let cut = format!("{} {pieces:?}", place.path);
                let stream = answer(place.content_type(), &place.stream(&pieces));
                let body = asks(place.path);
                let blocked = core.run(&post(kind, "block", place.path, &body), &stream, 0);
                assert_stopped(kind, &place, &blocked, &cut);
                let redacted = core.run(&post(kind, "redact", place.path, &body), &stream, 0);
                assert_redacted(kind, &place, &redacted, &cut);
            }
        }
    }
}

/// The same stream in chunks of any size.
#[test]
fn chunks_change_nothing() {
    let mut core = Core::new(&configuration("output_policies")).unwrap();
    for place in places() {
        for kind in [KINDS[0], KINDS[7]] {
            let text = place.text(kind.thing);
            let middle = text.len() / 2;
            let mut ends = middle..=text.len();
            let at = ends.find(|at| text.is_char_boundary(*at)).unwrap();
            let stream = answer(
                place.content_type(),
                &place.stream(&[&text[..at], &text[at..]]),
            );
            for chunk in [1, 2, 3, 7, 64] {
                core.chunk = chunk;
                let body = asks(place.path);
                let cut = format!("{} by {chunk}", place.path);
                let blocked = core.run(&post(kind, "block", place.path, &body), &stream, 0);
                assert_stopped(kind, &place, &blocked, &cut);
                let redacted = core.run(&post(kind, "redact", place.path, &body), &stream, 0);
                assert_redacted(kind, &place, &redacted, &cut);
            }
        }
    }
}

/// Arguments that come as an object, in one event: the names in it are a tool's, and say nothing of the text.
#[test]
fn arguments_that_are_objects_are_looked_at_whatever_their_names() {
    let mut core = Core::new(&configuration("output_policies")).unwrap();
    let names = [
        "q", "user", "id", "index", "type", "data", "model", "role", "status", "prompt", "usage",
        "item_id",
    ];
    for name in names {
        let arguments = json!({name: "@", "deep": {name: ["x"]}});
        let cases = [
            (
                "/v1beta/models/m:streamGenerateContent?alt=sse",
                Framing::Events,
                json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": arguments}}]}}]}),
            ),
            (
                "/api/chat",
                Framing::Lines,
                json!({"message": {"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}, "done": false}),
            ),
            (
                "/v1/messages",
                Framing::Events,
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": arguments}}),
            ),
        ];
        for (path, framing, event) in cases {
            let place = Place {
                path,
                framing,
                event,
                nested: false,
            };
            for kind in KINDS {
                let text = place.text(kind.thing);
                let stream = answer(place.content_type(), &place.stream(&[&text]));
                let body = asks(path);
                let blocked = core.run(&post(kind, "block", path, &body), &stream, 0);
                assert_stopped(kind, &place, &blocked, path);
                let redacted = core.run(&post(kind, "redact", path, &body), &stream, 0);
                assert_redacted(kind, &place, &redacted, path);
            }
        }
    }
}

/// Gemini's stream without `alt=sse` is one list, over whose elements a text goes on.
#[test]
fn every_kind_is_found_in_a_list_of_documents() {
    let mut core = Core::new(&configuration("output_policies")).unwrap();
    let path = "/v1beta/models/m:streamGenerateContent";
    let template =
        json!({"candidates": [{"content": {"parts": [{"text": "@"}], "role": "model"}}]});
    for kind in KINDS {
        let [text, left] = kind.texts();
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let list: Value = [&text[..at], &text[at..]]
                .iter()
                .map(|piece| filled(&template, piece))
                .collect();
            let list = answer("application/json", &list.to_string());
            let blocked = core.run(&post(kind, "block", path, &asks(path)), &list, 0);
            assert_eq!(blocked.status, 400, "{kind:?} {at}");
            let redacted = core.run(&post(kind, "redact", path, &asks(path)), &list, 0);
            let list: Value = serde_json::from_slice(&redacted.body).unwrap();
            let texts = list.as_array().unwrap().iter().map(|event| {
                event
                    .pointer("/candidates/0/content/parts/0/text")
                    .unwrap()
                    .as_str()
                    .unwrap()
            });
            assert_eq!(texts.collect::<String>(), left, "{kind:?} {at}");
        }
    }
}

/// A frame of the AWS event stream encoding, whose checksums nobody here looks at.
fn frame(payload: &str) -> String {
    let total = u32::try_from(payload.len() + 16).unwrap();
    let head: String = total
        .to_be_bytes()
        .iter()
        .map(|byte| char::from(*byte))
        .collect();
    assert!(head.is_ascii(), "a scenario's body is text");
    format!("{head}{}{payload}{}", "\0".repeat(8), "\0".repeat(4))
}

/// RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quads = bytes.chunks(3).flat_map(|three| {
        let bits = (0..3).fold(0_usize, |bits, at| {
            bits << 8 | usize::from(three.get(at).copied().unwrap_or(0))
        });
        (0..4).map(move |at| {
            let digit = char::from(DIGITS[bits >> (18 - 6 * at) & 63]);
            if at <= three.len() { digit } else { '=' }
        })
    });
    quads.collect()
}

type Form<'a> = &'a dyn Fn(&Value) -> Value;

/// Frames are not written anew: whatever would have to be taken out of one stops the stream.
#[test]
fn every_kind_is_found_in_frames() {
    let mut core = Core::new(&configuration("output_policies")).unwrap();
    let wrap = |event: &Value| {
        let inner = base64(event.to_string().as_bytes());
        json!({"bytes": inner})
    };
    let plain = |event: &Value| event.clone();
    let converse = "/model/m/converse-stream";
    let invoke = "/model/m/invoke-with-response-stream";
    let cases: [(&str, Form<'_>, Value); 8] = [
        (
            converse,
            &plain,
            json!({"contentBlockIndex": 0, "delta": {"text": "@"}}),
        ),
        (
            converse,
            &plain,
            json!({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "@"}}}),
        ),
        (
            converse,
            &plain,
            json!({"contentBlockIndex": 0, "delta": {"toolUse": {"input": "@"}}}),
        ),
        (
            invoke,
            &wrap,
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "@"}}),
        ),
        (
            invoke,
            &wrap,
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "@"}}),
        ),
        (invoke, &wrap, json!({"outputText": "@", "index": 0})),
        (
            invoke,
            &wrap,
            json!({"generation": "@", "prompt_token_count": null}),
        ),
        (
            invoke,
            &wrap,
            json!({"outputs": [{"text": "@", "stop_reason": null}]}),
        ),
    ];
    for (path, form, template) in cases {
        for kind in KINDS {
            let [text, _] = kind.texts();
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let pieces = [&text[..at], &text[at..]];
                let frames = pieces.iter().map(|piece| {
                    // Its length in a byte that is one of ASCII, whatever it carries.
                    let payload = form(&filled(&template, piece)).to_string();
                    let len = payload.len() + 16;
                    let payload =
                        payload + &" ".repeat(if len % 256 < 128 { 0 } else { 256 - len % 256 });
                    frame(&payload)
                });
                let stream = answer(
                    "application/vnd.amazon.eventstream",
                    &frames.collect::<String>(),
                );
                for action in super::ACTIONS {
                    let outcome = core.run(&post(kind, action, path, &asks(path)), &stream, 0);
                    assert_found(kind, &outcome, &format!("{path} {template} {at}"));
                    assert_eq!(
                        outcome.event["result"], "blocked",
                        "{kind:?} {template} {at}"
                    );
                    let body = String::from_utf8_lossy(&outcome.body);
                    assert!(body.contains("validationException"), "{body}");
                    // The second piece ends what began in the first.
                    let left =
                        body.matches("contentBlockIndex").count() + body.matches("bytes").count();
                    assert!(left <= 1, "{kind:?} {at}: {body}");
                }
            }
        }
    }
}
