//! A clock that is set while the process runs, forwards and backwards, by libfaketime: the wall clock alone, as `date -s`
//! and NTP do it, while timers run on.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::keys::{Signer, jwks, ok, provider};
use crate::program::{Program, plain, until};
use crate::server::{Seen, serve};
use crate::world::{Answer, Setup, World, of_kind, seconds, token};

/// The program under a clock of this world's; `None` where there is no libfaketime.
fn under_own_clock(world: &World) -> Option<Command> {
    let places = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
    ];
    let found = places
        .iter()
        .map(|place| format!("{place}/faketime/libfaketimeMT.so.1"));
    let Some(library) = found.into_iter().find(|path| Path::new(path).exists()) else {
        eprintln!("passed over: there is no libfaketime here (Debian's package faketime)");
        return None;
    };
    set(world, 0);
    let mut command = plain();
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", world.file("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Some(command)
}

/// Sets its clock to so many seconds from the true one.
fn set(world: &World, offset: i64) {
    world.write("clock.new", &format!("{offset:+}"));
    std::fs::rename(world.file("clock.new"), world.file("clock")).unwrap();
}

fn reasons(answer: &Answer) -> (u16, String) {
    (answer.status, answer.reason())
}

const HOUR: i64 = 3600;

#[test]
fn a_clock_that_is_set_moves_tokens_windows_and_nothing_else() {
    let (from, until_) = (seconds() - 60, seconds() + 1800);
    let policies = format!(
        "  - {{ id: window, who: anonymous, do: \"GET /window\", when: {{ from: {}, until: {} }} }}\n",
        rfc3339(from),
        rfc3339(until_)
    );
    let world = World::of(&Setup {
        policies: &policies,
        ..Setup::default()
    });
    let Some(mut command) = under_own_clock(&world) else {
        return;
    };
    let program = world.start_as(&mut command);
    let own = token(-60, 1800);
    let check = |bearing: (u16, &str), window: (u16, &str)| {
        let (status, reason) = reasons(&world.bearing(&program, &own));
        assert_eq!((status, &*reason), bearing);
        let (status, reason) = reasons(&world.get(&program, "/window"));
        assert_eq!((status, &*reason), window);
    };
    let fine = ((200, ""), (200, ""));
    let late = ((401, "invalid_token"), (403, "outside_window"));
    check(fine.0, fine.1);
    for (offset, (bearing, window)) in [
        (HOUR, late),
        (0, fine),
        (-HOUR, late), // as much too early
        (0, fine),
        (24 * 365 * HOUR, late),
        (-24 * 365 * HOUR, late),
        (0, fine),
    ] {
        set(&world, offset);
        check(bearing, window);
    }
    // As fast as it goes, under load.
    let flag = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = crate::ends::Stop(&flag);
        let asked = scope.spawn(|| crate::ends::load(&world, program.address, 4, &flag));
        for turn in 0..100 {
            set(&world, [HOUR, -HOUR, 0, 1, -1][turn % 5]);
            program.signal("HUP");
        }
        drop(stop);
        for answer in asked.join().unwrap() {
            assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        }
    });
    set(&world, 0);
    check(fine.0, fine.1);
    let before = world.records().len();
    for offset in [0, -HOUR, 2 * HOUR, -2 * HOUR, 0] {
        set(&world, offset);
        world.get(&program, "/ok");
    }
    let records = world.holds(program);
    // One after the other asked: their ids are in that order, whatever the clock said; `at` is what it said.
    let after = &records[before..];
    let ids: Vec<&str> = of_kind(after, "decision")
        .iter()
        .map(|r| r["id"].as_str().unwrap())
        .collect();
    assert!(ids.len() >= 5);
    let first: Vec<&&str> = ids.iter().take(5).collect();
    assert!(first.is_sorted(), "{first:?}");
}

