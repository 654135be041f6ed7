//! Reload and shutdown: atomic, recorded, and nothing is lost.

use http::Method;

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::harness::{Gateway, PATIENCE, POLICIES, Setup, bare, of_kind, request};
use crate::streams::{Scripted, soon};

#[tokio::test]
async fn a_reload_changes_all_or_nothing() {
    let mut gateway = Gateway::start().await;
    let digest = gateway.admin("/policies").await.1;
    assert_eq!(gateway.get("/items/1").await.status, 200);

    std::fs::write(
        gateway.file("policy.yaml"),
        "version: 1\npolicies: [{ id: x, nonsense: 1 }]\n",
    )
    .unwrap();
    gateway.running().reload().await.unwrap_err();
    assert_eq!(gateway.get("/items/1").await.status, 200);
    assert_eq!(gateway.admin("/policies").await.1, digest);

    std::fs::write(
        gateway.file("policy.yaml"),
        POLICIES.replace("GET /items/{item}", "GET /things/{item}"),
    )
    .unwrap();
    gateway.running().reload().await.unwrap();
    assert_eq!(
        gateway.get("/items/1").await.reason(),
        (403, "no_policy".into())
    );
    assert_eq!(gateway.get("/things/1").await.status, 200);
    assert_ne!(gateway.admin("/policies").await.1, digest);

    let records = gateway.stop().await;
    let reloads: Vec<_> = of_kind(&records, "event")
        .into_iter()
        .filter(|event| event["event"] == "reload")
        .map(|event| event["ok"].as_bool().unwrap())
        .collect();
    assert_eq!(reloads, [false, true]);
}

#[tokio::test]
async fn what_takes_a_restart_is_refused() {
    let gateway = Gateway::start().await;
    let path = gateway.file("portcullis.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("workers: 2", "workers: 1")).unwrap();
    let error = gateway.running().reload().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`workers` can't change without a restart"
    );
}

