//! Which API a request speaks, told from its method and path alone.
//!
//! `table` is the one list of endpoints; `path` reads request targets so that no other reading of the same bytes
//! leads to another row; `fields` says where bodies name models. Knows no group and no body.

mod fields;
mod path;
mod percent;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use self::fields::Watched;
pub use self::fields::{Fields, Path};
pub(crate) use self::path::dotted;
pub use self::percent::PathError;
pub use self::table::{ENDPOINTS, names, table_markdown};

use super::usage::UsageFormat;

/// The shape in which an API states its errors.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Dialect {
    /// `{"type":"error","error":{…}}`
    Anthropic,
    /// As `OpenAi`, with the top-level `message` and the header that the AWS SDKs read.
    Bedrock,
    /// `{"error":{"code":429,"message","status"}}`
    Gemini,
    /// `{"error":{"message","type","param","code"}}`
    #[default]
    OpenAi,
}

/// What an endpoint's requests carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// Anything; JSON is read if the request says that it is JSON.
    Any,
    /// `multipart/form-data`
    Form,
    /// A JSON object.
    Json,
    /// Either, as the content type says.
    JsonOrForm,
    /// Nothing that is read.
    None,
}

/// When an endpoint's answers are streams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Streams {
    /// The path says so.
    Always,
    /// When the body asks for it.
    Asked,
    /// Unless the body asks for the opposite.
    Default,
    /// The path says so.
    Never,
}

/// Who may use an endpoint, and whether its use is counted in tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Only groups that name it in `allowed_endpoints`.
    Closed,
    /// Everybody; nothing is consumed.
    Free,
    /// Everybody; its answer is cut down to the models that the group may use.
    List,
    /// Everybody.
    Open,
}

/// One row of the table.
#[derive(Debug)]
pub struct Endpoint {
    /// For `allowed_endpoints` and events.
    pub name: &'static str,
    /// The HTTP method; `*` for any, `WS` for an upgrade to a WebSocket.
    pub method: &'static str,
    /// The path's segments: `a|b` for one of several, `*` for any one, `**` for any number, `{model}` for one that
    /// names the model, `{model..}` for some that do. `?key` stands for the query that names it.
    pub path: &'static str,
    /// What requests carry.
    pub body: Body,
    /// Where bodies name models.
    pub fields: &'static Fields,
    /// How errors are stated.
    pub dialect: Dialect,
    /// Where the usage of its answers is.
    pub usage: UsageFormat,
    /// When its answers are streams.
    pub streams: Streams,
    /// Who may use it.
    pub access: Access,
    /// What `path` begins with before the first segment that is not plain; all of it, if all are.
    plain: &'static str,
    /// With what the second segment may begin: most rows need no closer look.
    second: u32,
}

impl Endpoint {
    /// Usable without being named in `allowed_endpoints`.
    pub fn open(&self) -> bool {
        self.access != Access::Closed
    }

    /// Whether its use costs tokens.
    pub fn charged(&self) -> bool {
        matches!(self.access, Access::Closed | Access::Open)
    }

    /// Whether its answer lists models.
    pub fn lists_models(&self) -> bool {
        self.access == Access::List
    }

    /// Whether a request that names no model must be refused: nobody could tell which one it would get.
    pub fn needs_model(&self) -> bool {
        let in_body =
            !matches!(self.body, Body::Any | Body::None) && !self.fields.models.is_empty();
        in_body || self.path.bytes().any(|byte| matches!(byte, b'{' | b'?'))
    }

    /// Whether its streams say their usage only when `stream_options` asks for it.
    pub fn streams_usage_on_request(&self) -> bool {
        self.usage == UsageFormat::OpenAi && matches!(self.name, "chat" | "completions")
    }

    /// Whether this is a path that the table does not know.
    pub fn is_unknown(&self) -> bool {
        self.name == table::UNKNOWN
    }
}

