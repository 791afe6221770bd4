//! JSON bodies, endpoint by endpoint.

use super::{call, chat, read};
use crate::json::JsonErrorKind;
use crate::llm::request::{Ambiguity, BodyError, Facts, Reader};

fn post(target: &str, body: &str) -> Result<Box<Facts>, BodyError> {
    read(target, "application/json", &[body.as_bytes()])
}

#[test]
#[rustfmt::skip]
fn every_place_that_names_a_model() {
    for (target, body, models) in [
        ("/v1/chat/completions", r#"{"messages":[],"model":"a"}"#, &["a"][..]),
        ("/v1/chat/completions", r#"{"models":["b","c","b"],"model":"a"}"#, &["a", "b", "c"]),
        ("/v1/chat/completions", r#"{"model":"a","fallbacks":["b",{"model":"c"}]}"#, &["a", "b", "c"]),
        ("/v1/chat/completions", r#"{"model":"a","models":null,"tools":null}"#, &["a"]),
        ("/v1/chat/completions", r#"{"model":"a","metadata":{"model":"x"},"messages":[{"model":"y"}]}"#, &["a"]),
        ("/v1/chat/completions", r#"{"model":"GPT ü 4"}"#, &["GPT ü 4"]),
        ("/v1/chat/completions", "{}", &[]),
        ("/v1/responses", r#"{"model":"a","tools":[{"type":"image_generation","model":"b"}],"moderation":{"model":"c"}}"#, &["a", "b", "c"]),
        ("/v1/messages", r#"{"tools":[{"type":"advisor_20260301","model":"b"}],"model":"a"}"#, &["a", "b"]),
        ("/v1/messages/batches", r#"{"requests":[{"params":{"model":"a"}},{"params":{"model":"b","tools":[{"model":"c"}]}}]}"#, &["a", "b", "c"]),
        ("/v1/realtime/client_secrets", r#"{"session":{"model":"a","audio":{"input":{"transcription":{"model":"b"}}}}}"#, &["a", "b"]),
        ("/openai/deployments/d/chat/completions", r#"{"model":["ignored"],"Model":1}"#, &["d"]),
        ("/openai/deployments/d/chat/completions", r#"{"data_sources":[{"parameters":{"embedding_dependency":{"deployment_name":"e"}}}]}"#, &["d", "e"]),
        ("/v1beta/models/g:generateContent", r#"{"contents":[],"model":"models/g"}"#, &["g"]),
        ("/v1beta/models/g:batchEmbedContents", r#"{"requests":[{"model":"models/g"},{"model":"g"}]}"#, &["g"]),
        ("/model/m/invoke", r#"{"model":"ignored","fallbacks":[{"model":"b"}]}"#, &["m", "b"]),
        ("/api/show", r#"{"name":"a"}"#, &["a"]),
        ("/api/show", r#"{"name":"a","model":"a"}"#, &["a"]),
        ("/v1/files", r#"{"model":"a"}"#, &["a"]),
        ("/v1/unheard", "[]", &[]),
    ] {
        assert_eq!(
            post(target, body).unwrap().models,
            models,
            "{target} {body}"
        );
    }
}

#[test]
#[rustfmt::skip]
fn ambiguous_bodies() {
    use Ambiguity::{CaseVariant, Control, Disagreement, Duplicate, NotAString, TooLong};
    let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(257));
    let longer = format!(r#"{{"model":"{}"}}"#, "x".repeat(5000));
    for (target, body, param, reason) in [
        ("/v1/chat/completions", r#"{"model":"a","model":"a"}"#, "model", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","mod\u0065l":"b"}"#, "model", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","model":null}"#, "model", Duplicate),
        ("/v1/chat/completions", r#"{"Model":"a"}"#, "model", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","MODEL":"b"}"#, "model", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","\u004dodel":"b"}"#, "model", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","model\u017f":["b"]}"#, "models[]", CaseVariant),
        ("/v1/chat/completions", r#"{"model":["a"]}"#, "model", NotAString),
        ("/v1/chat/completions", r#"{"model":{"model":"a"}}"#, "model", NotAString),
        ("/v1/chat/completions", r#"{"model":1}"#, "model", NotAString),
        ("/v1/chat/completions", r#"{"model":null}"#, "model", NotAString),
        ("/v1/chat/completions", r#"{"model":true}"#, "model", NotAString),
        ("/v1/chat/completions", r#"{"model":""}"#, "model", NotAString),
        ("/v1/chat/completions", r#"{"model":"a\u0000"}"#, "model", Control),
        ("/v1/chat/completions", r#"{"model":"a\n"}"#, "model", Control),
        ("/v1/chat/completions", &long, "model", TooLong),
        ("/v1/chat/completions", &longer, "model", TooLong),
        ("/v1/chat/completions", r#"{"model":"a","models":"b"}"#, "models[]", NotAString),
        ("/v1/chat/completions", r#"{"model":"a","models":{"0":"b"}}"#, "models[]", NotAString),
        ("/v1/chat/completions", r#"{"model":"a","models":[["b"]]}"#, "models[]", NotAString),
        ("/v1/chat/completions", r#"{"model":"a","models":["b"],"models":[]}"#, "models[]", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","fallbacks":[["b"]]}"#, "fallbacks[]", NotAString),
        ("/v1/chat/completions", r#"{"model":"a","fallbacks":[{"a":["b"]}]}"#, "fallbacks[].model", NotAString),
        ("/v1/chat/completions", r#"{"model":"a","fallbacks":[{"model":"b"},{"x":{"model":"c"}}]}"#, "fallbacks[].model", NotAString),
        ("/v1/chat/completions", r#"{"model":"a","context_window_fallbacks":[{"a":["b"]}]}"#, "context_window_fallbacks", NotAString),
        ("/v1/chat/completions", r#"{"model":"a","context_window_fallback_dict":{"a":"b"}}"#, "context_window_fallback_dict", NotAString),
        ("/v1/responses", r#"{"model":"a","content_policy_fallbacks":[{"a":["b"]}]}"#, "content_policy_fallbacks", NotAString),
        ("/v1/messages", r#"{"fallbacks":[{}],"model":"a"}"#, "fallbacks[].model", NotAString),
        ("/v1/responses", r#"{"model":"a","tools":[],"tools":[{"model":"b"}]}"#, "tools[].model", Duplicate),
        ("/v1/responses", r#"{"model":"a","Tools":[{"model":"b"}]}"#, "tools[].model", CaseVariant),
        ("/v1/responses", r#"{"model":"a","tools":[{"Model":"b"}]}"#, "tools[].model", CaseVariant),
        ("/v1/messages", r#"{"model":"a","fallbacks":[{"model":"b","model":"c"}]}"#, "fallbacks[].model", Duplicate),
        ("/v1/messages/batches", r#"{"requests":[{"params":{"model":"a"},"params":{"model":"b"}}]}"#, "requests[].params.model", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","stream":true,"stream":false}"#, "stream", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","Stream":true}"#, "stream", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","stream_options":{},"stream_options":{}}"#, "stream_options", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","stream_options":{"include_usage":true,"Include_Usage":false}}"#, "stream_options.include_usage", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","n":1,"n":2}"#, "n", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","N":2}"#, "N", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","best_of":1,"Best_Of":2}"#, "Best_Of", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","max_tokens":1,"max_tokens":2}"#, "max_tokens", Duplicate),
        ("/v1/chat/completions", r#"{"model":"a","Max_Tokens":1}"#, "Max_Tokens", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","max_to\u212aens":1}"#, "max_to\u{212a}ens", CaseVariant),
        ("/v1/chat/completions", r#"{"model":"a","max_new_output_tokens":1,"MAX_new_output_tokens":2}"#, "MAX_new_output_tokens", Duplicate),
        ("/v1beta/models/g:generateContent", r#"{"generationConfig":{"candidateCount":1,"candidatecount":2}}"#, "candidatecount", CaseVariant),
        ("/v1beta/models/g:generateContent", r#"{"generationConfig":{},"GenerationConfig":{}}"#, "generationConfig.routingConfig", CaseVariant),
        ("/v1beta/models/g:generateContent", r#"{"model":"models/h"}"#, "model", Disagreement),
        ("/v1beta/models/g:batchEmbedContents", r#"{"requests":[{"model":"models/g"},{"model":"models/h"}]}"#, "model", Disagreement),
        ("/api/show", r#"{"name":"a","model":"b"}"#, "model", Disagreement),
    ] {
        let error = post(target, body).unwrap_err();
        assert_eq!(
            error,
            BodyError::Ambiguous {
                param: param.to_owned(),
                reason
            },
            "{target} {body}"
        );
        assert_eq!(
            (error.code(), error.status(), error.param()),
            ("model_ambiguous", 400, Some(param))
        );
    }
}

#[test]
fn invalid_bodies() {
    for (body, expected) in [
        ("[]", BodyError::NotObject),
        ("\"a\"", BodyError::NotObject),
        ("null", BodyError::NotObject),
        ("1", BodyError::NotObject),
    ] {
        assert_eq!(chat(body), Err(expected), "{body}");
    }
    for (field, param) in [
        (r#""stream":"true""#, "stream"),
        (r#""stream":1"#, "stream"),
        (r#""stream":{}"#, "stream"),
        (r#""stream_options":true"#, "stream_options"),
        (r#""stream_options":[]"#, "stream_options"),
        (
            r#""stream_options":{"include_usage":1}"#,
            "stream_options.include_usage",
        ),
        (
            r#""stream_options":{"include_usage":[]}"#,
            "stream_options.include_usage",
        ),
        (r#""n":"2""#, "n"),
        (r#""n":true"#, "n"),
        (r#""n":[2]"#, "n"),
        (r#""max_tokens":"10""#, "max_tokens"),
        (r#""max_tokens":{}"#, "max_tokens"),
    ] {
        let error = chat(&format!(r#"{{"model":"a",{field}}}"#)).unwrap_err();
        assert!(
            matches!(&error, BodyError::WrongType { param: found, .. } if found == param),
            "{field}: {error:?}"
        );
        assert_eq!((error.code(), error.status()), ("invalid_body", 400));
    }
    let incomplete = chat("").unwrap_err();
    assert!(
        matches!(&incomplete, BodyError::Json(error) if error.kind == JsonErrorKind::Incomplete)
    );
    assert_eq!(
        incomplete.to_string(),
        "the body is not valid JSON: unexpected end at byte 0"
    );
    // The first thing wrong is what the caller hears of, however the body is cut.
    let both = br#"{"model":1,}"#;
    for cut in 0..both.len() {
        let (left, right) = both.split_at(cut);
        let error = read("/v1/chat/completions", "application/json", &[left, right]).unwrap_err();
        assert_eq!(error.code(), "model_ambiguous", "cut at {cut}");
    }
}

#[test]
#[rustfmt::skip]
fn how_much_is_asked_for() {
    for (target, fields, max, choices) in [
        ("/v1/chat/completions", r#""a":1"#, None, 1),
        ("/v1/chat/completions", r#""max_tokens":1,"max_completion_tokens":500"#, Some(500), 1),
        ("/v1/chat/completions", r#""max_tokens":500,"max_output_tokens":1,"n":3"#, Some(500), 3),
        ("/v1/chat/completions", r#""max_tokens":null,"n":null"#, None, 1),
        ("/v1/chat/completions", r#""max_tokens":5.0"#, Some(5), 1),
        ("/v1/chat/completions", r#""max_tokens":5.2"#, Some(6), 1),
        ("/v1/chat/completions", r#""max_tokens":-1"#, None, 1),
        ("/v1/chat/completions", r#""max_tokens":1e3"#, Some(1000), 1),
        ("/v1/chat/completions", r#""max_tokens":1e300"#, Some(u64::MAX), 1),
        ("/v1/chat/completions", r#""max_unheard_of_tokens":7"#, Some(7), 1),
        ("/v1/chat/completions", r#""max_input_tokens":7"#, None, 1),
        ("/v1/chat/completions", r#""messages":[{"max_tokens":9,"n":9}]"#, None, 1),
        ("/v1/completions", r#""best_of":4,"n":2,"max_tokens":8"#, Some(8), 4),
        ("/v1beta/models/g:generateContent", r#""generationConfig":{"maxOutputTokens":9,"candidateCount":2}"#, Some(9), 2),
        ("/v1beta/models/g:generateContent", r#""generation_config":{"max_output_tokens":9}"#, Some(9), 1),
        ("/model/m/converse", r#""inferenceConfig":{"maxTokens":50}"#, Some(50), 1),
        ("/model/m/converse", r#""inferenceConfig":{"maxTokens":50},"additionalModelRequestFields":{"max_tokens":70}"#, Some(70), 1),
        ("/model/m/invoke", r#""textGenerationConfig":{"maxTokenCount":50}"#, Some(50), 1),
        ("/model/m/invoke", r#""max_gen_len":50"#, Some(50), 1),
        ("/api/chat", r#""options":{"num_predict":50}"#, Some(50), 1),
        ("/api/chat", r#""options":{"num_predict":-1}"#, None, 1),
        ("/api/chat", r#""options":{"stop":{"num_predict":1}}"#, None, 1),
    ] {
        let facts = post(target, &format!("{{{fields}}}")).unwrap();
        assert_eq!(
            (facts.max_output_tokens, facts.choices),
            (max, choices),
            "{target} {fields}"
        );
    }
    for (target, fields, answers) in [
        ("/v1/completions", r#""prompt":"a","n":2"#, 2),
        ("/v1/completions", r#""prompt":["a","b","c"]"#, 3),
        ("/v1/completions", r#""n":2,"prompt":[[1,2],[3]]"#, 4),
        ("/v1/completions", r#""prompt":[1,2,3]"#, 1),
        ("/v1beta/models/g:generateContent", r#""contents":[{"parts":[{"text":"a"}]}],"systemInstruction":{"parts":[]},"toolConfig":{"a":[]}"#, 1),
        ("/v1/chat/completions", r#""messages":[{"content":"a"},{"content":[{"text":"b"},{"text":"c"}]}]"#, 1),
        ("/v1/chat/completions/batch", r#""messages":[[{"content":"a"}],[{"content":"b"}]]"#, 2),
    ] {
        let facts = post(target, &format!("{{{fields}}}")).unwrap();
        assert_eq!(facts.answers(), answers, "{target} {fields}");
    }
}

#[test]
#[rustfmt::skip]
fn streams() {
    for (target, fields, stream, include_usage) in [
        ("/v1/chat/completions", "", false, None),
        ("/v1/chat/completions", r#""stream":true"#, true, None),
        ("/v1/chat/completions", r#""stream":null"#, false, None),
        ("/v1/chat/completions", r#""stream":true,"stream_options":{"include_usage":true}"#, true, Some(true)),
        ("/v1/chat/completions", r#""stream_options":{"include_usage":false}"#, false, Some(false)),
        ("/v1/chat/completions", r#""stream_options":{"include_usage":null}"#, false, None),
        ("/v1/chat/completions", r#""stream_options":null"#, false, None),
        ("/v1/chat/completions", r#""include_usage":true"#, false, None),
        ("/api/chat", "", true, None),
        ("/api/chat", r#""stream":false"#, false, None),
        ("/v1beta/models/g:streamGenerateContent", r#""stream":false"#, true, None),
        ("/v1beta/models/g:generateContent", r#""stream":true"#, false, None),
        ("/v1/embeddings", r#""stream":true"#, false, None),
    ] {
        let facts = post(target, &format!("{{{fields}}}")).unwrap();
        assert_eq!(
            (facts.stream, facts.include_usage),
            (stream, include_usage),
            "{target} {fields}"
        );
    }
    assert!(
        post("/v1/responses", r#"{"background":true}"#)
            .unwrap()
            .background
    );
}

#[test]
#[rustfmt::skip]
fn text_and_media() {
    let image = format!("data:image/png;base64,{}", "A".repeat(1000));
    let base64 = "A".repeat(1000);
    let prose = "two words ".repeat(100);
    for (target, fields, text, media) in [
        ("/v1/chat/completions", r#""messages":[{"role":"user","content":"héllo\n"}]"#.to_owned(), 4 + 7, 0),
        ("/v1/chat/completions", r#""model":"gpt","user":"me","metadata":{"a":"b"}"#.to_owned(), 0, 0),
        ("/v1/completions", r#""prompt":["ab","c"]"#.to_owned(), 3, 0),
        ("/v1/completions", r#""prompt":[1,2,3]"#.to_owned(), 12, 0),
        ("/v1/embeddings", r#""input":"abcd","n":3"#.to_owned(), 4, 0),
        ("/v1/responses", r#""instructions":"ab","input":"cd","tools":[{"description":"ef","strict":1}]"# .to_owned(), 6, 0),
        ("/v1/chat/completions", format!(r#""messages":[{{"image_url":{{"url":"{image}"}}}}]"#), 0, 1),
        ("/v1/chat/completions", format!(r#""messages":[{{"content":"{image}"}}]"#), image.len() as u64, 0),
        ("/v1beta/models/g:generateContent", format!(r#""contents":[{{"inlineData":{{"data":"{base64}"}}}}]"#), 0, 1),
        ("/v1/messages", format!(r#""messages":[{{"source":{{"data":"{prose}"}}}}]"#), prose.len() as u64, 0),
        ("/api/chat", format!(r#""messages":[{{"images":["{base64}","{base64}"],"content":"x"}}]"#), 1, 2),
    ] {
        let facts = post(target, &format!("{{{fields}}}")).unwrap();
        assert_eq!(
            (facts.text_bytes, facts.media),
            (text, media),
            "{target} {fields}"
        );
    }
}

#[test]
fn content_types() {
    let body: &[u8] = br#"{"model":"a"}"#;
    for accepted in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json ; charset=utf8; x=y",
        "application/problem+json",
        "application/vnd.api+JSON; v=1",
        "text/json",
        "text/plain",
        "text/plain; charset=utf-8",
        "application/octet-stream",
        "",
    ] {
        let facts = read("/v1/chat/completions", accepted, &[body]);
        assert_eq!(facts.unwrap().models, ["a"], "{accepted}");
    }
    for refused in [
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; charset",
        "application/json; charset=\"utf-8",
        "application/json; charset*=utf-8''utf-16",
        "text/plain; charset=utf-16le",
        "application/json, text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "json",
        "+json",
        "image/png",
    ] {
        let error = read("/v1/chat/completions", refused, &[body]).unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            ("unsupported_content_type", 415),
            "{refused}"
        );
    }
    let error = read("/v1/audio/transcriptions", "application/json", &[body]).unwrap_err();
    assert_eq!(error.to_string(), "send the body as multipart/form-data");
    assert!(Reader::new(&call("POST", "/v1/chat/completions"), None, None).is_ok());
    assert!(Reader::new(&call("POST", "/v1/chat/completions"), Some(b"\xFF"), None).is_err());
}

/// Where anything may come, nothing passes unread that some server could take for JSON or a form.
#[test]
#[rustfmt::skip]
fn bodies_of_any_type() {
    const TARGET: &str = "/v1/threads/t/runs";
    let json = r#"{"model":"a"}"#;
    let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let utf16le: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = |mark: &[u8], body: &[u8]| [mark, body].concat();
    for (content_type, body, status) in [
        ("text/plain", marked(b"\xEF\xBB\xBF", json.as_bytes()), 400),
        ("image/png", marked(b" \r\n\xEF\xBB\xBF ", json.as_bytes()), 400),
        ("text/plain", utf16.clone(), 400),
        ("text/plain", utf16le.clone(), 400),
        ("text/csv", marked(b"\xFE\xFF", &utf16), 400),
        ("", marked(b"\xFF\xFE", &utf16le), 400),
        ("application/json; charset=utf-7", json.into(), 415),
        ("text/plain; charset=cp037", b"\xC0\x7F".to_vec(), 415),
        ("multipart/form-data, text/plain; boundary=B", b"--B".to_vec(), 415),
        ("text/plain; =", b"x".to_vec(), 415),
        ("json", b"x".to_vec(), 415),
        ("application/x-www-form-urlencoded", b"model=a".to_vec(), 415),
        ("multipart/mixed; boundary=B", b"--B".to_vec(), 415),
    ] {
        let whole = read(TARGET, content_type, &[&body]).map_err(|error| error.status());
        assert_eq!(whole.unwrap_err(), status, "{content_type} {}", body.escape_ascii());
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        let cut = read(TARGET, content_type, &bytes).map_err(|error| error.status());
        assert_eq!(cut.unwrap_err(), status, "{content_type} {}", body.escape_ascii());
    }
    let odd = Reader::new(&call("POST", TARGET), Some(b"multipart/form-data; boundary=B; x=\xFF"), None);
    assert_eq!(odd.unwrap_err().status(), 415);
    for (content_type, body) in [
        ("application/sdp", &b"v=0"[..]),
        ("text/csv; charset=utf-8", b"\xEF\xBB\xBFa,b"),
        ("video/mp4", b"\0\0\0\x18ftyp{"),
        ("image/jpeg", b"\xFF\xD8{"),
        ("text/plain", b""),
        ("application/json", b""),
        ("text/plain", b"\xEF\xBB\xBF"),
    ] {
        let facts = read(TARGET, content_type, &[body]).unwrap();
        assert_eq!(facts.models, [""; 0], "{content_type}");
    }
    assert_eq!(read(TARGET, "image/png", &[b" \n", json.as_bytes()]).unwrap().models, ["a"]);
    // Files of which no API reads more than their bytes.
    assert!(read("/upload/v1beta/files", "text/plain; charset=utf-16", &[&utf16]).is_ok());
}

#[test]
fn content_encodings() {
    let encoded = |encoding: &[u8]| {
        Reader::new(&call("POST", "/v1/messages"), None, Some(encoding)).map(drop)
    };
    for plain in [&b""[..], b"identity", b"Identity", b" identity , identity"] {
        assert_eq!(encoded(plain), Ok(()));
    }
    for packed in [
        &b"gzip"[..],
        b"GZIP",
        b"zstd",
        b"br",
        b"deflate",
        b"identity, gzip",
        b"x-gzip",
        b"aws-chunked",
        b"\xFF",
    ] {
        assert_eq!(encoded(packed), Err(BodyError::ContentEncoding));
    }
    assert_eq!(BodyError::ContentEncoding.status(), 415);
}

#[test]
fn the_number_of_models_is_bounded() {
    let models = |count: usize| {
        (0..count)
            .map(|model| format!("\"m{model}\""))
            .collect::<Vec<_>>()
            .join(",")
    };
    let body = |count| format!(r#"{{"models":[{}]}}"#, models(count));
    assert_eq!(chat(&body(64)).unwrap().models.len(), 64);
    assert_eq!(
        chat(&body(65)).unwrap_err().to_string(),
        "the request names too many models"
    );
    let bounds: Vec<String> = (0..40)
        .map(|bound| format!(r#","max_{bound}_tokens":1"#))
        .collect();
    let bounds = bounds.concat();
    assert!(chat(&format!(r#"{{"model":"a"{bounds}}}"#)).is_err());
}

#[test]
fn errors_hold_nothing_of_the_body() {
    for body in [
        r#"{"model":["sk-secret"]}"#,
        r#"{"model":"sk-secret" sk-secret}"#,
        r#"{"model":"a","stream":"sk-secret"}"#,
    ] {
        let error = chat(body).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("secret"),
            "{error:?}"
        );
    }
}
