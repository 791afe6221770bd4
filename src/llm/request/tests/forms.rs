//! Multipart forms: the subset, and what is outside of it.

use super::read;
use crate::llm::request::{BodyError, Facts};

const TARGET: &str = "/v1/audio/transcriptions";
const TYPE: &str = "multipart/form-data; boundary=B";

/// A form of these parts, each from its headers to before the next delimiter.
fn form(parts: &[&str]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| format!("--B\r\n{part}\r\n"))
        .collect();
    format!("{}--B--\r\n", parts.concat())
}

fn send(body: &str) -> Result<Box<Facts>, BodyError> {
    let whole = read(TARGET, TYPE, &[body.as_bytes()]);
    for cut in 0..=body.len() {
        let (left, right) = body.as_bytes().split_at(cut);
        assert_eq!(
            read(TARGET, TYPE, &[left, right]),
            whole,
            "{body:?} cut at {cut}"
        );
    }
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(read(TARGET, TYPE, &bytes), whole, "{body:?} byte by byte");
    whole
}

const MODEL: &str = "Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1";
const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRI\0\r\n--\r\n-B\r\r\n--b";

#[test]
#[rustfmt::skip]
fn reads_fields() {
    for parts in [
        &[MODEL][..],
        &[MODEL, FILE],
        &[FILE, MODEL],
        &[
            FILE,
            "content-disposition:form-data;name=model\r\n\r\nwhisper-1",
        ],
        &[
            "Content-Type: text/plain; charset=UTF-8\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1",
        ],
        &[
            MODEL,
            "Content-Disposition: form-data; name=\"empty\"\r\n\r\n",
        ],
        &[
            MODEL,
            "Content-Disposition: form-data; name=\"f\"; filename=\"a\\\"b.wav\"; filename*=utf-8''%C3%A9\r\n\r\n.",
        ],
        &[
            MODEL,
            "Content-Disposition: form-data; name=\"f\"; filename=\"a\"\r\nContent-Transfer-Encoding: binary\r\n\r\n.",
        ],
    ] {
        assert_eq!(
            send(&form(parts)).unwrap().models,
            ["whisper-1"],
            "{parts:?}"
        );
    }
    let facts = send(&form(&[
        FILE,
        MODEL,
        "Content-Disposition: form-data; name=\"stream\"\r\n\r\nTrue",
        "Content-Disposition: form-data; name=\"n\"\r\n\r\n3",
        "Content-Disposition: form-data; name=\"prompt\"\r\n\r\nabc\r\n",
    ]))
    .unwrap();
    assert_eq!(
        (facts.stream, facts.choices, facts.text_bytes, facts.media),
        (true, 3, 5, 1)
    );
    assert_eq!(send(&form(&[FILE])).unwrap().models, [""; 0]);
    // All that only looks like a boundary is content, to the byte.
    let odd = "\n-\n\n--\r--\r-\r\n-\r\r\n--\n\r--A";
    let prompt = format!("Content-Disposition: form-data; name=\"prompt\"\r\n\r\n{odd}");
    let facts = send(&form(&[MODEL, &prompt])).unwrap();
    assert_eq!(facts.text_bytes, odd.len() as u64);
    let no_line_end = form(&[MODEL]).trim_end().to_owned();
    assert_eq!(send(&no_line_end).unwrap().models, ["whisper-1"]);
    let azure = read(
        "/openai/deployments/d/audio/transcriptions",
        TYPE,
        &[form(&[FILE, MODEL]).as_bytes()],
    );
    assert_eq!(azure.unwrap().models, ["d"]);
}

