//! Bodies that a client might send so that two readers disagree on them: half of them grown from a grammar of
//! what APIs take, half mutated from real requests. The same seed gives the same bodies.

use std::fmt::Write;

/// A small generator of numbers (splitmix64).
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 for 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    pub(super) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

/// Where an API names models; the places of everything else are the same for all.
pub(super) struct Profile {
    pub(super) target: &'static str,
    /// The one that all places have to agree on, where they have to.
    pub(super) name: Option<&'static str>,
    pub(super) models: &'static [&'static [&'static str]],
}

pub(super) struct Body {
    pub(super) profile: usize,
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone)]
enum Node {
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    /// As is, valid or not.
    Raw(String),
    Text(String),
}

#[rustfmt::skip]
const MODELS: &[&str] = &[
    "gpt-4o", "gpt-4o-mini", "claude-opus-4-1", "a/b:free", "модель", "模型-1", "😀", "e\u{301}", "é", " gpt-4o",
    "gpt\"4\\o", "m\u{0}", "m\n", "\u{FFFE}", "\u{2028}", "null",
];

/// Keys that are watched somewhere, and some that look like them.
#[rustfmt::skip]
const KEYS: &[&str] = &[
    "model", "models", "fallbacks", "tools", "stream", "stream_options", "include_usage", "n", "best_of",
    "candidateCount", "max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens",
    "num_predict", "generationConfig", "inferenceConfig", "options", "requests", "params", "moderation", "session",
    "input_audio_transcription", "name", "background", "messages", "metadata", "user", "model ", "_model", "mоdel",
    "model\u{0}", "model\u{0}x", "stream\u{0}", "model\u{301}", "modell", "__proto__", "constructor", "toString", "", "*", "0",
];

#[rustfmt::skip]
const ODD: &[&str] = &[
    "null", "true", "false", "0", "-0", "1", "-1", "5.0", "0.5", "1e3", "1E+2", "1e-400", "-0.0e-0", "\"\"",
    "\"5\"", "\"true\"", "[]", "{}", "[null]", "[[]]", "[\"gpt-4o\"]", "{\"model\":\"gpt-4o\"}", "9007199254740993",
    "18446744073709551615", "18446744073709551616", "1e308", "1.7976931348623157e308", "4.9e-324",
];

#[rustfmt::skip]
const INVALID: &[&str] = &[
    "NaN", "Infinity", "-Infinity", "nan", "None", "True", "undefined", "01", "+1", ".5", "1.", "1e", "0x10",
    "1_000", "--1", "1e999", "-1e400", "'a'", "model", "[1,]", "{\"a\":1,}", "{a:1}", "[,]", "nul", "truee",
    "\"a\nb\"", "", "\"\\x41\"", "\"\\u12G4\"", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\'\"", "1.8e308", "2e308",
];

/// One body.
pub(super) fn grow(rng: &mut Rng, profiles: &[Profile]) -> Body {
    let profile = rng.below(profiles.len());
    let mut members = Vec::new();
    for (index, path) in profiles[profile].models.iter().enumerate() {
        if rng.percent(if index == 0 { 95 } else { 15 }) {
            let name = profiles[profile].name.filter(|_| rng.percent(80));
            let places = if rng.percent(1) { 70 } else { 1 + rng.below(2) };
            for place in 0..places {
                let model = match name {
                    Some(name) if rng.percent(30) => format!("models/{name}"),
                    Some(name) => name.to_owned(),
                    None if places > 2 => format!("m{place}"),
                    None => model(rng),
                };
                plant(&mut members, path, Node::Text(model), rng);
            }
        }
    }
    for _ in 0..rng.below(5) {
        let (key, value) = watched(rng);
        if members.iter().all(|(taken, _)| taken != key) {
            members.push((key.to_owned(), value));
        }
    }
    for _ in 0..rng.below(4) {
        members.push((format!("x{}", members.len()), noise(rng, 3)));
    }
    for index in 0..members.len() {
        let other = rng.below(members.len());
        members.swap(index, other);
    }
    let mut root = Node::Object(members);
    if rng.percent(30) {
        for _ in 0..=rng.below(2) {
            attack(&mut root, rng);
        }
    }
    let style = Style {
        escapes: [0, 0, 5, 30, 100][rng.below(5)],
        spaces: [0, 0, 10, 50][rng.below(4)],
    };
    let mut text = String::new();
    style.write(&root, &mut text, rng);
    let mut bytes = text.into_bytes();
    if rng.percent(20) {
        spoil(&mut bytes, rng);
    }
    Body { profile, bytes }
}

