//! Readers of JSON that stand behind gateways, and what each finds in a body.

use super::corpus::Body;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a reader found, by name, with containers emptied; or why it refused the body.
pub(super) type Found = Result<Vec<(String, Value)>, String>;

/// What is looked for in a body: `[name or null, {key: node}]`, with `*` for the elements of an array and
/// `max*tokens` for any such key but those of inputs.
pub(super) struct Wanted {
    exact: Value,
    folded: Value,
}

impl Wanted {
    pub(super) fn new(places: &[(&str, Vec<&str>)]) -> Self {
        let tree = |spell: fn(&str) -> String| {
            let mut root = json!([null, {}]);
            for (name, path) in places {
                let mut node = &mut root;
                for key in path {
                    let children = node[1].as_object_mut().unwrap();
                    node = children
                        .entry(spell(key))
                        .or_insert_with(|| json!([null, {}]));
                }
                node[0] = json!(name);
            }
            root
        };
        Self {
            exact: tree(str::to_owned),
            folded: tree(fold),
        }
    }
}

/// The node for a member of an object.
fn member<'a>(node: &'a Value, key: &str) -> Option<&'a Value> {
    let folded = fold(key);
    let input = folded.contains("input") || folded.contains("prompt");
    let bound = folded.starts_with("max") && folded.ends_with("tokens") && !input;
    let children = node[1].as_object().unwrap();
    let any_bound = || children.get("max*tokens").filter(|_| bound);
    children.get(key).filter(|_| key != "*").or_else(any_bound)
}

/// All readers: two written here, and those of other languages, each started once for a whole corpus.
pub(super) struct Readers {
    wanted: Vec<Wanted>,
    scripts: Vec<Script>,
}

/// An interpreter and what it runs.
struct Script {
    name: &'static str,
    program: String,
    path: PathBuf,
}

impl Readers {
    /// Without one of the interpreters a run proves less: that is said, and is an error in CI.
    pub(super) fn new(wanted: Vec<Wanted>) -> Self {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential");
        let mut scripts = Vec::new();
        for (name, program, file) in [
            ("CPython", python, "readers.py"),
            ("Node", "node".to_owned(), "readers.js"),
        ] {
            let version = Command::new(&program).arg("--version").output();
            if version.is_ok_and(|output| output.status.success()) {
                let path = dir.join(file);
                scripts.push(Script {
                    name,
                    program,
                    path,
                });
                continue;
            }
            assert!(std::env::var_os("CI").is_none(), "{program} is missing");
            // Not `eprintln`: the test harness would swallow it.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED a reader: {program} is missing, so {name} is not compared"
            );
        }
        Self { wanted, scripts }
    }

    /// What each reader finds in each of the bodies.
    pub(super) fn read(&self, bodies: &[&Body]) -> Vec<(&'static str, Vec<Found>)> {
        let here = |read: fn(&[u8], &Wanted) -> Found| -> Vec<Found> {
            let read = |body: &&Body| read(&body.bytes, &self.wanted[body.profile]);
            bodies.iter().map(read).collect()
        };
        let frames = Frames::write(bodies);
        let wanted: Vec<_> = self.wanted.iter().map(|wanted| &wanted.exact).collect();
        let wanted = json!(wanted).to_string();
        std::thread::scope(|scope| {
            let running: Vec<_> = self
                .scripts
                .iter()
                .map(|script| scope.spawn(|| (script.name, script.run(&wanted, &frames))))
                .collect();
            let mut found = vec![
                ("serde_json", here(read_value)),
                ("any letter case, last wins", here(read_last)),
                ("any letter case, first wins", here(read_first)),
            ];
            found.extend(running.into_iter().map(|thread| thread.join().unwrap()));
            found
        })
    }
}

impl Script {
    fn run(&self, wanted: &str, frames: &Frames) -> Vec<Found> {
        let output = Command::new(&self.program)
            .arg(&self.path)
            .arg(wanted)
            .arg(&frames.0)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {complaint}", self.name);
        let lines = String::from_utf8(output.stdout).unwrap();
        let parse = |line: &str| {
            // A line that cannot be read has something in it that cannot be compared, as half a surrogate pair.
            let parsed = serde_json::from_str(line).map_err(|_| format!("read {line}"));
            parsed.and_then(|value: Value| match value {
                Value::String(error) => Err(error),
                found => serde_json::from_value(found).map_err(|error| error.to_string()),
            })
        };
        lines.lines().map(parse).collect()
    }
}

