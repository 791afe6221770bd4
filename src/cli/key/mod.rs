//! `cohort key`: makes, hashes and replaces API keys.
//!
//! A new key is written to stdout once and kept nowhere; the policy file gets its digest.

mod secret;

use super::edit::{self, Item, PolicyFile, Step};
use super::{Failure, Printed, clock, print};
use crate::time::{Timestamp, UtcOffset};
use secret::{digest, generate, is_mistyped};
use std::cell::RefCell;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a key and show it, once; with a name, put its digest into the policy file
    ///
    /// The key is all that goes to stdout: KEY=$(cohort key new marketing)
    New(New),
    /// Show the digest of a key, for `sha256` in the policy file
    Hash {
        /// The key; without it, read from stdin, which keeps it out of the shell's history
        key: Option<String>,
    },
    /// Make a new key for a group or a consumer; the old one goes on working for a while
    Rotate(Rotate),
}

#[derive(clap::Args)]
pub(super) struct New {
    /// The consumer group or the consumer that it is for
    name: Option<String>,
    /// What events call the key; default: the first 12 hex digits of its digest
    #[arg(long, requires = "name")]
    id: Option<String>,
    /// The key stops working after this time: 90d
    #[arg(long, value_name = "TIME", value_parser = clock::parse_duration, requires = "name")]
    expires: Option<Duration>,
    /// The policy file
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    config: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct Rotate {
    /// The consumer group or the consumer
    name: String,
    /// How long the old key goes on working
    #[arg(long, value_name = "TIME", value_parser = clock::parse_duration, default_value = "24h")]
    overlap: Duration,
    /// Which key, where there are several: its id, as events show it
    #[arg(long)]
    id: Option<String>,
    /// The policy file
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    config: PathBuf,
}

impl Command {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::New(new) => new.run(),
            Self::Hash { key } => hash(key),
            Self::Rotate(rotate) => rotate.run(),
        }
    }
}

impl New {
    fn run(self) -> Result<ExitCode, Failure> {
        let key = random_key(self.name.as_deref().unwrap_or_default())?;
        let Some(name) = self.name else {
            print(|out| writeln!(out, "{key}"))?;
            say(&format!("sha256: {}", digest(&key)));
            return Ok(ExitCode::SUCCESS);
        };
        let done = edit::apply(
            &self.config,
            false,
            || hand_out(&key),
            |file| {
                let owner = find(file, &name)?;
                let end = self.expires.map(|after| moment(clock::now(), after));
                add(file, &owner, new_entry(&key, self.id.as_deref(), end))
            },
        )?;
        if done == ExitCode::SUCCESS {
            say("This key is shown once: the file has only its digest.");
        }
        Ok(done)
    }
}

impl Rotate {
    fn run(self) -> Result<ExitCode, Failure> {
        let now = clock::now();
        let key = random_key(&self.name)?;
        let end = moment(now, self.overlap);
        let old = RefCell::new(String::new());
        let done = edit::apply(
            &self.config,
            false,
            || hand_out(&key),
            |file| {
                let owner = find(file, &self.name)?;
                let keys = keys(file, &owner);
                let chosen = choose(&keys, &self, now)?;
                chosen.id.clone_into(&mut old.borrow_mut());
                expire(file, &owner, chosen, &end)?;
                add(file, &owner, new_entry(&key, None, None))
            },
        )?;
        if done == ExitCode::SUCCESS {
            say(&format!(
                "This key is shown once: the file has only its digest. The old one ({}) works until {end}.",
                old.into_inner()
            ));
        }
        Ok(done)
    }
}

fn hash(key: Option<String>) -> Result<ExitCode, Failure> {
    let mut key = key;
    if key.is_none() {
        if io::stdin().is_terminal() {
            say("Paste the key and press Enter, then Ctrl-D:");
        }
        let mut text = String::new();
        let read = io::stdin().lock().take(1 << 16).read_to_string(&mut text);
        read.map_err(|error| Failure(format!("cannot read the key: {error}")))?;
        key = Some(text);
    }
    let key = key.unwrap_or_default();
    let key = key.trim_end_matches(['\r', '\n']);
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Failure(
            "a key is one word, without spaces or control characters".to_owned(),
        ));
    }
    if is_mistyped(key) {
        say("warning: this looks like a key of ours, and its checksum is wrong: is it whole?");
    }
    print(|out| writeln!(out, "{}", digest(key)))?;
    Ok(ExitCode::SUCCESS)
}