/// A body made from one that a real client sends.
pub(super) fn mutate(rng: &mut Rng, profile: usize, seed: &[u8]) -> Body {
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len());
        let end = (at + 1 + rng.below(8)).min(bytes.len());
        match rng.below(12) {
            0 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << rng.below(8)),
            1 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte = b"\"\\{}[],:0nue \0\x80"[rng.below(15)]),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at..end].to_vec();
                splice(&mut bytes, rng, &piece);
            }
            5 => bytes[at..end].reverse(),
            6 | 7 => {
                // The case of a letter, in a key more often than not.
                let near = bytes[at..]
                    .windows(2)
                    .position(|pair| pair == b"\":")
                    .map_or(at, |key| at + key);
                let at = near.saturating_sub(rng.below(6));
                bytes.iter_mut().skip(at).take(1).for_each(|byte| {
                    if byte.is_ascii_alphabetic() {
                        *byte ^= 0x20;
                    }
                });
            }
            8 => spoil(&mut bytes, rng),
            _ => {
                // A further member of some object, or at least something that looks like one.
                let (key, value) = if rng.percent(50) {
                    watched(rng)
                } else {
                    (rng.pick(KEYS), noise(rng, 2))
                };
                let mut member = String::new();
                let style = Style {
                    escapes: [0, 20][rng.below(2)],
                    spaces: 0,
                };
                style.write_text(key, &mut member, rng);
                member.push(':');
                style.write(&value, &mut member, rng);
                member.push(',');
                let objects: Vec<_> = bytes
                    .iter()
                    .enumerate()
                    .filter(|(_, byte)| **byte == b'{')
                    .collect();
                let at = if objects.is_empty() {
                    0
                } else {
                    objects[rng.below(objects.len())].0 + 1
                };
                bytes.splice(at..at, member.into_bytes());
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    Body { profile, bytes }
}

fn model(rng: &mut Rng) -> String {
    match rng.below(40) {
        0 => "x".repeat(
            rng.pick(&[&255, &256, &257, &511, &512, &513, &1000])
                .to_owned(),
        ),
        1 => "é".repeat(256),
        2 => String::new(),
        _ => {
            // The plain names are the common ones.
            let plain = rng.percent(70);
            rng.pick(if plain { &MODELS[..4] } else { MODELS })
                .to_owned()
        }
    }
}

fn watched(rng: &mut Rng) -> (&'static str, Node) {
    let raw = |text: &str| Node::Raw(text.to_owned());
    let flag = raw(rng.pick(&["true", "false"]));
    let count = Node::Raw(rng.below(5000).to_string());
    let of = |key: &str, value| Node::Object(vec![(key.to_owned(), value)]);
    match rng.below(12) {
        0 | 1 => ("stream", flag),
        2 => ("stream_options", of("include_usage", flag)),
        3 => ("stream_options", of("other", flag)),
        4 => (
            rng.pick(&["n", "best_of"]),
            Node::Raw((1 + rng.below(4)).to_string()),
        ),
        5 => ("max_tokens", count),
        6 => ("max_completion_tokens", count),
        7 => ("max_output_tokens", count),
        8 => ("generationConfig", of("maxOutputTokens", count)),
        9 => ("options", of("num_predict", count)),
        10 => ("background", flag),
        _ => (rng.pick(KEYS), raw(rng.pick(ODD))),
    }
}

/// Something that nobody watches, though its keys may look as if.
fn noise(rng: &mut Rng, depth: usize) -> Node {
    match rng.below(if depth == 0 { 3 } else { 6 }) {
        0 => Node::Raw(rng.pick(ODD).to_owned()),
        1 | 2 => Node::Text(model(rng)),
        3 => {
            let count = rng.below(3);
            Node::List((0..count).map(|_| noise(rng, depth - 1)).collect())
        }
        _ => {
            let count = rng.below(4);
            let member = |_| (rng.pick(KEYS).to_owned(), noise(rng, depth - 1));
            Node::Object((0..count).map(member).collect())
        }
    }
}

