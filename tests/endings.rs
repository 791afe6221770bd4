//! Every way in which an exchange can end: what is counted then is what the table in `docs/limits.md` says, and nothing
//! stays behind, neither slots nor reservations.

mod support;

use support::endings::{CASES, Endings, REDIRECT, Used, rows};

#[test]
fn every_row_is_tested_and_every_test_has_a_row() {
    let rows: Vec<_> = rows().into_iter().map(|[ending, ..]| ending).collect();
    let cases: Vec<_> = CASES.iter().map(|case| case.ending).collect();
    assert_eq!(rows, cases);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_is_what_the_docs_say() {
    let groups: Vec<String> = (0..CASES.len()).map(|at| format!("row-{at}")).collect();
    let Some(endings) = Endings::start(&groups).await else {
        return;
    };
    let rows = rows();
    let mut wrong = Vec::new();
    for (at, case) in CASES.iter().enumerate() {
        let key = format!("key-of-row-{at}");
        endings.end(case, &key).await;
        endings.settled(at * 2 + 1).await;
        let used = endings.used(&key).await;
        endings.settled(at * 2 + 2).await;
        let (found, expected) = ((used.requests - 1, used.tokens), case.charge(&rows));
        if found != expected || used.slots != 1 {
            let ending = case.ending;
            wrong.push(format!(
                "{ending}: expected {expected:?}, found {found:?}, {used:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    endings.gateway.assert_healthy().await;
}

/// The first of the two exchanges ends in the middle of Envoy, and never reaches a client.
#[tokio::test]
async fn a_redirect_that_envoy_follows_leaves_nothing_behind() {
    let Some(endings) = Endings::start(&["all".to_owned()]).await else {
        return;
    };
    endings.end(&REDIRECT, "key-of-all").await;
    endings.settled(2).await;
    let expected = Used {
        requests: 2,
        tokens: 0,
        slots: 1,
    };
    assert_eq!(endings.used("key-of-all").await, expected);
    endings.gateway.assert_healthy().await;
}

/// `make accuracy` has ten times as many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stays_behind() {
    let Some(endings) = Endings::start(&["all".to_owned()]).await else {
        return;
    };
    endings.end_many(1_000, "key-of-all").await;
}
