//! Recorded requests and answers of every API: `testdata/llm-api` and, in the same format, `testdata/llm-api-more`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const FOLDERS: [&str; 2] = ["testdata/llm-api", "testdata/llm-api-more"];

/// A request as a client sends it, and what is to come of it.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) expected: Judgement,
}

/// What is to come of a request.
#[derive(Debug, Deserialize)]
pub(crate) struct Judgement {
    pub(crate) action: Action,
    pub(crate) format: String,
    pub(crate) models: Vec<String>,
    /// Of the refusal.
    pub(crate) status: Option<u16>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    CheckModel,
    CheckModelOrReject,
    NoModelEndpoint,
    Reject,
    RejectOrDefault,
}

/// An upstream's answer, and what it cost.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) body: Vec<u8>,
    pub(crate) expected: Cost,
}

/// What an answer is, and what it cost.
#[derive(Debug, Deserialize)]
pub(crate) struct Cost {
    pub(crate) file: String,
    pub(crate) request_path: String,
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) stream: bool,
    /// `None`: the answer does not say.
    pub(crate) usage: Option<Usage>,
    /// Further acceptable readings.
    #[serde(default)]
    pub(crate) accept_usage: Vec<Option<Usage>>,
    /// Input and output, where they are billed otherwise.
    pub(crate) billed: Option<[u64; 2]>,
}

/// As events have it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[allow(clippy::struct_field_names, reason = "the names in the files")]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) total_tokens: u64,
    pub(crate) cached_tokens: u64,
    pub(crate) reasoning_tokens: u64,
    /// Events do not have it.
    pub(crate) cache_write_tokens: Option<u64>,
}

impl Asked {
    pub(crate) fn all() -> Vec<Self> {
        let load = |path: PathBuf| {
            let file: Value = parse(&path.with_extension("").with_extension("json"));
            let text = |key: &str| file[key].as_str();
            let body = match (text("body"), text("body_b64")) {
                (Some(body), _) => body.as_bytes().to_vec(),
                (None, Some(body)) => base64(body),
                (None, None) => Vec::new(),
            };
            let name = path.file_name().unwrap().to_str().unwrap();
            Self {
                name: name.trim_end_matches(EXPECTED).to_owned(),
                method: text("method").unwrap().to_owned(),
                path: text("path").unwrap().to_owned(),
                headers: serde_json::from_value(file["headers"].clone()).unwrap(),
                body,
                expected: parse(&path),
            }
        };
        expectations("requests").map(load).collect()
    }
}

impl Answered {
    pub(crate) fn all() -> Vec<Self> {
        let load = |path: PathBuf| {
            let expected: Cost = parse(&path);
            Self {
                body: fs::read(path.with_file_name(&expected.file)).unwrap(),
                expected,
            }
        };
        expectations("responses").map(load).collect()
    }
}

const EXPECTED: &str = ".expected.json";

fn expectations(kind: &str) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(folder)
            .join(kind);
        let files =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files = files.map(|file| file.unwrap().path());
        found.extend(files.filter(|path| path.to_string_lossy().ends_with(EXPECTED)));
    }
    found.sort();
    found.into_iter()
}

fn parse<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0_u32;
    let mut decoded = Vec::new();
    for (index, byte) in text.bytes().filter(|byte| *byte != b'=').enumerate() {
        let value = ALPHABET.iter().position(|known| *known == byte).unwrap();
        bits = (bits << 6 | u32::try_from(value).unwrap()) & 0xFF_FFFF;
        if index % 4 != 0 {
            let [.., byte] = (bits >> (6 - 2 * (index % 4))).to_be_bytes();
            decoded.push(byte);
        }
    }
    decoded
}
