//! Answers as the APIs gave them, whole and in pieces.

use super::*;
use std::fs;
use std::path::Path;

#[test]
fn every_recorded_answer_gives_its_usage() {
    let seen = [
        "testdata/llm-api/responses",
        "testdata/llm-api-more/responses",
    ]
    .map(recorded);
    assert!(
        seen[0] >= 20 && seen[1] >= 40,
        "fixtures are missing: {seen:?}"
    );
}

fn recorded(dir: &str) -> usize {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut seen = 0_usize;
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".expected.json") {
            continue;
        }
        let expected: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let name = expected["file"].as_str().unwrap();
        let body = fs::read(dir.join(name)).unwrap();
        let (vendor, _) = expected["format"]
            .as_str()
            .unwrap()
            .split_once('.')
            .unwrap_or_default();
        let format = match vendor {
            "anthropic" => Anthropic,
            "bedrock" => Bedrock,
            "cohere" => Cohere,
            "gemini" | "vertex" => Gemini,
            "ollama" => Ollama,
            _ if expected["format"] == "openai.responses" => OpenAiResponses,
            _ => OpenAi,
        };
        let kind = Kind {
            format,
            status: u16::try_from(expected["status"].as_u64().unwrap()).unwrap(),
            content_type: expected["content_type"].as_str(),
            strip: false,
        };
        let read = kind.check(&body);
        assert_eq!(read.bytes, body, "{name}");
        assert_eq!(read.stream, expected["stream"].as_bool().unwrap(), "{name}");

        let acceptable = expected["accept_usage"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let acceptable: Vec<_> = [expected["usage"].clone()]
            .into_iter()
            .chain(acceptable)
            .map(|usage| {
                usage.as_object()?;
                let keys = [
                    "prompt",
                    "completion",
                    "total",
                    "cached",
                    "cache_write",
                    "reasoning",
                ];
                Some(keys.map(|key| usage[format!("{key}_tokens")].as_u64().unwrap_or_default()))
            })
            .collect();
        let got = counts(read.usage);
        assert!(
            acceptable.contains(&got),
            "{name}: {got:?} is none of {acceptable:?}"
        );

        if path.to_string_lossy().contains("stream")
            && kind.content_type == Some("text/event-stream")
        {
            let text = String::from_utf8(body).unwrap().replace('\r', "");
            for ending in ["\r\n", "\r"] {
                let body = text.replace('\n', ending);
                let other = kind.check(body.as_bytes());
                assert_eq!((other.usage, other.text), (read.usage, read.text), "{name}");
                assert_eq!(other.bytes, body.as_bytes(), "{name}");
            }
        }
        seen = seen.saturating_add(1);
    }
    seen
}