/// Puts a value where a path leads, through what is there already.
fn plant(members: &mut Vec<(String, Node)>, path: &[&str], value: Node, rng: &mut Rng) {
    let [key, rest @ ..] = path else { return };
    let index = members
        .iter()
        .position(|(taken, _)| taken == key)
        .unwrap_or_else(|| {
            let empty = if rest.first() == Some(&"*") {
                Node::List(Vec::new())
            } else {
                Node::Object(Vec::new())
            };
            members.push(((*key).to_owned(), empty));
            members.len() - 1
        });
    match (rest, &mut members[index].1) {
        ([], place) => *place = value,
        (["*"], Node::List(elements)) => elements.push(value),
        (["*", rest @ ..], Node::List(elements)) => {
            let mut element = Vec::new();
            if let Some(Node::Object(last)) = elements.last_mut().filter(|_| rng.percent(30)) {
                return plant(last, rest, value, rng);
            }
            plant(&mut element, rest, value, rng);
            elements.push(Node::Object(element));
        }
        (rest, Node::Object(inner)) => plant(inner, rest, value, rng),
        _ => {}
    }
}

/// Makes a tree one that readers might disagree on.
fn attack(root: &mut Node, rng: &mut Rng) {
    if rng.percent(2) {
        *root = Node::List(vec![root.clone()]);
    }
    let Some(members) = object(root, rng) else {
        return;
    };
    if members.is_empty() || rng.percent(15) {
        let at = rng.below(members.len() + 1);
        members.insert(at, (spelling(rng.pick(KEYS), rng), noise(rng, 2)));
        return;
    }
    let victim = rng.below(members.len());
    let place = rng.below(members.len() + 1);
    let (key, value) = members[victim].clone();
    match rng.below(8) {
        0 => members.insert(place, (key, noise(rng, 1))),
        1 => members.insert(place, (key, value)),
        2 => members.insert(place, (spelling(&key, rng), noise(rng, 1))),
        3 => members[victim].0 = spelling(&key, rng),
        4 => members[victim].1 = Node::Raw(rng.pick(ODD).to_owned()),
        5 => members[victim].1 = Node::Raw(rng.pick(INVALID).to_owned()),
        6 => members[victim].1 = noise(rng, 2),
        _ => {
            let depth = *rng.pick(&[&5, &100, &124, &125, &126, &127, &128, &129, &300, &1500]);
            let (open, close) = if rng.percent(50) {
                ("[", "]")
            } else {
                ("{\"model\":", "}")
            };
            members[victim].1 =
                Node::Raw(format!("{}0{}", open.repeat(depth), close.repeat(depth)));
        }
    }
}

/// An object of the tree, more likely one near the top.
fn object<'a>(node: &'a mut Node, rng: &mut Rng) -> Option<&'a mut Vec<(String, Node)>> {
    let Node::Object(members) = node else {
        return None;
    };
    let inner: Vec<_> = members
        .iter()
        .enumerate()
        .filter_map(|(index, (_, value))| match value {
            Node::Object(_) => Some((index, None)),
            Node::List(list) => {
                let element = list
                    .iter()
                    .position(|element| matches!(element, Node::Object(_)))?;
                Some((index, Some(element)))
            }
            _ => None,
        })
        .collect();
    if inner.is_empty() || rng.percent(50) {
        return Some(members);
    }
    let (index, element) = inner[rng.below(inner.len())];
    match (&mut members[index].1, element) {
        (Node::List(list), Some(element)) => object(&mut list[element], rng),
        (value, _) => object(value, rng),
    }
}

/// The same key to a reader that ignores case, or nearly.
fn spelling(key: &str, rng: &mut Rng) -> String {
    let all = rng.percent(30);
    let change = rng.below(key.chars().count());
    let mut spelled = String::new();
    for (index, character) in key.chars().enumerate() {
        if !all && index != change {
            spelled.push(character);
            continue;
        }
        match (character, rng.below(3)) {
            ('s', 0) => spelled.push('\u{17F}'),
            ('k', 0) => spelled.push('\u{212A}'),
            ('i', 0) => spelled.push(if all { '\u{130}' } else { '\u{131}' }),
            (upper, _) if upper.is_uppercase() => spelled.extend(upper.to_lowercase()),
            (lower, _) => spelled.extend(lower.to_uppercase()),
        }
    }
    spelled
}

