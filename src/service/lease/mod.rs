//! Hits asked for in advance, and tokens reported in arrears, so that most requests ask no service.
//!
//! All workers of one Envoy share a record in shared data for each set of counters that requests have. The first request
//! asks for itself alone; from then on it is known what is left. One request asks for as many as will come within
//! `max_age` at the pace of the last ones, at most twice as many as those, and at most a quarter of what is left, so that
//! batches shrink as the quota falls; until it has its answer the others ask for themselves alone.
//!
//! What it costs in exactness, at worst:
//! - Requests, dialect `envoy`: never one too many in the service's own windows: hits are counted there before they are
//!   spent, and spent before the last second of the window. Too few by what nobody spends within `max_age`, which is less
//!   than what is spent (of a steady stream little); and when the quota is used up, by what all Envoys then hold: less
//!   than a quarter each of what was left when they asked, and less than `requests`.
//! - Requests, `kuadrant`: a hit may be spent up to `max_age` after the window it was counted in, unless Limitador says
//!   when that ends (`--rate-limit-headers`); without that it is unknown what is left, and no batch is asked for at all.
//! - Tokens: an Envoy sees what other Envoys used when both ask, so it misses at most what they use within twice
//!   `max_age` (the caller reports what is [unreported](Account::take_unreported) when nobody asks for that long, and in
//!   dialect `kuadrant` that is all there is).
//! - A record that is lost with its Envoy takes its unspent hits and its unreported tokens with it.

use super::{Asked, Question, Status, needed};
use crate::config::{self, ServiceDialect};
use crate::limit::counter::Tokens;
use crate::limit::{Change, Contended, SharedData, Unit, update};
use crate::time::Timestamp;

const VERSION: u8 = 1;
/// Services tell whole seconds, some rounded up.
const GRAIN_MS: u64 = 1_000;

/// The hits and tokens that one Envoy holds for a set of counters.
#[derive(Debug)]
pub struct Account<'a> {
    /// Of whose requests.
    question: Question<'a>,
    /// How much in advance.
    terms: config::Lease,
    /// The name of the record. As bounded as those of the counters.
    key: String,
    /// What the record has a room for each of.
    asked: Vec<Asked<'a>>,
    /// What those are, in short: FNV-1a over limits.
    layout: u64,
}

/// How a request comes by its hit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Spend {
    /// It is paid already. This is where the limits stand, as far as this Envoy knows.
    Paid(Vec<Status>),
    /// Ask the service, then say [`Account::filled`] or [`Account::failed`].
    Ask(Ask),
}

/// What to ask the service.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// For so many, one of them for the request itself.
    pub hits: u32,
    /// To be counted too: nobody else will.
    pub unreported: Tokens,
    /// Whether others ask for no more until this one is answered.
    refill: bool,
}

impl Ask {
    /// For one request, and nothing besides.
    pub fn single() -> Self {
        Self {
            hits: 1,
            ..Self::default()
        }
    }
}

