//! Attacks with tokens that need more than a few requests: credentials over one connection, rights that end while
//! they are remembered, and floods.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ask::{self, Answer, Back, HOST, another, head};
use super::data::Token;
use super::world::World;
use crate::harness::{PATIENCE, of_kind};

/// Who asked last over a connection says nothing about who asks next.
#[tokio::test]
async fn a_connection_keeps_no_credential() {
    let world = World::start().await;
    let good = world.good();
    let bad = Token {
        key: "attacker".into(),
        ..Token::default()
    };
    let bad = world.token(&bad).text();
    let mut stream = TcpStream::connect(world.address("plain")).await.unwrap();
    for (token, status) in [
        (Some(&good), 200),
        (None, 401),
        (Some(&good), 200),
        (Some(&bad), 401),
        (None, 401),
        (Some(&good), 200),
    ] {
        let token = token.map(String::as_str);
        assert_eq!(
            another(&mut stream, "/seven/kept", token).await.unwrap().0,
            status
        );
    }
    // Trailers come after the request was judged, and nobody reads them.
    let trailing = format!(
        "POST /form/trailers HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\ntrailer: authorization\r\nconnection: close\r\n\r\n1\r\nx\r\n0\r\nauthorization: Bearer {good}\r\n\r\n"
    );
    match ask::http1(stream, trailing.as_bytes()).await {
        Back::Answer(answer) => assert_eq!(answer.status, 401, "{answer:?}"),
        Back::Closed(how) => panic!("{how}"),
    }
    assert_eq!(world.upstream.heads.lock().unwrap().len(), 3);
}

/// A token that is remembered ends with its time, its key and its issuer's right to name the agent.
#[tokio::test]
async fn a_token_that_is_remembered_ends_with_what_it_stands_on() {
    let mut world = World::start().await;
    let other_key = Token {
        header: r#"{"alg":"ES256","kid":"k5","typ":"at+jwt"}"#.into(),
        key: "es256b".into(),
        ..Token::default()
    };
    let (first, second) = (world.good(), world.token(&other_key).text());
    for token in [&first, &second, &first] {
        assert_eq!(plain(&world, "/seven/key", token).await.status, 200);
    }
    let fewer = world.keys.set("corp", &["k1"]);
    world.change("corp.json", &fewer).await;
    let answer = plain(&world, "/seven/key", &first).await;
    assert_eq!(answer.problem("detail").as_deref(), Some("unknown_key"));
    assert_eq!(plain(&world, "/seven/key", &second).await.status, 200);

    let short = with(
        &[
            ("iss", r#""shared""#),
            ("sub", r#""shared/1""#),
            ("exp", "{now+5}"),
        ],
        Token {
            header: r#"{"alg":"HS256","typ":"at+jwt"}"#.into(),
            key: "hs256".into(),
            ..Token::default()
        },
    );
    let short = world.token(&short).text();
    assert_eq!(plain(&world, "/c/short", &short).await.status, 200);
    let begun = Instant::now();
    let mut cut = 0;
    loop {
        let tcp = TcpStream::connect(world.address("plain")).await.unwrap();
        match ask::http1(tcp, &head("/c/short", "a", Some(&short))).await {
            Back::Answer(answer) if answer.status == 200 => {}
            Back::Answer(answer)
                if answer.problem("reason").as_deref() == Some("invalid_token") =>
            {
                assert_eq!(answer.problem("detail").as_deref(), Some("token_expired"));
                break;
            }
            // One that was under way at that moment.
            _ => cut += 1,
        }
        assert!(begun.elapsed() < PATIENCE, "it never ends");
    }
    let (records, _) = world.stop().await;
    let ends = of_kind(&records, "outcome");
    let ends = ends.iter().filter(|outcome| outcome["end"] == "cut");
    assert_eq!(ends.count(), cut);
}

/// Bad tokens cost their senders more than they cost here, and put nobody out.
#[tokio::test]
async fn ten_thousand_bad_tokens_neither_evict_nor_stall_a_good_one() {
    const SENDERS: usize = 8;
    const EACH: usize = 1250;
    let mut world = World::start().await;
    let good = world.good();
    let bad = Token {
        key: "attacker".into(),
        ..Token::default()
    };
    let parts = world.token(&bad);
    assert_eq!(plain(&world, "/seven/flood", &good).await.status, 200);
    let address = world.address("plain");
    let flood: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (head, body, signature) =
                (parts.head.clone(), parts.body.clone(), parts.signature.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut held = Vec::new();
                for number in 0..EACH {
                    // A connection for each hundred.
                    if number % 100 == 0 {
                        stream = TcpStream::connect(address).await.unwrap();
                    }
                    // Another token each time, with a signature of the right form.
                    let own = format!("{sender:02}{number:06}");
                    let signature = format!("{own}{}", &signature[own.len()..]);
                    let text = format!(
                        "GET /seven/bad HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {head}.{body}.{signature}\r\n\r\n"
                    );
                    stream.write_all(text.as_bytes()).await.unwrap();
                    held.clear();
                    while !held.ends_with(b"}") {
                        assert!(stream.read_buf(&mut held).await.unwrap() > 0);
                    }
                    assert!(held.starts_with(b"HTTP/1.1 401 "));
                }
            })
        })
        .collect();
    let mut served = 1;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(plain(&world, "/seven/flood", &good).await.status, 200);
        served += 1;
    }
    for sender in flood {
        sender.await.unwrap();
    }
    assert_eq!(plain(&world, "/seven/flood", &good).await.status, 200);
    served += 1;
    let metrics = world.metrics().await;
    let hits = format!(
        "portcullis_token_cache_total{{result=\"hit\"}} {}\n",
        served - 1
    );
    assert!(metrics.contains(&hits), "{served} served: {metrics}");
    assert_eq!(world.upstream.heads.lock().unwrap().len(), served);
    let (records, _) = world.stop().await;
    let refused = of_kind(&records, "decision");
    let refused = refused.iter().filter(|d| d["detail"] == "bad_signature");
    assert_eq!(refused.count(), SENDERS * EACH);
}

fn with(claims: &[(&str, &str)], token: Token) -> Token {
    let claims = claims.iter();
    Token {
        with: claims
            .map(|(name, value)| ((*name).into(), Some((*value).into())))
            .collect(),
        ..token
    }
}

async fn plain(world: &World, path: &str, token: &str) -> Answer {
    let tcp = TcpStream::connect(world.address("plain")).await.unwrap();
    match ask::http1(tcp, &head(path, "a", Some(token))).await {
        Back::Answer(answer) => answer,
        Back::Closed(how) => panic!("{how}"),
    }
}
