//! `content-type` and `content-encoding`, as far as they say how a body must be read (RFC 9110, section 8.3).

/// What a content type means for a reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// `multipart/form-data`
    Form,
    /// `application/json` and its kin, in UTF-8.
    Json,
    /// Anything else.
    Other,
    /// What not every server understands alike, another character set than UTF-8, or a form of one line.
    Unclear,
    /// Nothing, or nothing that tells: `text/plain`, `application/octet-stream`.
    Unstated,
}

/// A content type with its parameters.
#[derive(Debug)]
pub(super) struct MediaType<'a> {
    pub(super) kind: Kind,
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    pub(super) fn parse(value: Option<&'a [u8]>) -> Self {
        let Some(value) = value else {
            return Self {
                kind: Kind::Unstated,
                parameters: "",
            };
        };
        if value == b"application/json" {
            return Self {
                kind: Kind::Json,
                parameters: "",
            };
        }
        let Ok(value) = std::str::from_utf8(value) else {
            return Self {
                kind: Kind::Unclear,
                parameters: "",
            };
        };
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        let essence = essence.trim_matches([' ', '\t']).to_ascii_lowercase();
        let mut parsed = Self {
            kind: Kind::Other,
            parameters,
        };
        parsed.kind = match essence.split_once('/') {
            Some(("multipart", "form-data")) => Kind::Form,
            _ if !parsed.is_utf8() => Kind::Unclear,
            Some(("application", "json")) => Kind::Json,
            Some((kind, subtype))
                if is_token(kind) && is_token(subtype) && subtype.ends_with("+json") =>
            {
                Kind::Json
            }
            Some(("text", "plain" | "json") | ("application", "octet-stream")) => Kind::Unstated,
            None if essence.is_empty() => Kind::Unstated,
            // Rack and formidable take any of the latter for a form.
            Some(("application", "x-www-form-urlencoded") | ("multipart", _)) => Kind::Unclear,
            Some((kind, subtype)) if is_token(kind) && is_token(subtype) => Kind::Other,
            _ => Kind::Unclear,
        };
        parsed
    }

    /// The values of a parameter, unquoted; `None` stands for one that cannot be read.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = Option<String>> {
        let name = name.to_owned();
        Parameters(self.parameters).filter_map(move |parameter| match parameter {
            Some(found) if !found.name.eq_ignore_ascii_case(&name) => None,
            Some(found) => Some((!found.escaped).then_some(found.value)),
            None => Some(None),
        })
    }

    /// Whether it has no other parameters than these.
    pub(super) fn has_only(&self, names: &[&str]) -> bool {
        let mut parameters = Parameters(self.parameters).flatten();
        parameters.all(|parameter| {
            let mut names = names.iter();
            names.any(|name| name.eq_ignore_ascii_case(parameter.name))
        })
    }

    /// Whether all of its parameters can be read, and none names another character set than UTF-8.
    pub(super) fn is_utf8(&self) -> bool {
        Parameters(self.parameters)
            .all(|parameter| parameter.is_some_and(|parameter| parameter.leaves_utf8()))
    }
}

/// Whether a `content-encoding` leaves the body as it is.
pub(super) fn is_plain(value: Option<&[u8]>) -> bool {
    value.is_none_or(|value| {
        value.split(|&byte| byte == b',').all(|coding| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        })
    })
}

/// The parameters of a header value, `; name=value; name="value"`, from after the first semicolon.
/// One that cannot be read is `None`, and the last.
#[derive(Debug)]
pub(super) struct Parameters<'a>(pub(super) &'a str);

/// One parameter.
#[derive(Debug)]
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    pub(super) value: String,
    /// Whether the value had backslashes, which not every reader takes for escapes.
    pub(super) escaped: bool,
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<Parameter<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', '\t', ';']);
        if rest.is_empty() {
            return None;
        }
        let (parameter, rest) = Parameter::first_of(rest).unzip();
        self.0 = rest.unwrap_or_default();
        Some(parameter)
    }
}

impl<'a> Parameter<'a> {
    /// Whether it names no other character set than UTF-8, in whatever spelling: `charset*` is one.
    fn leaves_utf8(&self) -> bool {
        const CHARSET: &str = "charset";
        let begins = self.name.get(..CHARSET.len());
        if !begins.is_some_and(|name| name.eq_ignore_ascii_case(CHARSET)) {
            return true;
        }
        let is = |known: &&str| self.value.eq_ignore_ascii_case(known);
        let utf8 = ["utf-8", "utf8", "us-ascii"].iter().any(is);
        utf8 && !self.escaped && self.name.len() == CHARSET.len()
    }

    /// The first parameter, and what follows it.
    fn first_of(text: &'a str) -> Option<(Self, &'a str)> {
        let (name, rest) = text.split_once('=')?;
        let mut value = String::new();
        let mut escaped = false;
        let rest = if let Some(quoted) = rest.strip_prefix('"') {
            let mut chars = quoted.chars();
            loop {
                match chars.next()? {
                    '"' => break chars.as_str(),
                    '\\' => {
                        escaped = true;
                        value.push(chars.next()?);
                    }
                    character if character.is_control() => return None,
                    character => value.push(character),
                }
            }
        } else {
            let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
            let (token, rest) = rest.split_at_checked(end)?;
            value.push_str(token);
            is_token(token).then_some(rest)?
        };
        let rest = rest.trim_start_matches([' ', '\t']);
        let ended = rest.is_empty() || rest.starts_with(';');
        (is_token(name) && ended).then_some((
            Self {
                name,
                value,
                escaped,
            },
            rest,
        ))
    }
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
