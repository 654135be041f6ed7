//! Clients that go at every stage of their request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::frames::{Client, DATA, HEADERS, RST_STREAM, frame, head, request};
use crate::world::{World, of_kind, until};

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Close,
    Reset,
    HalfClose,
}

fn go(stream: TcpStream, way: Way) {
    match way {
        Way::Close => drop(stream),
        Way::Reset => {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        Way::HalfClose => {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Its other half goes when the test's thread has seen the end.
            std::thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.read_to_end(&mut Vec::new());
            });
        }
    }
}

#[test]
fn clients_that_go_leave_nothing_at_any_stage() {
    let world = World::new("timeouts: { idle: 5s, body: 5s }");
    let json = "content-type: application/json\r\ncontent-length: 50\r\n";
    let judged = World::head("POST /items", json);
    let streamed = World::head("PUT /files/f", "transfer-encoding: chunked\r\n");
    let unread = World::head("PUT /unread", "content-length: 100000000\r\n");
    let held = World::head("GET /held", "");
    let large = World::head("GET /large/64", "");
    let whole = World::head("GET /items/1", "");
    // What is sent, whether it is forwarded, and how many bytes of an answer are waited for.
    let stages: [(&str, String, bool, usize); 8] = [
        ("within its head", held[..20].to_owned(), false, 0),
        ("before its body", judged.clone(), false, 0),
        ("within its body", format!("{judged}{{\"name\":"), false, 0),
        (
            "within a streamed body",
            format!("{streamed}5\r\nhello\r\n"),
            true,
            0,
        ),
        (
            "while nobody reads it",
            format!("{unread}{}", "x".repeat(1 << 20)),
            true,
            0,
        ),
        ("while it waits", held, true, 0),
        ("within its answer", large, true, 100_000),
        ("after its answer", whole, true, 15),
    ];
    for way in [Way::Close, Way::Reset, Way::HalfClose] {
        for (stage, sent, forwarded, answered) in &stages {
            for _ in 0..5 {
                let before = world.upstream.heads();
                let mut stream = world.connect();
                stream.write_all(sent.as_bytes()).unwrap();
                if *forwarded {
                    until(stage, || world.upstream.heads() > before);
                }
                let mut left = *answered;
                let mut piece = vec![0; 1 << 14];
                while left > 0 {
                    let came = stream.read(&mut piece).unwrap();
                    assert!(came > 0, "{stage}");
                    left = left.saturating_sub(came);
                }
                go(stream, way);
            }
        }
    }
    world.upstream.release();
    until("no connection", || {
        world.metric("portcullis_connections_open") == 0.0
    });
    let records = world.close();
    let ends = |end: &str| records.iter().filter(|r| r["end"] == end).count();
    assert!(ends("client_gone") > 0);
}

#[test]
fn http2_clients_that_go_leave_nothing_at_any_stage() {
    let world = World::new("timeouts: { idle: 5s, body: 5s }");
    let half = &head("POST", "/items")[..10];
    let stages: [(&str, Vec<u8>); 6] = [
        ("within its head", frame(HEADERS, 0, 1, half)),
        ("before its body", request(1, "POST", "/items", false)),
        (
            "within its body",
            [request(1, "POST", "/items", false), frame(DATA, 0, 1, b"{")].concat(),
        ),
        (
            "within a streamed body",
            [
                request(1, "PUT", "/files/f", false),
                frame(DATA, 0, 1, b"{"),
            ]
            .concat(),
        ),
        ("while it waits", request(1, "GET", "/held", true)),
        ("within its answer", request(1, "GET", "/large/64", true)),
    ];
    for reset in [false, true] {
        for (stage, sent) in &stages {
            for _ in 0..5 {
                let mut client = Client::connect(&world, &[]);
                client.send(sent);
                if *stage == "within its answer" {
                    client.wait(DATA).unwrap();
                } else if !stage.contains("head") {
                    assert!(client.answers());
                }
                if reset && !stage.contains("head") {
                    client.send(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
                    assert!(client.answers(), "{stage}");
                }
            }
        }
    }
    until("no connection", || {
        world.metric("portcullis_connections_open") == 0.0
    });
    let records = world.close();
    assert!(of_kind(&records, "outcome").len() >= 8 + 2 * 3 * 5);
}
