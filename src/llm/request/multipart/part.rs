//! One part of a form: its headers, and which field it is.

use crate::json::Text;
use crate::llm::request::media_type::{MediaType, Parameters, is_token};

/// Of one part.
const MAX_HEADERS: usize = 16;
/// Bytes kept of a value: enough to see that it is too long.
const MAX_VALUE: usize = 512;
/// Of a session: its instructions are in it.
pub(super) const MAX_SESSION: usize = 0x1_0000;

/// The part being read.
#[derive(Debug, Default)]
pub(super) struct Part {
    headers: usize,
    pub(super) name: Option<String>,
    pub(super) file: bool,
    typed: bool,
    /// Its headers ask for a decoding that only some servers do.
    pub(super) encoded: bool,
    pub(super) value: Vec<u8>,
    pub(super) len: u64,
    /// How much of its value is kept, if that is more than of others.
    pub(super) most: usize,
}

impl Part {
    pub(super) fn header(&mut self, line: &[u8]) -> Result<(), &'static str> {
        self.headers = self.headers.saturating_add(1);
        let Some((name, value)) = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(':'))
        else {
            return Err("a header line has no colon or is not UTF-8");
        };
        if !is_token(name) || self.headers > MAX_HEADERS {
            return Err(
                "header lines must have a name, must not be folded, and must not be too many",
            );
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" => self.disposition(value),
            "content-type" => {
                if std::mem::replace(&mut self.typed, true) {
                    return Err("a part must have one content-type at most");
                }
                let media_type = MediaType::parse(Some(value.as_bytes()));
                self.encoded |= !media_type.is_utf8();
                Ok(())
            }
            "content-transfer-encoding" => {
                self.encoded = true;
                let plain = ["7bit", "8bit", "binary"]
                    .iter()
                    .any(|plain| value.eq_ignore_ascii_case(plain));
                if plain {
                    Ok(())
                } else {
                    Err("content-transfer-encoding is not read by all servers")
                }
            }
            _ => Ok(()),
        }
    }

    /// `form-data; name="model"; filename="…"`, each parameter once.
    fn disposition(&mut self, value: &str) -> Result<(), &'static str> {
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind
            .trim_end_matches([' ', '\t'])
            .eq_ignore_ascii_case("form-data")
            || self.name.is_some()
        {
            return Err("a part must have one content-disposition, 'form-data'");
        }
        let mut seen: Vec<String> = Vec::new();
        for parameter in Parameters(parameters) {
            let Some(parameter) = parameter else {
                return Err("a content-disposition parameter could not be read");
            };
            let key = parameter.name.to_ascii_lowercase();
            match key.as_str() {
                _ if seen.contains(&key) => {
                    return Err("a content-disposition parameter is given twice");
                }
                "name" if parameter.escaped => {
                    return Err("a part's name must not hold a backslash");
                }
                "name" => self.name = Some(parameter.value),
                "filename" | "filename*" if self.name.is_some() => self.file = true,
                // formidable finds `name=` in a file's name, too.
                "filename" | "filename*" => {
                    return Err("a part's name must stand before its filename");
                }
                _ => return Err("content-disposition may have 'name' and 'filename' only"),
            }
            seen.push(key);
        }
        if self.name.is_none() {
            Err("a part must have a name")
        } else {
            Ok(())
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.len = self.len.saturating_add(bytes.len() as u64);
        let most = self.most.max(MAX_VALUE);
        let room = most.saturating_sub(self.value.len());
        self.value
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}

/// The watched field that some server could take a name for, and whether it is that very name. PHP and its kin
/// read `model[]` as `model`.
pub(super) fn watched(name: &str) -> Option<(&'static str, bool)> {
    let stem = name.split('[').next().unwrap_or_default();
    let stem =
        stem.trim_matches(|character: char| character.is_whitespace() || character.is_control());
    let text = Text {
        bytes: stem.as_bytes(),
        whole: true,
        len: stem.len() as u64,
    };
    let folded = text.folded()?;
    ["model", "n", "session", "stream"]
        .into_iter()
        .find(|&watched| watched == folded)
        .map(|watched| (watched, watched == name))
}
