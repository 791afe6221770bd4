//! No two readers: what the filter lets through, `CPython`, Node, `serde_json` and readers that ignore letter case
//! understand as the filter did.
//!
//! `DIFFERENTIAL_SEED` and `DIFFERENTIAL_BODIES` change what is generated.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking; JavaScript's numbers are doubles"
)]

#[path = "differential/corpus.rs"]
mod corpus;
#[path = "differential/readers.rs"]
mod readers;

use cohort::llm::endpoint::{Call, Streams, classify};
use cohort::llm::request::{BodyError, Facts, Reader};
use corpus::{Body, Profile, Rng};
use readers::{Found, Readers, Wanted};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const BODIES: usize = 100_000;

/// Chat, and what gateways and routers take for a list to fall back on.
const CHAT: &[&[&str]] = &[
    &["model"],
    &["models", "*"],
    &["fallbacks", "*"],
    &["fallbacks", "*", "model"],
    &["tools", "*", "model"],
];

/// What the API references say, written down here once more: the filter's own table is under test.
const PROFILES: &[Profile] = &[
    Profile {
        target: "/v1/chat/completions",
        name: None,
        models: CHAT,
    },
    Profile {
        target: "/v1/responses",
        name: None,
        models: &[
            &["model"],
            &["models", "*"],
            &["fallbacks", "*"],
            &["fallbacks", "*", "model"],
            &["tools", "*", "model"],
            &["moderation", "model"],
        ],
    },
    Profile {
        target: "/v1/embeddings",
        name: None,
        models: &[&["model"]],
    },
    Profile {
        target: "/v1/realtime/sessions",
        name: None,
        models: &[
            &["model"],
            &["session", "model"],
            &["session", "audio", "input", "transcription", "model"],
            &["session", "input_audio_transcription", "model"],
            &["input_audio_transcription", "model"],
        ],
    },
    Profile {
        target: "/v1/messages",
        name: None,
        models: CHAT,
    },
    Profile {
        target: "/v1/messages/batches",
        name: None,
        models: &[
            &["requests", "*", "params", "model"],
            &["requests", "*", "params", "fallbacks", "*", "model"],
            &["requests", "*", "params", "tools", "*", "model"],
        ],
    },
    Profile {
        target: "/v1beta/models/gemini-2.5-flash:generateContent",
        name: Some("gemini-2.5-flash"),
        models: &[
            &["model"],
            &["generateContentRequest", "model"],
            &["requests", "*", "model"],
        ],
    },
    Profile {
        target: "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse",
        name: None,
        models: &[
            &["additionalModelRequestFields", "fallbacks", "*", "model"],
            &["additionalModelRequestFields", "tools", "*", "model"],
        ],
    },
    Profile {
        target: "/v2/chat",
        name: None,
        models: &[&["model"]],
    },
    Profile {
        target: "/api/chat",
        name: None,
        models: &[&["model"]],
    },
    Profile {
        target: "/api/show",
        name: Some("llama3.2"),
        models: &[&["model"], &["name"]],
    },
];

/// Objects whose numbers bound an answer as those at the top do.
const SETTINGS: &[&str] = &[
    "generationConfig",
    "generation_config",
    "inferenceConfig",
    "options",
    "parameters",
    "sampling_params",
    "textGenerationConfig",
];

const OUTPUT: &[&str] = &[
    "max*tokens",
    "maxTokenCount",
    "max_gen_len",
    "max_tokens_to_sample",
    "num_predict",
];

const CHOICES: &[&str] = &[
    "n",
    "best_of",
    "candidateCount",
    "candidate_count",
    "num_generations",
    "sampleCount",
];

/// What must have been refused for the corpus to be worth its name.
#[rustfmt::skip]
const REFUSALS: &[&str] = &[
    "CaseVariant", "Control in a model", "Disagreement", "Duplicate", "NotAString", "TooLong", "TooMany",
    "NotObject", "WrongType", "ByteOrderMark", "Control", "Escape", "Incomplete", "LoneSurrogate", "Nul",
    "NumberOutOfRange", "Syntax", "TooDeep", "TrailingBytes", "Utf8",
];

/// What a request says, to the filter or to a reader.
#[derive(Debug, PartialEq)]
struct View {
    models: BTreeSet<String>,
    stream: bool,
    include_usage: Option<bool>,
    background: bool,
    max_output_tokens: Option<f64>,
    choices: f64,
}