/// A key that was just made, and is shown once.
pub(crate) struct NewKey {
    /// The consumer group or the consumer that it is for.
    pub(crate) owner: String,
    key: String,
    end: Option<String>,
}

impl NewKey {
    /// One for each name, if they are `wanted`.
    pub(crate) fn for_each(
        wanted: bool,
        names: &[String],
        expires: Option<Duration>,
    ) -> Result<Vec<Self>, Failure> {
        let names = names.iter().filter(|_| wanted);
        names
            .map(|name| {
                Ok(Self {
                    owner: name.clone(),
                    key: random_key(name)?,
                    end: expires.map(|after| moment(clock::now(), after)),
                })
            })
            .collect()
    }

    /// `api_keys` with its digest alone.
    pub(crate) fn list(&self) -> Item {
        Item::List(vec![new_entry(&self.key, None, self.end.clone())])
    }

    /// One is all that goes to stdout; several stand behind the names that they are for.
    pub(crate) fn show(keys: &[Self]) -> Result<(), Failure> {
        match keys {
            [] => Ok(()),
            [one] => hand_out(&one.key),
            keys => {
                let lines = keys.iter().map(|key| format!("{} {}", key.owner, key.key));
                hand_out(&lines.collect::<Vec<_>>().join("\n"))
            }
        }
    }

    pub(crate) fn say_shown(keys: &[Self]) {
        match keys.len() {
            0 => {}
            1 => say("This key is shown once: the file has only its digest."),
            _ => say("These keys are shown once: the file has only their digests."),
        }
    }
}

/// What nobody reads is lost: a file must not have the digest of a key that nobody has.
fn hand_out(keys: &str) -> Result<(), Failure> {
    match print(|out| writeln!(out, "{keys}")) {
        Ok(Printed::Whole) => Ok(()),
        Ok(Printed::ReaderGone) => Err(Failure(
            "nobody reads the key; nothing was written".to_owned(),
        )),
        Err(Failure(why)) => Err(Failure(format!("{why}; nothing was written"))),
    }
}

/// Where a group's or a consumer's entry is.
type Owner<'a> = [Step<'a>; 2];

fn find(file: &PolicyFile, name: &str) -> Result<Owner<'static>, Failure> {
    let lists = ["consumer_groups", "consumers"];
    let found = lists.map(|list| (list, file.find(list, "name", name)));
    let mut found = found.into_iter();
    let mut owners = found
        .by_ref()
        .filter_map(|(list, at)| Some([Step::Key(list), Step::At(at?)]));
    match (owners.next(), owners.next()) {
        (Some(owner), None) => Ok(owner),
        (None, _) => Err(Failure(format!(
            "no consumer group and no consumer is called '{name}': `cohort group list` and `cohort consumer list` show who there is"
        ))),
        (Some(_), Some(_)) => Err(Failure(format!(
            "a consumer group and a consumer are both called '{name}'; edit the file by hand, with `cohort key new` for the key"
        ))),
    }
}

/// A key as the file has it.
struct Key {
    id: String,
    digest: String,
    /// In `api_keys`; `None`: `api_key`.
    at: Option<usize>,
    enabled: bool,
    plain: bool,
    not_after: Option<Timestamp>,
}

impl Key {
    fn of(item: &Item, at: Option<usize>) -> Option<Self> {
        if let Some(text) = item.text() {
            let digest = digest(text);
            let id = digest.chars().take(12).collect();
            return Some(Self {
                id,
                digest,
                at,
                enabled: true,
                plain: true,
                not_after: None,
            });
        }
        let text = |name| item.get(name).and_then(Item::text).map(str::to_owned);
        let digest = text("sha256")?;
        let short = || {
            digest
                .chars()
                .take(12)
                .collect::<String>()
                .to_ascii_lowercase()
        };
        let not_after = text("not_after");
        let not_after = not_after.and_then(|text| Timestamp::parse_rfc3339(&text, UtcOffset(0)));
        Some(Self {
            id: text("id").unwrap_or_else(short),
            at,
            enabled: item.get("enabled") != Some(&Item::Bool(false)),
            plain: false,
            not_after,
            digest,
        })
    }
}

