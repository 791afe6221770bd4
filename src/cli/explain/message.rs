//! The request that is explained: out of flags, or as it was saved.

use super::Explain;
use serde_json::{Map, Value, json};

/// A request as Envoy hands it over.
pub(super) struct Message {
    /// `:method` and `:path` first.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Message {
    pub(super) fn new(flags: &Explain, key: Option<String>) -> Result<Self, String> {
        let (method, path) = flags.path.split_once(' ').unwrap_or(("POST", &flags.path));
        let mut fields = vec![
            (":method".to_owned(), method.to_owned()),
            (":path".to_owned(), path.to_owned()),
        ];
        if let Some(key) = key {
            fields.push(("authorization".to_owned(), format!("Bearer {key}")));
        }
        for field in &flags.header {
            fields.push(parsed(field)?);
        }
        if method == "GET" {
            return Ok(Self {
                fields,
                body: Vec::new(),
            });
        }
        let mut body = Map::new();
        if let Some(model) = &flags.model {
            body.insert("model".to_owned(), model.as_str().into());
        }
        let (name, prompt) = if path.ends_with("completions")
            || path.ends_with("messages")
            || path.ends_with("chat")
        {
            (
                "messages",
                json!([{"role": "user", "content": flags.prompt}]),
            )
        } else {
            ("input", Value::from(flags.prompt.as_str()))
        };
        body.insert(name.to_owned(), prompt);
        for member in &flags.set {
            let (name, value) = member
                .split_once('=')
                .ok_or_else(|| format!("--set: '{member}' is not NAME=VALUE"))?;
            // What is no JSON is a text.
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            body.insert(name.to_owned(), value);
        }
        fields.push(("content-type".to_owned(), "application/json".to_owned()));
        Ok(Self {
            fields,
            body: Value::Object(body).to_string().into_bytes(),
        })
    }

    /// One that was saved, as HTTP/1 has it (RFC 9112, section 2.1); line ends may be line feeds alone.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (head, body) = split(bytes);
        let head = std::str::from_utf8(head).map_err(|_| "the header is not text".to_owned())?;
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(
                "the first line must be like `POST /v1/chat/completions HTTP/1.1`".to_owned(),
            );
        };
        // A proxy is asked for a whole URL.
        let path = target
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)))
            .unwrap_or(target);
        let mut fields = vec![
            (":method".to_owned(), method.to_owned()),
            (":path".to_owned(), path.to_owned()),
        ];
        for line in lines {
            fields.push(parsed(line)?);
        }
        Ok(Self {
            fields,
            body: body.to_vec(),
        })
    }
}

fn parsed(line: &str) -> Result<(String, String), String> {
    let field = line.split_once(':');
    let (name, value) = field.ok_or_else(|| format!("'{}' is not a field", first_word(line)))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

/// The rest may be a secret.
fn first_word(line: &str) -> &str {
    line.split_ascii_whitespace().next().unwrap_or_default()
}

/// The header, and the body behind the empty line.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    for end in [&b"\r\n\r\n"[..], b"\n\n"] {
        let found = bytes.windows(end.len()).position(|window| window == end);
        if let Some((head, rest)) = found.and_then(|at| bytes.split_at_checked(at)) {
            return (head, rest.get(end.len()..).unwrap_or_default());
        }
    }
    (bytes, b"")
}
