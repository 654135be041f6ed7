//! Upstreams that refuse, hang, break off, lie and babble: each ends in one answer, one outcome, and at most one sending.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::program::PATIENCE;
use crate::server::{Seen, Wire, serve};
use crate::world::{Answer, Setup, World, outcome_of};

/// What the client gets: a whole answer of this status, or one that visibly breaks off after its head.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gets {
    Whole(u16),
    Broken(u16),
}
use Gets::{Broken, Whole};

/// A fault by name, what the client gets, and the end on record.
type Case = (&'static str, Gets, &'static str);

const CASES: &[Case] = &[
    ("fine", Whole(200), "complete"),
    // Hanging.
    ("hang-before-head", Whole(504), "upstream_failed"),
    ("hang-in-head", Whole(504), "upstream_failed"),
    ("hang-after-head", Broken(200), "upstream_failed"),
    ("hang-mid-body", Broken(200), "upstream_failed"),
    ("hang-mid-chunk", Broken(200), "upstream_failed"),
    ("trickle", Whole(200), "complete"),
    ("trickle-head", Whole(504), "upstream_failed"),
    // Breaking off.
    ("close-before-head", Whole(502), "upstream_failed"),
    ("reset-before-head", Whole(502), "upstream_failed"),
    ("close-in-head", Whole(502), "upstream_failed"),
    ("reset-mid-body", Broken(200), "upstream_failed"),
    ("reset-mid-chunks", Broken(200), "upstream_failed"),
    // Lengths that lie.
    ("short", Broken(200), "upstream_failed"),
    ("long", Whole(200), "complete"),
    ("two-responses", Whole(200), "complete"),
    ("two-lengths", Whole(502), "upstream_failed"),
    ("negative-length", Whole(502), "upstream_failed"),
    ("endless-length", Whole(502), "upstream_failed"),
    ("length-and-chunks", Whole(200), "complete"),
    ("until-close", Whole(200), "complete"),
    ("body-after-204", Whole(204), "complete"),
    // Chunks that are none.
    ("chunk-size", Broken(200), "upstream_failed"),
    ("chunk-overflow", Broken(200), "upstream_failed"),
    ("chunk-end", Broken(200), "upstream_failed"),
    ("chunks-without-end", Broken(200), "upstream_failed"),
    // Heads that are none.
    ("garbage", Whole(502), "upstream_failed"),
    ("tls-alert", Whole(502), "upstream_failed"),
    ("huge-header", Whole(502), "upstream_failed"),
    ("many-headers", Whole(502), "upstream_failed"),
    ("folded-header", Whole(502), "upstream_failed"),
    ("control-in-header", Whole(502), "upstream_failed"),
    ("version-0.9", Whole(502), "upstream_failed"),
    ("status-99", Whole(502), "upstream_failed"),
    // Statuses that nobody asked for.
    ("interim-few", Whole(200), "complete"),
    ("switching", Whole(502), "upstream_failed"),
];

/// Those that send as fast as they can.
const FLOODS: &[Case] = &[
    ("nothing-but-zeros", Whole(502), "upstream_failed"),
    ("endless-header", Whole(502), "upstream_failed"),
    ("interim-flood", Whole(504), "upstream_failed"),
    ("endless-chunks", Broken(200), "client_gone"),
];

