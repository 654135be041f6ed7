//! Connections in numbers.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::world::{PATIENCE, Setup, World, counted, until};

fn call(stream: &mut TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n")
        .ok()?;
    let mut read = Vec::new();
    let mut piece = [0; 1024];
    while !read.ends_with(b"\r\n\r\nok") {
        let came = stream.read(&mut piece).ok().filter(|came| *came > 0)?;
        read.extend_from_slice(&piece[..came]);
    }
    assert!(read.starts_with(b"HTTP/1.1 200 "));
    Some(())
}

/// Those over the limit end at once and are counted; those within it go on; and the places come back.
#[test]
fn connections_over_the_limit_end_and_the_others_go_on() {
    let world = World::new("limits: { connections: 50 }");
    for _ in 0..3 {
        let mut within: Vec<_> = (0..50).map(|_| world.connect()).collect();
        within.iter_mut().for_each(|stream| call(stream).unwrap());
        let mut over: Vec<_> = (0..200).map(|_| world.connect()).collect();
        assert!(over.iter_mut().all(|stream| call(stream).is_none()));
        within.iter_mut().for_each(|stream| call(stream).unwrap());
        drop(within);
        until("their ends", || {
            world.metric("portcullis_connections_open") == 0.0
        });
    }
    let records = world.close();
    assert_eq!(counted(&records, "connection"), 600);
}

/// A connection that is opened and closed leaves nothing, however it is closed.
#[test]
fn connections_that_come_and_go_leave_nothing() {
    let world = World::new("");
    world.within(24, "3,000 connections that come and go", || {
        for n in 0..3000 {
            let mut stream = world.connect();
            let piece: &[u8] = [&b""[..], b"G", b"GET /open HTTP/1.1\r\nhost: a\r\n\r\n"][n % 3];
            stream.write_all(piece).unwrap();
            if n % 2 == 0 {
                // Closed over unread bytes and with no linger: a reset.
                let socket = socket2::SockRef::from(&stream);
                socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
            }
        }
    });
    world.close();
}

#[test]
fn a_thousand_connections_cost_little_each() {
    many(1000, 64);
}

#[test]
#[ignore = "takes 10,000 descriptors on either side and some seconds"]
fn ten_thousand_connections_are_held_and_answered() {
    many(10_000, 640);
}

fn many(count: usize, megabytes: u64) {
    let setup = Setup {
        // An allocator keeps some of what ten thousand connections took.
        slack: megabytes / 2,
        ..Setup::default()
    };
    let world = setup.start();
    world.within(megabytes, &format!("{count} connections"), || {
        let mut all: Vec<_> = (0..count).map(|_| world.connect()).collect();
        all.iter_mut().for_each(|stream| call(stream).unwrap());
        assert_eq!(world.metric("portcullis_connections_open"), count as f64);
        all.iter_mut().for_each(|stream| call(stream).unwrap());
    });
    world.close();
}
