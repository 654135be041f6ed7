//! Clients that ask for much and take nothing of it.

use std::io::Write;
use std::time::Duration;

use crate::frames::{
    Client, END_HEADERS, END_STREAM, HEADERS, SETTINGS, WINDOW, WINDOW_UPDATE, bare, frame, request,
};
use crate::world::{Setup, World, drip, of_kind, until};

const SHORT: &str = "timeouts: { idle: 400ms, keep_alive: 400ms }";

fn ends(world: &World, end: &str) -> usize {
    let records = world.records();
    let outcomes = of_kind(&records, "outcome");
    outcomes.iter().filter(|o| o["end"] == end).count()
}

#[test]
fn a_reader_that_takes_nothing_loses_the_connection() {
    let world = World::new(SHORT);
    let mut held = Vec::new();
    world.within(64, "32 responses over HTTP/1 that nobody reads", || {
        for _ in 0..32 {
            let mut stream = world.connect();
            stream
                .write_all(World::head("GET /large/64", "").as_bytes())
                .unwrap();
            held.push(stream);
        }
        until("all outcomes", || ends(&world, "client_gone") == 32);
    });
    until("their ends", || {
        world.metric("portcullis_connections_open") == 0.0
    });
    world.close();
}

/// The window is open and the socket is full. A stream holds at most what waits to be sent (two pieces of 64 KiB), the
/// piece after that, and what was read ahead of the upstream.
#[test]
fn http2_readers_that_read_nothing_hold_little() {
    let world = World::new("timeouts: { idle: 3s, keep_alive: 3s }");
    let mut held = Vec::new();
    let count = world.within(352, "1,024 responses over HTTP/2 that nobody reads", || {
        for _ in 0..8 {
            let mut client = Client::connect(&world, &[(WINDOW, 0x7fff_ffff)]);
            client.send(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000u32.to_be_bytes()));
            for n in 0..128 {
                client.send(&request(1 + 2 * n, "GET", "/large/64", true));
            }
            held.push(client);
        }
        until("all outcomes", || ends(&world, "client_gone") == 1024);
        1024
    });
    drop(held);
    let records = world.close();
    let gone = of_kind(&records, "outcome")
        .iter()
        .filter(|o| o["end"] == "client_gone")
        .count();
    assert_eq!(gone, count);
}

/// hyper doesn't ask a body that it can't send for its end.
#[test]
fn a_window_that_never_opens_holds_nothing() {
    let world = World::new(SHORT);
    let mut client = Client::connect(&world, &[(WINDOW, 0)]);
    for n in 0..16 {
        client.send(&request(1 + 2 * n, "GET", "/large/64", true));
    }
    // It answers pings all the while.
    client.end();
    until("all outcomes", || ends(&world, "client_gone") == 16);
    // A response of one piece is told as complete once it is handed over; the connection ends nevertheless.
    let mut client = Client::connect(&world, &[(WINDOW, 0)]);
    client.send(&request(1, "GET", "/items/1", true));
    client.end();
    // An answer of our own, likewise.
    let mut client = Client::connect(&world, &[(WINDOW, 0)]);
    let head = bare("GET", "/nowhere");
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    client.end();
    world.close();
}

#[test]
fn a_window_that_never_opens_holds_nothing_beside_a_stream_that_flows() {
    let world = World::new("timeouts: { idle: 400ms, keep_alive: 60s }");
    let mut client = Client::connect(&world, &[(WINDOW, 0)]);
    for n in 0..16 {
        client.send(&request(1 + 2 * n, "GET", "/large/64", true));
    }
    let mut stream = 33;
    until("all outcomes", || {
        // A stream with a window of its own: the connection is never without activity.
        let ask = request(stream, "GET", "/items/1", true);
        client.send(&ask);
        client.send(&frame(WINDOW_UPDATE, 0, stream, &100u32.to_be_bytes()));
        stream += 2;
        ends(&world, "client_gone") == 16
    });
    assert!(client.answers());
    drop(client);
    world.close();
}

#[test]
fn a_window_that_opens_byte_by_byte_holds_nothing() {
    let world = World::new(SHORT);
    let mut client = Client::connect(&world, &[(WINDOW, 0)]);
    client.send(&request(1, "GET", "/large/64", true));
    let byte = frame(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes());
    drip(&mut client.stream, Duration::from_millis(50), |_| {
        byte.clone()
    });
    until("an outcome", || ends(&world, "client_gone") == 1);
    world.close();
}

/// The end of the right and the route's patience count while the client takes nothing.
#[test]
fn a_window_that_never_opens_outlives_no_deadline() {
    let setup = Setup {
        route: ", request_timeout: 500ms",
        more: "timeouts: { idle: 1s, keep_alive: 1s }",
        ..Setup::default()
    };
    let world = setup.start();
    let mut client = Client::connect(&world, &[(WINDOW, 0)]);
    client.send(&request(1, "GET", "/large/64", true));
    client.end();
    until("an outcome", || {
        of_kind(&world.records(), "outcome").len() == 9
    });
    world.close();
}

#[test]
fn settings_that_shrink_a_window_hold_nothing() {
    let world = World::new(SHORT);
    let mut client = Client::connect(&world, &[(WINDOW, 65_535)]);
    client.send(&request(1, "GET", "/large/64", true));
    let mut shrink = WINDOW.to_be_bytes().to_vec();
    shrink.extend(0u32.to_be_bytes());
    client.send(&frame(SETTINGS, 0, 0, &shrink));
    client.end();
    until("an outcome", || ends(&world, "client_gone") == 1);
    world.close();
}
