//! `cohort consumer`: the consumers of a policy file, listed and changed, and the groups that they are in.

mod list;

use super::edit::{self, Item, PolicyFile, Step};
use super::key::NewKey;
use super::limits::{self, Limits};
use super::roster::{self, CONSUMERS, GROUPS, Membership};
use super::{Failure, clock, say};
use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show the consumers of a policy file: groups, limits and keys
    List(list::List),
    /// Add consumers to a policy file
    ///
    /// The change is shown, and made only if the filter would take the file: comments and layout stay.
    Add(Box<Add>),
    /// Put consumers into another group
    Move(Move),
    /// Take consumers out of a policy file, or out of a group
    Remove(Remove),
}

#[derive(clap::Args)]
pub(super) struct Add {
    /// What the new consumers are called
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The groups that they are in; without it, in the file's `default_group`
    #[arg(long = "group", value_name = "GROUP,…", value_delimiter = ',')]
    groups: Vec<String>,
    /// Who they are, for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The models that they may use, in place of those of their groups; exact or with `*`
    #[arg(long, value_name = "MODEL,…", value_delimiter = ',')]
    models: Vec<String>,
    #[command(flatten)]
    limits: Limits,
    /// Make a key for each and show it, once; the file gets its digest
    #[arg(long)]
    key: bool,
    /// The key stops working after this time: 90d
    #[arg(long, value_name = "TIME", value_parser = clock::parse_duration, requires = "key")]
    expires: Option<Duration>,
    #[command(flatten)]
    file: edit::Options,
}

#[derive(clap::Args)]
pub(super) struct Move {
    /// Which consumers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// The group to put them in
    #[arg(long, value_name = "GROUP")]
    to: String,
    /// The group to take them out of; needed for those that are in several
    #[arg(long, value_name = "GROUP", conflicts_with = "keep")]
    from: Option<String>,
    /// Leave them in the groups that they are in, too
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    file: edit::Options,
}

#[derive(clap::Args)]
pub(super) struct Remove {
    /// Which consumers
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Only out of this group
    #[arg(long, value_name = "GROUP")]
    from: Option<String>,
    #[command(flatten)]
    file: edit::Options,
}

impl Command {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(),
            Self::Add(add) => add.run(),
            Self::Move(r#move) => r#move.run(),
            Self::Remove(remove) => remove.run(),
        }
    }
}

impl Add {
    fn run(self) -> Result<ExitCode, Failure> {
        roster::check_once(&self.names)?;
        roster::check_once(&self.groups)?;
        let keys = NewKey::for_each(self.key, &self.names, self.expires)?;
        self.file.apply(&keys, |file| {
            for group in &self.groups {
                roster::group(file, group)?;
            }
            if self.groups.is_empty() && file.item(&["default_group".into()]).is_none() {
                return Err(Failure(
                    "say in which group with --group: the file has no `default_group`".to_owned(),
                ));
            }
            for name in &self.names {
                if file.find(CONSUMERS, "name", name).is_some() {
                    return Err(Failure(format!(
                        "there is a consumer '{name}' already; `cohort consumer move` puts it into another group"
                    )));
                }
                let key = keys.iter().find(|key| key.owner == *name);
                file.push(&[CONSUMERS.into()], self.entry(name, key)?)?;
            }
            Ok(())
        })
    }

    fn entry(&self, name: &str, key: Option<&NewKey>) -> Result<Item, Failure> {
        let members = [
            ("name", Some(name.into())),
            ("description", self.description.as_deref().map(Item::from)),
            ("groups", limits::names(&self.groups)),
            ("api_keys", key.map(NewKey::list)),
            ("allowed_models", limits::names(&self.models)),
            ("rate_limits", self.limits.item()?),
        ];
        let members = members
            .into_iter()
            .filter_map(|(name, item)| Some((name.to_owned(), item?)));
        Ok(Item::Map(members.collect()))
    }
}

