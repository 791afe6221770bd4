//! Calls to moderation endpoints, through Envoy clusters.
//!
//! All are made in the name of the root, as those to the rate-limit service are: so one whose stream ends early is heard of
//! all the same, and nothing of it is left behind. Who hears of it is the stream that asked while its request waits, and the
//! root of what nobody waits for: that may come when the stream is gone.

use super::abi::{self, Buffer, Map};
use super::root::Serving;
use crate::exchange::Inquiry;
use crate::guardrail::MAX_ANSWER;
use proxy_wasm::hostcalls;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// Calls that no request waits for.
#[derive(Debug, Default)]
pub(super) struct Asides {
    /// To be made.
    outbox: RefCell<Vec<Rc<Inquiry>>>,
    /// Under way, by their numbers.
    open: RefCell<Vec<(u32, Rc<Inquiry>)>>,
}

impl Asides {
    /// Makes the calls, as the root. `late`: takes what there is to say of a request that is over.
    pub(super) fn make(&self, late: impl Fn(&str)) {
        for inquiry in self.outbox.take() {
            match call(&inquiry) {
                Some(number) => self.open.borrow_mut().push((number, inquiry)),
                None => {
                    if let Some(line) = inquiry.answered(None) {
                        late(&line);
                    }
                }
            }
        }
    }

    /// Takes in what a call came to; a line for the event log, if its request is over and there is something to say.
    pub(super) fn answered(&self, number: u32, size: usize) -> Option<String> {
        let mut open = self.open.borrow_mut();
        let at = open.iter().position(|(known, _)| *known == number)?;
        let (_, inquiry) = open.swap_remove(at);
        inquiry.answered(answer(size).as_deref())
    }
}

/// Has the root make these calls, at once: only what it asks itself it hears of.
pub(super) fn ask_aside(serving: &Serving, stream: u32, inquiries: &[Rc<Inquiry>]) {
    serving.asides.outbox.replace(inquiries.to_vec());
    abi::act_as(serving.root);
    abi::wake(serving.root);
    abi::act_as(stream);
}

/// Makes the calls that a request waits for, and answers their numbers, each in its place. What cannot be asked has come to
/// nothing.
pub(super) fn ask(serving: &Serving, stream: u32, inquiries: &[Rc<Inquiry>]) -> Vec<Option<u32>> {
    abi::act_as(serving.root);
    let numbers = inquiries.iter().map(|inquiry| {
        if !inquiry.moderator.holds() {
            return None;
        }
        let number = call(inquiry);
        if number.is_none() {
            inquiry.answered(None);
        }
        number
    });
    let numbers = numbers.collect();
    abi::act_as(stream);
    numbers
}

/// What has come of one.
pub(super) fn answer_to(serving: &Serving, stream: u32, size: usize) -> Option<Vec<u8>> {
    abi::act_as(serving.root);
    let answer = answer(size);
    abi::act_as(stream);
    answer
}

/// Of every call.
const HEADERS: [(&str, &str); 4] = [
    (":method", "POST"),
    ("content-type", "application/json"),
    ("accept", "application/json"),
    ("user-agent", "cohort"),
];

/// Makes a call; the number under which its answer comes, or `None` where Envoy has no such cluster or no endpoint of it.
fn call(inquiry: &Inquiry) -> Option<u32> {
    let to = &*inquiry.moderator;
    let mut headers = HEADERS.to_vec();
    headers.push((":path", &to.path));
    headers.push((":authority", to.authority()));
    if let Some((name, value)) = to.credential() {
        headers.push((name, std::str::from_utf8(value).ok()?));
    }
    // The SDK's own: its dispatcher panics on the answer to a call that it did not make. Its panics on statuses are out of
    // reach: to this call Envoy says that it made it, or one of the two that are errors.
    hostcalls::dispatch_http_call(
        &to.cluster,
        headers,
        Some(inquiry.take_body().as_bytes()),
        Vec::new(),
        Duration::from_millis(to.timeout_ms.into()),
    )
    .ok()
}

/// The answer that has come for the root, where it is one.
fn answer(size: usize) -> Option<Vec<u8>> {
    if size > MAX_ANSWER {
        return None;
    }
    // None at all where the call failed: Envoy answers in the endpoint's place when it is slow, not when it is gone.
    if abi::header(Map::CallAnswer, ":status").as_deref() != Some(b"200") {
        return None;
    }
    let body = abi::buffer(Buffer::CallAnswer, 0, size);
    (body.len() == size).then_some(body)
}
