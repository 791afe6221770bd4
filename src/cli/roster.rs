//! Who is in a policy file that is being changed: its groups, its consumers, and where it says which consumer is in which
//! group.

use super::Failure;
use super::edit::{Item, PolicyFile, Step};
use crate::config::nearest;

pub(super) const GROUPS: &str = "consumer_groups";
pub(super) const CONSUMERS: &str = "consumers";

/// One place where the file says that a consumer is in a group.
pub(super) struct Membership {
    pub(super) group: String,
    /// In the consumer's entry, or in the group's.
    pub(super) list: &'static str,
    /// Where its item is.
    pub(super) path: [Step<'static>; 4],
    /// With dates: a map rather than a name.
    pub(super) dated: bool,
}

/// Position of a group.
pub(super) fn group(file: &PolicyFile, name: &str) -> Result<usize, Failure> {
    find(file, GROUPS, name, "consumer group")
}

/// Position of a consumer.
pub(super) fn consumer(file: &PolicyFile, name: &str) -> Result<usize, Failure> {
    find(file, CONSUMERS, name, "consumer")
}

/// Everywhere a consumer is said to be in a group.
pub(super) fn memberships(file: &PolicyFile, consumer: &str) -> Vec<Membership> {
    let mut found = Vec::new();
    let entries = items(file, CONSUMERS);
    let own = entries
        .iter()
        .position(|entry| name(entry) == Some(consumer));
    if let Some((at, entry)) = own.and_then(|at| Some((at, entries.get(at)?))) {
        for (place, item) in members(entry, "groups").iter().enumerate() {
            let group = item.text().or_else(|| name(item));
            found.extend(group.map(|group| Membership {
                group: group.to_owned(),
                list: CONSUMERS,
                path: [
                    CONSUMERS.into(),
                    at.into(),
                    Step::Key("groups"),
                    place.into(),
                ],
                dated: item.text().is_none(),
            }));
        }
    }
    for (at, entry) in items(file, GROUPS).iter().enumerate() {
        let mut listed = members(entry, "consumers").iter();
        let place = listed.position(|item| item.text() == Some(consumer));
        found.extend(place.zip(name(entry)).map(|(place, group)| Membership {
            group: group.to_owned(),
            list: GROUPS,
            path: [
                GROUPS.into(),
                at.into(),
                Step::Key("consumers"),
                place.into(),
            ],
            dated: false,
        }));
    }
    found
}

/// The names of a list's entries.
pub(super) fn names(file: &PolicyFile, list: &'static str) -> Vec<String> {
    let items = items(file, list);
    items
        .iter()
        .filter_map(name)
        .map(ToOwned::to_owned)
        .collect()
}

/// The entries of a list of the top level.
pub(super) fn items(file: &PolicyFile, list: &'static str) -> Vec<Item> {
    match file.item(&[list.into()]) {
        Some(Item::List(items)) => items,
        _ => Vec::new(),
    }
}

pub(super) fn name(entry: &Item) -> Option<&str> {
    entry.get("name").and_then(Item::text)
}

/// Refuses names that stand there twice: one of them is a slip.
pub(super) fn check_once(names: &[String]) -> Result<(), Failure> {
    let mut seen: Vec<&String> = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(Failure(format!("'{name}' is named twice")));
        }
        seen.push(name);
    }
    Ok(())
}

fn members<'a>(entry: &'a Item, list: &str) -> &'a [Item] {
    entry.get(list).map_or(&[], Item::items)
}

fn find(file: &PolicyFile, list: &'static str, name: &str, what: &str) -> Result<usize, Failure> {
    file.find(list, "name", name).ok_or_else(|| {
        let names = names(file, list);
        let near = nearest(name, names.iter().map(String::as_str));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
        Failure(format!("no {what} is called '{name}'{hint}"))
    })
}
