//! Answers of each API, cut at every byte: what goes out, and when it is stopped.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use super::held::MAX_HELD;
use super::*;
use crate::guardrail::{Entities, Entity, Keywords, Search, Words};
use serde_json::{Value, json};
use std::rc::Rc;

const CARD: &str = "4111 1111 1111 1111";

fn search() -> Rc<Search> {
    let mut search = Search::default();
    search.entities.insert(Entity::CreditCard);
    search.entities.insert(Entity::Email);
    let words = Words::new(["falcon".to_owned()]);
    search.words.push(Keywords::new(words, &[]).unwrap());
    Rc::new(search)
}

fn entities(of: &[Entity]) -> Findings {
    let mut entities = Entities::default();
    for entity in of {
        entities.insert(*entity);
    }
    Findings {
        entities,
        ..Findings::default()
    }
}

fn order(redacts: &[Entity], stops: &[Entity]) -> Order {
    Order {
        redaction: Redaction {
            search: search(),
            kinds: entities(redacts),
        },
        stops: entities(stops),
        keep: false,
    }
}

/// What goes out, and whether it was stopped.
fn screened(framing: Framing, order: &Order, chunks: &[&[u8]]) -> (Vec<u8>, Course) {
    let mut screened = Screened::new(framing, order.clone(), 1 << 20);
    let mut out = Vec::new();
    for chunk in chunks {
        screened.push(chunk, &mut out);
    }
    let course = screened.finish(&mut out);
    (out, course)
}

/// The same however the answer is cut.
fn any_cut(framing: Framing, order: &Order, answer: &[u8]) -> (String, Course) {
    let whole = screened(framing, order, &[answer]);
    // Of a long one not every byte: that takes a minute.
    for at in (0..=answer.len()).step_by(answer.len() / 2_000 + 1) {
        let (left, right) = answer.split_at(at);
        let cut = screened(framing, order, &[left, right]);
        assert_eq!(cut.1, whole.1, "cut at {at}");
        if whole.1 == Course::On {
            assert_eq!(cut.0, whole.0, "cut at {at}");
        }
    }
    for size in 1..4 {
        let cut = screened(framing, order, &answer.chunks(size).collect::<Vec<_>>());
        assert_eq!(cut.1, whole.1, "by {size}");
    }
    (String::from_utf8_lossy(&whole.0).into_owned(), whole.1)
}

fn events(events: &[Value]) -> String {
    let events = events.iter().map(|event| format!("data: {event}\n\n"));
    events.collect::<String>() + "data: [DONE]\n\n"
}

fn delta(text: &str) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
}

/// The texts of a chat stream's first choice, put together.
fn said(stream: &str) -> String {
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    events
        .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect()
}

#[test]
fn what_has_nothing_in_it_keeps_its_bytes() {
    let order = order(&[Entity::CreditCard], &[Entity::Email]);
    let odd = ": hello\r\nevent: x\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a \\u00e9\"}}]}\r\n\r\ndata: [DONE]\r\n\r\n";
    let usual = events(&[
        delta("Hello"),
        delta(" there"),
        json!({"choices": [], "usage": {"total_tokens": 4_111_111_111_111_111_u64}}),
    ]);
    for stream in [odd, &usual, "", "data: {\"a\":1}\n\n"] {
        assert_eq!(
            any_cut(Framing::Events, &order, stream.as_bytes()),
            (stream.to_owned(), Course::On)
        );
    }
}

#[test]
fn what_is_taken_out_may_be_cut_anywhere_between_events() {
    let order = order(&[Entity::CreditCard], &[]);
    let text = format!("Pay with {CARD}, please.");
    for at in 0..=text.len() {
        for second in [at, (at + 3).min(text.len()), text.len()] {
            let pieces = [&text[..at], &text[at..second], &text[second..]];
            let deltas: Vec<Value> = pieces.iter().map(|piece| delta(piece)).collect();
            let (out, course) = screened(Framing::Events, &order, &[events(&deltas).as_bytes()]);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(course, Course::On);
            assert_eq!(
                said(&out),
                "Pay with [REDACTED_CREDIT_CARD], please.",
                "{pieces:?}"
            );
            assert_eq!(
                out.matches("data: ").count(),
                4,
                "each event is still there"
            );
            assert!(out.ends_with("data: [DONE]\n\n"));
        }
    }
    let deltas: Vec<Value> = text.chars().map(|char| delta(&char.to_string())).collect();
    let (out, _) = any_cut(
        Framing::Events,
        &order,
        events(&deltas[..40.min(deltas.len())]).as_bytes(),
    );
    assert!(said(&out).starts_with("Pay with [REDACTED_CREDIT_CARD], "));
}

