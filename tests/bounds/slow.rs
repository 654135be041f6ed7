//! Clients that take their time: over a handshake, a head, a body.

use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use crate::frames::{
    CONTINUATION, Client, DATA, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, bare, frame, request,
};
use crate::world::{Setup, World, connect, drip, of_kind, rest, until};

const SHORT: &str = "timeouts: { header: 300ms, keep_alive: 300ms, body: 300ms, idle: 300ms }";
const EVERY: Duration = Duration::from_millis(20);

#[test]
fn heads_that_never_end_end() {
    let world = World::new(SHORT);
    let begun = "GET /open HTTP/1.1\r\nhost: a\r\n";
    // Sent once, and then nothing.
    let whole = World::head("GET /items/1", "");
    for bytes in [
        b"".to_vec(),
        b"G".to_vec(),
        begun.into(),
        b"\r\n\r\n\r\n".to_vec(),
        PREFACE[..12].to_vec(),
        PREFACE.to_vec(),
        [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat(),
        [PREFACE, &frame(SETTINGS, 0, 0, b"")[..5]].concat(),
        // Half a head behind a whole one, in one piece.
        [whole.as_bytes(), b"GET /open HTTP/1.1\r\nho"].concat(),
    ] {
        let mut stream = world.connect();
        stream.write_all(&bytes).unwrap();
        rest(&mut stream);
    }
    // A piece at a time, for ever: the bound is on the whole.
    let begun = begun.as_bytes();
    type Piece = Box<dyn Fn(usize) -> Vec<u8>>;
    let drips: [(&[u8], Piece); 4] = [
        (b"", Box::new(|n| vec![b"GET /open?"[n.min(9)]])),
        (begun, Box::new(|n| format!("x-{n}: y\r\n").into_bytes())),
        (begun, Box::new(|_| b"x".to_vec())),
        (b"", Box::new(|_| b"\r\n".to_vec())),
    ];
    for (first, piece) in drips {
        let mut stream = world.connect();
        stream.write_all(first).unwrap();
        drip(&mut stream, EVERY, piece);
    }
    let records = world.close();
    let paths: Vec<&Value> = of_kind(&records, "decision")
        .iter()
        .map(|d| &d["request"]["path"])
        .collect();
    assert!(paths.iter().all(|path| **path == "/items/1"), "{paths:?}");
}

#[test]
fn http2_connections_without_a_request_end() {
    let world = World::new(SHORT);
    let half = bare("GET", "/open");
    // HEADERS without END_HEADERS, and then nothing.
    let mut client = Client::connect(&world, &[]);
    client.send(&frame(HEADERS, END_STREAM, 1, &half));
    client.end();
    // The same, with a byte of it now and then.
    let mut client = Client::connect(&world, &[]);
    client.send(&frame(HEADERS, END_STREAM, 1, &half));
    let piece = |_| frame(CONTINUATION, 0, 1, b"");
    drip(&mut client.stream, EVERY, piece);
    // Pings and settings for ever are no requests.
    for piece in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, b"")] {
        let mut client = Client::connect(&world, &[]);
        drip(&mut client.stream, EVERY, |_| piece.clone());
    }
    world.close();
}

#[test]
fn tls_handshakes_that_never_end_end() {
    let own = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let files = [
        ("server.pem", own.cert.pem()),
        ("server.key", own.signing_key.serialize_pem()),
    ];
    let setup = Setup {
        listener: ", tls: { certificate: server.pem, key: server.key } }, { name: plain, address: \"127.0.0.1:0\"",
        files: &files,
        more: SHORT,
        ..Setup::default()
    };
    let mut world = setup.start();
    // A record of a ClientHello that announces 512 bytes.
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let address = world.address;
    for length in [0, 3, hello.len()] {
        let mut stream = connect(address);
        stream.write_all(&hello[..length]).unwrap();
        rest(&mut stream);
    }
    let mut stream = connect(address);
    stream.write_all(&hello).unwrap();
    drip(&mut stream, EVERY, |_| vec![7]);
    // Whole records of a handshake message that never ends.
    let mut stream = connect(address);
    let mut first = vec![22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff];
    first.extend([22, 3, 1, 0, 1, 7]);
    stream.write_all(&first).unwrap();
    drip(&mut stream, EVERY, |_| vec![22, 3, 1, 0, 1, 7]);
    world.address = world.addresses[1];
    let records = world.close();
    let refused = crate::world::counted(&records, "handshake");
    assert_eq!(refused, 5, "counted, not recorded");
    assert_eq!(of_kind(&records, "decision").len(), 1);
}

