//! The usage-only chunk, taken out, and every other byte left.

use super::*;

const STRIP: Kind<'_> = Kind {
    strip: true,
    ..ok(OpenAi, EVENTS)
};

#[test]
fn the_usage_chunk_is_removed_and_nothing_else() {
    let stays = [
        "data: {\"choices\":[],\"model\":\"\",\"prompt_filter_results\":[{\"prompt_index\":0}]}\n\n",
        ": keep-alive\n\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"{\\\"choices\\\":[],\\\"usage\\\":{}}\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":8}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8},\"prompt_filter_results\":[{}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8},\"error\":{\"message\":\"m\"}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8},\"error\":\"m\"}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8}} x\n\n",
        "data: {\"usage\":{\"prompt_tokens\":8}}\n\n",
        "data: [DONE]\n\n",
    ];
    let goes = [
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"prompt_tokens_details\":{\"cached_tokens\":1}},\"obfuscation\":\"a\"}\n\n",
        "event: x\nid: 1\ndata: {\"choices\":\ndata: [],\"x_groq\":{\"id\":\"r\"},\"timings\":{\"n\":1},\"usage\":{\"prompt_tokens\":8}}\n\n",
    ];
    for ending in ["\n", "\r\n", "\r"] {
        let stays = stays.map(|event| event.replace('\n', ending));
        let goes = goes.map(|event| event.replace('\n', ending));
        for first in 0..=stays.len() {
            for gone in &goes {
                let (before, after) = stays.split_at(first);
                let body = [&before.concat(), gone.as_str(), &after.concat(), gone].concat();
                let body = body.as_bytes();
                let whole = STRIP.read([body]);
                assert_eq!(whole.bytes, stays.concat().as_bytes());
                assert_eq!(whole.usage.unwrap().prompt_tokens, Some(8));
                for size in [1, 2, 3, 5, 64, 200, gone.len(), body.len() - 1] {
                    assert_eq!(STRIP.read(body.chunks(size)), whole, "by {size}");
                }
            }
        }
        let body = [&stays[0], &goes[0], &stays[1], &goes[1], &stays[11]]
            .map(String::as_str)
            .concat();
        assert_eq!(
            STRIP.check(body.as_bytes()).bytes,
            [&*stays[0], &stays[1], &stays[11]].concat().as_bytes()
        );
        // Without its blank line the chunk goes too, and what is no chunk stays.
        let cut = goes[0].trim_end();
        assert_eq!(
            STRIP.check([&stays[0], cut].concat().as_bytes()).bytes,
            stays[0].as_bytes()
        );
        let cut = stays[0].trim_end();
        assert_eq!(STRIP.check(cut.as_bytes()).bytes, cut.as_bytes());
    }
}

#[test]
fn what_is_no_event_stream_is_not_stripped() {
    let chunk = "{\"choices\":[],\"usage\":{\"prompt_tokens\":8}}";
    for body in [
        chunk,
        "\u{feff}\n",
        "\u{feff} \ndata: a\n\n",
        "\u{feff}data: a",
    ] {
        for content_type in [JSON, EVENTS] {
            let kind = Kind {
                content_type: Some(content_type),
                ..STRIP
            };
            assert_eq!(kind.check(body.as_bytes()).bytes, body.as_bytes());
        }
    }
    let events = format!(" \ndata: {chunk}\n\ndata: a\n\n");
    let kind = Kind {
        content_type: Some(JSON),
        ..STRIP
    };
    assert_eq!(kind.check(events.as_bytes()).bytes, b" \ndata: a\n\n");
}

#[test]
fn whole_events_are_not_copied() {
    let mut reader = Reader::new(OpenAi, 200, Some(EVENTS.as_bytes()), true);
    for _ in 0..2 {
        assert_eq!(
            reader.push(b"data: {\"choices\":[]}\r\n\r\ndata: a\r\n\r\n"),
            Forward::Unchanged
        );
        assert_eq!(reader.push(b"data: "), Forward::Replace(b""));
        assert_eq!(reader.push(b"a\r\n\r"), Forward::Replace(b"data: a\r\n\r"));
        assert_eq!(reader.push(b"\n"), Forward::Unchanged);
    }
}

#[test]
fn an_event_too_large_to_be_held_passes() {
    for (padding, passes) in [(MAX_EVENT / 2, false), (MAX_EVENT, true)] {
        let event = format!(
            "data: {{\"choices\":[],\"obfuscation\":\"{}\",\"usage\":{{\"prompt_tokens\":8}}}}\n\n",
            "x".repeat(padding)
        );
        let body = [
            &event,
            "data: a\n\n",
            "data: {\"choices\":[],\"usage\":{}}\n\n",
        ]
        .concat();
        let expected = if passes {
            [&event, "data: a\n\n"].concat()
        } else {
            "data: a\n\n".to_owned()
        };
        for size in [body.len(), 100_000, 64 << 10] {
            let read = STRIP.read(body.as_bytes().chunks(size));
            assert!(read.bytes == expected.as_bytes(), "{padding} by {size}");
        }
        let mut reader = Reader::new(OpenAi, 200, Some(EVENTS.as_bytes()), true);
        for chunk in body.as_bytes().chunks(1000) {
            reader.push(chunk);
            assert!(reader.strip.as_ref().unwrap().held.len() <= MAX_EVENT);
        }
    }
}