fn script(_: usize, wire: &mut Wire) -> io::Result<()> {
    while let Some(head) = wire.head()? {
        wire.body(&head)?;
        match head.target().trim_start_matches("/odd/") {
            "fine" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine")?;
                continue;
            }
            "hang-before-head" => wire.hang()?,
            "hang-in-head" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-len")?;
                wire.hang()?;
            }
            "hang-after-head" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")?;
                wire.hang()?;
            }
            "hang-mid-body" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfi")?;
                wire.hang()?;
            }
            "hang-mid-chunk" => {
                wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfi")?;
                wire.hang()?;
            }
            "trickle" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")?;
                for byte in b"dripping" {
                    std::thread::sleep(Duration::from_millis(200));
                    wire.write([*byte])?;
                }
                continue;
            }
            "trickle-head" => {
                for byte in b"HTTP/1.1 200 OK\r\nx: a value of many letters" {
                    std::thread::sleep(Duration::from_millis(100));
                    wire.write([*byte])?;
                }
                wire.hang()?;
            }
            "close-before-head" => {}
            "reset-before-head" => wire.reset()?,
            "close-in-head" => wire.write("HTTP/1.1 200 OK\r\ncontent-le")?,
            "reset-mid-body" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nfi")?;
                // The reset would overtake what was not yet read.
                std::thread::sleep(Duration::from_millis(100));
                wire.reset()?;
            }
            "reset-mid-chunks" => {
                wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nfi\r\n")?;
                std::thread::sleep(Duration::from_millis(100));
                wire.reset()?;
            }
            "short" => wire.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nfine")?,
            "long" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine, and more")?;
                wire.hang()?;
            }
            "two-responses" => {
                let one = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
                let two = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen";
                wire.write(format!("{one}{two}"))?;
                wire.hang()?;
            }
            "two-lengths" => {
                wire.write(
                    "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfine",
                )?;
                wire.hang()?;
            }
            "negative-length" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\nfine")?;
            }
            "endless-length" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nfine")?;
            }
            "length-and-chunks" => {
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n")?;
                wire.hang()?;
            }
            "until-close" => wire.write("HTTP/1.1 200 OK\r\n\r\nfine")?,
            "body-after-204" => {
                wire.write("HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\nstolen")?;
                wire.hang()?;
            }
            "chunk-size" => chunked(wire, "x\r\nfine\r\n0\r\n\r\n")?,
            "chunk-overflow" => chunked(wire, "fffffffffffffffff\r\nfine")?,
            "chunk-end" => chunked(wire, "4\r\nfineX0\r\n\r\n")?,
            "chunks-without-end" => {
                wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n")?;
            }
            "garbage" => {
                wire.write("\u{1}\u{2}\u{3} what is this\r\n\r\n")?;
                wire.hang()?;
            }
            "nothing-but-zeros" => while wire.write([0; 4096]).is_ok() {},
            "tls-alert" => {
                wire.write([21, 3, 3, 0, 2, 2, 40])?;
                wire.hang()?;
            }
            "huge-header" => {
                let value = "v".repeat(1 << 20);
                wire.write(format!(
                    "HTTP/1.1 200 OK\r\nx: {value}\r\ncontent-length: 0\r\n\r\n"
                ))?;
                wire.hang()?;
            }
            "many-headers" => {
                let fields: String = (0..5000).map(|n| format!("x{n}: y\r\n")).collect();
                wire.write(format!(
                    "HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n"
                ))?;
                wire.hang()?;
            }
            "endless-header" => {
                wire.write("HTTP/1.1 200 OK\r\nx: ")?;
                while wire.write([b'v'; 4096]).is_ok() {}
            }
            "folded-header" => {
                wire.write("HTTP/1.1 200 OK\r\nx: y\r\n content-length: 9\r\ncontent-length: 4\r\n\r\nfine")?;
                wire.hang()?;
            }
            "control-in-header" => {
                wire.write("HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 4\r\n\r\nfine")?;
                wire.hang()?;
            }
            "version-0.9" => {
                wire.write("HTTP/0.9 200 OK\r\ncontent-length: 4\r\n\r\nfine")?;
                wire.hang()?;
            }
            "status-99" => {
                wire.write("HTTP/1.1 99 OK\r\ncontent-length: 4\r\n\r\nfine")?;
                wire.hang()?;
            }
            "interim-few" => {
                for _ in 0..50 {
                    wire.write("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")?;
                }
                wire.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine")?;
                continue;
            }
            "interim-flood" => {
                let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
                while wire.write(&many).is_ok() {}
            }
            "endless-chunks" => {
                wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
                let many = "1\r\nx\r\n".repeat(1000);
                while wire.write(&many).is_ok() {}
            }
            "switching" => {
                wire.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")?;
                wire.hang()?;
            }
            other => panic!("{other}"),
        }
        return Ok(());
    }
    Ok(())
}

fn chunked(wire: &mut Wire, body: &str) -> io::Result<()> {
    wire.write(format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}"
    ))?;
    wire.hang()
}

fn got(answer: &Answer) -> Gets {
    if answer.whole {
        Whole(answer.status)
    } else {
        Broken(answer.status)
    }
}

