//! Request targets, read as the strictest and the laxest server would both read them.
//!
//! Servers route on decoded paths (`/v1/%63hat/completions`, `/v1%2Fchat%2Fcompletions`), drop `;parameters`,
//! resolve dot segments and merge slashes, or do not: what could lead them to another endpoint or model than the
//! one found here is refused.

use super::Endpoint;
use super::fields::Path as FieldPath;
use super::percent::{PathError, decode, decode_query};
use super::table::initial;
use std::cell::Cell;

/// One segment, decoded, without `;parameters`.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    text: String,
    /// Where it begins in the decoded path, at its slash.
    at: usize,
    /// Whether something in it was written as an escape.
    escaped: bool,
    /// Whether it had parameters.
    parameters: bool,
}

/// A request target, taken apart.
#[derive(Debug)]
pub(super) struct Target<'a> {
    path: String,
    query: &'a [u8],
    /// As it was sent: an escaped slash does not separate segments.
    sent: Vec<Segment>,
    /// As servers see it that decode first, if that differs.
    decoded: Option<Vec<Segment>>,
}

impl<'a> Target<'a> {
    pub(super) fn parse(target: &'a [u8]) -> Result<Self, PathError> {
        let query_at = target.iter().position(|&byte| byte == b'?');
        let (raw, query) = match query_at {
            Some(at) => target.split_at_checked(at).unwrap_or((target, &[])),
            None => (target, &[][..]),
        };
        let Some((b'/', raw)) = raw.split_first() else {
            return Err(PathError::ForbiddenByte);
        };
        let mut path = String::with_capacity(target.len());
        let mut sent = Vec::new();
        let mut slash_escaped = false;
        for raw in raw.split(|&byte| byte == b'/') {
            let text = decode(raw)?;
            slash_escaped |= text.contains('/');
            let at = path.len();
            path.push('/');
            path.push_str(&text);
            sent.push(Segment::new(&text, at, raw.contains(&b'%')));
        }
        let decoded = slash_escaped.then(|| {
            let mut at = 0_usize;
            let split = path.split('/').skip(1).map(|text| {
                let segment = Segment::new(text, at, true);
                at = at.saturating_add(text.len()).saturating_add(1);
                segment
            });
            split.collect::<Vec<_>>()
        });
        for reading in [Some(&mut sent), decoded.clone().as_mut()]
            .into_iter()
            .flatten()
        {
            check_segments(reading)?;
        }
        let decoded = decoded.map(|mut segments| {
            drop_trailing_slash(&mut segments);
            segments
        });
        drop_trailing_slash(&mut sent);
        if query.contains(&b'$') || query.contains(&b'%') {
            check_overrides(query.get(1..).unwrap_or_default())?;
        }
        Ok(Self {
            path,
            query: query.get(1..).unwrap_or_default(),
            sent,
            decoded,
        })
    }

    /// The one or two ways to cut the path into segments.
    pub(super) fn readings(&self) -> impl Iterator<Item = &[Segment]> {
        [Some(self.sent.as_slice()), self.decoded.as_deref()]
            .into_iter()
            .flatten()
    }

    /// The decoded path from here on, if that is all there is to compare: no parameters, no slash at the end.
    pub(super) fn plain(&self, own: usize) -> Option<&str> {
        let whole = self.path.get(own..)?;
        let plain = whole.strip_suffix('/').unwrap_or(whole);
        (!self.path.contains(';')).then_some(plain)
    }

    pub(super) fn into_path(self) -> String {
        self.path
    }

    /// Where the path after the longest of the prefixes begins.
    pub(super) fn longest_prefix(&self, prefixes: &[String]) -> usize {
        let segments = self.decoded.as_deref().unwrap_or(&self.sent);
        prefixes
            .iter()
            .filter_map(|prefix| after_prefix(prefix, segments))
            .map(|(own, _)| own)
            .max()
            .unwrap_or(0)
    }

    /// The model that the query names. Gateways take that for the request's, whatever its body says.
    #[cold]
    pub(super) fn query_model(&self) -> Result<Option<String>, PathError> {
        let named = Cell::new(0_usize);
        let count = |name: &str, _: &[u8]| {
            let is = matches!(name, "model" | "model[]");
            named.set(named.get().saturating_add(usize::from(is)));
            false
        };
        refuse_names(self.query, &count)?;
        match named.get() {
            0 => Ok(None),
            1 => self.query_value("model")?.ok_or(PathError::Model).map(Some),
            _ => Err(PathError::Model),
        }
    }