#[tokio::test]
async fn a_request_under_way_that_no_longer_holds_is_cut() {
    let mut gateway = Gateway::start().await;
    let waiting = gateway.get("/slow");
    let change = async {
        gateway.upstream.reached.notified().await;
        let without = POLICIES.replace("do: \"GET /slow\"", "do: \"GET /fast\"");
        std::fs::write(gateway.file("policy.yaml"), without).unwrap();
        gateway.running().reload().await.unwrap();
    };
    let both = async { tokio::join!(waiting, change) };
    let (answer, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(answer.reason(), (403, "revoked".into()));
    let records = gateway.stop().await;
    let outcome = of_kind(&records, "outcome")[0];
    assert_eq!(
        (&outcome["end"], &outcome["status"]),
        (&"cut".into(), &403.into())
    );
}

#[tokio::test]
async fn an_open_stream_ends_with_the_identity_that_it_began_under() {
    let policies = "version: 1\npolicies: [{ id: events, who: any, do: GET /events }]\n";
    let second = "providers:\n    second: { issuer: second, audience: portcullis, algorithms: [HS256], keys: { secret: { file: shared.secret } }, agents: [\"second/**\"] }\n";
    let longer = format!("{policies}# as before\n");
    let wider = policies
        .replace("GET /events", "\"GET,POST /events\"")
        .replace("}]", "}, { id: more, who: any, do: GET /more }]");
    let config = "portcullis.yaml";
    for (what, file, from, to, goes_on) in [
        ("nothing", config, "", "", true),
        ("a comment", "policy.yaml", policies, &*longer, true),
        (
            "policies that still hold",
            "policy.yaml",
            policies,
            &*wider,
            true,
        ),
        (
            "another provider's identity",
            config,
            "providers:\n",
            second,
            true,
        ),
        ("the agents", config, "agent/**", "other/**", false),
        ("the issuer", config, "issuer: test", "issuer: other", false),
        (
            "the audience",
            config,
            "audience: portcullis",
            "audience: other",
            false,
        ),
        (
            "another claim's value",
            config,
            "issuer: test,",
            "issuer: test, claims: { user: [/jti] }, ",
            false,
        ),
        (
            "the provider's name",
            config,
            "    test: {",
            "    best: {",
            false,
        ),
        ("the key", "shared.secret", "a-secret", "b-secret", false),
    ] {
        let upstream = Scripted::start().await;
        let setup = Setup {
            policies,
            addresses: std::slice::from_ref(&upstream.address),
            ..Setup::default()
        };
        let mut gateway = setup.start().await;
        let io = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        let asked = request(Method::GET, "/events", "");
        let mut response = soon(sender.send_request(asked)).await.unwrap();
        upstream.send("data: one\n\n");
        soon(response.frame()).await.unwrap().unwrap();

        let path = gateway.file(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{what}: {text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        // The second finds what the first left.
        for _ in 0..2 {
            let reloaded = gateway.running().reload().await;
            reloaded.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        if goes_on {
            upstream.send("data: two\n\n");
        }
        let next = soon(response.frame()).await.unwrap();
        assert_eq!(next.is_ok(), goes_on, "{what}");
        drop((response, sender, upstream));
        let records = gateway.stop().await;
        let cut = of_kind(&records, "outcome")[0]["end"] == "cut";
        assert_eq!(cut, !goes_on, "{what}");
    }
}

/// A stream that was permitted until one o'clock ran on until then, although a reload had moved the end to noon.
#[tokio::test]
async fn an_open_stream_does_not_outlive_an_end_that_a_reload_moves_sooner() {
    let until = |end: &str| {
        format!(
            "version: 1\npolicies: [{{ id: events, who: anonymous, do: GET /events, when: {end} }}]\n"
        )
    };
    let noon = until("{ until: 2099-01-01T12:00:00Z }");
    let one = until("{ until: 2099-01-01T13:00:00Z }");
    let always = until("{ from: 2020-01-01T00:00:00Z }");
    let with = |set: &str, more: &str| set.replace("}]", &format!("}}, {more}]"));
    let forbid =
        "{ id: stop, effect: forbid, do: GET /events, when: { from: 2098-01-01T00:00:00Z } }";
    let lifted = |end: &str| {
        let lift = format!("{{ id: lift, who: anonymous, do: GET /events, when: {end} }}");
        let forbid = "{ id: stop, effect: forbid, do: GET /events, unless: lift }";
        with(&with(&always, &lift), forbid)
    };
    let known = |set: &str| set.replace("anonymous", "any");
    for (what, from, to, goes_on) in [
        (
            "the same end",
            &one,
            with(&one, "{ id: more, who: any, do: GET /more }"),
            true,
        ),
        ("an end that is sooner", &one, noon.clone(), false),
        ("an end that is later", &noon, one.clone(), true),
        ("an end where there was none", &always, one.clone(), false),
        ("no end any more", &one, always.clone(), true),
        (
            "a sooner end that the token's comes before",
            &known(&one),
            known(&noon),
            true,
        ),
        (
            "a forbid that begins",
            &always,
            with(&always, forbid),
            false,
        ),
        (
            "a forbid that begins after the end",
            &noon,
            with(&noon, &forbid.replace("2098", "2100")),
            true,
        ),
        (
            "a lift that ends sooner",
            &lifted("{ until: 2099-01-01T13:00:00Z }"),
            lifted("{ until: 2099-01-01T12:00:00Z }"),
            false,
        ),
    ] {
        let upstream = Scripted::start().await;
        let setup = Setup {
            policies: from,
            addresses: std::slice::from_ref(&upstream.address),
            ..Setup::default()
        };
        let mut gateway = setup.start().await;
        let io = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        // A token ends soon, and bounds the right as well.
        let asked = match from.contains("who: any,") {
            true => request(Method::GET, "/events", ""),
            false => bare(Method::GET, "/events", ""),
        };
        let mut response = soon(sender.send_request(asked)).await.unwrap();
        upstream.send("data: one\n\n");
        soon(response.frame()).await.unwrap().unwrap();

        std::fs::write(gateway.file("policy.yaml"), &to).unwrap();
        let reloaded = gateway.running().reload().await;
        reloaded.unwrap_or_else(|error| panic!("{what}: {error}"));
        if goes_on {
            upstream.send("data: two\n\n");
        }
        let next = soon(response.frame()).await.unwrap();
        assert_eq!(next.is_ok(), goes_on, "{what}");
        drop((response, sender, upstream));
        let records = gateway.stop().await;
        let cut = of_kind(&records, "outcome")[0]["end"] == "cut";
        assert_eq!(cut, !goes_on, "{what}");
    }
}

#[tokio::test]
async fn a_shutdown_lets_requests_end() {
    let mut gateway = Gateway::start().await;
    assert_eq!(gateway.admin("/readyz").await.0, 200);
    let waiting = gateway.call(request(Method::GET, "/slow", ""));
    let reached = gateway.upstream.reached.clone();
    let release = gateway.upstream.release.clone();
    let answered = async {
        let answer = waiting.await;
        answer.status.as_u16()
    };
    let (status, ()) = tokio::join!(answered, async {
        reached.notified().await;
        release.notify_one();
    });
    assert_eq!(status, 200);
    let records = gateway.stop().await;
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "complete");
    assert_eq!(records.last().unwrap()["event"], "stop");
}

#[tokio::test]
async fn a_shutdown_cuts_what_does_not_end() {
    let mut gateway = Gateway::with(POLICIES, "timeouts: { shutdown: 50ms }").await;
    let running = gateway.running.take().unwrap();
    let waiting = gateway.get("/slow");
    let reached = gateway.upstream.reached.clone();
    let (answer, ()) = tokio::join!(waiting, async {
        reached.notified().await;
        running.shutdown().await;
    });
    assert_eq!(answer.reason(), (503, "unavailable".into()));
    let records = gateway.records();
    assert_eq!(of_kind(&records, "outcome")[0]["end"], "aborted");
    assert_eq!(records.last().unwrap()["event"], "stop");
}