#[test]
#[rustfmt::skip]
fn refuses_what_servers_read_differently() {
    let disposition =
        |rest: &str| format!("Content-Disposition: form-data; {rest}\r\n\r\nwhisper-1");
    let second = disposition("name=\"x\"");
    for (part, code) in [
        (MODEL.to_owned(), "model_ambiguous"),
        (disposition("name=\"Model\""), "model_ambiguous"),
        (disposition("name=\"model[]\""), "model_ambiguous"),
        (disposition("name=\" model\""), "model_ambiguous"),
        (disposition("name=\"model\"; filename=\"x\""), "invalid_body"),
        (disposition("name=\"x\"; name=\"model\""), "invalid_body"),
        (disposition("name=\"x\"; NAME=\"model\""), "invalid_body"),
        (disposition("name*=utf-8''model"), "invalid_body"),
        (disposition("name=\"x\"; name*=utf-8''model"), "invalid_body"),
        (disposition("name=\"mo\\del\""), "invalid_body"),
        (disposition("filename=\"a\\b\"; name=\"mo\\del\""), "invalid_body"),
        (disposition("name=\"x"), "invalid_body"),
        (disposition("name=a b"), "invalid_body"),
        (disposition("name=\"x\" name=\"model\""), "invalid_body"),
        (disposition("filename=\"x\""), "invalid_body"),
        (disposition("filename=\"a;name=model\"; name=\"x\""), "invalid_body"),
        ("Content-Disposition: attachment; name=\"x\"\r\n\r\n.".to_owned(), "invalid_body"),
        ("Content-Type: text/plain\r\n\r\n.".to_owned(), "invalid_body"),
        ("\r\n.".to_owned(), "invalid_body"),
        (format!("Content-Disposition: form-data; name=\"y\"\r\n{second}"), "invalid_body"),
        (format!("Content-Transfer-Encoding: quoted-printable\r\n{second}"), "invalid_body"),
        (format!("Content-Transfer-Encoding: base64\r\n{second}"), "invalid_body"),
        (format!("Content-Type: a/b\r\nContent-Type: a/b\r\n{second}"), "invalid_body"),
        ("Content-Disposition: form-data;\r\n name=\"model\"\r\n\r\nx".to_owned(), "invalid_body"),
        ("Content-Disposition: form-data; name=\"x\"\n\r\n\r\nx".to_owned(), "invalid_body"),
        ("Content-Disposition : form-data; name=\"x\"\r\n\r\nx".to_owned(), "invalid_body"),
        ("no colon\r\n\r\nx".to_owned(), "invalid_body"),
        // An empty part without its line end: some see a part here, some see content.
        (format!("Content-Disposition: form-data; name=\"x\"\r\n\r\n--B\r\n{second}"), "invalid_body"),
        (format!("X: {}\r\n{second}", "x".repeat(5000)), "invalid_body"),
        ("Content-Disposition: form-data; name=\"stream\"\r\n\r\nmaybe".to_owned(), "invalid_body"),
        ("Content-Disposition: form-data; name=\"n\"\r\n\r\nmany".to_owned(), "invalid_body"),
        ("Content-Disposition: form-data; name=\"Stream\"\r\n\r\ntrue".to_owned(), "model_ambiguous"),
    ] {
        let error = send(&form(&[MODEL, &part]))
            .map(|facts| panic!("{part:?}: {facts:?}"))
            .unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            (code, 400),
            "{part:?}: {error}"
        );
    }
    for alone in [
        "Content-Type: text/plain; charset*=utf-8''utf-16le\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx",
        "Content-Type: text/plain; charset=utf-16le\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx",
        "Content-Transfer-Encoding: quoted-printable\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx",
        "Content-Disposition: form-data; name=\"model\"\r\n\r\n",
        "Content-Disposition: form-data; name=\"model\"\r\n\r\na\nb",
        "Content-Disposition: form-data; name=\"model\"\r\n\r\na\0",
    ] {
        assert_eq!(
            send(&form(&[alone])).unwrap_err().status(),
            400,
            "{alone:?}"
        );
    }
    let long = format!(
        "Content-Disposition: form-data; name=\"model\"\r\n\r\n{}",
        "x".repeat(600)
    );
    assert_eq!(send(&form(&[&long])).unwrap_err().code(), "model_ambiguous");
}

/// The call that begins a realtime session: an offer, and what the session is to be.
#[test]
fn sessions_in_forms_name_models() {
    let offer = "Content-Disposition: form-data; name=\"sdp\"\r\n\r\nv=0\r\n";
    let call = |session: &str| {
        let session = format!("Content-Disposition: form-data; name={session}");
        let body = form(&[offer, &session]);
        let whole = read("/v1/realtime/calls", TYPE, &[body.as_bytes()]);
        let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert_eq!(read("/v1/realtime/calls", TYPE, &bytes), whole);
        whole
            .map(|facts| facts.models)
            .map_err(|error| error.code())
    };
    let json = r#"{"type":"realtime","model":"a","audio":{"input":{"transcription":{"model":"b"}}},"instructions":""#;
    let long = format!(
        "session\r\nContent-Type: application/json\r\n\r\n{json}{}\"}}",
        "x".repeat(9000)
    );
    assert_eq!(call(&long).unwrap(), ["a", "b"]);
    assert_eq!(call("\"session\"\r\n\r\n{}").unwrap(), [""; 0]);
    for (session, code) in [
        ("Session\r\n\r\n{}", "model_ambiguous"),
        (
            "session\r\n\r\n{\"model\":\"a\",\"model\":\"b\"}",
            "model_ambiguous",
        ),
        ("session\r\n\r\n{\"Model\":\"a\"}", "model_ambiguous"),
        ("session\r\n\r\n{\"model\":\"a\"", "invalid_body"),
        ("session\r\n\r\n[]", "invalid_body"),
        (
            "session; filename=a\r\n\r\n{\"model\":\"a\"}",
            "invalid_body",
        ),
    ] {
        assert_eq!(call(session).unwrap_err(), code, "{session}");
    }
    let longer = format!("session\r\n\r\n{json}{}\"}}", "x".repeat(70_000));
    assert_eq!(call(&longer).unwrap_err(), "invalid_body");
    let twice =
        "session\r\n\r\n{}\r\n--B\r\nContent-Disposition: form-data; name=session\r\n\r\n{}";
    assert_eq!(call(twice).unwrap_err(), "model_ambiguous");
    // Elsewhere it is a field like any other.
    let other = form(&[
        MODEL,
        "Content-Disposition: form-data; name=session\r\n\r\nx",
    ]);
    assert_eq!(send(&other).unwrap().models, ["whisper-1"]);
}