    /// Google's servers leave out of an answer what `fields` does not name, its usage too, and write it in other formats.
    #[cold]
    pub(super) fn check_view(&self) -> Result<(), PathError> {
        // With a `$` before them or without. Of the formats, `json`, which Google's own clients write as
        // `json;enum-encoding=int`, and `sse` are read; the others are `media` and `proto`.
        let hides = |name: &str, value: &[u8]| {
            name.ends_with("fields")
                || name.ends_with("callback")
                || (name.ends_with("alt") && !matches!(value, [b'j' | b's', ..]))
        };
        refuse_names(self.query, &hides)
    }

    /// The value of the query's `key`; a second one or another spelling is an error.
    pub(super) fn query_value(&self, key: &str) -> Result<Option<String>, PathError> {
        // Some servers separate at semicolons, some do not.
        if self.query.contains(&b';') {
            return Err(PathError::Model);
        }
        let mut value = None;
        for pair in self.query.split(|&byte| byte == b'&') {
            let mut halves = pair.splitn(2, |&byte| byte == b'=');
            let name = decode_query(halves.next().unwrap_or_default())?;
            if !name.eq_ignore_ascii_case(key) {
                continue;
            }
            let text = decode_query(halves.next().unwrap_or_default())?;
            let odd = name != key || text.is_empty() || text.contains(char::is_control);
            if odd || value.replace(text).is_some() {
                return Err(PathError::Model);
            }
        }
        Ok(value)
    }
}

impl Segment {
    fn new(text: &str, at: usize, escaped: bool) -> Self {
        let (plain, parameters) = match text.split_once(';') {
            Some((plain, _)) => (plain, true),
            None => (text, false),
        };
        Self {
            text: plain.to_owned(),
            at,
            escaped,
            parameters,
        }
    }
}

/// A row that fits, and the model that the path names.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) endpoint: &'static Endpoint,
    pub(super) model: Option<String>,
    pub(super) own: usize,
}

impl Found {
    pub(super) fn same(&self, other: &Self) -> bool {
        std::ptr::eq(self.endpoint, other.endpoint) && self.model == other.model
    }

    /// Rows for a whole tree of paths, and for any method, are for what other rows leave.
    pub(super) fn yields_to(&self, other: &Self) -> bool {
        let rank = |endpoint: &Endpoint| {
            u8::from(endpoint.path.ends_with("**")) | u8::from(endpoint.method == "*")
        };
        rank(self.endpoint) > rank(other.endpoint)
    }
}

/// A row's path fits; the model in it.
#[derive(Debug)]
pub(super) struct Fit {
    pub(super) model: Option<String>,
}

/// Whether a row's path fits.
///
/// `plain` is the text of the same path where that can be compared as it is; most rows need no more.
pub(super) fn fits(
    endpoint: &Endpoint,
    segments: &[Segment],
    plain: Option<&str>,
) -> Result<Option<Fit>, PathError> {
    let second = segments
        .get(1)
        .and_then(|segment| segment.text.bytes().next());
    if second.is_some_and(|byte| endpoint.second & initial(byte) == 0) {
        return Ok(None);
    }
    if let Some(plain) = plain {
        if endpoint.plain.len() == endpoint.path.len() {
            return Ok((plain == endpoint.path).then_some(Fit { model: None }));
        }
        if !plain.starts_with(endpoint.plain) {
            return Ok(None);
        }
    }
    let mut wanted = endpoint.path;
    let mut rest = segments;
    let mut model = None;
    let open_end = loop {
        let Some(next) = next_wanted(&mut wanted) else {
            return Ok(rest.is_empty().then_some(Fit { model }));
        };
        if matches!(next, "**" | "{model..}") {
            break next;
        }
        let Some((segment, tail)) = rest.split_first() else {
            return Ok(None);
        };
        if !segment.fits(next, &mut model)? {
            return Ok(None);
        }
        rest = tail;
    };
    let tail: Vec<&str> = std::iter::from_fn(|| next_wanted(&mut wanted)).collect();
    for wanted in tail.into_iter().rev() {
        let Some((segment, head)) = rest.split_last() else {
            return Ok(None);
        };
        if !segment.fits(wanted, &mut model)? {
            return Ok(None);
        }
        rest = head;
    }
    if open_end == "**" {
        return Ok(Some(Fit { model }));
    }
    if rest.is_empty() {
        return Ok(None);
    }
    if rest.iter().any(|segment| segment.parameters) {
        return Err(PathError::TwoRows);
    }
    let texts: Vec<&str> = rest.iter().map(|segment| segment.text.as_str()).collect();
    Ok(Some(Fit {
        model: Some(texts.join("/")),
    }))
}