/// A request's place in the table.
#[derive(Clone, Debug)]
pub struct Call {
    /// The row.
    pub endpoint: &'static Endpoint,
    /// The path, fully decoded, without query.
    pub path: String,
    /// Models that path or query name.
    pub models: Vec<String>,
    /// Whether the answer streams, where the path alone says it.
    pub stream: Option<bool>,
    /// Where in `path` the endpoint's own path begins.
    own: usize,
}

impl Call {
    /// The same call as a caller means it who sends `anthropic-version`.
    #[must_use]
    pub fn with_anthropic_version(mut self) -> Self {
        let rows = &table::ANTHROPIC_MODELS;
        let own = rows.iter().find(|row| row.path == self.endpoint.path);
        self.endpoint = own.unwrap_or(self.endpoint);
        self
    }

    /// Whether one of these entries of an `allowed_endpoints` list covers the request: the endpoint's name, or the
    /// beginning of the path in whole segments, with or without the configured prefix. `/` covers everything.
    pub fn allowed_by(&self, allowed: &[String]) -> bool {
        let own = self.path.get(self.own..).unwrap_or_default();
        allowed.iter().any(|entry| {
            if entry.starts_with('/') {
                return path::strip_prefix(&self.path, entry)
                    .or_else(|| path::strip_prefix(own, entry))
                    .is_some();
            }
            entry == self.endpoint.name && !self.endpoint.is_unknown()
        })
    }
}

/// The dialect that the caller of a path most likely speaks, whatever else is wrong with it.
pub fn dialect_of(target: &[u8]) -> Dialect {
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let path = String::from_utf8_lossy(path);
    table::unknown(&path, &path).dialect
}

/// Finds the row for a request. `target` is `:path` as it came, with its query; `prefixes` is what may stand before
/// an endpoint's own path. A path that no row has gets the closed row `unknown`, one that could be read in two ways
/// an error.
pub fn classify(
    method: &[u8],
    target: &[u8],
    upgrade: bool,
    prefixes: &[String],
) -> Result<Call, PathError> {
    let target = path::Target::parse(target)?;
    let mut found: Option<path::Found> = None;
    for prefix in prefixes {
        for segments in target.readings() {
            let Some((own, segments)) = path::after_prefix(prefix, segments) else {
                continue;
            };
            let plain = target.plain(own);
            for endpoint in table::candidates(method, upgrade) {
                let Some(path::Fit { model }) = path::fits(endpoint, segments, plain)? else {
                    continue;
                };
                let next = path::Found {
                    endpoint,
                    model,
                    own,
                };
                match &found {
                    Some(other) if !other.same(&next) => {
                        if !next.yields_to(other) && !other.yields_to(&next) {
                            return Err(PathError::TwoRows);
                        }
                        if other.yields_to(&next) {
                            found = Some(next);
                        }
                    }
                    Some(_) => {}
                    None => found = Some(next),
                }
            }
        }
    }
    let Some(found) = found else {
        let models = target.query_model()?.into_iter().collect();
        let own = target.longest_prefix(prefixes);
        let path = target.into_path();
        let endpoint = table::unknown(&path, path.get(own..).unwrap_or_default());
        return Ok(Call {
            endpoint,
            path,
            models,
            stream: None,
            own,
        });
    };
    if found.endpoint.usage == UsageFormat::Gemini {
        target.check_view()?;
    }
    let mut models: Vec<String> = found.model.into_iter().collect();
    if let Some((_, key)) = found.endpoint.path.split_once('?') {
        models.extend(target.query_value(key)?);
    } else if !found.endpoint.fields.models.is_empty()
        && let Some(model) = target.query_model()?
    {
        if found.endpoint.needs_model() {
            return Err(PathError::Model);
        }
        models.push(model);
    }
    if models.iter().any(|model| model.len() > super::MAX_MODEL) {
        return Err(PathError::Model);
    }
    let stream = match found.endpoint.streams {
        Streams::Always => Some(true),
        Streams::Asked | Streams::Default => None,
        Streams::Never => Some(false),
    };
    Ok(Call {
        endpoint: found.endpoint,
        path: target.into_path(),
        models,
        stream,
        own: found.own,
    })
}