impl View {
    fn judged(call: &Call, facts: &Facts) -> Self {
        Self {
            models: names(call, facts.models.iter().map(String::as_str)),
            stream: facts.stream,
            include_usage: facts.include_usage,
            background: facts.background,
            max_output_tokens: facts
                .max_output_tokens
                .filter(|tokens| *tokens > 0)
                .map(|tokens| tokens as f64),
            choices: facts.choices as f64,
        }
    }

    /// Or what is in the body that should not be.
    fn read(call: &Call, found: &Found) -> Result<Self, String> {
        let (mut models, mut tokens, mut choices) = (Vec::new(), None, 1_f64);
        let (mut stream, mut include_usage, mut background) = (None, None, None);
        for (name, value) in found.as_ref().map_err(Clone::clone)? {
            let odd = || format!("{name} is {value}");
            let number = || match value {
                Value::Null => Ok(0.0),
                // What is over this is without bound in any case.
                value => value
                    .as_f64()
                    .map(|number| number.ceil().min(u64::MAX as f64))
                    .ok_or_else(odd),
            };
            let flag = || match value {
                Value::Null => Ok(None),
                value => value.as_bool().map(Some).ok_or_else(odd),
            };
            match (name.as_str(), value) {
                ("model", Value::String(model)) => models.push(model.as_str()),
                ("model or object", Value::String(model)) => models.push(model),
                ("stream", _) => stream = flag()?,
                ("include_usage", _) => include_usage = flag()?,
                ("background", _) => background = flag()?,
                ("model or object", Value::Object(_)) | ("tokens", Value::Null) => {}
                // Below zero stands for no bound, and so does zero to Ollama.
                ("tokens", _) => {
                    let stated = Some(number()?).filter(|stated| *stated > 0.0);
                    tokens = stated.into_iter().chain(tokens).reduce(f64::max);
                }
                ("choices", _) => choices = choices.max(number()?),
                _ => return Err(odd()),
            }
        }
        Ok(Self {
            models: names(call, models),
            stream: match call.endpoint.streams {
                Streams::Always => true,
                Streams::Asked => stream.unwrap_or(false),
                Streams::Default => stream.unwrap_or(true),
                Streams::Never => false,
            },
            include_usage,
            background: background.unwrap_or(false),
            max_output_tokens: tokens,
            choices,
        })
    }
}

/// With those of the path; Gemini's bodies write `models/` before a name.
fn names<'a>(call: &'a Call, body: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let path = call.models.iter().map(String::as_str);
    let bare = |name: &'a str| {
        name.strip_prefix("models/")
            .filter(|_| call.endpoint.fields.agree)
            .unwrap_or(name)
    };
    path.chain(body).map(|name| bare(name).to_owned()).collect()
}

/// The filter, and everybody else.
struct Bench {
    calls: Vec<Call>,
    readers: Readers,
}

impl Bench {
    fn new() -> Self {
        let prefixes = ["", "/openai", "/api", "/anthropic"].map(str::to_owned);
        let call = |profile: &Profile| {
            classify(b"POST", profile.target.as_bytes(), false, &prefixes)
                .ok()
                .unwrap()
        };
        Self {
            calls: PROFILES.iter().map(call).collect(),
            readers: Readers::new(PROFILES.iter().map(wanted).collect()),
        }
    }

    fn filter(&self, body: &Body, pieces: &[&[u8]]) -> Result<Box<Facts>, BodyError> {
        let mut reader = Reader::new(&self.calls[body.profile], Some(b"application/json"), None)?;
        for piece in pieces {
            reader.push(piece)?;
        }
        reader.finish()
    }

    /// For each body that the filter lets through: who understands it differently, and how.
    fn disagreements(&self, bodies: &[Body], facts: &[Option<Box<Facts>>]) -> Vec<(usize, String)> {
        let accepted: Vec<_> = (0..bodies.len())
            .filter(|&index| facts[index].is_some())
            .collect();
        let sent: Vec<_> = accepted.iter().map(|&index| &bodies[index]).collect();
        let read = self.readers.read(&sent);
        let mut wrong = Vec::new();
        for (at, &index) in accepted.iter().enumerate() {
            let call = &self.calls[bodies[index].profile];
            let judged = View::judged(call, facts[index].as_ref().unwrap());
            let views: Vec<_> = read
                .iter()
                .map(|(name, found)| (name, View::read(call, &found[at])))
                .collect();
            if views.iter().any(|(_, view)| view.as_ref() != Ok(&judged)) {
                let mut report = format!("judged: {judged:?}");
                for (name, view) in views {
                    write!(report, "\n  {name}: {view:?}").unwrap();
                }
                wrong.push((index, report));
            }
        }
        wrong
    }

