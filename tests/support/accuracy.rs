//! The table of how exact limits are: its rows, and whether all of it runs.

use std::env;
use std::fmt;

/// Whether this is `make accuracy`, and not the short run of `make test`.
pub(crate) fn full() -> bool {
    env::var_os("ACCURACY").is_some_and(|value| value == "full")
}

/// How often something is done: in the short run, in the whole one.
pub(crate) fn times(short: usize, whole: usize) -> usize {
    if full() { whole } else { short }
}

/// One limit under one load.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    limit: String,
    clients: usize,
    ending: String,
    store: &'static str,
    allowed: (u64, u64),
    note: &'static str,
    /// How many exchanges there were in a time, where that is what counts.
    count: Option<usize>,
    admitted: Vec<u64>,
}

impl Row {
    pub(crate) const HEADER: &str = "\
| limit | clients at once | ending | store | allowed | times | admitted |
|---|---|---|---|---|---|---|
";

    /// Of counters in shared data.
    pub(crate) fn shared_data(limit: &str, clients: usize, ending: &str) -> Self {
        Self::new(limit, clients, ending, "shared data")
    }

    pub(crate) fn new(limit: &str, clients: usize, ending: &str, store: &'static str) -> Self {
        Self {
            limit: limit.to_owned(),
            clients,
            ending: ending.to_owned(),
            store,
            allowed: (0, 0),
            note: "",
            count: None,
            admitted: Vec::new(),
        }
    }

    /// Exactly so much is to come through, each time.
    pub(crate) fn allow(&mut self, exactly: u64) -> &mut Self {
        self.allowed = (exactly, exactly);
        self
    }

    /// No more than this.
    pub(crate) fn allow_up_to(&mut self, most: u64, note: &'static str) -> &mut Self {
        self.allowed = (0, most);
        self.note = note;
        self
    }

    /// Of so many exchanges.
    pub(crate) fn of(&mut self, count: usize) -> &mut Self {
        self.count = Some(count);
        self
    }

    /// So much came through, one time.
    pub(crate) fn admit(&mut self, admitted: usize) -> &mut Self {
        self.admit_u64(admitted as u64)
    }

    pub(crate) fn admit_u64(&mut self, admitted: u64) -> &mut Self {
        self.admitted.push(admitted);
        self
    }

    #[track_caller]
    pub(crate) fn assert_exact(&self) {
        let (least, most) = self.allowed;
        assert!(!self.admitted.is_empty(), "{self}");
        assert!(
            self.admitted
                .iter()
                .all(|admitted| (least..=most).contains(admitted)),
            "{self}: {:?}",
            self.admitted
        );
    }

    /// What names it, whatever came out.
    pub(crate) fn name(&self) -> String {
        let Self {
            limit,
            clients,
            ending,
            store,
            ..
        } = self;
        format!("| {limit} | {clients} | {ending} | {store} |")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name())?;
        let (least, most) = self.allowed;
        let allowed = if least == most {
            grouped(most)
        } else {
            format!("at most {}", grouped(most))
        };
        let times = self.count.unwrap_or(self.admitted.len());
        write!(f, "{allowed}{} | {} | ", self.note, grouped(times as u64))?;
        let min = self.admitted.iter().min().copied().unwrap_or_default();
        let max = self.admitted.iter().max().copied().unwrap_or_default();
        if min == max {
            write!(f, "{} |", grouped(max))
        } else {
            write!(f, "{} to {} |", grouped(min), grouped(max))
        }
    }
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
