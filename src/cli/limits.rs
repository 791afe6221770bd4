//! Limits and budgets as options of a command, and as a policy file has them.

use super::Failure;
use super::edit::Item;

/// What may be used up; numbers may be written `100k` or `2M`.
#[derive(clap::Args)]
pub(super) struct Limits {
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<String>,
    #[arg(long, value_name = "N")]
    requests_per_day: Option<String>,
    #[arg(long, value_name = "N")]
    tokens_per_minute: Option<String>,
    #[arg(long, value_name = "N")]
    tokens_per_day: Option<String>,
    /// How many requests may be under way at a time
    #[arg(long, value_name = "N")]
    concurrent_requests: Option<String>,
    /// Any other limit, as the file names it, like `prompt_tokens_per_hour=50k`
    #[arg(long = "limit", value_name = "NAME=N", value_parser = named)]
    others: Vec<(String, String)>,
}

impl Limits {
    /// `rate_limits`; `None`: none are set.
    pub(super) fn item(&self) -> Result<Option<Item>, Failure> {
        let own = [
            ("requests_per_minute", &self.requests_per_minute),
            ("requests_per_day", &self.requests_per_day),
            ("tokens_per_minute", &self.tokens_per_minute),
            ("tokens_per_day", &self.tokens_per_day),
            ("concurrent_requests", &self.concurrent_requests),
        ];
        let own = own
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let others = self.others.iter().map(|(name, value)| (&**name, value));
        map(own.chain(others))
    }
}

/// `NAME=N`, several times over, as a map.
pub(super) fn map<'a>(
    limits: impl Iterator<Item = (&'a str, &'a String)>,
) -> Result<Option<Item>, Failure> {
    let mut members: Vec<(String, Item)> = Vec::new();
    for (name, value) in limits {
        if members.iter().any(|(known, _)| known == name) {
            return Err(Failure(format!("{name} is given twice")));
        }
        members.push((name.to_owned(), number(value)));
    }
    Ok((!members.is_empty()).then_some(Item::Map(members)))
}

pub(super) fn named(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "a name and a number: requests_per_hour=500".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `50/month`: dollars, and how long they are to last.
pub(super) fn budget(text: &str) -> Result<(String, String), String> {
    let (amount, period) = text
        .split_once('/')
        .ok_or_else(|| "US dollars per day, week, month or total: 50/month".to_owned())?;
    Ok((amount.trim_start_matches('$').to_owned(), period.to_owned()))
}

/// `budgets`; `None`: there are none.
pub(super) fn budgets(list: &[(String, String)]) -> Option<Item> {
    let items = list.iter().map(|(amount, period)| {
        Item::map([
            ("amount_usd", number(amount)),
            ("per", period.as_str().into()),
        ])
    });
    (!list.is_empty()).then(|| Item::List(items.collect()))
}

/// A list of names; `None`: it is empty.
pub(super) fn names(list: &[String]) -> Option<Item> {
    let items = list.iter().map(|name| Item::from(name.as_str()));
    (!list.is_empty()).then(|| Item::List(items.collect()))
}

fn number(text: &str) -> Item {
    text.parse()
        .map_or_else(|_| Item::Text(text.to_owned()), Item::Number)
}