/// A file with all bodies, as the scripts read it; gone when dropped.
struct Frames(PathBuf);

impl Frames {
    fn write(bodies: &[&Body]) -> Self {
        let mut frames = Vec::new();
        for body in bodies {
            frames.push(u8::try_from(body.profile).unwrap());
            frames.extend(u32::try_from(body.bytes.len()).unwrap().to_le_bytes());
            frames.extend(&body.bytes);
        }
        let thread = std::thread::current().id();
        let name = format!("bodies-{}-{thread:?}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, frames).unwrap();
        Self(path)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // What is left over is in cargo's own directory for such things.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn read_value(body: &[u8], wanted: &Wanted) -> Found {
    fn find(value: &Value, node: &Value, found: &mut Vec<(String, Value)>) {
        if let Some(name) = node[0].as_str() {
            found.push((name.to_owned(), emptied(value)));
        }
        match (value, node[1].get("*")) {
            (Value::Array(elements), Some(child)) => {
                for element in elements {
                    find(element, child, found);
                }
            }
            (Value::Object(members), _) => {
                for (key, value) in members {
                    if let Some(child) = member(node, key) {
                        find(value, child, found);
                    }
                }
            }
            _ => {}
        }
    }
    let value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    find(&value, &wanted.exact, &mut found);
    Ok(found)
}

fn emptied(value: &Value) -> Value {
    match value {
        Value::Array(_) => json!([]),
        Value::Object(_) => json!({}),
        scalar => scalar.clone(),
    }
}

fn read_last(body: &[u8], wanted: &Wanted) -> Found {
    Tree::read(body, wanted, Wins::Last)
}

fn read_first(body: &[u8], wanted: &Wanted) -> Found {
    Tree::read(body, wanted, Wins::First)
}

/// Which of several members with the same name, letter case ignored, a reader takes.
#[derive(Clone, Copy)]
enum Wins {
    /// As parsers do that search for a key.
    First,
    /// As Go's `encoding/json` fills a struct: `null` changes nothing.
    Last,
}

impl Wins {
    fn pick<'a>(self, values: &[&'a Tree]) -> Option<&'a Tree> {
        let stated = values.iter().rev().find(|value| !value.is_null());
        match self {
            Self::First => values.first().copied(),
            Self::Last => stated.or_else(|| values.last()).copied(),
        }
    }
}

/// A document with every member of its objects, however often a key is there; keys are folded.
#[derive(Debug)]
enum Tree {
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Scalar(Value),
}

impl Tree {
    fn read(body: &[u8], wanted: &Wanted, wins: Wins) -> Found {
        let tree: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        tree.find(&wanted.folded, wins, &mut found);
        Ok(found)
    }

    fn find(&self, node: &Value, wins: Wins, found: &mut Vec<(String, Value)>) {
        if let Some(name) = node[0].as_str() {
            found.push((name.to_owned(), self.emptied()));
        }
        match (self, node[1].get("*")) {
            (Self::List(elements), Some(child)) => {
                for element in elements {
                    element.find(child, wins, found);
                }
            }
            (Self::Object(members), _) => {
                let keys: BTreeSet<_> = members.iter().map(|(key, _)| key).collect();
                for key in keys {
                    let named = members.iter().filter(|(name, _)| name == key);
                    let values: Vec<_> = named.map(|(_, value)| value).collect();
                    if let (Some(child), Some(value)) = (member(node, key), wins.pick(&values)) {
                        value.find(child, wins, found);
                    }
                }
            }
            _ => {}
        }
    }

    fn emptied(&self) -> Value {
        match self {
            Self::List(_) => json!([]),
            Self::Object(_) => json!({}),
            Self::Scalar(value) => value.clone(),
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(Value::Null))
    }
}

/// Unicode's simple folding as far as it leads to ASCII, and the two letters that other readers add; cut at a NUL,
/// as strings in C are.
fn fold(key: &str) -> String {
    let fold = |character| match character {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        other => other.to_ascii_lowercase(),
    };
    key.chars()
        .take_while(|character| *character != '\0')
        .map(fold)
        .collect()
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(json!(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(json!(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(json!(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(json!(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(json!(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut object = Vec::new();
        while let Some((name, value)) = members.next_entry::<String, _>()? {
            object.push((fold(&name), value));
        }
        Ok(Tree::Object(object))
    }
}
