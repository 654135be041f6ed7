//! Frames and requests that cost the client nothing, in numbers.

use std::io::{Read, Write};
use std::time::Duration;

use crate::frames::{
    Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, MAX_CONCURRENT, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, head, request,
};
use crate::world::{PATIENCE, World, counted, of_kind, until};

const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn decisions(world: &World) -> usize {
    of_kind(&world.records(), "decision").len()
}

/// CVE-2023-44487: a request and its end in one breath, as often as it is taken.
#[test]
fn rapid_resets_end_the_connection() {
    let world = World::new("");
    let before = decisions(&world);
    let mut client = Client::connect(&world, &[]);
    world.within(48, "rapid resets", || {
        for n in (1u32..40_000).step_by(2) {
            let pair = [
                request(n, "GET", "/held", true),
                frame(RST_STREAM, 0, n, &CANCEL),
            ];
            if !client.send(&pair.concat()) {
                break;
            }
        }
        let code = client.end();
        println!("ended with {code:?}");
        assert!(code.is_none_or(|code| code == 11), "{code:?}");
    });
    let decided = decisions(&world) - before;
    assert!(decided < 500, "{decided} of 20,000 decided");
    world.close();
}

/// The same, but each waits until its request was forwarded: as many as the client likes, one after the other, but
/// nothing of them stays.
#[test]
fn slow_resets_leave_nothing_behind() {
    let world = World::new("");
    let before = world.upstream.heads();
    let mut client = Client::connect(&world, &[]);
    world.within(48, "resets of forwarded requests", || {
        for n in 0..300 {
            let id = 1 + 2 * n as u32;
            client.send(&request(id, "GET", "/held", true));
            until("it was forwarded", || world.upstream.heads() > before + n);
            client.send(&frame(RST_STREAM, 0, id, &CANCEL));
        }
        until("all outcomes", || {
            of_kind(&world.records(), "outcome").len() >= 8 + 300
        });
    });
    assert!(client.answers());
    drop(client);
    let records = world.close();
    let gone = records.iter().filter(|r| r["end"] == "client_gone");
    assert_eq!(gone.count(), 300);
}

/// CVE-2025-8671: the client makes the server reset, which frees the stream's place just the same.
#[test]
fn resets_that_the_client_provokes_end_the_connection() {
    type Provoke = fn(u32) -> Vec<u8>;
    let ways: [(&str, Provoke); 4] = [
        ("a window update of nothing", |n| {
            let ask = request(n, "GET", "/held", true);
            [ask, frame(WINDOW_UPDATE, 0, n, &[0; 4])].concat()
        }),
        ("a window that overflows", |n| {
            let ask = request(n, "GET", "/held", true);
            [
                ask,
                frame(WINDOW_UPDATE, 0, n, &0x7fff_ffffu32.to_be_bytes()),
            ]
            .concat()
        }),
        ("data beyond its length", |n| {
            let mut block = head("PUT", "/files/f");
            block.extend(field("content-length", "1"));
            let ask = frame(HEADERS, END_HEADERS, n, &block);
            [ask, frame(DATA, 0, n, b"more than that")].concat()
        }),
        ("a stream that depends on itself", |n| {
            let ask = request(n, "GET", "/held", true);
            let own = [&n.to_be_bytes()[..], &[7]].concat();
            [ask, frame(PRIORITY, 0, n, &own)].concat()
        }),
    ];
    for (way, provoke) in ways {
        let world = World::new("");
        let mut client = Client::connect(&world, &[]);
        world.within(48, way, || {
            let mut sent = 0;
            for n in (1u32..20_000).step_by(2) {
                if !client.send(&provoke(n)) {
                    break;
                }
                sent += 1;
            }
            let code = client.end();
            println!(
                "{way}: {sent} sent, ended with {code:?}, {} forwarded",
                world.upstream.heads() - 8
            );
        });
        // Each that was decided was refused a place or counted: never thousands.
        assert!(
            world.upstream.heads() < 8 + 600,
            "{way}: {}",
            world.upstream.heads()
        );
        world.close();
    }
}

/// Frames that ask for nothing, in numbers: no memory grows, and the process serves others.
#[test]
fn frames_that_ask_for_nothing_cost_no_memory() {
    let world = World::new("");
    let one = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let floods: [(&str, Vec<u8>); 7] = [
        ("SETTINGS", frame(SETTINGS, 0, 0, &one(MAX_CONCURRENT, 100))),
        ("SETTINGS of nothing", frame(SETTINGS, 0, 0, b"")),
        ("PING", frame(PING, 0, 0, b"12345678")),
        ("PRIORITY", frame(PRIORITY, 0, 99, &[0, 0, 0, 0, 7])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("an unknown kind", frame(0xbe, 0, 0, b"whatever")),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 8])),
    ];
    for (name, piece) in floods {
        world.within(24, name, || {
            let mut client = Client::connect(&world, &[]);
            // Nothing of what comes back is read: what is answered must not pile up.
            let wait = Duration::from_millis(500);
            client.stream.set_write_timeout(Some(wait)).unwrap();
            let batch = piece.repeat(500);
            for _ in 0..200 {
                if !client.send(&batch) {
                    break;
                }
            }
            world.serves();
        });
    }
    world.close();
}