    /// A smaller body that is wrong as well, with what is wrong; cuts out ever smaller parts.
    fn shrink(&self, body: Body, report: String) -> (Body, String) {
        let (mut body, mut report) = (body, report);
        for _ in 0..200 {
            let length = body.bytes.len();
            let cuts = std::iter::successors(Some(length / 2), |size| Some(size / 2))
                .take_while(|size| *size > 0);
            let candidates: Vec<_> = cuts
                .flat_map(|size| {
                    (0..length)
                        .step_by(size)
                        .map(move |from| (from, (from + size).min(length)))
                })
                .map(|(from, to)| Body {
                    profile: body.profile,
                    bytes: [&body.bytes[..from], &body.bytes[to..]].concat(),
                })
                .collect();
            let facts: Vec<_> = candidates
                .iter()
                .map(|body| self.filter(body, &[&body.bytes]).ok())
                .collect();
            let wrong = self.disagreements(&candidates, &facts);
            let Some((index, smaller)) = wrong
                .into_iter()
                .min_by_key(|(index, _)| candidates[*index].bytes.len())
            else {
                break;
            };
            body = candidates.into_iter().nth(index).unwrap();
            report = smaller;
        }
        (body, report)
    }
}

fn wanted(profile: &Profile) -> Wanted {
    let leads_on = |path: &[&str]| {
        profile
            .models
            .iter()
            .any(|other| other.len() > path.len() && other.starts_with(path))
    };
    let models = profile.models.iter().map(|path| {
        let name = if leads_on(path) {
            "model or object"
        } else {
            "model"
        };
        (name, path.to_vec())
    });
    let flags = [
        ("stream", vec!["stream"]),
        ("include_usage", vec!["stream_options", "include_usage"]),
        ("background", vec!["background"]),
    ];
    let bounds = [("tokens", OUTPUT), ("choices", CHOICES)]
        .into_iter()
        .flat_map(|(name, keys)| {
            keys.iter().flat_map(move |&key| {
                let inside = SETTINGS
                    .iter()
                    .map(move |&settings| (name, vec![settings, key]));
                inside.chain([(name, vec![key])])
            })
        });
    let places: Vec<_> = models.chain(flags).chain(bounds).collect();
    Wanted::new(&places)
}