/// Each fault, for a GET and a POST, all at once: what they do they do to themselves only.
#[test]
fn an_upstream_that_misbehaves_harms_nobody_else() {
    let world = World::of(&Setup::default());
    let odd = serve(&world.seen, script);
    world.edit(
        "portcullis.yaml",
        &format!("odd: {{ addresses: \"http://{}\"", world.api),
        &format!("odd: {{ addresses: \"http://{odd}\""),
    );
    let program = world.start();
    let asked: Vec<(&Case, Answer)> = std::thread::scope(|scope| {
        let ask = |case: &'static Case, method: &'static str| {
            let (world, program) = (&world, &program);
            scope.spawn(move || {
                let path = format!("/odd/{}", case.0);
                let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
                (case, world.ask(program, method, &path, &[], body))
            })
        };
        let all: Vec<_> = CASES
            .iter()
            .flat_map(|case| [ask(case, "GET"), ask(case, "POST")])
            .collect();
        all.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let mut wrong = Vec::new();
    for ((case, gets, _), answer) in &asked {
        // What broke at once may have taken the head with it.
        let gone = matches!(gets, Broken(_)) && got(answer) == Broken(0);
        if got(answer) != *gets && !gone {
            wrong.push(format!("{case}: {:?} {}", got(answer), answer.head));
        }
        let body = String::from_utf8_lossy(&answer.body);
        if body.contains("stolen") || body.contains("more") {
            wrong.push(format!("{case}: {body}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What the broken ones left on their connections is nobody's answer.
    for _ in 0..20 {
        let answer = world.get(&program, "/odd/fine");
        assert_eq!((got(&answer), &*answer.body), (Whole(200), &b"fine"[..]));
    }
    let records = world.holds(program);
    for ((case, gets, end), answer) in &asked {
        let outcome = outcome_of(&records, &answer.trace);
        let (Whole(status) | Broken(status)) = gets;
        assert_eq!(
            (&outcome["end"], &outcome["status"]),
            (&(*end).into(), &(*status).into()),
            "{case}: {outcome}"
        );
        assert_eq!(world.reached(&answer.trace), 1, "{case}");
    }
}

/// Floods end at their bounds, and meanwhile others are served.
#[test]
fn an_upstream_that_floods_starves_nobody() {
    let seen = Seen::default();
    let odd = serve(&seen, script);
    let world = World::of(&Setup {
        odd: Some(format!("http://{odd}")),
        ..Setup::default()
    });
    let program = world.start();
    for (case, gets, end) in FLOODS {
        let (answer, longest) = std::thread::scope(|scope| {
            let path = format!("/odd/{case}");
            let flood = scope.spawn({
                let (world, program) = (&world, &program);
                move || {
                    if *case != "endless-chunks" {
                        return world.get(program, &path);
                    }
                    // A body has no end of its own: the client reads a part of it and goes.
                    let (trace, head) = world.head("GET", &path, &[], None);
                    let mut stream = world.connect(program.address).unwrap();
                    stream.write_all(&head).unwrap();
                    let mut part = vec![0; 1 << 20];
                    stream.read_exact(&mut part).unwrap();
                    Answer::parse(&part, trace)
                }
            });
            let mut longest = Duration::ZERO;
            while !flood.is_finished() {
                let started = Instant::now();
                assert_eq!(world.get(&program, "/ok").status, 200);
                longest = longest.max(started.elapsed());
            }
            (flood.join().unwrap(), longest)
        });
        eprintln!("{case}: others waited for at most {longest:?}");
        assert_eq!(got(&answer), *gets, "{case}: {answer:?}");
        // No budget, but what tells a busy worker from one that is held.
        assert!(longest < Duration::from_secs(10), "{case}: {longest:?}");
        let ended = || {
            let records = world.records();
            let end_of = |r: &serde_json::Value| r["kind"] == "outcome" && r["end"] == *end;
            records.iter().any(end_of)
        };
        crate::program::until("an outcome", ended);
    }
    let records = world.holds(program);
    assert_eq!(
        records.iter().filter(|r| r["end"] == "client_gone").count(),
        1
    );
}

/// Line ends that are LF alone: the answer may be taken or refused, but it goes on in our own framing.
#[test]
fn bare_line_feeds_do_not_pass() {
    let seen = Seen::default();
    let odd = serve(&seen, |_, wire| {
        while let Some(head) = wire.head()? {
            wire.body(&head)?;
            wire.write("HTTP/1.1 200 OK\nx-one: 1\ncontent-length: 4\n\nfine")?;
        }
        Ok(())
    });
    let world = World::of(&Setup {
        odd: Some(format!("http://{odd}")),
        ..Setup::default()
    });
    let program = world.start();
    for _ in 0..3 {
        let answer = world.get(&program, "/odd/x");
        assert!(matches!(answer.status, 200 | 502), "{answer:?}");
        assert!(answer.whole, "{answer:?}");
        assert!(!answer.head.replace("\r\n", "").contains(['\r', '\n']));
    }
    world.holds(program);
}

/// Nobody there, somebody who never accepts, and TLS that never comes about.
#[test]
fn an_upstream_that_is_not_there_is_told_as_such() {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = format!("http://{}", refusing.local_addr().unwrap());
    drop(refusing);
    // A full backlog: the system drops what comes after it.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(
        &"127.0.0.1:0"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
    )
    .unwrap();
    full.listen(0).unwrap();
    let at = full.local_addr().unwrap().as_socket().unwrap();
    let _crowd: Vec<_> = (0..4)
        .map(|_| std::net::TcpStream::connect_timeout(&at, Duration::from_millis(300)))
        .collect();
    let silent = serve(&Seen::default(), |_, wire| wire.hang());
    let babbling = serve(&Seen::default(), |_, wire| {
        wire.write("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")?;
        wire.hang()
    });
    for (what, address, more, status) in [
        ("refused", refused, "", 502),
        ("never accepted", format!("http://{at}"), "", 504),
        (
            "a silent handshake",
            format!("https://{silent}"),
            ", tls: { ca: ca.pem }",
            504,
        ),
        (
            "no TLS at all",
            format!("https://{babbling}"),
            ", tls: { ca: ca.pem }",
            502,
        ),
        (
            "silence for HTTP/2",
            format!("http://{silent}"),
            ", protocol: http2",
            504,
        ),
        (
            "HTTP/1.1 for HTTP/2",
            format!("http://{babbling}"),
            ", protocol: http2",
            502,
        ),
    ] {
        let authority = crate::files::Authority::new();
        let world = World::of(&Setup {
            odd: Some(address),
            odd_more: more,
            files: &[("ca.pem", authority.pem())],
            ..Setup::default()
        });
        let program = world.start();
        for _ in 0..2 {
            let answer = world.post(&program, "/odd/x", b"{}");
            assert_eq!(got(&answer), Whole(status), "{what}: {answer:?}");
        }
        let records = world.holds(program);
        let failed = records.iter().filter(|r| r["end"] == "upstream_failed");
        assert_eq!(failed.count(), 2, "{what}");
    }
}

/// It answers a large upload at once and reads no more: the client has its answer, nothing waits for ever, and the
/// connection is not used again.
#[test]
fn an_answer_before_the_request_ended_is_the_answer() {
    let seen = Seen::default();
    let odd = serve(&seen, |_, wire| {
        if wire.head()?.is_some() {
            wire.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nfull")?;
            // Reads nothing, and keeps it open.
            std::thread::sleep(Duration::from_secs(20));
        }
        Ok(())
    });
    let world = World::of(&Setup {
        odd: Some(format!("http://{odd}")),
        ..Setup::default()
    });
    let program = world.start();
    let body = vec![b'x'; 32 << 20];
    for _ in 0..3 {
        let started = Instant::now();
        let answer = world.post(&program, "/odd/upload", &body);
        // Who is still sending may lose the answer to a reset of its connection; then nothing came.
        assert!(
            matches!(got(&answer), Whole(413) | Broken(0 | 413)),
            "{answer:?}"
        );
        assert!(started.elapsed() < PATIENCE);
    }
    let records = world.holds(program);
    let answered = records.iter().filter(|r| r["status"] == 413).count();
    assert_eq!(answered, 3, "on record as answered");
    let all = seen.lock().unwrap();
    assert_eq!(all.len(), 3, "each on a connection of its own: {all:?}");
}

/// An upstream that closes its idle connections just as requests go out. Nothing that may have been seen is sent twice,
/// and what was answered was seen once.
#[test]
fn a_connection_closed_under_a_request_sends_nothing_twice() {
    static SWALLOWED: AtomicUsize = AtomicUsize::new(0);
    let seen = Seen::default();
    let odd = serve(&seen, |number, wire| {
        let Some(head) = wire.head()? else {
            return Ok(());
        };
        wire.body(&head)?;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine")?;
        match number % 4 {
            // At once, in order.
            0 => Ok(()),
            // At some moment around the next request.
            1 => {
                std::thread::sleep(Duration::from_micros(number as u64 * 37 % 3000));
                wire.reset()
            }
            // In the next request: it was seen, and is not answered.
            2 => {
                if wire.head()?.is_some() {
                    SWALLOWED.fetch_add(1, Ordering::Relaxed);
                }
                wire.reset()
            }
            // In the middle of its bytes.
            _ => {
                let mut some = [0; 20];
                let _read = wire.stream.read(&mut some)?;
                wire.stream.flush()
            }
        }
    });
    let world = World::of(&Setup {
        odd: Some(format!("http://{odd}")),
        ..Setup::default()
    });
    let program = world.start();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let load = |method: &'static str, body: &'static [u8]| {
            let (world, program) = (&world, &program);
            scope.spawn(move || -> Vec<Answer> {
                let ask = |_| world.ask(program, method, "/odd/x", &[], body);
                (0..100).map(ask).collect()
            })
        };
        let all = [load("POST", b"{}"), load("GET", b""), load("POST", b"{}")];
        all.into_iter()
            .flat_map(|asked| asked.join().unwrap())
            .collect()
    });
    assert!(
        SWALLOWED.load(Ordering::Relaxed) > 0,
        "the fault never happened"
    );
    let mut answered = 0;
    for answer in &answers {
        assert!(matches!(got(answer), Whole(200 | 502)), "{answer:?}");
        let here = seen
            .lock()
            .unwrap()
            .iter()
            .filter(|(t, _)| *t == answer.trace)
            .count();
        assert!(here <= 1, "sent {here} times");
        if answer.status == 200 {
            answered += 1;
            assert_eq!(here, 1);
        }
    }
    assert!(answered > 100, "{answered}");
    world.holds(program);
}