#[test]
fn judged_bodies_have_a_time_in_all() {
    let world = World::new(SHORT);
    let json = "content-type: application/json\r\n";
    let with = |more: &str| World::head("POST /items", &format!("{json}{more}"));
    let long = with("content-length: 100000\r\n");
    let chunked = with("transfer-encoding: chunked\r\n");
    type Piece = Box<dyn Fn(usize) -> Vec<u8>>;
    let drips: [(&str, Piece); 5] = [
        (&long, Box::new(|_| b" ".to_vec())),
        (&chunked, Box::new(|_| b"1\r\n \r\n".to_vec())),
        (&chunked, Box::new(|_| b"0".to_vec())),
        (
            &chunked,
            Box::new(|n| {
                if n == 0 {
                    b"0\r\n".to_vec()
                } else {
                    format!("x-{n}: y\r\n").into()
                }
            }),
        ),
        (
            &chunked,
            Box::new(|n| {
                if n == 0 {
                    b"0\r\n".to_vec()
                } else {
                    b"x".to_vec()
                }
            }),
        ),
    ];
    let count = drips.len();
    for (first, piece) in drips {
        let mut stream = world.connect();
        stream.write_all(first.as_bytes()).unwrap();
        drip(&mut stream, EVERY, piece);
    }
    for piece in [&b" "[..], b""] {
        let mut client = Client::connect(&world, &[]);
        client.send(&request(1, "POST", "/items", false));
        let piece = frame(DATA, 0, 1, piece);
        drip(&mut client.stream, EVERY, |_| piece.clone());
    }
    let records = world.close();
    let refused = records.iter().filter(|r| r["detail"] == "body_incomplete");
    assert_eq!(refused.count(), count + 2);
}

#[test]
fn streamed_bodies_have_a_silence_and_their_requests_a_time() {
    let setup = Setup {
        route: ", request_timeout: 1s",
        more: SHORT,
        ..Setup::default()
    };
    let world = setup.start();
    let long = World::head("PUT /files/f", "content-length: 100000\r\n");
    let chunked = World::head("PUT /files/f", "transfer-encoding: chunked\r\n");
    // Silence: before the first byte, within a body, within trailers.
    for bytes in ["", "abc"] {
        rest_of(&world, &format!("{long}{bytes}"));
    }
    for bytes in [
        "",
        "5\r\nhello\r\n",
        "0\r\nx-a: b\r\n",
        "5\r\nhello\r\n0\r\nx",
    ] {
        rest_of(&world, &format!("{chunked}{bytes}"));
    }
    // Never silent for long, and never done.
    type Piece = Box<dyn Fn(usize) -> Vec<u8>>;
    let drips: [(&str, Piece); 3] = [
        (&long, Box::new(|_| b"x".to_vec())),
        (&chunked, Box::new(|_| b"1\r\nx\r\n".to_vec())),
        (
            &chunked,
            Box::new(|n| {
                if n == 0 {
                    b"0\r\n".to_vec()
                } else {
                    b"x".to_vec()
                }
            }),
        ),
    ];
    for (first, piece) in drips {
        let mut stream = world.connect();
        stream.write_all(first.as_bytes()).unwrap();
        drip(&mut stream, EVERY, piece);
    }
    let mut client = Client::connect(&world, &[]);
    client.send(&request(1, "PUT", "/files/f", false));
    drip(&mut client.stream, EVERY, |_| frame(DATA, 0, 1, b"x"));
    let records = world.close();
    let outcomes = of_kind(&records, "outcome");
    let broken = outcomes.iter().filter(|o| o["end"] != "complete");
    assert_eq!(broken.count(), 10);
}

#[test]
fn a_refused_body_is_not_read_for_ever() {
    let world = World::new(SHORT);
    for head in [
        "content-length: 1000000\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        let chunked = head.starts_with('t');
        let mut stream = world.connect();
        let first = format!("POST /nowhere HTTP/1.1\r\nhost: a\r\n{head}\r\n");
        stream.write_all(first.as_bytes()).unwrap();
        let piece: &[u8] = if chunked { b"1\r\nx\r\n" } else { b"x" };
        drip(&mut stream, EVERY, |_| piece.to_vec());
    }
    let mut client = Client::connect(&world, &[]);
    client.send(&request(1, "POST", "/nowhere", false));
    drip(&mut client.stream, EVERY, |_| frame(DATA, 0, 1, b"x"));
    until("three refusals", || {
        of_kind(&world.records(), "decision").len() >= 3 + 8
    });
    assert_eq!(world.upstream.heads(), 8, "those of the start");
    world.close();
}

fn rest_of(world: &World, bytes: &str) {
    let mut stream = world.connect();
    stream.write_all(bytes.as_bytes()).unwrap();
    rest(&mut stream);
}