/// Data frames on streams that nobody reads: empty ones take no window, and those of one byte little.
#[test]
fn data_frames_of_little_or_nothing_cost_no_memory() {
    let world = World::new("");
    for (name, payload, flags) in [
        ("empty DATA", &b""[..], 0),
        ("DATA of one byte", b"x", 0),
        ("DATA of padding", &[200; 201], 8),
    ] {
        for path in ["/unread", "/files/f", "/nowhere"] {
            world.within(64, &format!("{name} to {path}"), || {
                let mut client = Client::connect(&world, &[]);
                let wait = Duration::from_millis(500);
                client.stream.set_write_timeout(Some(wait)).unwrap();
                let ids: Vec<u32> = (0..16).map(|n| 1 + 2 * n).collect();
                for id in &ids {
                    client.send(&request(*id, "PUT", path, false));
                }
                let round: Vec<u8> = ids
                    .iter()
                    .flat_map(|id| frame(DATA, flags, *id, payload))
                    .collect();
                let batch = round.repeat(100);
                for _ in 0..150 {
                    if !client.send(&batch) {
                        break;
                    }
                }
                world.serves();
            });
        }
    }
    world.close();
}

#[test]
fn ten_thousand_requests_in_one_breath() {
    let world = World::new("timeouts: { idle: 500ms, keep_alive: 2s }");
    let before = decisions(&world);
    let all = "GET /open HTTP/1.1\r\nhost: a\r\n\r\n".repeat(10_000);
    // No answer is read. Whoever takes none loses the connection.
    let mut stream = world.connect();
    world.within(32, "10,000 pipelined requests, unread", || {
        let wait = Duration::from_secs(1);
        stream.set_write_timeout(Some(wait)).unwrap();
        while stream.write_all(all.as_bytes()).is_ok() {}
        until("its end", || {
            world.metric("portcullis_connections_open") == 0.0
        });
    });
    println!(
        "{} decided while no answer was read",
        decisions(&world) - before
    );
    drop(stream);
    // Read, each gets its answer.
    let mut stream = world.connect();
    let mut reader = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || stream.write_all(all.as_bytes()));
    let mut answers = 0;
    let mut piece = vec![0; 1 << 16];
    let mut tail = Vec::new();
    while answers < 10_000 {
        reader.set_read_timeout(Some(PATIENCE)).unwrap();
        let came = reader.read(&mut piece).unwrap();
        assert!(came > 0, "after {answers}");
        tail.extend_from_slice(&piece[..came]);
        let found: Vec<usize> = memchr::memmem::find_iter(&tail, b"HTTP/1.1 200").collect();
        answers += found.len();
        tail.drain(..found.last().map_or(0, |at| at + 12));
    }
    sender.join().unwrap().unwrap();
    drop(reader);
    world.close();
}

/// More streams than are admitted: those beyond are refused, without a record, and the others go on.
#[test]
fn streams_beyond_the_limit_are_refused() {
    let world = World::new("limits: { streams: 32 }");
    let mut client = Client::connect(&world, &[]);
    let before = world.upstream.heads();
    for n in 0..200 {
        client.send(&request(1 + 2 * n, "GET", "/held", true));
    }
    let mut refused = 0;
    while refused < 168 {
        let found = client.wait(RST_STREAM).expect("the connection stays");
        assert_eq!(found.payload, [0, 0, 0, 7], "REFUSED_STREAM: {found:?}");
        refused += 1;
    }
    until("32 forwarded", || world.upstream.heads() == before + 32);
    world.upstream.release();
    let mut answered = 0;
    while answered < 32 {
        let found = client.take().expect("the connection stays");
        answered += usize::from(found.kind == DATA && found.flags & END_STREAM != 0);
    }
    drop(client);
    world.close();
}

/// Who isn't known is counted; who is known is on record, flood or not.
#[test]
fn a_flood_of_strangers_fills_no_record_and_displaces_none() {
    let setup = crate::world::Setup {
        audit: ", refusals_per_second: 5",
        ..crate::world::Setup::default()
    };
    let world = setup.start();
    let stranger = "GET /items/1 HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    let bad = "GET /a//b HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    let known = World::head("GET /items/secret", "");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let address = world.address;
            let last = "GET /open HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            let text = format!("{stranger}{known}{bad}{known}{last}");
            std::thread::spawn(move || {
                for _ in 0..5 {
                    let mut stream = crate::world::connect(address);
                    stream.write_all(text.as_bytes()).unwrap();
                    let answer = crate::world::rest(&mut stream);
                    assert_eq!(answer.matches("HTTP/1.1 ").count(), 203);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // And what is no HTTP at all.
    for _ in 0..100 {
        world.raw("hello\r\n\r\n");
    }
    let records = world.close();
    let denied = |reason: &str| {
        let of = |d: &&serde_json::Value| d["reason"] == reason;
        records.iter().filter(of).count() as u64
    };
    assert_eq!(denied("no_policy"), 4 * 5 * 2, "each that is known");
    let strangers = denied("no_credentials") + counted(&records, "no_credentials");
    assert_eq!(strangers, 2000, "recorded or counted");
    let ambiguous = denied("ambiguous_request") + counted(&records, "ambiguous_request");
    assert_eq!(ambiguous, 2000);
    assert!(denied("no_credentials") + denied("ambiguous_request") < 400);
    assert_eq!(counted(&records, "parser"), 100);
}