#[test]
fn refuses_bad_framing() {
    let good = form(&[MODEL]);
    for body in [
        String::new(),
        format!("preamble\r\n{good}"),
        format!("\r\n{good}"),
        format!("{good}epilogue"),
        format!("{good}\r\n"),
        good.replace("--B--\r\n", ""),
        good.replace("--B--\r\n", "--B"),
        good.replace("--B--\r\n", "--B-\r\n"),
        good.replace("\r\n", "\n"),
        good.replacen("--B\r\n", "--B \r\n", 1),
        good.replacen("--B\r\n", "--BB\r\n", 1),
        good.replacen("--B\r\n", "-B\r\n", 1),
        good.replacen("-1", "\r\n--Bx", 1),
        good.replace("--B--\r\n", "--B--\n"),
        // PHP takes a line feed before a boundary, Werkzeug any line end.
        good.replacen("-1", "\n--B\n", 1),
        good.replacen("-1", "\n\n--B", 1),
        good.replacen("-1", "\r--B", 1),
        good.replacen("-1", "\r\r--B\r", 1),
        good.replacen("-1", "\r\n\n--B\n", 1),
        // Django takes it anywhere.
        good.replacen("-1", "--B", 1),
        good.replacen("-1", "---B\r\n", 1),
        good.replacen("-1", "\r\n---B\r\n", 1),
        good.replacen(
            "-1",
            &format!("{}--B{}", "x".repeat(200), "x".repeat(200)),
            1,
        ),
        good.replacen("\r\n", "\r\nX: --B\r\n", 1),
    ] {
        assert_eq!(send(&body).unwrap_err().code(), "invalid_body", "{body:?}");
    }
    let parts: Vec<&str> = vec!["Content-Disposition: form-data; name=\"x\"\r\n\r\n."; 1025];
    assert!(read(TARGET, TYPE, &[form(&parts).as_bytes()]).is_err());
}

#[test]
fn refuses_bad_boundaries() {
    let body = form(&[MODEL]);
    for (content_type, accepted) in [
        ("multipart/form-data; boundary=B", true),
        ("Multipart/Form-Data; Boundary=\"B\"", true),
        ("multipart/form-data; charset=utf-8; boundary=B", true),
        ("multipart/form-data", false),
        ("multipart/form-data; boundary=", false),
        ("multipart/form-data; boundary=\"\"", false),
        ("multipart/form-data; boundary=B; boundary=C", false),
        ("multipart/form-data; boundary=B; charset=utf-7", false),
        (
            "multipart/form-data; boundary=B; charset=utf-8; charset=utf-7",
            false,
        ),
        (
            "multipart/form-data; charset*=utf-8''utf-7; boundary=B",
            false,
        ),
        ("multipart/form-data; boundary=B; boundary=B", false),
        ("multipart/form-data; boundary*=utf-8''B", false),
        ("multipart/form-data; boundary=B; boundary*=utf-8''C", false),
        ("multipart/form-data; boundary=B; boundary*0=C", false),
        ("multipart/form-data; boundary=B; boundary*1=C", false),
        (
            "multipart/form-data; boundary*0*=utf-8''C; boundary=B",
            false,
        ),
        ("multipart/form-data; boundary=\"\\B\"", false),
        ("multipart/form-data; boundary=B; x", false),
        ("multipart/form-data; boundary=B; xboundary=C", false),
        ("multipart/form-data; x=\"a;boundary=C\"; boundary=B", false),
        ("multipart/form-data; boundary=B,C", false),
        ("multipart/form-data; boundary=\"B \"", false),
    ] {
        let read = read(TARGET, content_type, &[body.as_bytes()]);
        assert_eq!(read.is_ok(), accepted, "{content_type}: {read:?}");
        assert!(read.is_ok_and(|facts| facts.models == ["whisper-1"]) == accepted);
    }
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    assert_eq!(read(TARGET, &long, &[]).unwrap_err().code(), "invalid_body");
}
