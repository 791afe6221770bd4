mod forms;
mod json;
mod properties;
mod redactions;
mod rewrites;

use super::*;
use crate::llm::endpoint::classify;
use serde_json::Value;

use std::fs;
use std::path::Path;

const PREFIXES: [&str; 4] = ["", "/openai", "/api", "/anthropic"];

pub(super) fn call(method: &str, target: &str) -> Call {
    classify(
        method.as_bytes(),
        target.as_bytes(),
        false,
        &PREFIXES.map(str::to_owned),
    )
    .unwrap()
}

pub(super) fn read(
    target: &str,
    content_type: &str,
    pieces: &[&[u8]],
) -> Result<Box<Facts>, BodyError> {
    let mut reader = Reader::new(&call("POST", target), Some(content_type.as_bytes()), None)?;
    for piece in pieces {
        reader.push(piece)?;
    }
    reader.finish()
}

pub(super) fn chat(body: &str) -> Result<Box<Facts>, BodyError> {
    read(
        "/v1/chat/completions",
        "application/json",
        &[body.as_bytes()],
    )
}

/// What a gateway with `allowed_endpoints: ["/"]` and any allow-list makes of a request: its facts, or a status.
fn judge(request: &Value, pieces: usize) -> Result<(Call, Box<Facts>), u16> {
    let text = |key: &str| request[key].as_str();
    let header = |name: &str| request["headers"][name].as_str().map(str::as_bytes);
    let prefixes = PREFIXES.map(str::to_owned);
    let upgrade = header("upgrade").is_some();
    let method = text("method").unwrap().as_bytes();
    let call = classify(method, text("path").unwrap().as_bytes(), upgrade, &prefixes)
        .map_err(|_| 400_u16)?;
    let body = match (text("body"), text("body_b64")) {
        (Some(body), _) => body.as_bytes().to_vec(),
        (None, Some(encoded)) => base64(encoded),
        (None, None) => Vec::new(),
    };
    let status = |error: BodyError| error.status();
    let mut reader =
        Reader::new(&call, header("content-type"), header("content-encoding")).map_err(status)?;
    for piece in body.chunks(pieces.max(1)) {
        reader.push(piece).map_err(status)?;
    }
    let facts = reader.finish().map_err(status)?;
    if call.endpoint.needs_model() && facts.models.is_empty() {
        return Err(400);
    }
    Ok((call, facts))
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |byte: u8| {
        ALPHABET
            .iter()
            .position(|&known| known == byte)
            .unwrap_or(0)
    };
    let three = |four: &[u8]| {
        let bits = four.iter().fold(0, |bits, &byte| bits << 6 | value(byte));
        let padding = four
            .rsplit(|&byte| byte != b'=')
            .next()
            .map_or(0, <[u8]>::len);
        [(bits >> 16) & 0xFF, (bits >> 8) & 0xFF, bits & 0xFF]
            .into_iter()
            .take(3_usize.saturating_sub(padding))
    };
    text.as_bytes()
        .chunks(4)
        .flat_map(three)
        .map(|byte| u8::try_from(byte).unwrap())
        .collect()
}

/// Every recorded request, in pieces of several sizes.
#[test]
fn fixtures() {
    let seen = [
        "testdata/llm-api/requests",
        "testdata/llm-api-more/requests",
    ]
    .map(folder);
    assert!(seen[0] >= 40 && seen[1] >= 190, "only {seen:?} fixtures");
}

fn folder(folder: &str) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut seen = 0_usize;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(stem) = name
            .strip_suffix(".json")
            .filter(|stem| !stem.ends_with(".expected"))
        else {
            continue;
        };
        let parse =
            |path: &Path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
        let request = parse(&path);
        let expected = parse(&folder.join(format!("{stem}.expected.json")));
        if expected["status"] == 401 {
            // Keys are not for this part.
            continue;
        }
        for pieces in [usize::MAX, 7, 1] {
            let judged = judge(&request, pieces);
            match (expected["action"].as_str().unwrap(), judged) {
                ("check_model" | "check_model_or_reject", Ok((_, facts))) => {
                    check(stem, &expected, &facts);
                }
                ("no_model_endpoint", Ok((call, facts))) => {
                    assert!(facts.models.is_empty(), "{stem}");
                    assert!(!call.endpoint.needs_model(), "{stem}");
                }
                ("reject" | "check_model_or_reject" | "reject_or_default", Err(status)) => {
                    assert_eq!(
                        expected["status"].as_u64().unwrap_or(400),
                        u64::from(status),
                        "{stem}"
                    );
                }
                (action, judged) => panic!("{stem}: {action}, but {judged:?}"),
            }
        }
        seen = seen.saturating_add(1);
    }
    seen
}

fn check(stem: &str, expected: &Value, facts: &Facts) {
    assert_eq!(
        expected["models"],
        Value::from(facts.models.clone()),
        "{stem}"
    );
    assert_eq!(expected["stream"], Value::from(facts.stream), "{stem}");
    assert_eq!(
        expected["include_usage"],
        facts.include_usage.map_or(Value::Null, Value::from),
        "{stem}"
    );
    assert_eq!(
        expected["max_output_tokens"],
        facts.max_output_tokens.map_or(Value::Null, Value::from),
        "{stem}"
    );
}
