//! `cohort demo`, from its first word to Ctrl-C.

mod support;

use std::net::TcpListener;

use support::demo::{self, Demo};

#[tokio::test]
async fn the_demo_does_what_it_says() {
    let Some(demo) = Demo::start().await else {
        return;
    };
    let port = demo.port();
    let greeting = demo.greeting().replace("\\\n", "");
    let lines: Vec<_> = greeting
        .lines()
        .filter(|line| line.starts_with("curl "))
        .collect();
    let [allowed, forbidden, stream] = lines[..] else {
        panic!("not three lines to try: {greeting}");
    };
    let said = demo.bash(&format!("{allowed} --silent"));
    assert!(said.starts_with("HTTP/1.1 200 OK\n"), "{said}");
    assert!(said.contains("\"model\":\"gpt-4o\""), "{said}");
    let said = demo.bash(&format!("{forbidden} --silent"));
    assert!(said.starts_with("HTTP/1.1 403 Forbidden\n"), "{said}");
    assert!(said.contains("\"code\":\"model_not_allowed\""), "{said}");
    let said = demo.bash(&format!("{stream} --silent"));
    assert!(said.starts_with("data: {"), "{said}");
    assert!(said.ends_with("data: [DONE]\n\n"), "{said}");

    // Where it says that they are.
    let places = greeting.lines().last().unwrap();
    let place = |name: &str| {
        let rest = places.split(&format!("{name}: ")).nth(1).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let flushed = format!(
        "for i in $(seq 50); do [ $(wc -l < {0}) -ge 3 ] && break; sleep 0.1; done; cat {0}",
        place("Events")
    );
    assert_eq!(demo.bash(&flushed).lines().count(), 3);
    let access_log = demo.bash(&format!("cat {}", place("Access log")));
    assert!(access_log.contains("403 model_not_allowed"), "{access_log}");
    let metrics = demo.bash(&format!("curl --silent {}", place("Metrics")));
    let counted =
        "cohort_requests{consumer_group=\"marketing\",model=\"other\",result=\"blocked\"} 1";
    assert!(metrics.contains(counted), "{metrics}");

    // A second one says why it does not start, and leaves the first alone.
    let second = demo::refused(port, None);
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("127.0.0.1:{} is taken", port - 1)),
        "{said}"
    );
    assert!(demo.bash(&format!("{allowed} --silent")).contains("200 OK"));

    // Guesses count against the address that they come from, whatever they say it is. Two minutes' worth and more.
    let guesses = demo.bash(&format!(
        "for i in $(seq 125); do curl --silent --output /dev/null --write-out '%{{http_code}}\n' \
         --header \"authorization: Bearer guess-$i\" --header \"x-forwarded-for: 10.0.0.$i\" \
         http://127.0.0.1:{port}/v1/models; done"
    ));
    assert!(guesses.lines().any(|line| line == "429"), "{guesses}");

    let status = demo.interrupt().await;
    assert_eq!(status.code(), Some(0));
    assert!(demo::are_free(port));

    let upstream = port + 1;
    let taken = TcpListener::bind(("127.0.0.1", upstream)).unwrap();
    let said = String::from_utf8(demo::refused(port, None).stderr).unwrap();
    assert!(
        said.contains(&format!(
            "127.0.0.1:{upstream} is taken, the demo upstream needs it"
        )),
        "{said}"
    );
    drop(taken);
    for (option, hint) in [("--envoy", "make envoy"), ("--wasm", "make build")] {
        let refused = demo::refused(port, Some((option, "nowhere/to/be/found")));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(
            said.contains("nowhere/to/be/found") && said.contains(hint),
            "{said}"
        );
        assert_eq!(refused.status.code(), Some(2));
    }
    assert!(demo::are_free(port));
}