#[test]
fn what_stops_an_answer_lets_nothing_of_it_out() {
    let order = order(&[], &[Entity::CreditCard]);
    let text = format!(
        "{} The card is {CARD} and so on. {}",
        "a b ".repeat(80),
        "c d ".repeat(80)
    );
    let deltas: Vec<Value> = text
        .as_bytes()
        .chunks(5)
        .map(|piece| delta(std::str::from_utf8(piece).unwrap()))
        .collect();
    let (out, course) = any_cut(Framing::Events, &order, events(&deltas).as_bytes());
    assert_eq!(course, Course::Stopped);
    assert!(
        !said(&out).contains("4111") && said(&out).len() > 100,
        "{}",
        said(&out)
    );
}

#[test]
fn texts_that_go_on_side_by_side_are_told_apart() {
    let order = order(&[Entity::CreditCard], &[]);
    let choice =
        |index: u32, text: &str| json!({"choices": [{"index": index, "delta": {"content": text}}]});
    let tool = |index: u32, text: &str| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "function": {"arguments": text}}]}}]});
    let stream = events(&[
        choice(0, "4111 1111 "),
        choice(1, "2 and 3"),
        tool(0, "{\"card\":\"4111"),
        choice(0, "1111 1111"),
        tool(1, "{\"n\":"),
        tool(0, " 1111 1111 1111\"}"),
        tool(1, "12}"),
    ]);
    let (out, course) = any_cut(Framing::Events, &order, stream.as_bytes());
    assert_eq!(course, Course::On);
    assert_eq!(out.matches("[REDACTED_CREDIT_CARD]").count(), 2, "{out}");
    assert!(
        !out.contains("1111") && out.contains("2 and 3") && out.contains("{\\\"n\\\":"),
        "{out}"
    );
}