impl Move {
    fn run(self) -> Result<ExitCode, Failure> {
        roster::check_once(&self.names)?;
        self.file.apply(&[], |file| {
            roster::group(file, &self.to)?;
            if let Some(from) = &self.from {
                roster::group(file, from)?;
            }
            (self.names.iter()).try_for_each(|name| self.one(file, name))
        })
    }

    fn one(&self, file: &mut PolicyFile, name: &str) -> Result<(), Failure> {
        let at = roster::consumer(file, name)?;
        let memberships = roster::memberships(file, name);
        let there = (memberships.iter()).any(|membership| membership.group == self.to);
        let Some(old) = self.leaves(name, &memberships)? else {
            let groups = [CONSUMERS.into(), at.into(), "groups".into()];
            return if there {
                Ok(())
            } else {
                file.push(&groups, self.to.as_str().into())
            };
        };
        if old.group == self.to {
            return Ok(());
        }
        if there {
            return file.remove(&old.path);
        }
        if old.list == GROUPS {
            file.remove(&old.path)?;
            let to = roster::group(file, &self.to)?;
            return file.push(&[GROUPS.into(), to.into(), "consumers".into()], name.into());
        }
        // Its dates stay: who is let in until a day is not let in for longer by a move.
        let mut path = old.path.to_vec();
        path.extend(old.dated.then_some(Step::Key("name")));
        file.set(&path, self.to.as_str().into())
    }

    /// The membership that ends.
    fn leaves<'a>(
        &self,
        name: &str,
        memberships: &'a [Membership],
    ) -> Result<Option<&'a Membership>, Failure> {
        if self.keep {
            return Ok(None);
        }
        match (&self.from, memberships) {
            (Some(from), _) => of(name, from, memberships).map(Some),
            (None, []) => Ok(None), // it was in the default group
            (None, [one]) => Ok(Some(one)),
            (None, _) => Err(Failure(format!(
                "'{name}' is in several groups: say which it leaves with --from, or --keep; it is in {}",
                listed(memberships)
            ))),
        }
    }
}

impl Remove {
    fn run(self) -> Result<ExitCode, Failure> {
        roster::check_once(&self.names)?;
        let left = RefCell::new(Vec::new());
        let default = RefCell::new(None);
        let done = self.file.apply(&[], |file| {
            *default.borrow_mut() = file.item(&["default_group".into()]);
            for name in &self.names {
                roster::consumer(file, name)?;
                let memberships = roster::memberships(file, name);
                if let Some(from) = &self.from {
                    roster::group(file, from)?;
                    file.remove(&of(name, from, &memberships)?.path)?;
                    if memberships.len() == 1 {
                        left.borrow_mut().push(name.clone());
                    }
                    continue;
                }
                for membership in memberships.iter().filter(|found| found.list == GROUPS) {
                    file.remove(&membership.path)?;
                }
                let at = roster::consumer(file, name)?;
                file.remove(&[CONSUMERS.into(), at.into()])?;
            }
            Ok(())
        })?;
        let left = left.into_inner().join(", ");
        if done == ExitCode::SUCCESS && !left.is_empty() {
            let default = default.into_inner();
            say(&match default.as_ref().and_then(Item::text) {
                Some(group) => format!("in the file's `default_group` {group} now: {left}\n"),
                None => format!("in no group now, and so refused: {left}\n"),
            });
        }
        Ok(done)
    }
}

fn of<'a>(
    name: &str,
    group: &str,
    memberships: &'a [Membership],
) -> Result<&'a Membership, Failure> {
    let mut all = memberships.iter();
    all.find(|membership| membership.group == group)
        .ok_or_else(|| {
            let there = match listed(memberships).as_str() {
                "" => "in none".to_owned(),
                groups => format!("in {groups}"),
            };
            Failure(format!("'{name}' is not in '{group}'; it is {there}"))
        })
}

fn listed(memberships: &[Membership]) -> String {
    let groups: Vec<_> = memberships
        .iter()
        .map(|membership| &*membership.group)
        .collect();
    groups.join(", ")
}
