//! The configuration reference in the docs is what the decoder takes. `UPDATE=1` writes it anew.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use cohort::config::{Config, schema};
use cohort::llm::endpoint;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::{env, fs};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md");

const HEADING: &str = "\
# Configuration reference

Every field, made from the decoder's own tables: what is not here is an error. `cohort schema > policy.schema.json` prints the same as a
JSON Schema; with the first line `# yaml-language-server: $schema=policy.schema.json` editors complete fields of a policy file and say what is
wrong, as `cohort lint` does with line and column. What the fields do together is told in
[consumers](consumers.md), [limits](limits.md), [policies](policies.md) and [spend](spend.md).

Names of groups, targets and policies are 1 to 64 letters, digits, `-` and `_`; those of consumers and the ids of keys may have `.`, `@` and
`+` as well. Models are compared byte for byte; `*` stands for any text, empty text too. Where the provider knows a model by several
names, as Ollama does (`LLAMA3` and `llama3:latest` are `llama3`), only `allowed_models` keep it away: `denied_models` are evaded.
Numbers may be written `100k` or `2M`, durations `100ms` or `2s`, dates as RFC 3339 has them, with or without time of day.

| | |
|---|---|
| who | `consumer_groups[]`, `consumers[]`, `api_key`, `api_keys[]` (digests), `default_group`, `anonymous_group`, [`identity`](consumers.md#identity) |
| which models | `allowed_models`, `denied_models` (deny wins), `default_model`, `model_aliases` |
| which endpoints | `allowed_endpoints`: [names](endpoints.md) or path prefixes. Files, batches, fine-tuning, stored objects, WebSockets and unknown paths are closed unless named: the provider's account is shared |
| how much | [`rate_limits`](limits.md), `consumer_rate_limits`, `model_rate_limits`, [`request_limits`](consumers.md#what-one-request-may-ask-for), [`pricing`, `budgets`](spend.md) |
| what text | [`policies`, `input_policies`, `output_policies`](policies.md) |
| where to | `providers.targets[]`: the first whose `models` match, or whose API it is, gets the request: its key replaces the caller's, `x-cohort-provider` names it for Envoy's routes |
| how | `mode: shadow`, `counters`, `credential_headers`, `path_prefixes`, `hold_request_headers`, `timezone` and others |

What holds where nothing is said:

";

/// Written out, it is the configuration that it is without.
const DEFAULTS: &str = "\
version: '1'
mode: enforce
credential_headers: [authorization, x-api-key, api-key, x-goog-api-key, apikey]
path_prefixes: ['', /openai, /api, /anthropic]
failed_auth_per_minute: 60
rate_limit_headers: [standard, openai]
retry_after_jitter: 0
hold_request_headers: true
decompress_requests: false
max_response_bytes: 1048576
timezone: '+00:00'
counters: { store: shared_data }
";

const RULES: &str = "\
Allowed in `defaults`, `services[]`, `routes[]`, `consumer_groups[]`, `consumers[]` and `ceilings`:
[which one wins](consumers.md#who-says-what-the-scopes). At the top level those of [the document](#the-document) are, too: they are defaults.

";

const LISTED: &str = "\
Or a list of the following, for other windows; the two forms of one limit are the same limit.

";

/// What limits count, by their names.
const UNITS: [&str; 4] = ["completion_tokens", "prompt_tokens", "requests", "tokens"];

/// Over which limits are counted, by their names.
const WINDOWS: [&str; 5] = ["second", "minute", "hour", "day", "month"];

/// Definitions that are not rules of a scope.
const SHARED: [&str; 3] = ["key", "limits", "policy"];

#[test]
fn the_page_says_what_the_decoder_takes() {
    let schema = schema(&endpoint::names());
    let expected = format!("{HEADING}```yaml\n{DEFAULTS}```\n\n{}", page(&schema));
    if env::var_os("UPDATE").is_some() {
        fs::write(PATH, &expected).unwrap();
    }
    let page = fs::read_to_string(PATH).unwrap();
    assert_eq!(page, expected, "run this test with UPDATE=1");
}

#[test]
fn the_defaults_are_those_of_the_decoder() {
    let said = Config::from_yaml(DEFAULTS).unwrap();
    let silent = Config::from_yaml("version: '1'\n").unwrap();
    assert_eq!(format!("{said:?}"), format!("{silent:?}"));
}

/// A part of the document, and the heading that it stands under.
type Section<'a> = (String, &'a Value);

struct Page<'a> {
    definitions: &'a Map<String, Value>,
    waiting: VecDeque<Section<'a>>,
    text: String,
}

fn page(schema: &Value) -> String {
    let definitions = schema["$defs"].as_object().unwrap();
    let mut page = Page {
        definitions,
        waiting: VecDeque::new(),
        text: String::new(),
    };
    page.section("The document", "", schema);
    page.drain();
    page.text.push_str("## Rules of a scope\n\n");
    page.text.push_str(RULES);
    page.text.push_str("| field | takes | |\n|---|---|---|\n");
    let document = schema["properties"]["defaults"]["properties"]
        .as_object()
        .unwrap();
    for name in definitions.keys().filter(|name| is_rule(name)) {
        page.row("", name, &definitions[name], about(&document[name]), false);
    }
    page.text.push('\n');
    page.drain();
    let limits = &definitions["limits"]["anyOf"];
    page.section("limits", "limits", &limits[0]);
    page.text.push_str(LISTED);
    page.section("limits as a list", "limits[]", &limits[1]["items"]);
    page.drain();
    page.section("key", "key", &definitions["key"]);
    page.section("policy", "policy", &definitions["policy"]);
    for case in definitions["policy"]["allOf"].as_array().unwrap() {
        let kind = &case["if"]["properties"]["type"]["const"];
        if let Some(kind) = kind.as_str() {
            let settings = &case["then"]["properties"]["config"];
            page.section(&format!("config of {kind}"), kind, settings);
        }
    }
    page.drain();
    page.text.trim_end().to_owned() + "\n"
}

fn is_rule(name: &str) -> bool {
    !SHARED.contains(&name)
}

fn about(property: &Value) -> &str {
    property["description"].as_str().unwrap_or_default()
}

impl<'a> Page<'a> {
    fn drain(&mut self) {
        while let Some((path, object)) = self.waiting.pop_front() {
            self.section(&path.clone(), &path, object);
        }
    }

    /// A table of an object's fields.
    fn section(&mut self, heading: &str, path: &str, object: &'a Value) {
        let properties = object["properties"].as_object().unwrap();
        let required = object["required"].as_array();
        writeln!(
            self.text,
            "## {heading}\n\n| field | takes | |\n|---|---|---|"
        )
        .unwrap();
        let mut rules = Vec::new();
        let mut before = "";
        for (name, property) in properties {
            // What is counted, once: not for each window anew.
            let counted = name
                .rsplit_once("_per_")
                .filter(|(_, per)| WINDOWS.contains(per));
            if let Some((unit, _)) = counted {
                let amount = UNITS.contains(&unit);
                if amount && before != unit {
                    before = unit;
                    let windows =
                        WINDOWS.map(|per| properties.contains_key(&format!("{unit}_per_{per}")));
                    assert!(windows.iter().all(|there| *there), "{unit}");
                    let takes = self.takes(path, property);
                    let per = WINDOWS.join(",");
                    writeln!(
                        self.text,
                        "| `{unit}_per_{{{per}}}` | {takes} | {} |",
                        unit.replace('_', " ")
                    )
                    .unwrap();
                }
                if amount {
                    continue;
                }
            }
            if is_rule(name) && property["$ref"] == format!("#/$defs/{name}") {
                rules.push(format!("`{name}`"));
                continue;
            }
            let must = required.is_some_and(|required| required.iter().any(|it| it == name));
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            self.row(&path, name, property, about(property), must);
        }
        let all = self.definitions.keys().filter(|name| is_rule(name)).count();
        if rules.len() == all {
            self.text
                .push_str("| … | [rules of a scope](#rules-of-a-scope) | |\n");
        } else if !rules.is_empty() {
            let rules = rules.join(", ");
            writeln!(
                self.text,
                "| {rules} | [rules of a scope](#rules-of-a-scope) | As in `defaults` |"
            )
            .unwrap();
        }
        self.text.push('\n');
    }

    fn row(&mut self, path: &str, name: &str, property: &'a Value, about: &str, must: bool) {
        let path = if path.is_empty() { name } else { path };
        let takes = self.takes(path, property);
        let must = if must { ", required" } else { "" };
        let about = about.replace('|', "\\|");
        writeln!(self.text, "| `{name}` | {takes}{must} | {about} |").unwrap();
    }

    /// In words, what may stand there. Objects get a section of their own.
    fn takes(&mut self, path: &str, value: &'a Value) -> String {
        if let Some(name) = value["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            return if is_rule(name) {
                let definition = &self.definitions[name];
                self.takes(path, definition)
            } else {
                format!("[{name}](#{name})")
            };
        }
        if let Some(words) = value["enum"].as_array() {
            let endpoints = endpoint::names();
            if words.len() == endpoints.len() && words.iter().any(|word| word == "chat") {
                return "an [endpoint's name](endpoints.md)".to_owned();
            }
            let words = words.iter().filter(|word| word.is_string());
            let words: Vec<_> = words
                .map(|word| format!("`{}`", word.as_str().unwrap()))
                .collect();
            return words.join(", ");
        }
        if let Some(cases) = value["anyOf"].as_array()
            && value.get("properties").is_none()
        {
            let number = cases.iter().find(|case| case["minimum"].is_number());
            if let Some(number) = number.filter(|_| cases[1]["type"] == "string") {
                return range(number);
            }
            let cases: Vec<_> = cases.iter().map(|case| self.takes(path, case)).collect();
            return cases.join(", or ");
        }
        match value["type"].as_str() {
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("number" | "integer") => range(value),
            Some("array") => {
                let of = self.takes(&format!("{path}[]"), &value["items"]);
                let some = if value["minItems"].is_number() {
                    " (one or more)"
                } else {
                    ""
                };
                format!("list{some}: {of}")
            }
            Some("object") if value["properties"].is_object() => {
                self.waiting.push_back((path.to_owned(), value));
                format!("[map](#{})", anchor(path))
            }
            Some("object") => {
                let of = self.takes(&format!("{path}.*"), &value["additionalProperties"]);
                format!("map of names to: {of}")
            }
            Some("string") => string(value),
            _ => "map".to_owned(),
        }
    }
}

