//! `cohort group`: the consumer groups of a policy file, listed and changed.

mod list;

pub(super) use list::{key_json, key_text, limits_json, shown};

use super::edit::{self, Item, PolicyFile};
use super::key::NewKey;
use super::limits::{self, Limits};
use super::roster::{self, CONSUMERS, GROUPS};
use super::{Failure, clock};
use std::process::ExitCode;
use std::time::Duration;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Show the groups of a policy file: models, limits, keys and consumers
    List(list::List),
    /// Add groups to a policy file
    ///
    /// The change is shown, and made only if the filter would take the file: comments and layout stay.
    Add(Box<Add>),
    /// Take groups out of a policy file
    ///
    /// Consumers that are in other groups too stay in those.
    Remove(Remove),
}

#[derive(clap::Args)]
pub(super) struct Add {
    /// What the new groups are called
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// What they are, for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The group above, whose limits and models hold for these too
    #[arg(long, value_name = "GROUP")]
    parent: Option<String>,
    /// The models that they may use, exact or with `*`; without it, every model
    #[arg(long, value_name = "MODEL,…", value_delimiter = ',')]
    models: Vec<String>,
    /// Models that they may not use
    #[arg(long, value_name = "MODEL,…", value_delimiter = ',')]
    denied_models: Vec<String>,
    /// The model of requests that name none
    #[arg(long, value_name = "MODEL")]
    default_model: Option<String>,
    #[command(flatten)]
    limits: Limits,
    /// A limit on each consumer of a group, like `requests_per_minute=10`
    #[arg(long = "consumer-limit", value_name = "NAME=N", value_parser = limits::named)]
    consumer_limits: Vec<(String, String)>,
    /// US dollars that may be spent per day, week, month or total: 50/month
    #[arg(long = "budget", value_name = "USD/PERIOD", value_parser = limits::budget)]
    budgets: Vec<(String, String)>,
    /// Only say what would be refused
    #[arg(long)]
    shadow: bool,
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
pub(super) struct Remove {
    /// Which groups
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Take out consumers too that are in no other group
    #[arg(long)]
    with_consumers: bool,
    #[command(flatten)]
    file: edit::Options,
}

impl Command {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(),
            Self::Add(add) => add.run(),
            Self::Remove(remove) => remove.run(),
        }
    }
}

impl Add {
    fn run(self) -> Result<ExitCode, Failure> {
        roster::check_once(&self.names)?;
        let keys = NewKey::for_each(self.key, &self.names, self.expires)?;
        self.file.apply(&keys, |file| {
            for name in &self.names {
                if file.find(GROUPS, "name", name).is_some() {
                    return Err(Failure(format!("there is a group '{name}' already")));
                }
                let key = keys.iter().find(|key| key.owner == *name);
                file.push(&[GROUPS.into()], self.entry(name, key)?)?;
            }
            if let Some(parent) = &self.parent {
                roster::group(file, parent)?;
            }
            Ok(())
        })
    }

    fn entry(&self, name: &str, key: Option<&NewKey>) -> Result<Item, Failure> {
        let text = |text: &Option<String>| text.as_deref().map(Item::from);
        let of_consumers = self.consumer_limits.iter();
        let of_consumers = limits::map(of_consumers.map(|(name, value)| (&**name, value)))?;
        let members = [
            ("name", Some(name.into())),
            ("description", text(&self.description)),
            ("parent", text(&self.parent)),
            ("mode", self.shadow.then(|| "shadow".into())),
            ("api_keys", key.map(NewKey::list)),
            ("allowed_models", limits::names(&self.models)),
            ("denied_models", limits::names(&self.denied_models)),
            ("default_model", text(&self.default_model)),
            ("rate_limits", self.limits.item()?),
            ("consumer_rate_limits", of_consumers),
            ("budgets", limits::budgets(&self.budgets)),
        ];
        let members = members
            .into_iter()
            .filter_map(|(name, item)| Some((name.to_owned(), item?)));
        Ok(Item::Map(members.collect()))
    }
}

impl Remove {
    fn run(self) -> Result<ExitCode, Failure> {
        roster::check_once(&self.names)?;
        self.file.apply(&[], |file| {
            for name in &self.names {
                roster::group(file, name)?;
            }
            self.check_unused(file)?;
            self.take_consumers_out(file)?;
            for name in &self.names {
                let at = roster::group(file, name)?;
                file.remove(&[GROUPS.into(), at.into()])?;
            }
            Ok(())
        })
    }

    fn goes(&self, name: &str) -> bool {
        self.names.iter().any(|gone| gone == name)
    }

    /// Nothing that stays may lean on what goes.
    fn check_unused(&self, file: &PolicyFile) -> Result<(), Failure> {
        for group in roster::items(file, GROUPS) {
            let (name, parent) = (roster::name(&group), group.get("parent"));
            let name = name.unwrap_or_default();
            if let Some(parent) = parent.and_then(Item::text)
                && self.goes(parent)
                && !self.goes(name)
            {
                return Err(Failure(format!(
                    "'{parent}' is the parent of '{name}', which would lose its limits and models: remove both, or change '{name}' first"
                )));
            }
        }
        for field in ["default_group", "anonymous_group"] {
            let named = file.item(&[field.into()]);
            if let Some(name) = named.as_ref().and_then(Item::text)
                && self.goes(name)
            {
                return Err(Failure(format!(
                    "'{name}' is the file's `{field}`: name another there first"
                )));
            }
        }
        Ok(())
    }

    fn take_consumers_out(&self, file: &mut PolicyFile) -> Result<(), Failure> {
        let mut lost = Vec::new();
        for consumer in roster::names(file, CONSUMERS) {
            let memberships = roster::memberships(file, &consumer);
            let (gone, kept): (Vec<_>, Vec<_>) = memberships
                .into_iter()
                .partition(|membership| self.goes(&membership.group));
            if !gone.is_empty() && kept.is_empty() {
                lost.push(consumer);
                continue;
            }
            // From the end, so that positions hold; what stands in the group's own entry goes with it.
            for membership in gone.iter().rev().filter(|gone| gone.list == CONSUMERS) {
                file.remove(&membership.path)?;
            }
        }
        if !lost.is_empty() && !self.with_consumers {
            let names = lost.join(" ");
            return Err(Failure(format!(
                "in no other group: {}; move them first (cohort consumer move {names} --to GROUP), or say --with-consumers",
                lost.join(", ")
            )));
        }
        for consumer in &lost {
            let at = roster::consumer(file, consumer)?;
            file.remove(&[CONSUMERS.into(), at.into()])?;
        }
        Ok(())
    }
}
