//! What the upstream is told of who asks, and with whose credentials.

use http::Method;
use serde_json::json;

use crate::harness::{
    Gateway, POLICIES, Setup, bare, of_kind, request, token, token_until, token_with,
};

#[tokio::test]
async fn an_injected_secret_changes_with_its_file() {
    let setup = Setup {
        route: r#", set_headers: { authorization: { file: upstream.secret, prefix: "Bearer " } }"#,
        files: &[("upstream.secret", "first\n".into())],
        ..Setup::default()
    };
    let mut gateway = setup.start().await;
    for secret in ["first", "second"] {
        std::fs::write(gateway.file("upstream.secret"), format!("{secret}\n")).unwrap();
        gateway.running().reload().await.unwrap();
        assert_eq!(gateway.get("/items/1").await.status, 200);
        // Whatever the client sends under the name.
        let mut asked = bare(Method::GET, "/open", "");
        let own = format!("Bearer {}", token("agent/7"));
        asked
            .headers_mut()
            .insert("authorization", own.parse().unwrap());
        assert_eq!(gateway.call(asked).await.status, 200);
        let seen = std::mem::take(&mut *gateway.upstream.seen.lock().unwrap());
        for seen in seen {
            let all: Vec<_> = seen.headers.get_all("authorization").iter().collect();
            assert_eq!(all, [&format!("Bearer {secret}")[..]]);
        }
    }
    gateway.stop().await;
    let log = std::fs::read_to_string(gateway.file("audit.jsonl")).unwrap();
    assert!(!log.contains("first") && !log.contains("second"), "{log}");
}

#[tokio::test]
async fn the_token_stays_here_unless_the_route_says_otherwise() {
    for (route, forwarded) in [("", false), (", forward_credential: true", true)] {
        let setup = Setup {
            route,
            ..Setup::default()
        };
        let gateway = setup.start().await;
        let asked = request(Method::GET, "/items/1", "");
        let sent = asked.headers()["authorization"].clone();
        assert_eq!(gateway.call(asked).await.status, 200);
        let seen = gateway.upstream.only();
        let expected = forwarded.then_some(&sent);
        assert_eq!(seen.headers.get("authorization"), expected, "{route}");
    }
}

#[tokio::test]
async fn a_trace_is_made_or_continued_and_on_record() {
    let mut gateway = Gateway::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (given, state, continued) in [
        (None, Some("a=1"), false),
        (Some("nonsense"), Some("a=1"), false),
        (Some(parent), Some("a=1"), true),
    ] {
        let mut asked = request(Method::GET, "/items/1", "");
        if let Some(given) = given {
            asked
                .headers_mut()
                .insert("traceparent", given.parse().unwrap());
        }
        if let Some(state) = state {
            asked
                .headers_mut()
                .insert("tracestate", state.parse().unwrap());
        }
        assert_eq!(gateway.call(asked).await.status, 200);
        let seen = gateway.upstream.seen.lock().unwrap().pop().unwrap();
        let sent = seen.headers["traceparent"].to_str().unwrap();
        let id = sent.split('-').nth(1).unwrap();
        assert_eq!(
            id == "4bf92f3577b34da6a3ce929d0e0e4736",
            continued,
            "{sent}"
        );
        assert_ne!(sent, parent, "a span of our own");
        assert_eq!(seen.headers.contains_key("tracestate"), continued);
        let records = gateway.records();
        assert_eq!(
            of_kind(&records, "decision").last().unwrap()["trace_id"],
            id
        );
    }
    gateway.stop().await;
}

/// A principal ends when its token no longer counts, and not a leeway sooner.
#[tokio::test]
async fn a_token_within_its_leeway_is_accepted_to_the_end() {
    let setup = Setup {
        provider: ", leeway: 30s",
        ..Setup::default()
    };
    let gateway = setup.start().await;
    for (seconds, status) in [(5, 200), (-5, 200), (-40, 401)] {
        let mut asked = bare(Method::GET, "/items/1", "");
        let own = format!("Bearer {}", token_until("agent/7", seconds));
        asked
            .headers_mut()
            .insert("authorization", own.parse().unwrap());
        assert_eq!(gateway.call(asked).await.status, status, "{seconds}");
    }
    // A response that is under way when the token is past `exp` goes on.
    let mut asked = bare(Method::GET, "/slow", "");
    let own = format!("Bearer {}", token_until("agent/7", -5));
    asked
        .headers_mut()
        .insert("authorization", own.parse().unwrap());
    let (answer, ()) = tokio::join!(gateway.call(asked), async {
        gateway.upstream.reached.notified().await;
        gateway.running().reload().await.unwrap();
        gateway.upstream.release.notify_one();
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn verified_tokens_outlive_a_reload_that_leaves_identity_alone() {
    let gateway = Gateway::with(POLICIES, "").await;
    let looked_up = async |result: &str| -> u64 {
        let (_, metrics) = gateway.admin("/metrics").await;
        let name = format!("portcullis_token_cache_total{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
    };
    // Each worker has its own; every one of them has seen it after so many connections, or as good as.
    let own = format!("Bearer {}", token_with("agent/7", 300, json!({})));
    let asked = || {
        let mut asked = bare(Method::GET, "/items/1", "");
        asked
            .headers_mut()
            .insert("authorization", own.parse().unwrap());
        asked
    };
    for _ in 0..40 {
        assert_eq!(gateway.call(asked()).await.status, 200);
    }
    let missed = looked_up("miss").await;
    assert!(missed <= 2, "{missed}");
    gateway.running().reload().await.unwrap();
    for _ in 0..40 {
        assert_eq!(gateway.call(asked()).await.status, 200);
    }
    assert!(looked_up("miss").await <= 2, "verified again");

    // Who may be named is looked at when a token is verified, so that a change makes it verified again.
    let path = gateway.file("portcullis.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("agent/**", "other/**")).unwrap();
    gateway.running().reload().await.unwrap();
    for _ in 0..20 {
        let answer = gateway.call(asked()).await;
        assert_eq!(answer.reason(), (401, "invalid_token".into()));
    }
}
