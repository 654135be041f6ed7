//! Tokens in numbers: good ones, bad ones, and such whose key nobody knows.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::world::{Setup, World, connect, counted, header, rest, token, token_by};

/// Requests over one connection, each with its own token; gives back how many came with this status.
fn flood(world: &World, tokens: &[String], expected: &str) {
    for some in tokens.chunks(200) {
        let mut text = String::new();
        for (n, token) in some.iter().enumerate() {
            let last = if n + 1 == some.len() {
                "connection: close\r\n"
            } else {
                ""
            };
            text += &ask(token, last);
        }
        let mut stream = world.connect();
        let mut writer = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            let _closed = writer.write_all(text.as_bytes());
        });
        let answer = rest(&mut stream);
        sender.join().unwrap();
        let found = answer.matches(&format!("HTTP/1.1 {expected} ")).count();
        assert_eq!(found, some.len(), "{answer}");
    }
}

fn ask(token: &str, more: &str) -> String {
    format!("GET /items/1 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

fn hits(world: &World) -> f64 {
    world.metric(r#"portcullis_token_cache_total{result="hit"}"#)
}

#[test]
fn many_good_tokens_displace_each_other_and_not_the_one_in_use() {
    let setup = Setup {
        identity: "token_cache: 100",
        ..Setup::default()
    };
    let world = setup.start();
    let claims = json!({ "groups": ["a", "b"], "filler": "x".repeat(500) });
    let tokens: Vec<String> = (0..1500)
        .map(|n| token(&format!("agent/{n}"), claims.clone()))
        .collect();
    let own = token("agent/own", json!({}));
    world.within(24, "1,500 good tokens", || {
        for some in tokens.chunks(20) {
            let mut some = some.to_vec();
            some.push(own.clone());
            flood(&world, &some, "200");
        }
    });
    // Each worker verifies it once, and knows it for the rest of the 75 rounds.
    assert!(hits(&world) >= 73.0, "{}", hits(&world));
    world.close();
}

#[test]
fn many_bad_tokens_leave_nothing_and_displace_nothing() {
    let world = World::new("");
    let own = token("agent/own", json!({}));
    // Each worker knows it.
    for _ in 0..20 {
        flood(&world, std::slice::from_ref(&own), "200");
    }
    let bad: Vec<String> = (0..2000)
        .map(|n| match n % 4 {
            0 => token_by(
                &header(),
                "not-the-secret-that-the-gateway-knows-of",
                "agent/7",
                json!({ "n": n }),
            ),
            1 => format!("{}x", token("agent/7", json!({ "n": n }))),
            2 => token("stranger", json!({ "n": n })),
            _ => "x".repeat(20_000),
        })
        .collect();
    world.within(24, "2,000 bad tokens", || flood(&world, &bad, "401"));
    let before = hits(&world);
    for _ in 0..20 {
        flood(&world, std::slice::from_ref(&own), "200");
    }
    assert_eq!(hits(&world), before + 20.0);
    let records = world.close();
    assert!(
        counted(&records, "invalid_token") > 0,
        "counted above the rate"
    );
}

/// Claims that are deep, many or large: as many as a head may hold.
#[test]
fn tokens_of_all_shapes_end_quickly() {
    let world = World::new("limits: { header_bytes: 256KiB }");
    let mut deep = json!("end");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let many: serde_json::Map<_, _> = (0..5000).map(|n| (format!("k{n}"), json!(n))).collect();
    let groups: Vec<String> = (0..5000).map(|n| format!("group-{n}")).collect();
    let before = world.resources().ticks;
    world.within(48, "odd tokens", || {
        for claims in [
            json!({ "deep": deep }),
            json!(many),
            json!({ "groups": groups }),
            json!({ "filler": "\u{1}".repeat(20_000) }),
        ] {
            let token = token("agent/7", claims);
            let head = format!("GET /items/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n");
            let answer = world.raw(head);
            let known = answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 401 ");
            assert!(known, "{answer}");
        }
    });
    let took = world.resources().ticks - before;
    assert!(took < 1000, "{took} ticks");
    world.close();
}

/// A key server is asked about unknown keys at most once in ten seconds, however many there are.
#[test]
fn unknown_keys_ask_their_server_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut read = [0; 4096];
            let mut head = Vec::new();
            while crate::upstream::find(&head, b"\r\n\r\n").is_none() {
                match stream.read(&mut read) {
                    Ok(came) if came > 0 => head.extend_from_slice(&read[..came]),
                    _ => break,
                }
            }
            counting.fetch_add(1, Ordering::SeqCst);
            let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                keys.len()
            );
            let _gone = stream.write_all(format!("{head}{keys}").as_bytes());
        }
    });
    let keys = format!("algorithms: [EdDSA], keys: {{ url: \"http://{address}/jwks\" }}");
    let setup = Setup {
        keys: &keys,
        listener: " ",
        ..Setup::default()
    };
    let world = setup.start();
    assert_eq!(asked.load(Ordering::SeqCst), 1, "at the start");
    let unknown: Vec<String> = (0..2000)
        .map(|n| {
            use base64::Engine as _;
            let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            let head = json!({ "alg": "EdDSA", "kid": format!("key-{n}") }).to_string();
            let rest = token("agent/7", json!({}));
            let claims = rest.split('.').nth(1).unwrap();
            format!("{}.{claims}.{}", encode(&head), encode(&"s".repeat(64)))
        })
        .collect();
    let began = std::time::Instant::now();
    let threads: Vec<_> = unknown
        .chunks(250)
        .map(|some| {
            let text: String = some.iter().map(|token| ask(token, "")).collect();
            let text = text + &ask("none", "connection: close\r\n");
            let address = world.address;
            std::thread::spawn(move || {
                let mut stream = connect(address);
                stream.write_all(text.as_bytes()).unwrap();
                rest(&mut stream)
            })
        })
        .collect();
    for thread in threads {
        let answer = thread.join().unwrap();
        let refused =
            answer.matches("HTTP/1.1 401 ").count() + answer.matches("HTTP/1.1 503 ").count();
        assert_eq!(refused, 251);
    }
    let most = 2 + began.elapsed().as_secs() as usize / 10;
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked <= most, "{asked} times");
    world.end();
}
