//! The endpoint table: which API a request speaks, told from method and path.

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

/// One row of the table.
#[derive(Debug)]
pub struct Endpoint {
    /// For `allowed_endpoints` and events.
    pub name: &'static str,
    /// How errors are stated.
    pub dialect: Dialect,
    /// Where the usage of its answers is.
    pub usage: UsageFormat,
    /// Usable without being named in `allowed_endpoints`.
    pub open: bool,
    /// Charged.
    pub charged: bool,
}

/// A request's place in the table.
#[derive(Debug)]
pub struct Call {
    /// The row.
    pub endpoint: &'static Endpoint,
    /// The path, fully decoded, without query: what path prefixes are compared with.
    pub path: String,
    /// Models that path or query name.
    pub models: Vec<String>,
    /// Whether the path alone says that the answer streams.
    pub stream: Option<bool>,
    /// List.
    pub lists_models: bool,
}

pub struct PathError;
static CHAT: Endpoint = Endpoint {
    name: "chat",
    dialect: Dialect::OpenAi,
    usage: UsageFormat::OpenAi,
    open: true,
    charged: true,
};
static MESSAGES: Endpoint = Endpoint {
    name: "messages",
    dialect: Dialect::Anthropic,
    usage: UsageFormat::Anthropic,
    open: true,
    charged: true,
};
static UNKNOWN: Endpoint = Endpoint {
    name: "unknown",
    dialect: Dialect::OpenAi,
    usage: UsageFormat::OpenAi,
    open: false,
    charged: true,
};
pub fn classify(_: &[u8], target: &[u8], _: bool, _: &[String]) -> Result<Call, PathError> {
    let t = std::str::from_utf8(target).map_err(|_| PathError)?;
    let p = t.split('?').next().unwrap_or("").to_owned();
    let endpoint = match &*p {
        "/v1/chat/completions" => &CHAT,
        "/v1/messages" => &MESSAGES,
        _ => &UNKNOWN,
    };
    Ok(Call {
        endpoint,
        path: p,
        models: vec![],
        stream: None,
        lists_models: false,
    })
}
pub fn dialect_of(target: &[u8]) -> Dialect {
    if target.starts_with(b"/v1/messages") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}
impl Call {
    pub fn allowed_by(&self, a: &[String]) -> bool {
        a.iter().any(|a| a == self.endpoint.name)
    }
}
