//! Policy files, changed in place: comments and layout stay, and nothing is written that the filter would refuse.
//!
//! ```text
//! edit::apply(&path, dry_run, || Ok(()), |file| {
//!     let group = file.find("consumer_groups", "name", "marketing");
//!     let group = group.ok_or_else(|| Failure("there is no such group".to_owned()))?;
//!     file.set(&["consumer_groups".into(), group.into(), "description".into()], "…".into())
//! })
//! ```
//!
//! Each change is made in the text and, apart from it, in what the text says; if the two do not agree nothing is
//! written. Knows YAML and JSON files, not the fields of a configuration, but for those that hold keys.

mod change;
mod diff;
mod held;
mod item;
mod tree;

pub(crate) use change::Step;
pub(crate) use item::Item;

use super::document::{is_json, located};
use super::key::NewKey;
use super::{Failure, diagnostics, print};
use crate::config::{Config, ConfigError};
use crate::policy::Policy;
use change::Page;
use held::Held;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tree::{Kind, Node};

/// Which file is changed, and whether.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Show the change, and do not make it
    #[arg(long)]
    dry_run: bool,
    /// The policy file
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    config: PathBuf,
}

impl Options {
    /// As [`apply`]; keys whose digests are written are shown.
    pub(crate) fn apply(
        &self,
        keys: &[NewKey],
        change: impl FnOnce(&mut PolicyFile) -> Result<(), Failure>,
    ) -> Result<ExitCode, Failure> {
        let show = || NewKey::show(keys);
        let done = apply(&self.config, self.dry_run, show, change)?;
        if done == ExitCode::SUCCESS && !self.dry_run {
            NewKey::say_shown(keys);
        }
        Ok(done)
    }
}

/// A policy file that is being changed.
pub(crate) struct PolicyFile {
    /// As it was given.
    name: String,
    original: String,
    text: String,
    root: Node,
    json: bool,
}

/// Changes a policy file and shows what changed, on stderr. With `dry_run` nothing is written, and the change is what
/// stdout gets. What `show` has to show is shown before the file is replaced: if nobody gets to see it, the file stays as it
/// is. The exit code is 1 where the file is invalid, or would be.
pub(crate) fn apply(
    path: &Path,
    dry_run: bool,
    show: impl FnOnce() -> Result<(), Failure>,
    change: impl FnOnce(&mut PolicyFile) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let name = path.display().to_string();
    let held = Held::open(path, &name)?;
    if let Err(errors) = check(&held.text, is_json(path)) {
        complain(&diagnostics::render_errors_styled(&name, &errors));
        return Ok(ExitCode::FAILURE);
    }
    let mut file = PolicyFile::new(name, held.text.clone(), is_json(path))?;
    change(&mut file)?;
    if let Err(errors) = check(&file.text, file.json) {
        complain(&diagnostics::render_errors_styled(&file.name, &errors));
        complain("nothing was written: the file would be invalid\n");
        return Ok(ExitCode::FAILURE);
    }
    let diff = file.diff();
    if diff.is_empty() {
        complain("nothing to change\n");
    } else if dry_run {
        print(|out| write!(out, "{}", coloured(&diff, &std::io::stdout())))?;
    } else {
        held.replace(&file.text, show)?;
        complain(&coloured(&diff, &std::io::stderr()));
    }
    Ok(ExitCode::SUCCESS)
}

impl PolicyFile {
    fn new(name: String, text: String, json: bool) -> Result<Self, Failure> {
        let root = tree::parse(&text).ok_or_else(|| Failure(format!("{name}: {UNREADABLE}")))?;
        Ok(Self {
            name,
            original: text.clone(),
            text,
            root,
            json,
        })
    }

