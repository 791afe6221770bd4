//! The messages as prost has them, which is what real servers are made of, and both codecs against each other.

#![expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]

use super::*;
use proptest::prelude::*;
use prost::Message;
use std::array;

#[test]
fn a_message_is_framed() {
    let mut message = request("cohort");
    add_hits(&mut message, 300);
    let framed = framed(message);
    assert_eq!(framed, b"\0\0\0\0\x0b\x0a\x06cohort\x18\xac\x02");
    assert_eq!(unframed(framed.clone()).unwrap(), framed[5..]);
    for end in 0..framed.len() {
        assert_eq!(unframed(framed[..end].to_vec()), None, "{end}");
    }
    let compressed = [&[1], &framed[1..]].concat();
    assert_eq!(unframed(compressed), None);
    let two = framed.repeat(2);
    assert_eq!(unframed(two), None);
    assert_eq!(unframed(vec![0; 5]), Some(Vec::new()));
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) descriptors: Vec<Descriptor>,
    #[prost(uint32, tag = "3")]
    pub(crate) hits_addend: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Descriptor {
    #[prost(message, repeated, tag = "1")]
    pub(crate) entries: Vec<Entry>,
    #[prost(message, optional, tag = "2")]
    pub(crate) limit: Option<Override>,
    #[prost(message, optional, tag = "3")]
    pub(crate) hits_addend: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Override {
    #[prost(uint32, tag = "1")]
    pub(crate) requests_per_unit: u32,
    #[prost(int32, tag = "2")]
    pub(crate) unit: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(int32, tag = "1")]
    pub(crate) overall_code: i32,
    #[prost(message, repeated, tag = "2")]
    pub(crate) statuses: Vec<Status>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) response_headers_to_add: Vec<Header>,
    /// Not ours to read.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) raw_body: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) current_limit: Option<CurrentLimit>,
    #[prost(uint32, tag = "3")]
    pub(crate) limit_remaining: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) duration_until_reset: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CurrentLimit {
    #[prost(uint32, tag = "1")]
    pub(crate) requests_per_unit: u32,
    #[prost(int32, tag = "2")]
    pub(crate) unit: i32,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Duration {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Header {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

prop_compose! {
    fn any_status()(
        code in 0..4,
        limited: bool,
        limit_remaining: u32,
        reset in proptest::option::of((-2_i64..1 << 40, 0..1_000_000_000)),
    ) -> Status {
        Status {
            code,
            current_limit: limited.then(|| CurrentLimit {
                requests_per_unit: limit_remaining,
                unit: 2,
                name: "a name".to_owned(),
            }),
            limit_remaining,
            duration_until_reset: reset.map(|(seconds, nanos)| Duration { seconds, nanos }),
        }
    }
}

prop_compose! {
    fn any_answer()(
        overall_code in 0..4,
        statuses in proptest::collection::vec(any_status(), 0..4),
        headers in proptest::collection::vec(("(?i)x-ratelimit-(limit|reset)|other", "[a-z0-9;=, ]{0,9}"), 0..3),
        raw_body: Vec<u8>,
    ) -> Answer {
        let headers = headers.into_iter().map(|(key, value)| Header { key, value });
        Answer { overall_code, statuses, response_headers_to_add: headers.collect(), raw_body }
    }
}

fn expected(answer: &Answer) -> Response<'_> {
    let statuses = answer.statuses.iter().map(|status| DescriptorStatus {
        code: u64::try_from(status.code).unwrap(),
        limited: status.current_limit.is_some(),
        remaining: u64::from(status.limit_remaining),
        reset_ms: status.duration_until_reset.map(|duration| {
            let seconds = u64::try_from(duration.seconds).unwrap_or(0);
            seconds * 1_000 + u64::try_from(duration.nanos).unwrap() / 1_000_000
        }),
    });
    let header = |name: &str| {
        let mut headers = answer.response_headers_to_add.iter().rev();
        headers
            .find(|header| header.key.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    };
    Response {
        code: u64::try_from(answer.overall_code).unwrap(),
        statuses: statuses.collect(),
        headers: [
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
        ]
        .map(header),
    }
}

#[test]
fn more_statuses_than_were_asked_for_are_no_answer() {
    let answer = Answer {
        overall_code: 1,
        statuses: vec![Status::default(); 2],
        ..Answer::default()
    };
    let message = answer.encode_to_vec();
    assert!(response(&message, 2).is_some());
    assert_eq!(response(&message, 1), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn requests_read_as_they_were_meant(
        domain in ".{0,8}",
        descriptors in proptest::collection::vec(
            (
                proptest::collection::vec((".{0,6}", ".{0,6}"), 0..5),
                proptest::option::of((any::<u32>(), 0_u8..6)),
                any::<Option<u64>>(),
            ),
            0..3,
        ),
        hits: Option<u32>,
    ) {
        let mut message = request(&domain);
        for (entries, limit, hits) in &descriptors {
            let mut texts = entries.iter().map(|(k, v)| (k.as_str(), v.as_str()));
            add_descriptor(&mut message, array::from_fn(|_| texts.next()), limit.map(|(q, u)| (u64::from(q), u)), *hits);
        }
        if let Some(hits) = hits {
            add_hits(&mut message, hits);
        }
        let descriptors = descriptors.into_iter().map(|(entries, limit, hits)| Descriptor {
            entries: entries.into_iter().map(|(key, value)| Entry { key, value }).collect(),
            limit: limit.map(|(requests_per_unit, unit)| Override { requests_per_unit, unit: unit.into() }),
            hits_addend: hits,
        });
        let meant = Request { domain, descriptors: descriptors.collect(), hits_addend: hits.unwrap_or(0) };
        prop_assert_eq!(Request::decode(&*unframed(framed(message)).unwrap()).unwrap(), meant);
    }

    #[test]
    fn answers_read_as_they_were_meant(answer in any_answer()) {
        let message = answer.encode_to_vec();
        prop_assert_eq!(response(&message, 4), Some(expected(&answer)));
    }

    #[test]
    fn damage_is_an_error_or_read_as_prost_does(answer in any_answer(), at: usize, byte: u8, cut: bool) {
        let mut message = answer.encode_to_vec();
        let at = at % (message.len() + 1);
        if cut {
            message.truncate(at);
        } else if let Some(there) = message.get_mut(at) {
            *there = byte;
        }
        if let (Some(ours), Ok(theirs)) = (response(&message, 99), Answer::decode(&*message)) {
            prop_assert_eq!(ours.statuses.len(), theirs.statuses.len());
        }
    }

    #[test]
    fn garbage_is_survived(message: Vec<u8>) {
        let _ = response(&message, 2);
    }
}
