//! Upstreams over real sockets, among them the rude ones.

use std::sync::atomic::Ordering::SeqCst;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::*;
use crate::config::{Balance, Ejection};
use crate::policy::Reason;
use crate::proxy::testing::*;

mod body;
mod tls;

fn upstream(config: &config::Upstream) -> (Arc<Upstream>, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    (
        Upstream::observed(config, Arc::clone(&witness) as _),
        witness,
    )
}

fn idle(upstream: &Upstream) -> usize {
    upstream.servers.pools().map(|pool| pool.idle()).sum()
}

/// Sends, reads the body, gives back the connection.
async fn fetch(upstream: &Arc<Upstream>, uri: &str) -> Result<String, UpstreamError> {
    let Sent {
        response, pending, ..
    } = upstream.send(get(uri)).await?;
    let text = collect(response.into_body()).await.unwrap().0;
    drop(pending);
    Ok(text)
}

/// An address where nothing listens.
async fn nowhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (upstream, witness) = upstream(&config(&[&format!("http://{}", numbering().await)]));
    for _ in 0..3 {
        assert_eq!(fetch(&upstream, "/").await.unwrap(), "1");
        assert_eq!(idle(&upstream), 1);
    }
    let both = tokio::join!(fetch(&upstream, "/"), fetch(&upstream, "/"));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), ("1".into(), "2".into()));
    assert_eq!(
        fetch(&upstream, "/").await.unwrap(),
        "2",
        "the one used last"
    );
    assert_eq!((idle(&upstream), witness.open.load(SeqCst)), (2, 2));
    assert_eq!(witness.answered.load(SeqCst), 6);
}

#[tokio::test]
async fn no_more_connections_wait_than_configured() {
    let mut config = config(&[&format!("http://{}", numbering().await)]);
    config.keep_idle = 1;
    let (upstream, witness) = upstream(&config);
    let _ = tokio::join!(fetch(&upstream, "/"), fetch(&upstream, "/"));
    witness.open_is(1).await;
    assert_eq!(idle(&upstream), 1);
}

