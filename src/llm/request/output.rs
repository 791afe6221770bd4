//! How much output a request asks for, and how it can be told to ask for less.

use super::{Facts, Gap, Rewrite};
use crate::json::Span;
use crate::llm::endpoint::Endpoint;
use crate::llm::usage::UsageFormat;

/// A stated bound on the output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stated {
    /// As the body names it.
    pub(super) name: String,
    /// How many tokens; `None`: a number below zero, by which some servers mean as many as there are.
    pub(super) tokens: Option<u64>,
    /// The key of the object that it stands in; `None`: at the top.
    pub(super) inside: Option<&'static str>,
    /// Where the number stands in a JSON body.
    pub(super) span: Span,
}

/// An object in which some APIs have such bounds, as it stands in a JSON body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Settings {
    pub(super) key: &'static str,
    pub(super) place: SettingsPlace,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SettingsPlace {
    Null(Span),
    Object(Gap),
}

/// Where an API takes a bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// In an object, under one of the first names; and the names that it may have there.
    Inside(&'static [&'static str], &'static [&'static str]),
    /// Its answers hold no tokens that anybody could bound.
    Nowhere,
    /// Under one of these names, the first if none is there.
    Top(&'static [&'static str]),
    /// That depends on the model.
    Unknown,
}

impl Facts {
    /// The name of the first stated bound that is larger than `cap`.
    pub fn output_over(&self, cap: u64) -> Option<&str> {
        let mut stated = self.outputs.iter();
        let over = stated.find(|stated| stated.tokens.is_none_or(|tokens| tokens > cap))?;
        Some(&over.name)
    }
}

impl Rewrite {
    /// Sees to it that the answer is bounded by `cap`: larger bounds become that one, and where the API that is asked
    /// would see none it is put in. False where that cannot be done.
    ///
    /// `newer`: whether the model is one of OpenAI's, the newer of which refuse `max_tokens` in chats.
    pub fn bound_output(&mut self, endpoint: &Endpoint, newer: bool, cap: u64) -> bool {
        let place = place(endpoint, newer);
        if place == Place::Nowhere {
            return true;
        }
        let Facts { outputs, edits, .. } = &*self.facts;
        let Some(edits) = edits else {
            return false;
        };
        let over = outputs
            .iter()
            .filter(|stated| stated.tokens.is_none_or(|tokens| tokens > cap));
        self.changes
            .places
            .extend(over.map(|stated| (stated.span, cap.to_string())));
        let is_stated = |names: &[&str], keys: &[&str]| {
            let stands =
                |inside: Option<&str>| inside.map_or(keys.is_empty(), |key| keys.contains(&key));
            let mut outputs = outputs.iter();
            outputs.any(|stated| stands(stated.inside) && names.contains(&&*stated.name))
        };
        match place {
            Place::Top(names) if !is_stated(names, &[]) => {
                let name = names.first().copied().unwrap_or_default();
                self.changes.members.push(format!("\"{name}\":{cap}"));
            }
            Place::Inside(keys, names) if !is_stated(names, keys) => {
                let first = |list: &[&'static str]| list.first().copied().unwrap_or_default();
                let member = format!("\"{}\":{cap}", first(names));
                let mut settings = edits.settings.iter();
                match settings.find(|settings| keys.contains(&settings.key)) {
                    None => self
                        .changes
                        .members
                        .push(format!("\"{}\":{{{member}}}", first(keys))),
                    Some(settings) => self.changes.places.push(match settings.place {
                        SettingsPlace::Null(span) => (span, format!("{{{member}}}")),
                        SettingsPlace::Object(gap) => gap.insert(&member),
                    }),
                }
            }
            // That a bound is stated is all that can be known.
            Place::Unknown => return !outputs.is_empty(),
            _ => {}
        }
        let stated = self.facts.max_output_tokens;
        self.facts.max_output_tokens = Some(stated.map_or(cap, |tokens| tokens.min(cap)));
        true
    }
}

fn place(endpoint: &Endpoint, newer: bool) -> Place {
    match (endpoint.name, endpoint.usage) {
        _ if !endpoint.charged() || endpoint.path == "/v1/responses/compact" => Place::Nowhere,
        ("chat" | "generate", UsageFormat::Ollama) => Place::Inside(&["options"], &["num_predict"]),
        ("chat", UsageFormat::OpenAi) if newer => {
            Place::Top(&["max_completion_tokens", "max_tokens"])
        }
        ("completions", UsageFormat::Anthropic) => Place::Top(&["max_tokens_to_sample"]),
        ("chat" | "completions" | "invocations" | "messages", _) => Place::Top(&["max_tokens"]),
        ("responses", _) => Place::Top(&["max_output_tokens"]),
        ("generate_content", _) => Place::Inside(
            &["generationConfig", "generation_config"],
            &["maxOutputTokens", "max_output_tokens"],
        ),
        ("converse", _) => Place::Inside(&["inferenceConfig"], &["maxTokens"]),
        ("generate" | "invoke" | "raw_predict", _) => Place::Unknown,
        _ => Place::Nowhere,
    }
}
