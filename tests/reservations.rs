//! Token limits under concurrency: what is used is never more than the limit and what the estimates were short of.

mod support;

use support::crowd::statuses;
use support::tokens::{Calls, LIMIT, Tokens};

/// Nothing is learned before the first answer ends, so every reservation is known: the prompt, and 256 for the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_used_is_the_limit_and_what_the_estimates_were_short_of() {
    let Some(tokens) = Tokens::start().await else {
        return;
    };
    for stream in [false, true] {
        let key = format!("unbounded-{stream}");
        let calls = Calls {
            stream,
            bounded: false,
        };
        let answers = tokens.held_at_once(&key, calls, 50).await;
        let reserved = |_| tokens.prompt + 256;
        // Three of them fit: a fourth would be over.
        assert_eq!(statuses(&answers)[&200], 3);
        let (used, short) = tokens.used_and_short(&key, reserved);
        assert!(used <= LIMIT + short, "{used} of {LIMIT}, {short} short");
        tokens.assert_nothing_is_reserved(&key, used).await;
    }
    tokens.gateway.assert_healthy().await;
}

/// The same with callers that do not give up: by then the estimates are learned ones, between the shortest answer there
/// can be and 256.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_try_again_use_no_more() {
    let Some(tokens) = Tokens::start().await else {
        return;
    };
    for stream in [false, true] {
        let key = format!("unbounded-{stream}");
        let calls = Calls {
            stream,
            bounded: false,
        };
        tokens.until_used_up(&key, calls, 50).await;
        let reserved = |_| tokens.prompt + tokens.shortest;
        let (used, short) = tokens.used_and_short(&key, reserved);
        assert!(used <= LIMIT + short, "{used} of {LIMIT}, {short} short");
        // And the limit was made use of.
        assert!(used + tokens.prompt + 256 > LIMIT, "only {used} of {LIMIT}");
        tokens.assert_nothing_is_reserved(&key, used).await;
    }
    tokens.gateway.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_states_a_bound_never_goes_over() {
    let Some(tokens) = Tokens::start().await else {
        return;
    };
    for stream in [false, true] {
        let key = format!("bounded-{stream}");
        let calls = Calls {
            stream,
            bounded: true,
        };
        tokens.until_used_up(&key, calls, 50).await;
        let (used, _) = tokens.used_and_short(&key, |actual| actual);
        assert!(used <= LIMIT, "{used} of {LIMIT}");
        // Nobody was refused for what was only reserved, in the end: the shortest call did not fit any more.
        let smallest = tokens.prompt + tokens.shortest;
        assert!(used + smallest > LIMIT, "only {used} of {LIMIT}");
        tokens.assert_nothing_is_reserved(&key, used).await;
    }
    tokens.gateway.assert_healthy().await;
}