#[tokio::test]
async fn a_server_that_announces_its_timeout_is_heeded() {
    for (announced, kept) in [("timeout=1", 0), ("max=9, Timeout=60", 1), ("timeout=x", 1)] {
        let address = raw(move |mut socket, _| async move {
            head(&mut socket).await;
            let text = format!("HTTP/1.1 204 No\r\nkeep-alive: {announced}\r\n\r\n");
            socket.write_all(text.as_bytes()).await.unwrap();
            rest(&mut socket).await;
        })
        .await;
        let (upstream, _) = upstream(&config(&[&format!("http://{address}")]));
        fetch(&upstream, "/").await.unwrap();
        assert_eq!(idle(&upstream), kept, "{announced}");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_used() {
    let address = raw(|mut socket, count| async move {
        head(&mut socket).await;
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{count}");
        socket.write_all(text.as_bytes()).await.unwrap();
    })
    .await;
    let (upstream, witness) = upstream(&config(&[&format!("http://{address}")]));
    assert_eq!(fetch(&upstream, "/").await.unwrap(), "1");
    witness.open_is(0).await;
    assert_eq!(fetch(&upstream, "/").await.unwrap(), "2");
    assert_eq!(upstream.ejected(), 0);
}

#[tokio::test]
async fn a_request_that_was_not_sent_goes_over_a_fresh_connection() {
    let (upstream, witness) = upstream(&config(&[&format!("http://{}", numbering().await)]));
    assert_eq!(fetch(&upstream, "/").await.unwrap(), "1");
    // the pool still takes it for alive
    upstream.servers.pools().for_each(|pool| pool.close_idle());
    assert_eq!(fetch(&upstream, "/").await.unwrap(), "2");
    assert!(witness.ejected.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_was_sent_is_never_sent_again() {
    let (tell, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let address = raw(move |mut socket, count| {
        let tell = tell.clone();
        async move {
            while let Some(head) = head(&mut socket).await {
                tell.send(head).unwrap();
                if count == 1 {
                    let _ = socket.write_all(b"HTTP/1.1 204 No\r\n\r\n").await;
                    // the second request meets a server that goes down with it
                    head_then_close(&mut socket, &tell).await;
                    return;
                }
            }
        }
    })
    .await;
    let (upstream, _) = upstream(&config(&[&format!("http://{address}")]));
    fetch(&upstream, "/one").await.unwrap();
    let error = fetch(&upstream, "/two").await.unwrap_err();
    assert!(matches!(error, UpstreamError::Reset(_)), "{error}");
    assert!(error.written());
    assert_eq!(error.reason(), Reason::UpstreamFailed);
    let heads = [heads.try_recv().unwrap(), heads.try_recv().unwrap()];
    assert!(heads[0].starts_with("GET /one ") && heads[1].starts_with("GET /two "));
}

async fn head_then_close(
    socket: &mut TcpStream,
    tell: &tokio::sync::mpsc::UnboundedSender<String>,
) {
    if let Some(head) = head(socket).await {
        tell.send(head).unwrap();
    }
}

#[tokio::test]
async fn failures_before_a_response_are_told_apart() {
    const SHORT: Duration = Duration::from_millis(50);
    let big = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let cases: [(&str, &str, Reason); 8] = [
        ("", "broke off before a response", Reason::UpstreamFailed),
        (
            "HTTP/1.1 200 OK\r\n",
            "broke off before a response",
            Reason::UpstreamFailed,
        ),
        (
            "SSH-2.0-OpenSSH\r\n\r\n",
            "not a valid response",
            Reason::UpstreamFailed,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "not a valid response",
            Reason::UpstreamFailed,
        ),
        (
            "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
            "not a valid response",
            Reason::UpstreamFailed,
        ),
        (&big, "not a valid response", Reason::UpstreamFailed),
        (&many, "not a valid response", Reason::UpstreamFailed),
        ("hang", "no response in time", Reason::UpstreamTimeout),
    ];
    for (answer, text, reason) in cases {
        let script = answer.to_owned();
        let address = raw(move |mut socket, _| {
            let script = script.clone();
            async move {
                head(&mut socket).await;
                if script == "hang" {
                    rest(&mut socket).await;
                }
                let _ = socket.write_all(script.as_bytes()).await;
            }
        })
        .await;
        let mut config = config(&[&format!("http://{address}")]);
        if answer == "hang" {
            config.response_timeout = SHORT;
        }
        let (upstream, witness) = upstream(&config);
        let error = fetch(&upstream, "/").await.unwrap_err();
        assert!(error.to_string().starts_with(text), "{answer:.40}: {error}");
        assert_eq!(error.reason(), reason);
        assert!(error.written());
        witness.open_is(0).await;
    }
}

#[tokio::test]
async fn interim_responses_are_passed_over() {
    let address = raw(|mut socket, _| async move {
        head(&mut socket).await;
        let text =
            "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        socket.write_all(text.as_bytes()).await.unwrap();
        rest(&mut socket).await;
    })
    .await;
    let (upstream, _) = upstream(&config(&[&format!("http://{address}")]));
    assert_eq!(fetch(&upstream, "/").await.unwrap(), "ok");
}

#[tokio::test]
async fn bytes_after_a_response_never_become_the_next_one() {
    let address = raw(|mut socket, count| async move {
        head(&mut socket).await;
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{count}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison");
        socket.write_all(text.as_bytes()).await.unwrap();
        rest(&mut socket).await;
    })
    .await;
    let (upstream, witness) = upstream(&config(&[&format!("http://{address}")]));
    assert_eq!(fetch(&upstream, "/").await.unwrap(), "1");
    witness.open_is(0).await;
    assert_eq!(fetch(&upstream, "/").await.unwrap(), "2");
}

#[tokio::test]
async fn a_length_beside_chunks_is_dropped() {
    let address = raw(|mut socket, _| async move {
        head(&mut socket).await;
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        socket.write_all(text.as_bytes()).await.unwrap();
        rest(&mut socket).await;
    })
    .await;
    let (upstream, _) = upstream(&config(&[&format!("http://{address}")]));
    let sent = upstream.send(get("/")).await.unwrap();
    assert!(!sent.response.headers().contains_key("content-length"));
    assert_eq!(collect(sent.response.into_body()).await.unwrap().0, "ok");
}

#[tokio::test]
async fn another_server_is_tried_while_nothing_was_sent() {
    let good = format!("http://{}", numbering().await);
    let (bad, worse) = (nowhere().await, nowhere().await);
    let mut config = config(&[&bad, &worse, &good]);
    config.ejection.failures = 1;
    let (upstream, witness) = upstream(&config);
    for _ in 0..4 {
        assert_eq!(fetch(&upstream, "/").await.unwrap(), "1");
    }
    assert_eq!(upstream.ejected(), 2);
    assert_eq!(
        *witness.ejected.lock().unwrap(),
        [(bad, true), (worse, true)]
    );
}

#[tokio::test]
async fn nobody_listens() {
    let (upstream, _) = upstream(&config(&[&nowhere().await]));
    let error = fetch(&upstream, "/").await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect(_)), "{error}");
    assert_eq!(
        (error.reason(), error.written()),
        (Reason::UpstreamFailed, false)
    );
    let name = "http://no-such-host.invalid";
    let error = fetch(&Upstream::new(&config(&[name])), "/")
        .await
        .unwrap_err();
    assert!(!error.written(), "{error}");
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let address = numbering().await;
    let name = format!("http://localhost:{}", address.port());
    let (upstream, _) = upstream(&config(&[&name]));
    let sent = upstream.send(get("/")).await.unwrap();
    assert_eq!(*sent.address, *name);
}

#[tokio::test]
async fn servers_are_chosen_by_turn_or_by_what_is_pending() {
    let pools = || {
        ["a", "b", "c"].map(|name| {
            let target = Target::new(&http::Uri::from_static("http://127.0.0.1:9"), None);
            (Arc::from(name), Pool::new(target, 0))
        })
    };
    let ejection = Ejection {
        failures: 2,
        rest: Duration::from_secs(3600),
    };
    let servers = |balance, ejection| {
        Servers::new(
            Arc::from("api"),
            pools().into_iter(),
            balance,
            ejection,
            Arc::new(()),
        )
    };
    let name = |pending: &Option<Pending>| pending.as_ref().unwrap().0.address.to_string();

    let turns = servers(Balance::RoundRobin, ejection);
    let names: Vec<_> = (0..4).map(|_| name(&turns.choose(&[]))).collect();
    assert_eq!(names, ["a", "b", "c", "a"]);

    let least = servers(Balance::LeastPending, ejection);
    let (a, b) = (least.choose(&[]), least.choose(&[]));
    let (c, again) = (least.choose(&[]), least.choose(&[]));
    assert_eq!([&a, &b, &c].map(name), ["a", "b", "c"]);
    drop(b);
    assert_eq!(name(&least.choose(&[])), "b", "has none pending");
    let tried = [Arc::clone(&c.as_ref().unwrap().0)];
    assert_ne!(name(&least.choose(&tried)), "c");

    // two failures in a row, and it rests; an answer between them ends the row
    let (a, b, c) = (
        a.unwrap().0.clone(),
        least.choose(&tried).unwrap().0.clone(),
        c.unwrap().0.clone(),
    );
    drop(again);
    least.failed(&a);
    least.succeeded(&a);
    least.failed(&a);
    assert_eq!(least.ejected(), 0);
    least.failed(&a);
    assert_eq!(least.ejected(), 1);
    assert!((0..6).all(|_| name(&least.choose(&[])) != "a"));
    for server in [&c, &b, &c, &b] {
        least.failed(server);
    }
    assert_eq!(least.ejected(), 3);
    assert_eq!(name(&least.choose(&[])), "a", "its rest ends first");
    least.succeeded(&a);
    assert_eq!(least.ejected(), 2);

    // back after the rest, and out again with the next failure
    let witness = Arc::new(Witness::default());
    let brief = Ejection {
        failures: 1,
        rest: Duration::ZERO,
    };
    let returns = Servers::new(
        Arc::from("api"),
        pools().into_iter().take(1),
        Balance::RoundRobin,
        brief,
        Arc::clone(&witness) as _,
    );
    let only = returns.choose(&[]).unwrap().0.clone();
    returns.failed(&only);
    assert_eq!(returns.ejected(), 0);
    returns.failed(&only);
    assert_eq!(returns.ejected(), 0);
    let a = || "a".to_owned();
    let seen = [(a(), true), (a(), false), (a(), true), (a(), false)];
    assert_eq!(*witness.ejected.lock().unwrap(), seen);
}

#[tokio::test]
async fn http2_requests_share_a_connection() {
    let meet = Arc::new(tokio::sync::Barrier::new(3));
    let address = hyper_server(true, move |request| {
        let meet = Arc::clone(&meet);
        async move {
            if request.uri().path() == "/meet" {
                meet.wait().await; // all three are open at once
            }
            let body = request.uri().to_string();
            Response::new(http_body_util::Full::new(bytes::Bytes::from(body)))
        }
    })
    .await;
    let mut config = config(&[&format!("http://{address}")]);
    config.protocol = Protocol::Http2;
    let (upstream, witness) = upstream(&config);
    let uri = "http://api.test/meet";
    let (a, b, c) = tokio::join!(
        fetch(&upstream, uri),
        fetch(&upstream, uri),
        fetch(&upstream, uri)
    );
    assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], [uri; 3]);
    assert_eq!(
        fetch(&upstream, "http://api.test/").await.unwrap(),
        "http://api.test/"
    );
    assert_eq!(witness.open.load(SeqCst), 1);
}

#[tokio::test]
async fn an_http2_upstream_that_fails_is_told() {
    let address = raw(|mut socket, _| async move {
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        rest(&mut socket).await;
    })
    .await;
    let mut config = config(&[&format!("http://{address}")]);
    config.protocol = Protocol::Http2;
    let (upstream, witness) = upstream(&config);
    let error = fetch(&upstream, "http://api.test/").await.unwrap_err();
    assert_eq!(error.reason(), Reason::UpstreamFailed, "{error}");
    witness.open_is(0).await;
}