    /// What the file says at a place; `None`: nothing.
    pub(crate) fn item(&self, path: &[Step<'_>]) -> Option<Item> {
        let item = self.root.item();
        path.iter().try_fold(item, |item, step| match step {
            Step::Key(name) => item.get(name).cloned(),
            Step::At(at) => item.items().get(*at).cloned(),
        })
    }

    /// Position in a list of the top level of the map whose member `key` is `value`.
    pub(crate) fn find(&self, list: &str, key: &str, value: &str) -> Option<usize> {
        let list = self.item(&[Step::Key(list)])?;
        let mut items = list.items().iter();
        items.position(|item| item.get(key).and_then(Item::text) == Some(value))
    }

    /// Writes a value: in place of the one that is there, or as a new member.
    pub(crate) fn set(&mut self, path: &[Step<'_>], value: Item) -> Result<(), Failure> {
        let text = self.page().set(path, &value);
        self.changed(text, |root| {
            let (last, above) = path.split_last()?;
            let parent = at(root, above)?;
            if matches!(parent, Item::Null) {
                *parent = Item::Map(Vec::new());
            }
            match (last, parent) {
                (Step::Key(name), Item::Map(members)) => {
                    match members.iter_mut().find(|(known, _)| known == name) {
                        Some((_, old)) => *old = value,
                        None => members.push(((*name).to_owned(), value)),
                    }
                }
                (Step::At(at), Item::List(items)) => *items.get_mut(*at)? = value,
                _ => return None,
            }
            Some(())
        })
    }

    /// Gives a member another name and value, where it stands.
    pub(crate) fn replace(
        &mut self,
        path: &[Step<'_>],
        name: &str,
        value: Item,
    ) -> Result<(), Failure> {
        let text = self.page().replace(path, name, &value);
        self.changed(text, |root| {
            let (Step::Key(old), above) = path.split_last()? else {
                return None;
            };
            let Item::Map(members) = at(root, above)? else {
                return None;
            };
            let member = members.iter_mut().find(|(known, _)| known == old)?;
            *member = (name.to_owned(), value);
            Some(())
        })
    }

    /// Adds an item at the end of a list, which is made if need be.
    pub(crate) fn push(&mut self, path: &[Step<'_>], item: Item) -> Result<(), Failure> {
        let text = self.page().push(path, &item);
        self.changed(text, |root| {
            if let Some(Item::List(items)) = at(root, path) {
                items.push(item);
                return Some(());
            }
            let (Step::Key(name), above) = path.split_last()? else {
                return None;
            };
            let Item::Map(members) = at(root, above)? else {
                return None;
            };
            members.retain(|(known, _)| known != name);
            members.push(((*name).to_owned(), Item::List(vec![item])));
            Some(())
        })
    }

    /// Takes a member or an item out, with the comment right above it.
    pub(crate) fn remove(&mut self, path: &[Step<'_>]) -> Result<(), Failure> {
        let text = self.page().remove(path);
        self.changed(text, |root| {
            let (last, above) = path.split_last()?;
            match (last, at(root, above)?) {
                (Step::Key(name), Item::Map(members)) => members.retain(|(known, _)| known != name),
                (Step::At(at), Item::List(items)) if *at < items.len() => {
                    items.remove(*at);
                }
                _ => return None,
            }
            Some(())
        })
    }

    fn page(&self) -> Page<'_> {
        Page {
            text: &self.text,
            root: &self.root,
            json: self.json,
        }
    }

    /// Takes a changed text over, if it says what it should.
    fn changed(
        &mut self,
        text: Result<String, &'static str>,
        change: impl FnOnce(&mut Item) -> Option<()>,
    ) -> Result<(), Failure> {
        let fail = |why: &str| Failure(format!("{}: {why}", self.name));
        let text = text.map_err(fail)?;
        let mut expected = self.root.item();
        let root = tree::parse(&text)
            .filter(|root| change(&mut expected).is_some() && same(&expected, &root.item()));
        self.root = root.ok_or_else(|| fail(UNREADABLE))?;
        self.text = text;
        Ok(())
    }

    /// What changed so far, as `diff -u` shows it, without keys.
    fn diff(&self) -> String {
        let masked = |text: &str| match tree::parse(text) {
            Some(root) => mask(text, &root),
            None => String::new(),
        };
        let shown = (masked(&self.original), masked(&self.text));
        diff::unified(&self.name, &self.original, &self.text, (&shown.0, &shown.1))
    }
}

const UNREADABLE: &str =
    "the file is laid out in a way that cannot be changed safely; edit it by hand";

fn at<'a>(root: &'a mut Item, path: &[Step<'_>]) -> Option<&'a mut Item> {
    path.iter().try_fold(root, |item, step| match (step, item) {
        (Step::Key(name), Item::Map(members)) => {
            let mut members = members.iter_mut();
            let found = members.find(|(known, _)| known == name)?;
            Some(&mut found.1)
        }
        (Step::At(at), Item::List(items)) => items.get_mut(*at),
        _ => None,
    })
}

/// Equal but for the order of members.
fn same(a: &Item, b: &Item) -> bool {
    match (a, b) {
        (Item::List(a), Item::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Item::Map(a), Item::Map(members)) => {
            let member = |(name, value): &(String, Item)| {
                b.get(name).is_some_and(|other| same(value, other))
            };
            a.len() == members.len() && a.iter().all(member)
        }
        _ => a == b,
    }
}

/// The text with asterisks for the keys in it.
fn mask(text: &str, root: &Node) -> String {
    let mut shown = text.as_bytes().to_vec();
    hide(root, false, &mut |start, end| {
        for byte in shown.get_mut(start..end).into_iter().flatten() {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    });
    hide_comments(&mut shown);
    String::from_utf8_lossy(&shown).into_owned()
}

/// Keys that were commented out: behind `api_key`, and in the list that follows `api_keys`.
fn hide_comments(shown: &mut [u8]) {
    const NAME: &[u8] = b"api_key";
    let mut listed = false;
    for line in shown.split_mut(|byte| *byte == b'\n') {
        let hash = line.iter().position(|byte| *byte == b'#');
        let comment = hash.and_then(|hash| line.get_mut(hash..));
        let comment = comment.unwrap_or_default();
        let named = comment.windows(NAME.len()).position(|part| part == NAME);
        let mut inside = comment.iter().skip_while(|byte| b"# \t".contains(byte));
        listed = named.is_some() || (listed && inside.next() == Some(&b'-'));
        let from = named.map_or(0, |at| at.saturating_add(NAME.len()));
        let plural = comment.get(from) == Some(&b's');
        let from = from.saturating_add(plural.into());
        let rest = comment.get_mut(from..).filter(|_| listed);
        for byte in rest.into_iter().flatten() {
            if !b"#:-[]{},\"' \t\r".contains(byte) {
                *byte = b'*';
            }
        }
    }
}

fn hide(node: &Node, secret: bool, cover: &mut impl FnMut(usize, usize)) {
    match &node.kind {
        Kind::List { items, .. } => items.iter().for_each(|item| hide(item, secret, cover)),
        Kind::Map { members, .. } => {
            for member in members {
                let secret = ["api_key", "api_keys"].contains(&&*member.name);
                hide(&member.value, secret, cover);
            }
        }
        Kind::Scalar(_) if secret => cover(node.start, node.end),
        Kind::Alias(_) | Kind::Scalar(_) => {}
    }
}

/// As the filter does it.
fn check(text: &str, json: bool) -> Result<(), Vec<ConfigError>> {
    if json {
        Config::from_json(text.as_bytes())?;
    }
    let config = Config::from_yaml(text)?;
    let policy = Policy::compile(config, |_| Some("secret".to_owned()));
    policy.map(drop).map_err(|errors| located(errors, text))
}

fn complain(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes()); // nowhere left to say it
}

fn coloured(diff: &str, stream: &impl anstream::stream::RawStream) -> String {
    if anstream::AutoStream::choice(stream) == anstream::ColorChoice::Never {
        return diff.to_owned();
    }
    let mut text = String::with_capacity(diff.len());
    for line in diff.split_inclusive('\n') {
        let colour = match line.as_bytes().first() {
            Some(b'+') => "\x1b[32m",
            Some(b'-') => "\x1b[31m",
            Some(b'@') => "\x1b[36m",
            _ => "",
        };
        text += colour;
        text += line.trim_end_matches('\n');
        text += if colour.is_empty() { "\n" } else { "\x1b[0m\n" };
    }
    text
}

#[cfg(test)]
mod tests;
