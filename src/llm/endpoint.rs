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
}