#[test]
fn every_api_has_its_texts() {
    let order = order(&[Entity::CreditCard], &[]);
    let cases = [
        (
            Framing::Events,
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"@\"}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        ),
        (
            Framing::Events,
            "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"@\"}\n\ndata: {\"type\":\"response.output_text.done\",\"item_id\":\"i\",\"text\":\"@\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"instructions\":\"x\",\"output\":[{\"content\":[{\"type\":\"output_text\",\"text\":\"@\"}]}]}}\n\n",
        ),
        (
            Framing::Events,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"@\"}],\"role\":\"model\"}}]}\n\n",
        ),
        (
            Framing::Events,
            "data: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"@\"}}}}\n\n",
        ),
        (
            Framing::Lines,
            "{\"model\":\"llama3\",\"message\":{\"role\":\"assistant\",\"content\":\"@\"},\"done\":false}\n{\"done\":true,\"eval_count\":3}\n",
        ),
        (Framing::Lines, "{\"response\":\"@\"}\n"),
    ];
    for (framing, template) in cases {
        let answer = template.replace('@', &format!("my card {CARD} ok"));
        let (out, course) = any_cut(framing, &order, answer.as_bytes());
        assert_eq!(course, Course::On, "{template}");
        assert_eq!(
            out,
            template.replace('@', "my card [REDACTED_CREDIT_CARD] ok"),
            "{template}"
        );
    }
}

#[test]
fn frames_pass_or_stop() {
    let frame = |payload: &str| {
        let total = u32::try_from(payload.len() + 16).unwrap();
        [
            &total.to_be_bytes()[..],
            &[0; 8],
            payload.as_bytes(),
            &[0; 4],
        ]
        .concat()
    };
    let fine = [
        frame("{\"contentBlockIndex\":0,\"delta\":{\"text\":\"Hello\"}}"),
        frame("{\"stopReason\":\"end_turn\"}"),
    ]
    .concat();
    let card = frame(&format!(
        "{{\"contentBlockIndex\":0,\"delta\":{{\"text\":\"{CARD}\"}}}}"
    ));
    // As Anthropic's events come through Bedrock's `invoke`.
    let wrapped = frame("{\"bytes\":\"eyJkZWx0YSI6eyJ0ZXh0IjoiNDExMSAxMTExIDExMTEgMTExMSJ9fQ==\"}");
    for order in [
        order(&[Entity::CreditCard], &[]),
        order(&[], &[Entity::CreditCard]),
    ] {
        let out = screened(Framing::Frames, &order, &fine.chunks(7).collect::<Vec<_>>());
        assert_eq!(out, (fine.clone(), Course::On));
        for bad in [&card, &wrapped] {
            let (out, course) = screened(Framing::Frames, &order, &[&fine, bad]);
            assert_eq!(course, Course::Stopped);
            assert!(!out.windows(4).any(|four| four == b"4111"));
        }
    }
    let error = exception(b"{\"message\":\"no\"}");
    assert_eq!(frame::len(&error), Some(error.len()));
    assert_eq!(frame::payload(&error), b"{\"message\":\"no\"}");
    // RFC 1952's checksum, of the text by which implementations are compared.
    assert_eq!(frame::crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn whole_answers_are_rewritten_and_stay_documents() {
    let order = order(&[Entity::CreditCard], &[]);
    let body = format!(
        "{{\"id\":\"4111111111111111\", \"choices\":[{{\"message\":{{\"content\":\"{CARD}\",\"tool_calls\":[{{\"function\":{{\"arguments\":\"{{\\\"n\\\":4111111111111111}}\"}}}}]}},\"logprobs\":{{\"content\":[{{\"token\":\"4111\"}}]}}}}],\"usage\":{{\"total_tokens\":9}}}}"
    );
    let answer = whole(body.as_bytes(), &order).unwrap();
    let new: Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
    let message = &new["choices"][0]["message"];
    assert_eq!(message["content"], "[REDACTED_CREDIT_CARD]");
    assert_eq!(
        message["tool_calls"][0]["function"]["arguments"],
        "{\"n\":\"[REDACTED_CREDIT_CARD]\"}"
    );
    assert_eq!(new["choices"][0]["logprobs"], Value::Null);
    assert_eq!(
        (&new["id"], &new["usage"]["total_tokens"]),
        (&json!("4111111111111111"), &json!(9))
    );
    let clean = br#"{ "choices": [ {"message": {"content": "fine"}} ] }"#;
    assert!(whole(clean, &order).unwrap().body.is_none());
    assert_eq!(
        whole(b"card 4111 1111 1111 1111", &order)
            .unwrap()
            .body
            .unwrap(),
        b"card [REDACTED_CREDIT_CARD]"
    );
    // A stream that its server calls JSON.
    let stream = events(&[delta("4111 1111 "), delta("1111 1111")]);
    let answer = whole(stream.as_bytes(), &order).unwrap();
    let left = String::from_utf8(answer.body.unwrap()).unwrap();
    assert_eq!(said(&left), "[REDACTED_CREDIT_CARD]");
    for unreadable in [&b"{\"a\":"[..], b"\xff\xfe", b"{} {}"] {
        assert!(whole(unreadable, &order).is_none());
    }
}

#[test]
fn who_only_looks_holds_nothing_and_sees_all() {
    let order = order(&[], &[]);
    let stream = events(&[delta("4111 1111 "), delta("1111 1111"), delta(" falcon")]);
    let mut screened = Screened::new(Framing::Events, order.clone(), 1 << 20);
    let mut out = Vec::new();
    for event in stream.split_inclusive("\n\n") {
        screened.push(event.as_bytes(), &mut out);
    }
    assert_eq!(out, stream.as_bytes());
    screened.finish(&mut out);
    assert_eq!(out, stream.as_bytes());
    let findings = screened.findings();
    assert_eq!(
        (findings.entities, &findings.words[..]),
        (entities(&[Entity::CreditCard]).entities, &[0][..])
    );
    let mut screened = Screened::new(Framing::Whole, order, 1 << 20);
    let body = br#"{"choices":[{"message":{"content":"a falcon"}}]}"#;
    let mut out = Vec::new();
    for piece in body.chunks(9) {
        screened.push(piece, &mut out);
    }
    screened.finish(&mut out);
    assert_eq!(
        (&out[..], &screened.findings().words[..]),
        (&body[..], &[0][..])
    );
}

/// A text that does not go on is not waited for without end.
#[test]
fn little_is_held() {
    let order = order(&[Entity::CreditCard], &[]);
    let mut screened = Screened::new(Framing::Events, order, 1 << 20);
    let mut out = Vec::new();
    let mut sent = 0;
    for round in 0..2_000 {
        let event = if round == 0 {
            format!("data: {}\n\n", delta("and then"))
        } else {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":{round},\"id\":\"call\"}}]}}}}]}}\n\n"
            )
        };
        sent += event.len();
        screened.push(event.as_bytes(), &mut out);
        assert!(sent - out.len() <= MAX_HELD + 200);
    }
    let huge = format!("data: {}", "x".repeat(MAX_EVENT));
    assert_eq!(screened.push(huge.as_bytes(), &mut out), Course::Stopped);
}

/// A number is a number, whatever stood at its place in the event before.
#[test]
fn numbers_of_several_events_are_none_together() {
    let order = order(&[], &[Entity::CreditCard]);
    let gemini = json!({"candidates": [{"content": {"parts": [{"text": "so "}]}}], "n": 4007});
    let stream = events(&[gemini.clone(), gemini.clone(), gemini.clone(), gemini]);
    let numbers: Vec<Value> = (41..49)
        .map(|number| json!({"type": "a", "sequence_number": number, "delta": "b "}))
        .collect();
    let whole = json!({"token_ids": [41, 42, 43, 44, 45, 46, 47, 48]}).to_string();
    for stream in [stream, events(&numbers)] {
        let (out, course) = any_cut(Framing::Events, &order, stream.as_bytes());
        assert_eq!((out, course), (stream, Course::On));
    }
    assert!(
        super::whole(whole.as_bytes(), &order)
            .unwrap()
            .findings
            .is_empty()
    );
    // Each of them is looked at.
    let card = events(&[json!({"n": 1}), json!({"n": 4_111_111_111_111_111_u64})]);
    let (_, course) = any_cut(Framing::Events, &order, card.as_bytes());
    assert_eq!(course, Course::Stopped);
}

/// What every event says again keeps none of them back.
#[test]
fn events_pass_when_their_text_is_decided() {
    let order = order(&[Entity::CreditCard, Entity::Email], &[]);
    for event in [
        r#"{"type":"response.output_text.delta","sequence_number":#,"item_id":"i","output_index":0,"delta":"word "}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"word "}]},"safetyRatings":[{"category":"HARM_CATEGORY_HATE_SPEECH","probability":"NEGLIGIBLE","probabilityScore":0.1}]}],"usageMetadata":{"promptTokenCount":12,"promptTokensDetails":[{"modality":"TEXT","tokenCount":12}],"trafficType":"ON_DEMAND"},"modelVersion":"g","createTime":"2026-11-21T08:00:00.1Z"}"#,
        r#"{"id":"g","provider":"OpenAI","choices":[{"index":0,"delta":{"content":"word "}}]}"#,
        r#"{"contentBlockIndex":0,"delta":{"text":"word "},"p":"abcdefghijkl"}"#,
    ] {
        let mut screened = Screened::new(Framing::Events, order.clone(), 1 << 20);
        let mut out = Vec::new();
        for number in 100..120 {
            let event = event.replace('#', &number.to_string());
            screened.push(format!("data: {event}\n\n").as_bytes(), &mut out);
        }
        let passed = out
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        assert!(
            passed.clone().count() >= 19,
            "{} of {event}",
            passed.count()
        );
    }
}

#[test]
fn what_is_no_stream_is_looked_at_all_the_same() {
    let body = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{CARD}\"}}}}]}}");
    for stream in [
        body.clone(),
        format!("\n{body}\n\n"),
        format!("{body}\r\ndata: x\r\n\r\n"),
    ] {
        let (out, course) = any_cut(
            Framing::Events,
            &order(&[], &[Entity::CreditCard]),
            stream.as_bytes(),
        );
        assert_eq!((out.trim(), course), ("", Course::Stopped));
    }
    let (out, _) = any_cut(
        Framing::Events,
        &order(&[Entity::CreditCard], &[]),
        body.as_bytes(),
    );
    assert_eq!(
        out.trim(),
        body.replace(CARD, "[REDACTED_CREDIT_CARD]").as_str()
    );
    let marked = format!("\u{feff}data: {body}\n\n");
    let (out, _) = any_cut(
        Framing::Events,
        &order(&[Entity::CreditCard], &[]),
        marked.as_bytes(),
    );
    assert!(!out.contains("1111") && out.contains("data: {"), "{out}");
}