impl<'a> Account<'a> {
    /// That of the counters of a question.
    pub fn new(question: Question<'a>, terms: config::Lease) -> Self {
        let mut key = String::from("cohort/1/lease");
        for counter in question.counters {
            let name = &*counter.record;
            key.push('/');
            key.push_str(name.strip_prefix("cohort/1/").unwrap_or(name));
        }
        let asked = question.asked();
        let mut layout = 0xcbf2_9ce4_8422_2325;
        for Asked { limit, .. } in &asked {
            let seconds = u64::from(limit.window.seconds());
            for part in [limit.unit as u64, seconds, limit.quota] {
                layout = (layout ^ part).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Self {
            question,
            terms,
            key,
            asked,
            layout,
        }
    }

    /// The name of its record.
    pub fn into_key(self) -> String {
        self.key
    }

    /// Takes a hit for a request if there is one, and room for its tokens beside what others have `reserved`.
    pub fn spend(
        &self,
        shared: &mut impl SharedData,
        estimate: &Tokens,
        reserved: &dyn Fn(usize, usize) -> u64,
        now: Timestamp,
    ) -> Result<Spend, Contended> {
        let mut spend = Spend::Ask(Ask::default());
        self.change(shared, &mut |held| {
            let has_room = self.has_room(held, estimate, reserved, now);
            if has_room && held.hits > 0 && is_ahead(held.expires, now, self.terms.max_age_ms) {
                held.hits = held.hits.saturating_sub(1);
                spend = Spend::Paid(self.statuses(held, now));
                return true;
            }
            let mut ask = Ask::single();
            let timeout_ms = self.question.service.timeout_ms;
            ask.refill = !is_ahead(held.asking, now, timeout_ms);
            if ask.refill {
                held.asking = now.0.saturating_add(timeout_ms.into());
                // `kuadrant` has a call of its own for them, which is not for a request to make.
                if self.question.service.dialect == ServiceDialect::Envoy {
                    ask.unreported = std::mem::take(&mut held.unreported);
                }
                if has_room {
                    ask.hits = self.batch(held, now);
                }
            }
            spend = Spend::Ask(ask);
            ask.refill
        })?;
        Ok(spend)
    }

    /// Keeps what the service answered: all hits but the asker's own may be spent, unless it was refused.
    ///
    /// `at` is when it was asked, not when it answered: what it says of time was true after that.
    pub fn filled(
        &self,
        shared: &mut impl SharedData,
        ask: &Ask,
        refused: bool,
        statuses: &[Status],
        at: Timestamp,
    ) -> Result<(), Contended> {
        let granted = if refused {
            0
        } else {
            ask.hits.saturating_sub(1)
        };
        self.change(shared, &mut |held| {
            let mut valid_ms = u64::from(self.terms.max_age_ms);
            for (asked, room) in self.asked.iter().zip(&mut held.rooms) {
                let mut statuses = statuses.iter();
                let Some(status) =
                    statuses.find(|of| (of.counter, of.limit) == (asked.counter, asked.at))
                else {
                    continue;
                };
                let unreported = held.unreported.of(asked.limit.unit);
                let ends = at.0.saturating_add(status.ends_in_ms);
                *room = Room {
                    left: status.remaining.saturating_sub(unreported),
                    ends: if status.known { ends } else { 0 },
                };
                if status.known {
                    valid_ms = valid_ms.min(status.ends_in_ms.saturating_sub(GRAIN_MS));
                }
            }
            let expires = at.0.saturating_add(valid_ms);
            if at.0 >= held.expires {
                held.hits = 0;
            }
            // What is left from before belongs to its own window still.
            held.expires = match held.hits {
                0 => expires,
                _ => held.expires.min(expires),
            };
            held.hits = held.hits.saturating_add(granted.into());
            if ask.refill {
                held.asking = 0;
                held.batch = granted.saturating_add(1).into();
                held.since = at.0;
            }
            true
        })
    }

    /// Notes that tokens were used and the service does not know yet.
    pub fn spent(&self, shared: &mut impl SharedData, tokens: &Tokens) -> Result<(), Contended> {
        if *tokens == Tokens::default() {
            return Ok(());
        }
        self.change(shared, &mut |held| {
            self.owe(held, tokens);
            true
        })
    }

    /// Takes the tokens that are to be reported, if nobody asked for long.
    pub fn take_unreported(&self, shared: &mut impl SharedData) -> Result<Tokens, Contended> {
        let mut taken = Tokens::default();
        self.change(shared, &mut |held| {
            taken = std::mem::take(&mut held.unreported);
            taken != Tokens::default()
        })?;
        Ok(taken)
    }

    /// Gives back what did not get to the service, and lets others try.
    pub fn failed(&self, shared: &mut impl SharedData, ask: &Ask) -> Result<(), Contended> {
        if !ask.refill {
            return Ok(());
        }
        self.change(shared, &mut |held| {
            self.owe(held, &ask.unreported);
            held.asking = 0;
            true
        })
    }

    /// Whether there is room for a request's tokens, as far as is known.
    fn has_room(
        &self,
        held: &Held,
        estimate: &Tokens,
        reserved: &dyn Fn(usize, usize) -> u64,
        now: Timestamp,
    ) -> bool {
        self.asked.iter().zip(&held.rooms).all(|(asked, room)| {
            let limit = asked.limit;
            if !limit.unit.is_tokens() || room.ends == 0 {
                return true;
            }
            let needed = needed(estimate, limit.unit, self.question.quota(limit));
            let reserved = reserved(asked.counter, asked.at);
            now.0 < room.ends && room.left >= needed.saturating_add(reserved)
        })
    }

    fn owe(&self, held: &mut Held, tokens: &Tokens) {
        let owed = &mut held.unreported;
        owed.prompt = owed.prompt.saturating_add(tokens.prompt);
        owed.completion = owed.completion.saturating_add(tokens.completion);
        owed.total = owed.total.saturating_add(tokens.total);
        for (asked, room) in self.asked.iter().zip(&mut held.rooms) {
            room.left = room.left.saturating_sub(tokens.of(asked.limit.unit));
        }
    }

    /// How many to ask for; what is left must be known for more than one.
    fn batch(&self, held: &Held, now: Timestamp) -> u32 {
        let spent = held.batch.saturating_sub(held.hits);
        let elapsed_ms = now.0.saturating_sub(held.since).max(1);
        let pace = spent
            .saturating_mul(self.terms.max_age_ms.into())
            .checked_div(elapsed_ms)
            .map_or(0, |pace| pace.min(spent.saturating_mul(2)));
        let mut least = None;
        let mut limited = false;
        for (asked, room) in self.asked.iter().zip(&held.rooms) {
            if asked.limit.unit == Unit::Requests {
                limited = true;
                if now.0.saturating_add(GRAIN_MS) < room.ends {
                    least = Some(least.unwrap_or(u64::MAX).min(room.left));
                } else if room.ends > 0 {
                    return 1; // of the next window nothing is known, and none is spent in the last second of this one
                }
            }
        }
        let share = match least {
            Some(least) => least / 4,
            None if limited => 1,
            None => u64::MAX,
        };
        u32::try_from(share.min(pace))
            .unwrap_or(u32::MAX)
            .min(self.terms.requests)
            .max(1)
    }

    fn statuses(&self, held: &Held, now: Timestamp) -> Vec<Status> {
        (self.asked.iter().zip(&held.rooms))
            .map(|(asked, room)| {
                let limit = asked.limit;
                let mine = match limit.unit {
                    Unit::Requests => held.hits,
                    _ => 0,
                };
                Status {
                    counter: asked.counter,
                    limit: asked.at,
                    quota: self.question.quota(limit),
                    remaining: room.left.saturating_add(mine).min(limit.quota),
                    ends_in_ms: match room.ends {
                        0 => u64::from(limit.window.seconds()).saturating_mul(1_000),
                        ends => ends.saturating_sub(now.0),
                    },
                    known: room.ends > 0,
                }
            })
            .collect()
    }

    /// `change` says whether anything is to be written.
    fn change(
        &self,
        shared: &mut impl SharedData,
        change: &mut dyn FnMut(&mut Held) -> bool,
    ) -> Result<(), Contended> {
        update(shared, &self.key, |bytes| {
            let mut held = Held::read(bytes, self.layout, self.asked.len());
            if !change(&mut held) {
                return Change::Keep(());
            }
            held.write(bytes, self.layout);
            Change::Write(())
        })
    }
}

/// Whether a moment is still to come; one too far away was written before the clock was set back.
fn is_ahead(moment: u64, now: Timestamp, at_most_ms: u32) -> bool {
    let ahead_ms = moment.saturating_sub(now.0);
    ahead_ms > 0 && ahead_ms <= at_most_ms.into()
}

/// The record: a version byte, then numbers of eight bytes, little-endian.
#[derive(Debug, Default)]
struct Held {
    /// Bought and not spent.
    hits: u64,
    /// When they are worth nothing; as all moments, in milliseconds since the epoch.
    expires: u64,
    /// How many were asked for last, the asker's own included.
    batch: u64,
    /// When.
    since: u64,
    /// Until when somebody may be asking for more.
    asking: u64,
    unreported: Tokens,
    /// One for each limit.
    rooms: Vec<Room>,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    left: u64,
    /// When the window ends; 0: the service did not say.
    ends: u64,
}

impl Held {
    /// Hits bought under other limits are worth nothing; tokens used under them were used.
    fn read(bytes: &[u8], layout: u64, rooms: usize) -> Self {
        let mut held = Self {
            rooms: vec![Room::default(); rooms],
            ..Self::default()
        };
        let Some((&VERSION, numbers)) = bytes.split_first() else {
            return held;
        };
        let mut numbers = numbers
            .as_chunks()
            .0
            .iter()
            .map(|number| u64::from_le_bytes(*number));
        let mut next = || numbers.next().unwrap_or_default();
        held.unreported = Tokens {
            prompt: next(),
            completion: next(),
            total: next(),
            cost: 0,
        };
        if next() == layout {
            held.hits = next();
            held.expires = next();
            held.asking = next();
            held.batch = next();
            held.since = next();
            for room in &mut held.rooms {
                room.left = next();
                room.ends = next();
            }
        }
        held
    }

    fn write(&self, bytes: &mut Vec<u8>, layout: u64) {
        bytes.clear();
        bytes.push(VERSION);
        let Tokens {
            prompt,
            completion,
            total,
            cost: _,
        } = self.unreported;
        let head = [
            prompt,
            completion,
            total,
            layout,
            self.hits,
            self.expires,
            self.asking,
            self.batch,
            self.since,
        ];
        let rooms = self.rooms.iter().flat_map(|room| [room.left, room.ends]);
        for number in head.into_iter().chain(rooms) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