fn keys(file: &PolicyFile, owner: &Owner<'_>) -> Vec<Key> {
    let of = |name| file.item(&[owner.as_slice(), &[Step::Key(name)]].concat());
    let one = of("api_key").and_then(|item| Key::of(&item, None));
    let more = of("api_keys").unwrap_or(Item::Null);
    let more = more.items().iter().enumerate();
    let more = more.filter_map(|(at, item)| Key::of(item, Some(at)));
    one.into_iter().chain(more).collect()
}

/// The key to be replaced: the one that is named, or the only one that works and has no end yet.
fn choose<'a>(keys: &'a [Key], rotate: &Rotate, now: Timestamp) -> Result<&'a Key, Failure> {
    let name = &rotate.name;
    if let Some(id) = &rotate.id {
        let found = keys.iter().find(|key| key.id == *id);
        return found
            .ok_or_else(|| Failure(format!("'{name}' has no key '{id}'; {}", listed(keys))));
    }
    let lasting: Vec<_> = keys
        .iter()
        .filter(|key| key.enabled && key.not_after.is_none())
        .collect();
    let live = || {
        keys.iter()
            .filter(|key| key.enabled && key.not_after.is_some_and(|end| end > now))
    };
    match lasting.as_slice() {
        [one] => Ok(one),
        [] if live().count() == 1 => live().next().ok_or_else(|| Failure(String::new())),
        [] if keys.is_empty() => Err(Failure(format!(
            "'{name}' has no key yet: `cohort key new {name}` makes one"
        ))),
        _ => Err(Failure(format!(
            "'{name}' has several keys: say which with --id; {}",
            listed(keys)
        ))),
    }
}

fn listed(keys: &[Key]) -> String {
    let ids: Vec<_> = keys.iter().map(|key| &*key.id).collect();
    format!("its keys are {}", ids.join(", "))
}

/// Gives a key an end; one in plain text becomes its digest on the way.
fn expire(file: &mut PolicyFile, owner: &Owner<'_>, key: &Key, end: &str) -> Result<(), Failure> {
    let path = |rest: &[Step<'static>]| [owner.as_slice(), rest].concat();
    let digested = || {
        Item::map([
            ("sha256", key.digest.as_str().into()),
            ("not_after", end.into()),
        ])
    };
    let list = Step::Key("api_keys");
    match key.at {
        None if file.item(&path(&[list])).is_none() => file.replace(
            &path(&[Step::Key("api_key")]),
            "api_keys",
            Item::List(vec![digested()]),
        ),
        None => {
            file.remove(&path(&[Step::Key("api_key")]))?;
            file.push(&path(&[list]), digested())
        }
        Some(at) if key.plain => file.set(&path(&[list, Step::At(at)]), digested()),
        Some(at) => file.set(
            &path(&[list, Step::At(at), Step::Key("not_after")]),
            end.into(),
        ),
    }
}

fn add(file: &mut PolicyFile, owner: &Owner<'_>, entry: Item) -> Result<(), Failure> {
    file.push(
        &[owner.as_slice(), &[Step::Key("api_keys")]].concat(),
        entry,
    )
}

fn new_entry(key: &str, id: Option<&str>, end: Option<String>) -> Item {
    let mut members = Vec::new();
    members.extend(id.map(|id| ("id".to_owned(), id.into())));
    members.push(("sha256".to_owned(), digest(key).into()));
    members.extend(end.map(|end| ("not_after".to_owned(), end.into())));
    Item::Map(members)
}

/// In whole seconds, as people would write it.
fn moment(now: Timestamp, after: Duration) -> String {
    let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let end = now.saturating_add_ms(ms).to_string();
    match end.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => end,
    }
}

fn random_key(owner: &str) -> Result<String, Failure> {
    let mut pool = Vec::new();
    let key = generate(owner, || {
        if pool.is_empty() {
            pool = vec![0; 64];
            getrandom::fill(&mut pool).map_err(|error| error.to_string())?;
        }
        Ok(pool.pop().unwrap_or_default())
    });
    key.map_err(|error| Failure(format!("the system gives no randomness: {error}")))
}

fn say(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}"); // nowhere left to say it
}