fn range(value: &Value) -> String {
    let whole = if value["type"] == "integer" {
        "whole number"
    } else {
        "number"
    };
    let [from, to] = ["minimum", "maximum"].map(|end| spaced(&value[end].to_string()));
    format!("{whole}, {from} to {to}")
}

/// A number with commas between its thousands.
fn spaced(number: &str) -> String {
    let number = number.trim_end_matches(".0");
    let Some(whole) = number.parse::<u64>().ok().map(|whole| whole.to_string()) else {
        return number.to_owned();
    };
    let mut text = String::new();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a string's pattern means, if the page has a word for it.
fn string(value: &Value) -> String {
    let Some(pattern) = value["pattern"].as_str() else {
        return "text".to_owned();
    };
    let word = match pattern {
        "^[A-Za-z0-9_-]{1,64}$" | "^[A-Za-z0-9_.@+-]{1,64}$" => "name",
        "^[0-9A-Fa-f]{64}$" => "64 hex digits",
        "^[^*]{1,256}$" => "model",
        r"^(?!\$\{)\S+$" => "key in plain text",
        "^[0-9]+(ms|s)$" => "duration",
        "^[A-Za-z0-9_.:-]{1,64}$" => "tag",
        "^[!-~]{1,256}$" => "name of Envoy's",
        "^[A-Za-z_][A-Za-z0-9_]{0,127}$" => "variable's name",
        date if date.starts_with("^[0-9]{4}-[0-9]{2}") => "date",
        path if path.starts_with("^/") => "path",
        header if header.starts_with("^[A-Za-z0-9!#$%&'*+.^_`|~-]") => "field name",
        other => return format!("text: `{}`", other.replace('|', "\\|")),
    };
    word.to_owned()
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    kept.collect::<String>().to_lowercase()
}
