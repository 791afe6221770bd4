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
    /// How many tokens: all there are for a number that some servers take for that. `None`: null, which is as good as no
    /// bound, but has the key.
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
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In an object, under one of the first names; and the names that it may have there.
    Inside(&'static [&'static str], &'static [&'static str]),
    /// Its answers hold no tokens that anybody could bound.
    Nowhere,
    /// Nobody can know: what is stated is all that there is.
    Stated,
    /// Under one of these names, the first if none is there.
    Top(&'static [&'static str]),
    /// That depends on the model.
    Unknown,
}

impl Facts {
    /// The name of the first stated bound that is larger than `cap`.
    pub fn output_over(&self, cap: u64) -> Option<&str> {
        let mut stated = self.outputs.iter();
        let over = stated.find(|stated| stated.tokens.is_some_and(|tokens| tokens > cap))?;
        Some(&over.name)
    }
}

impl Rewrite {
    /// Sees to it that the answer is bounded by `cap`: larger bounds become that one, and where the API that is asked
    /// would see none it is put in. False where that cannot be done.
    ///
    /// `newer`: whether the model is one of OpenAI's, the newer of which refuse `max_tokens` in chats.
    #[cold]
    #[inline(never)]
    pub fn bound_output(&mut self, endpoint: &Endpoint, newer: bool, cap: u64) -> bool {
        let place = place(endpoint, newer);
        let (keys, names): (&[&str], &[&str]) = match place {
            Place::Inside(keys, names) => (keys, names),
            Place::Top(names) => (&[], names),
            Place::Nowhere => return true,
            Place::Stated | Place::Unknown => (&[], &[]),
        };
        let only_stated = matches!(place, Place::Stated);
        let Facts { outputs, edits, .. } = &*self.facts;
        let cap_text = cap.to_string();
        let (mut any, mut over) = (false, false);
        for stated in outputs {
            any |= stated.tokens.is_some();
            if stated.tokens.is_some_and(|tokens| tokens > cap) {
                over = true;
                self.changes.places.push((stated.span, cap_text.clone()));
            }
        }
        let Some(edits) = edits else {
            return only_stated && !over;
        };
        if matches!(place, Place::Unknown) && !any {
            // That a bound is stated is all that can be known.
            return false;
        }
        if let Some(name) = names.first() {
            let member = ["\"", name, "\":", &cap_text].concat();
            let object = ["{", &member, "}"].concat();
            let mut objects = 0_usize;
            // Of an object with two names servers read the one or the other.
            for next in edits.settings.iter().map(Some).chain([None]) {
                match next {
                    Some(settings) if !keys.contains(&settings.key) => continue,
                    Some(_) => objects = objects.saturating_add(1),
                    None if objects > 0 => break,
                    None => {}
                }
                let inside = next.map(|settings| settings.key);
                let mut bounded = false;
                let mut null = None;
                for stated in outputs {
                    if stated.inside == inside && names.contains(&&*stated.name) {
                        bounded |= stated.tokens.is_some();
                        if stated.name == *name {
                            null = Some(stated.span);
                        }
                    }
                }
                let changes = &mut self.changes;
                match (next, keys.first()) {
                    (None, Some(key)) => {
                        (changes.members).push(["\"", key, "\":", &object].concat());
                    }
                    _ if bounded => {}
                    // No key may be there twice.
                    _ if let Some(null) = null => changes.places.push((null, cap_text.clone())),
                    (None, None) => changes.members.push(member.clone()),
                    (Some(settings), _) => changes.places.push(match settings.place {
                        SettingsPlace::Null(span) => (span, object.clone()),
                        SettingsPlace::Object(gap) => gap.insert(&member),
                    }),
                }
            }
        }
        if over || !only_stated {
            let stated = self.facts.max_output_tokens;
            self.facts.max_output_tokens = Some(stated.map_or(cap, |tokens| tokens.min(cap)));
        }
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
        ("predict", _) => Place::Stated,
        _ if !endpoint.open() => Place::Stated,
        _ => Place::Nowhere,
    }
}