/// A stream under a window: when the clock is set past its end, no byte passes any more; when it is set back, the right
/// is no longer than it was.
#[test]
fn a_stream_ends_with_its_window_whatever_the_clock_was_set_to() {
    let seen = Seen::default();
    let odd = serve(&seen, |_, wire| {
        wire.head()?;
        wire.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
        loop {
            wire.write("6\r\ndata\n\n\r\n")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    for (what, offset, window, longest) in [
        ("past the end", HOUR, 1800, 5),
        ("back, before a near end", -HOUR, 6, 12),
    ] {
        let policies = format!(
            "  - {{ id: events, who: anonymous, do: \"GET /odd/events/x\", when: {{ until: {} }} }}\n",
            rfc3339(seconds() + window)
        );
        let mut world = World::of(&Setup {
            odd: Some(format!("http://{odd}")),
            policies: &policies,
            ..Setup::default()
        });
        world.seen = seen.clone();
        world.edit("policy.yaml", "/odd/{case...}", "/odd/{case}");
        let Some(mut command) = under_own_clock(&world) else {
            return;
        };
        let program = Program::start(&mut command, &world.file("portcullis.yaml"));
        let (_, head) = world.head("GET", "/odd/events/x", &[], None);
        let mut stream = world.connect(program.address).unwrap();
        stream.write_all(&head).unwrap();
        let mut piece = [0; 64];
        stream.read_exact(&mut piece).unwrap();
        set(&world, offset);
        let started = Instant::now();
        let mut rest = Vec::new();
        let _broken_off = stream.read_to_end(&mut rest);
        let took = started.elapsed();
        assert!(
            took < Duration::from_secs(longest),
            "{what}: it went on for {took:?}"
        );
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{what}: a clean end");
        until("an outcome", || {
            !of_kind(&world.records(), "outcome").is_empty()
        });
        let records = world.records();
        assert_eq!(of_kind(&records, "outcome")[0]["end"], "cut", "{what}");
        set(&world, 0);
        world.ends(program);
        seen.lock().unwrap().clear();
    }
}

/// Keys grow old by either clock, and a clock that jumped has them fetched anew.
#[test]
fn keys_grow_no_younger_by_a_clock_that_is_set_back() {
    let signer = Signer::new("k1");
    let away = Arc::new(AtomicBool::new(false));
    let at = serve(&Seen::default(), {
        let (away, set) = (away.clone(), jwks(&[&signer]));
        move |_, wire| {
            wire.head()?;
            match away.load(Ordering::Relaxed) {
                true => wire.reset(),
                false => wire.write(ok(&set)),
            }
        }
    });
    let fetched = |more| provider("issuer", &format!("http://{at}/"), more);
    let long = provider(
        "steady",
        &format!("http://{at}/"),
        ", refresh: 30m, max_stale: 1h",
    );
    let world = World::of(&Setup {
        providers: &(fetched(", refresh: 10s, max_stale: 10s") + &long),
        ..Setup::default()
    });
    let Some(mut command) = under_own_clock(&world) else {
        return;
    };
    let program = world.start_as(&mut command);
    // Tokens for the clock as it is set: what is asked is whether there are keys.
    let unavailable = |issuer: &str| {
        let answer = world.bearing(&program, &signer.token(issuer));
        answer.status == 503
    };
    assert!(!unavailable("issuer") && !unavailable("steady"));
    // Far ahead: stale at once, and fetched long before the half hour is over.
    set(&world, 2 * HOUR);
    assert!(unavailable("steady"));
    until("fetched anew", || !unavailable("steady"));
    // Back: the keys of an issuer that is away are good for ten seconds, not for the hours that the clock has gained.
    set(&world, 0);
    until("in time again", || !unavailable("issuer"));
    away.store(true, Ordering::Relaxed);
    set(&world, -24 * HOUR);
    until("too old", || unavailable("issuer"));
    away.store(false, Ordering::Relaxed);
    set(&world, 0);
    until("fetched again", || !unavailable("issuer"));
    world.holds(program);
}

fn rfc3339(second: i64) -> String {
    jiff::Timestamp::from_second(second).unwrap().to_string()
}