/// Does to the bytes what no JSON may have, or what only some readers take.
fn spoil(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let utf16 = |bytes: &[u8], order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        String::from_utf8_lossy(bytes)
            .encode_utf16()
            .flat_map(order)
            .collect()
    };
    match rng.below(20) {
        0 => drop(bytes.splice(0..0, *b"\xEF\xBB\xBF")),
        1 => *bytes = utf16(bytes, u16::to_le_bytes),
        2 => *bytes = utf16(bytes, u16::to_be_bytes),
        3 => *bytes = utf16(&[b"\xEF\xBB\xBF", &bytes[..]].concat(), u16::to_le_bytes),
        4 => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            *bytes = text
                .chars()
                .flat_map(|character| u32::from(character).to_le_bytes())
                .collect();
        }
        5 => {
            *bytes = bytes
                .iter()
                .map(|byte| if byte.is_ascii() { *byte } else { 0xE9 })
                .collect();
        }
        6..=8 => bytes.extend_from_slice(
            rng.pick(&[
                "{\"model\":\"other\"}",
                "\n{}",
                "\0",
                ",",
                "]",
                "}",
                "x",
                "null",
                " \n\t\r ",
                "//",
                "\u{FEFF}",
                "\u{A0}",
            ])
            .as_bytes(),
        ),
        9 => drop(
            bytes.splice(
                0..0,
                rng.pick(&[" ", "\n", "\0", "\u{FEFF}", "//\n", ")]}'\n", "\x1E", "a="])
                    .bytes(),
            ),
        ),
        10 => bytes.truncate(rng.below(bytes.len())),
        11..=14 => {
            let piece = rng.pick(&[
                &b"\0"[..],
                b"\x01",
                b"\x0B",
                b"\x0C",
                b"\x7F",
                b"\x80",
                b"\xC0\xAF",
                b"\xE0\x80\xAF",
                b"\xED\xA0\x80",
                b"\xED\xA0\xBD\xED\xB8\x80",
                b"\xF4\x90\x80\x80",
                b"\xF8\x88\x80\x80\x80",
                b"\xE9",
                b"\xFF",
                b"\xC2\xA0",
                b"\xE2\x80\xA8",
                b"\xF0\x9F\x98",
                b"\xEF\xBB\xBF",
                b"\\ud800",
                b"\\udc00",
                b"\\u0000",
                b"\\x41",
                b"\\",
                b"\\u00e",
                b"\\U00e9",
                b"\"",
                b"\n",
                b"\\ud83d\\ude00",
                b"\\ud83d\\ud83d",
            ]);
            splice(bytes, rng, piece);
        }
        _ => {
            // Between tokens, or what may be taken for that.
            let piece = rng.pick(&[
                "/**/", "//\n", "#\n", ",", ";", "\u{A0}", "\u{FEFF}", "\x0C", "\x0B", " ", "\r\n",
                "'",
            ]);
            let gaps: Vec<_> = bytes
                .iter()
                .enumerate()
                .filter(|(_, byte)| b"{}[],:".contains(byte))
                .collect();
            if !gaps.is_empty() {
                let at = gaps[rng.below(gaps.len())].0 + rng.below(2);
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
}

fn splice(bytes: &mut Vec<u8>, rng: &mut Rng, piece: &[u8]) {
    let at = rng.below(bytes.len() + 1);
    bytes.splice(at..at, piece.iter().copied());
}

/// How a tree is written down; the numbers are percentages.
struct Style {
    escapes: usize,
    spaces: usize,
}

impl Style {
    fn write(&self, node: &Node, out: &mut String, rng: &mut Rng) {
        self.space(out, rng);
        match node {
            Node::Raw(raw) => out.push_str(raw),
            Node::Text(text) => self.write_text(text, out, rng),
            Node::List(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    self.write(element, out, rng);
                }
                out.push(']');
            }
            Node::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    self.space(out, rng);
                    self.write_text(key, out, rng);
                    self.space(out, rng);
                    out.push(':');
                    self.write(value, out, rng);
                }
                out.push('}');
            }
        }
        self.space(out, rng);
    }

    fn write_text(&self, text: &str, out: &mut String, rng: &mut Rng) {
        out.push('"');
        for character in text.chars() {
            let short = "\"\\/\u{8}\u{C}\n\r\t".find(character).is_some();
            let must = character < ' ' || character == '"' || character == '\\';
            if !must && (self.escapes == 0 || !rng.percent(self.escapes)) {
                out.push(character);
            } else if short && rng.percent(50) {
                let letter = match character {
                    '\u{8}' => 'b',
                    '\u{C}' => 'f',
                    '\n' => 'n',
                    '\r' => 'r',
                    '\t' => 't',
                    other => other,
                };
                out.extend(['\\', letter]);
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let upper = rng.percent(50);
                    if upper {
                        write!(out, "\\u{unit:04X}")
                    } else {
                        write!(out, "\\u{unit:04x}")
                    }
                    .unwrap();
                }
            }
        }
        out.push('"');
    }

    fn space(&self, out: &mut String, rng: &mut Rng) {
        if self.spaces > 0 && rng.percent(self.spaces) {
            out.push_str(rng.pick(&[" ", "\n", "\t", "\r", "\r\n  "]));
        }
    }
}
