//! YAML out of JSON values, laid out for people who read it.
//!
//! Knows nothing of what it writes, but which members people look for first.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// What says what a thing is comes first; the rest in the order of the alphabet.
const FIRST: [&str; 12] = [
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "@type",
    "version",
    "id",
    "name",
    "applyTo",
    "match",
    "node",
    "admin",
];

/// What other readers than those of YAML 1.2 take for something else than text.
const WORDS: [&str; 11] = [
    ".inf", ".nan", "false", "n", "no", "null", "off", "on", "true", "y", "yes",
];

/// How long a line may become by writing a map or a list on it, and how deep.
const WIDTH: usize = 100;
const FLOW_DEPTH: usize = 2;

/// A document.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// Lines of comment.
pub(crate) fn comment(text: &str) -> String {
    let lines = text.lines();
    lines
        .map(|line| format!("# {line}").trim_end().to_owned() + "\n")
        .collect()
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in sorted(map) {
                let key = text(key);
                pad(indent, out);
                out.push_str(&key);
                out.push(':');
                let used = indent.saturating_add(key.len()).saturating_add(2);
                member(value, indent, used, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                pad(indent, out);
                out.push('-');
                let inner = indent.saturating_add(2);
                match item {
                    Value::Object(map) if !map.is_empty() && flow(item, inner).is_none() => {
                        // The first member stands beside the dash.
                        let mut nested = String::new();
                        block(item, inner, &mut nested);
                        out.push(' ');
                        out.push_str(nested.trim_start());
                    }
                    _ => member(item, indent, inner, out),
                }
            }
        }
        _ => {
            pad(indent, out);
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

/// What stands after a key or a dash.
fn member(value: &Value, indent: usize, used: usize, out: &mut String) {
    let inner = indent.saturating_add(2);
    if let Some(lines) = literal(value) {
        out.push_str(" |-\n");
        for line in lines.lines() {
            if !line.is_empty() {
                pad(inner, out);
            }
            out.push_str(line);
            out.push('\n');
        }
    } else if let Some(flow) = flow(value, used) {
        out.push(' ');
        out.push_str(&flow);
        out.push('\n');
    } else {
        out.push('\n');
        block(value, inner, out);
    }
}

/// A value on the line that it begins on, where it fits and can be read there.
fn flow(value: &Value, used: usize) -> Option<String> {
    let written = match value {
        Value::Object(map) if !map.is_empty() => {
            let members = sorted(map).into_iter();
            let members: Option<Vec<_>> = members
                .map(|(key, value)| Some(format!("{}: {}", text(key), flow(value, 0)?)))
                .collect();
            format!("{{ {} }}", members?.join(", "))
        }
        Value::Array(items) if !items.is_empty() => {
            let items: Option<Vec<_>> = items.iter().map(|item| flow(item, 0)).collect();
            format!("[{}]", items?.join(", "))
        }
        _ if literal(value).is_some() => return None,
        _ => return Some(scalar(value)),
    };
    let fits = used.saturating_add(written.len()) <= WIDTH && depth(value) <= FLOW_DEPTH;
    fits.then_some(written)
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Object(map) => map.values().map(depth).max(),
        Value::Array(items) => items.iter().map(depth).max(),
        _ => return 0,
    };
    inner.unwrap_or_default().saturating_add(1)
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |key: &str| {
        let rank = FIRST.iter().position(|first| *first == key);
        rank.unwrap_or(FIRST.len())
    };
    let mut members: Vec<_> = map.iter().collect();
    members.sort_by_key(|(key, _)| (rank(key), *key));
    members
}

/// Text of several lines that can stand as it is.
fn literal(value: &Value) -> Option<&str> {
    let text = value.as_str().filter(|text| text.contains('\n'))?;
    let plain = |c: char| c == '\n' || is_printable(c);
    let ends = text.starts_with([' ', '\n']) || text.ends_with('\n');
    (!ends && text.chars().all(plain)).then_some(text)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        value => value.to_string(),
    }
}

/// Text that every reader takes for this text.
fn text(text: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let duration = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let name = text.strip_prefix('.').unwrap_or(text);
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        || (duration.len() < text.len() && ["s", "ms", "Mi"].contains(&duration));
    let plain = begins && text.chars().all(word) && !WORDS.contains(&&*text.to_ascii_lowercase());
    if plain {
        return text.to_owned();
    }
    // JSON's strings are YAML's, but for characters that YAML wants escaped.
    let mut quoted = String::new();
    for c in Value::from(text).to_string().chars() {
        if is_printable(c) {
            quoted.push(c);
        } else {
            let _ = write!(quoted, "\\u{:04x}", u32::from(c)); // a `String` takes everything
        }
    }
    quoted
}

/// YAML 1.2, 5.1, without the line breaks of YAML 1.1.
fn is_printable(c: char) -> bool {
    let marks = ['\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'];
    !c.is_control() && !marks.contains(&c)
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// JSON with its larger maps and lists on lines of their own; the order of the members stays.
pub(crate) fn unfolded(json: &str) -> String {
    let mut out = String::new();
    unfold(json.trim(), 0, &mut out);
    out
}

fn unfold(json: &str, indent: usize, out: &mut String) {
    let inner = json
        .strip_prefix(['{', '['])
        .and_then(|rest| rest.strip_suffix(['}', ']']));
    let (Some(inner), Some(open), Some(close)) =
        (inner, json.chars().next(), json.chars().next_back())
    else {
        return out.push_str(json);
    };
    if indent.saturating_add(json.len()) <= WIDTH {
        return out.push_str(json);
    }
    let deeper = indent.saturating_add(2);
    out.push(open);
    for (at, part) in split(inner, ',').into_iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        pad(deeper, out);
        match split(part, ':').as_slice() {
            [key, value] if open == '{' => {
                out.push_str(key);
                out.push_str(": ");
                unfold(value, deeper, out);
            }
            _ => unfold(part, deeper, out),
        }
    }
    out.push('\n');
    pad(indent, out);
    out.push(close);
}

/// The parts of JSON's text between separators that are in no string, map or list.
fn split(json: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    json.split(|c: char| {
        let was_escaped = std::mem::take(&mut escaped);
        match c {
            '"' if !was_escaped => quoted = !quoted,
            '\\' => escaped = !was_escaped,
            '{' | '[' if !quoted => depth = depth.saturating_add(1),
            '}' | ']' if !quoted => depth = depth.saturating_sub(1),
            _ => return c == separator && !quoted && depth == 0,
        }
        false
    })
    .collect()
}

#[cfg(test)]
mod tests;
