//! Bodies over the limit, bodies that grow when they are decoded, and many at once.

use std::io::Write;
use std::net::TcpStream;

use crate::frames::{Client, DATA, WINDOW_UPDATE, frame, request};
use crate::world::{World, of_kind, rest, until};

const JSON: &str = "content-type: application/json\r\n";

fn start(world: &World, path: &str, more: &str) -> TcpStream {
    let mut stream = world.connect();
    let head = World::head(&format!("POST {path}"), &format!("{JSON}{more}"));
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn refusals(world: &World, detail: &str) -> usize {
    let records = world.records();
    records.iter().filter(|r| r["detail"] == detail).count()
}

#[test]
fn two_hundred_bodies_over_the_limit_at_once() {
    let world =
        World::new("limits: { judged_body: 256KiB, judged_bodies: 4MiB }\ntimeouts: { body: 3s }");
    let before = world.upstream.heads();
    world.within(32, "200 announced bodies over the limit", || {
        let mut all: Vec<_> = (0..200)
            .map(|_| {
                start(
                    &world,
                    "/items",
                    "connection: close\r\ncontent-length: 10000000\r\n",
                )
            })
            .collect();
        for stream in &mut all {
            let _closed = stream.write_all(&[b' '; 100_000]);
        }
        for stream in &mut all {
            let answer = rest(stream);
            assert!(
                answer.is_empty() || answer.starts_with("HTTP/1.1 413 "),
                "{answer}"
            );
        }
    });
    let announced = of_kind(&world.records(), "decision").len();
    world.within(96, "200 chunked bodies over the limit", || {
        let mut all: Vec<_> = (0..200)
            .map(|_| {
                start(
                    &world,
                    "/items",
                    "connection: close\r\ntransfer-encoding: chunked\r\n",
                )
            })
            .collect();
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
        // All of them grow at once, as far as they are taken: the room is less than that.
        for _ in 0..8 {
            for stream in &mut all {
                stream.set_nonblocking(true).unwrap();
                let _full = stream.write(chunk.as_bytes());
                stream.set_nonblocking(false).unwrap();
            }
        }
        drop(all);
        until("all decided", || {
            of_kind(&world.records(), "decision").len() == announced + 200
        });
    });
    assert_eq!(world.upstream.heads(), before, "none was forwarded");
    world.close();
}

#[test]
fn a_body_over_the_limit_has_its_reason() {
    let world = World::new("limits: { judged_body: 64KiB, judged_bodies: 1MiB }");
    let large = " ".repeat(70_000);
    let mut stream = start(
        &world,
        "/items",
        "connection: close\r\ntransfer-encoding: chunked\r\n",
    );
    let _closed = write!(stream, "{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    rest(&mut stream);
    let mut client = Client::open(&world);
    client.send(&request(1, "POST", "/items", false));
    for piece in large.as_bytes().chunks(16_384) {
        client.send(&frame(DATA, 0, 1, piece));
    }
    until("two refusals", || refusals(&world, "body_too_large") == 2);
    drop(client);
    world.close();
}

/// A gzip body of 10 kB that would be 10 MB, in numbers.
#[test]
fn bombs_are_decoded_no_further_than_the_limit() {
    let world = World::new("limits: { judged_body: 256KiB, judged_bodies: 4MiB }");
    let bomb = gzip(&format!(r#"{{"name":"ok{}"}}"#, " ".repeat(10 << 20)));
    assert!(bomb.len() < 20_000, "{}", bomb.len());
    let more = format!(
        "connection: close\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n",
        bomb.len()
    );
    world.within(48, "200 gzip bombs", || {
        let mut all: Vec<_> = (0..200).map(|_| start(&world, "/items", &more)).collect();
        for stream in &mut all {
            stream.write_all(&bomb).unwrap();
        }
        for stream in &mut all {
            let answer = rest(stream);
            let refused =
                answer.starts_with("HTTP/1.1 413 ") || answer.starts_with("HTTP/1.1 503 ");
            assert!(refused, "{answer}");
        }
    });
    world.close();
}

/// More bodies than there is room for wait, and are let in or refused; what is held is the room.
#[test]
fn bodies_at_the_limit_of_the_room_wait_their_turn() {
    let more = "limits: { judged_body: 512KiB, judged_bodies: 2MiB }\ntimeouts: { body: 4s }";
    let world = World::new(more);
    let body = format!(r#"{{"name":"ok","more":"{}"}}"#, "x".repeat(500 << 10));
    let more = format!("connection: close\r\ncontent-length: {}\r\n", body.len());
    // Each forwarded one keeps its room for as long as its response isn't through.
    let mut all = world.within(64, "100 bodies where there is room for 8", || {
        let mut all: Vec<_> = (0..100).map(|_| start(&world, "/held", &more)).collect();
        let writers: Vec<_> = all
            .iter_mut()
            .map(|stream| {
                let mut stream = stream.try_clone().unwrap();
                let body = body.clone();
                let write = move || drop(stream.write_all(body.as_bytes()));
                let small = std::thread::Builder::new().stack_size(64 * 1024);
                small.spawn(write).unwrap()
            })
            .collect();
        until("some forwarded, the others refused", || {
            refusals(&world, "judged_bodies")
                + refusals(&world, "body_incomplete")
                + world.upstream.heads()
                - 8
                == 100
        });
        for writer in writers {
            writer.join().unwrap();
        }
        all
    });
    let forwarded = world.upstream.heads() - 8;
    assert!((1..=8).contains(&forwarded), "{forwarded}");
    world.upstream.release();
    let answers: Vec<String> = all.iter_mut().map(rest).collect();
    let good = answers.iter().filter(|a| a.starts_with("HTTP/1.1 200 "));
    assert_eq!(good.count(), forwarded);
    // The room is back: as many again are let in.
    for _ in 0..4 {
        let mut stream = start(&world, "/items", &more);
        stream.write_all(body.as_bytes()).unwrap();
        assert!(rest(&mut stream).starts_with("HTTP/1.1 200 "));
    }
    world.close();
}

/// What HTTP/2 clients send before anybody asks for it.
#[test]
fn http2_bodies_that_wait_hold_a_window_and_no_more() {
    let more = "limits: { judged_body: 512KiB, judged_bodies: 512KiB }\ntimeouts: { body: 60s }";
    let world = World::new(more);
    world.within(96, "32 connections with 16 waiting bodies each", || {
        let mut held = Vec::new();
        for _ in 0..32 {
            let mut client = Client::open(&world);
            for n in 0..16 {
                client.send(&request(1 + 2 * n, "PUT", "/unread", false));
            }
            // As much as the connection's window takes.
            for n in 0..64 {
                client.send(&frame(DATA, 0, 1 + 2 * (n % 16), &[b' '; 16_000]));
            }
            held.push(client);
        }
        for client in &mut held {
            assert!(client.answers());
        }
    });
    world.close();
}

/// Two bodies that nobody judges, one larger than `limits.body` in one piece and one in many.
#[test]
fn streamed_bodies_end_at_their_limit_with_flat_memory() {
    let world = World::new("limits: { body: 4MiB }");
    world.within(32, "bodies over limits.body", || {
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
        let mut all: Vec<_> = (0..16)
            .map(|_| {
                let mut stream = world.connect();
                let more = "connection: close\r\ntransfer-encoding: chunked\r\n";
                let head = World::head("PUT /files/f", more);
                stream.write_all(head.as_bytes()).unwrap();
                stream
            })
            .collect();
        for stream in &mut all {
            while stream.write_all(chunk.as_bytes()).is_ok() {}
        }
        let mut client = Client::open(&world);
        client.send(&request(1, "PUT", "/files/f", false));
        let mut credit = 256 * 1024;
        loop {
            while credit < 16_000 {
                match client.take() {
                    Some(f) if f.kind == WINDOW_UPDATE && f.stream == 1 => {
                        credit += u32::from_be_bytes(f.payload[..4].try_into().unwrap());
                    }
                    Some(f) if f.stream == 1 => return,
                    Some(_) => {}
                    None => return,
                }
            }
            client.send(&frame(DATA, 0, 1, &[b'x'; 16_000]));
            credit -= 16_000;
        }
    });
    let records = world.close();
    let over = records.iter().filter(|r| r["end"] == "aborted");
    assert_eq!(over.count(), 17);
}

pub fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
