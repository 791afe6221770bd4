//! Lists of models, cut down to what the caller may use.
//!
//! Works on a whole answer. What it does not know as a list it does not let pass: a list that leaks is
//! worse than an error. Entries that stay, and all beside them, keep their bytes and their order. Knows
//! no group: what is allowed is asked.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::endpoint::Dialect;

/// The answer to `GET /v1/models` without the models that are not `allowed`; `None` if it is no list of
/// models.
pub fn filter(body: &[u8], dialect: Dialect, allowed: impl Fn(&str) -> bool) -> Option<Vec<u8>> {
    let list = List { dialect, allowed };
    // Together has no object around its list.
    if let Ok(models) = serde_json::from_slice::<Vec<&RawValue>>(body) {
        let (kept, _) = list.kept(&models)?;
        return Some(array(&kept).into_bytes());
    }
    let Object(members) = serde_json::from_slice(body).ok()?;
    // Gemini's empty list.
    let mut is_list = members.is_empty();
    let mut ends = None;
    let mut filtered = Vec::with_capacity(members.len());
    for (key, value) in &members {
        let value = match key.as_ref() {
            // llama.cpp gives both, with the same models.
            "data" | "models" => {
                let models: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                let (kept, names) = list.kept(&models)?;
                is_list = true;
                ends = Some((names.first().cloned(), names.last().cloned()));
                array(&kept)
            }
            _ => value.get().to_owned(),
        };
        filtered.push((key, value));
    }
    if !is_list {
        return None;
    }

    let mut out = String::with_capacity(body.len());
    for (key, value) in &filtered {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push_str(&serde_json::to_string(key).ok()?);
        out.push(':');
        // Where a page of Anthropic's list starts and ends; both name a model.
        match (dialect, key.as_ref(), &ends) {
            (Dialect::Anthropic, "first_id", Some((end, _)))
            | (Dialect::Anthropic, "last_id", Some((_, end))) => {
                out.push_str(&serde_json::to_string(end).ok()?);
            }
            _ => out.push_str(value),
        }
    }
    out.push_str(if out.is_empty() { "{}" } else { "}" });
    Some(out.into_bytes())
}

struct List<F> {
    dialect: Dialect,
    allowed: F,
}

impl<F: Fn(&str) -> bool> List<F> {
    /// The allowed ones of `models`, and their names.
    fn kept<'a>(&self, models: &[&'a RawValue]) -> Option<(Vec<&'a str>, Vec<Cow<'a, str>>)> {
        let mut kept = Vec::new();
        let mut names = Vec::new();
        for model in models {
            let entry: Entry<'a> = serde_json::from_str(model.get()).ok()?;
            let name = entry.id.or(entry.model).or(entry.name)?;
            if (self.allowed)(self.plain(&name)) {
                kept.push(model.get());
                names.push(name);
            }
        }
        Some((kept, names))
    }

    /// The name as requests have it.
    fn plain<'n>(&self, name: &'n str) -> &'n str {
        match self.dialect {
            Dialect::Gemini => name
                .strip_prefix("models/")
                .or_else(|| name.strip_prefix("tunedModels/"))
                .unwrap_or(name),
            // Gemini's OpenAI-compatible list has the prefix too.
            Dialect::OpenAi => name.strip_prefix("models/").unwrap_or(name),
            Dialect::Anthropic | Dialect::Bedrock => name,
        }
    }
}

fn array(items: &[&str]) -> String {
    ["[", &items.join(","), "]"].concat()
}

/// An entry of a list, by whichever of these it has first: beside an `id`, `name` is for people.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

/// A JSON object in its own order, with what may stand twice.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Borrowed where it has no escapes, which a bare `Cow` never is.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(body: &str, dialect: Dialect) -> Option<String> {
        let allowed = |model: &str| model.starts_with("good");
        filter(body.as_bytes(), dialect, allowed).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn lists_of_every_dialect_are_cut_down() {
        for (dialect, body, expected) in [
            (
                Dialect::OpenAi,
                r#"{"object": "list", "data": [{"id":"good-1","z":1,"a": [2]}, {"id":"bad"}, {"id":"good-2"}], "more":1.50}"#,
                r#"{"object":"list","data":[{"id":"good-1","z":1,"a": [2]},{"id":"good-2"}],"more":1.50}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"data":[{"id":"bad"}]}"#,
                r#"{"data":[]}"#,
            ),
            (
                Dialect::OpenAi,
                r#"[{"id":"bad"},{"id":"good"}]"#,
                r#"[{"id":"good"}]"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"d\u0061ta":[{"id":"b\u0061d"},{"id":"go\u006fd"}]}"#,
                r#"{"data":[{"id":"go\u006fd"}]}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"models":[{"name":"bad","model":"bad"},{"name":"good"}],"data":[{"id":"good","name":"Bad"},{"id":"bad","name":"good"}]}"#,
                r#"{"models":[{"name":"good"}],"data":[{"id":"good","name":"Bad"}]}"#,
            ),
            (
                Dialect::OpenAi,
                r#"{"data":[{"id":"models/good"},{"id":"models/bad"}]}"#,
                r#"{"data":[{"id":"models/good"}]}"#,
            ),
            (
                Dialect::Anthropic,
                r#"{"data":[{"id":"bad-1"},{"id":"good-1"},{"id":"good-2"},{"id":"bad-2"}],"has_more":true,"first_id":"bad-1","last_id":"bad-2"}"#,
                r#"{"data":[{"id":"good-1"},{"id":"good-2"}],"has_more":true,"first_id":"good-1","last_id":"good-2"}"#,
            ),
            (
                Dialect::Anthropic,
                r#"{"first_id":"bad","last_id":"bad","data":[{"id":"bad"}],"has_more":false}"#,
                r#"{"first_id":null,"last_id":null,"data":[],"has_more":false}"#,
            ),
            (
                Dialect::Gemini,
                r#"{"models":[{"name":"models/good","version":"1"},{"name":"models/bad"},{"name":"tunedModels/good"}],"nextPageToken":"x"}"#,
                r#"{"models":[{"name":"models/good","version":"1"},{"name":"tunedModels/good"}],"nextPageToken":"x"}"#,
            ),
            (Dialect::Gemini, "{}", "{}"),
        ] {
            assert_eq!(filtered(body, dialect).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_list_does_not_pass() {
        for body in [
            "",
            "null",
            r#""bad""#,
            "<html>",
            r#"{"data":[{"id":"good"}]"#,
            r#"{"data":[{"id":"good"}]} x"#,
            r#"{"data":{"id":"bad"}}"#,
            r#"{"data":["bad"]}"#,
            r#"{"data":[{"id":7}]}"#,
            r#"{"data":[{"object":"model"}]}"#,
            r#"{"data":[{"id":"good","id":"bad"}]}"#,
            r#"{"publisherModels":[{"name":"bad"}]}"#,
        ] {
            assert_eq!(filtered(body, Dialect::OpenAi), None, "{body}");
        }
    }
}