/// Takes the next segment off a row's path. Most rows are left at their first one, so this is short and has no iterators.
fn next_wanted(path: &mut &'static str) -> Option<&'static str> {
    let rest = path.strip_prefix('/')?;
    let end = rest.bytes().position(|byte| matches!(byte, b'/' | b'?'));
    let (segment, rest) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
    *path = rest;
    Some(segment)
}

/// Whether a text is one of `a|b|c`.
fn is_one_of(text: &str, choices: &str) -> bool {
    choices
        .as_bytes()
        .split(|byte| *byte == b'|')
        .any(|choice| choice == text.as_bytes())
}

impl Segment {
    fn fits(&self, wanted: &str, model: &mut Option<String>) -> Result<bool, PathError> {
        if wanted == "*" {
            return Ok(!self.text.is_empty());
        }
        let Some(verbs) = wanted.strip_prefix("{model}") else {
            return Ok(is_one_of(&self.text, wanted));
        };
        let name = match verbs.strip_prefix(':') {
            None => self.text.as_str(),
            Some(verbs) => match self.text.rsplit_once(':') {
                Some((name, verb)) if is_one_of(verb, verbs) => name,
                _ => return Ok(false),
            },
        };
        // An escape could hide the colon from one reader, parameters could be cut off by another.
        if self.parameters || (self.escaped && !verbs.is_empty() && name.contains(':')) {
            return Err(PathError::TwoRows);
        }
        if name.is_empty() {
            return Ok(false);
        }
        *model = Some(name.to_owned());
        Ok(true)
    }
}

/// The segments after a prefix, and where they begin in the decoded path.
pub(super) fn after_prefix<'a>(
    prefix: &str,
    segments: &'a [Segment],
) -> Option<(usize, &'a [Segment])> {
    let mut rest = segments;
    for wanted in prefix.split('/').filter(|segment| !segment.is_empty()) {
        let (segment, tail) = rest.split_first()?;
        if segment.text != wanted {
            return None;
        }
        rest = tail;
    }
    let own = rest.first().map_or(usize::MAX, |segment| segment.at);
    Some((own, rest))
}

/// What follows a prefix of whole segments.
pub(super) fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Google's servers read method, headers and body out of the query where it says so.
fn check_overrides(query: &[u8]) -> Result<(), PathError> {
    refuse_names(query, &|name, _| {
        name.starts_with("$http") || name.starts_with("$req")
    })
}

/// Refuses a query with such a name in it, which is shown in lower case and with its value as it came. For servers that
/// separate at semicolons too.
#[cold]
fn refuse_names(query: &[u8], wanted: &dyn Fn(&str, &[u8]) -> bool) -> Result<(), PathError> {
    let mut pairs = query.split(|&byte| byte == b'&' || byte == b';');
    let found = pairs.any(|pair| {
        let mut halves = pair.splitn(2, |&byte| byte == b'=');
        let name = halves.next().unwrap_or_default();
        decode_query(name).is_ok_and(|mut name| {
            name.make_ascii_lowercase();
            wanted(&name, halves.next().unwrap_or_default())
        })
    });
    if found {
        return Err(PathError::Override);
    }
    Ok(())
}

/// No dot segments, and no empty ones but the last.
fn check_segments(segments: &[Segment]) -> Result<(), PathError> {
    for (index, segment) in segments.iter().enumerate() {
        let last = index.saturating_add(1) == segments.len();
        match segment.text.as_str() {
            "." | ".." => return Err(PathError::DotSegment),
            "" if !last || segment.parameters => return Err(PathError::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}

/// Servers redirect, refuse or serve `/v1/models/`: it is judged as the endpoint itself.
fn drop_trailing_slash(segments: &mut Vec<Segment>) {
    segments.pop_if(|segment| segment.text.is_empty());
}

/// `tools[].model`, for messages.
pub(crate) fn dotted(path: FieldPath) -> String {
    let mut text = String::new();
    for segment in path {
        match *segment {
            "*" => text.push_str("[]"),
            key => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
        }
    }
    text
}