/// Bodies as real clients send them.
fn real_bodies() -> Vec<Body> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/llm-api/requests");
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut bodies = Vec::new();
    for file in files {
        let request: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let (Some(path), Some(body)) = (request["path"].as_str(), request["body"].as_str()) else {
            continue;
        };
        let path = path.split('?').next().unwrap_or_default();
        if let Some(profile) = PROFILES.iter().position(|profile| profile.target == path) {
            bodies.push(Body {
                profile,
                bytes: body.as_bytes().to_vec(),
            });
        }
    }
    bodies
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn class(error: &BodyError) -> String {
    match error {
        BodyError::Ambiguous { reason, .. } if format!("{reason:?}") == "Control" => {
            "Control in a model".to_owned()
        }
        BodyError::Ambiguous { reason, .. } => format!("{reason:?}"),
        BodyError::Json(error) => format!("{:?}", error.kind),
        other => format!("{other:?}")
            .split([' ', '('])
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

#[test]
fn what_passes_is_read_alike_by_everybody() {
    let seed = setting("DIFFERENTIAL_SEED", 3);
    let count = usize::try_from(setting("DIFFERENTIAL_BODIES", BODIES as u64)).unwrap();
    println!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_BODIES={count}");
    let bench = Bench::new();
    let real = real_bodies();
    assert!(real.len() >= 10, "bodies to mutate: {}", real.len());
    let mut rng = Rng::new(seed);
    let bodies: Vec<_> = (0..count)
        .map(|_| {
            if rng.percent(50) {
                return corpus::grow(&mut rng, PROFILES);
            }
            let body = &real[rng.below(real.len())];
            corpus::mutate(&mut rng, body.profile, &body.bytes)
        })
        .collect();

    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut facts = Vec::with_capacity(count);
    for body in &bodies {
        let judged = bench.filter(body, &[&body.bytes]);
        let (first, second) = body.bytes.split_at(rng.below(body.bytes.len()));
        let (second, third) = second.split_at(rng.below(second.len()));
        let in_pieces = bench.filter(body, &[first, second, third]);
        assert_eq!(
            judged,
            in_pieces,
            "cut after {} and {}: {}",
            first.len(),
            second.len(),
            body.bytes.escape_ascii()
        );
        if let Err(error) = &judged {
            *refused.entry(class(error)).or_default() += 1;
        }
        facts.push(judged.ok());
    }
    let accepted = facts.iter().flatten().count();
    println!("{accepted} accepted, refused: {refused:?}");

    let wrong = bench.disagreements(&bodies, &facts);
    let count_wrong = wrong.len();
    if let Some((index, report)) = wrong
        .into_iter()
        .min_by_key(|(index, _)| bodies[*index].bytes.len())
    {
        let body = Body {
            profile: bodies[index].profile,
            bytes: bodies[index].bytes.clone(),
        };
        let (body, report) = bench.shrink(body, report);
        let target = PROFILES[body.profile].target;
        panic!(
            "{count_wrong} read differently; one, made small:\n  POST {target}\n  {}\n  {report}",
            body.bytes.escape_ascii()
        );
    }
    // Or nothing of the above says much.
    assert!(accepted * 5 >= count, "only {accepted} of {count} accepted");
    let models = facts.iter().flatten().map(|facts| facts.models.len());
    assert!(
        models.filter(|models| *models > 1).count() * 50 >= accepted,
        "hardly any with several models"
    );
    for class in REFUSALS {
        assert!(
            refused.contains_key(*class),
            "no body was refused for {class}"
        );
    }
}

/// The readers are as different as those in the field: each of these bodies would be a finding if it passed.
#[test]
fn the_readers_differ() {
    let bench = Bench::new();
    let cases: &[(&[u8], &str)] = &[
        (br#"{"model":"a","model":"b"}"#, "duplicate"),
        (br#"{"model":"a","\u006dodel":"b"}"#, "duplicate, escaped"),
        (br#"{"model":"a","Model":"b"}"#, "letter case"),
        (
            br#"{"model":"a","fallbacks":[],"fallbac\u212as":["b"]}"#,
            "Kelvin sign",
        ),
        (
            br#"{"model":"a","max_tokens":1,"max_to\u212Aen\u017F":2}"#,
            "Kelvin sign and long s",
        ),
        (br#"{"model":"a","model":null}"#, "null at last"),
        (br#"{"model":"a","model\u0000":"b"}"#, "NUL after a key"),
        (b"\xEF\xBB\xBF{\"model\":\"a\"}", "byte order mark"),
        (b"{\0\"\0m\0o\0d\0e\0l\0\"\0:\0\"\0a\0\"\0}\0", "UTF-16"),
        (br#"{"model":"a","x":NaN}"#, "NaN"),
        (br#"{"model":"a","x":1e999}"#, "out of range"),
        (b"{\"model\":\"\xFF\"}", "not UTF-8"),
        (br#"{"model":"a","x":"\ud800"}"#, "half a pair"),
    ];
    let bodies: Vec<_> = cases
        .iter()
        .map(|(bytes, _)| Body {
            profile: 0,
            bytes: bytes.to_vec(),
        })
        .collect();
    for (body, (_, what)) in bodies.iter().zip(cases) {
        assert!(bench.filter(body, &[&body.bytes]).is_err(), "{what} passes");
    }
    let read = bench.readers.read(&bodies.iter().collect::<Vec<_>>());
    for (index, (_, what)) in cases.iter().enumerate() {
        let views = read
            .iter()
            .map(|(_, found)| View::read(&bench.calls[0], &found[index]));
        let distinct = views.fold(Vec::new(), |mut distinct: Vec<_>, view| {
            // How an error is worded is no difference.
            let view = view.map_err(drop);
            if !distinct.contains(&view) {
                distinct.push(view);
            }
            distinct
        });
        assert!(distinct.len() > 1, "{what}: all read {distinct:?}");
    }
}
