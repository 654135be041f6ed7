//! Signals and ends: SIGTERM and SIGKILL at random moments, storms of SIGHUP, standard streams that are gone.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::program::{BINARY, Program, plain, signal, spawn, until};
use crate::world::{Answer, Setup, World, of_kind, seconds};

/// Clients that ask until nobody listens or they are stopped; their answers.
pub fn load(world: &World, address: SocketAddr, clients: usize, stop: &AtomicBool) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let client = |number: usize| {
            move || {
                let mut answers = Vec::new();
                for turn in 0_usize.. {
                    let body = br#"{"name":"ok"}"#;
                    let asked = match (number + turn) % 4 {
                        0 => world.try_ask(address, "GET", "/ok", &[], b""),
                        1 => world.try_ask(address, "GET", "/ok?ms=20", &[], b""),
                        2 => world.try_ask(address, "POST", "/judged", &[JSON], body),
                        _ => world.try_ask(address, "GET", "/refused", &[], b""),
                    };
                    let Some(answer) = asked else {
                        break;
                    };
                    answers.push(answer);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                answers
            }
        };
        let all: Vec<_> = (0..clients).map(|n| scope.spawn(client(n))).collect();
        all.into_iter().flat_map(|c| c.join().unwrap()).collect()
    })
}

/// Stops a load when it is dropped: also where a test fails, or its scope would wait for the load for ever.
pub struct Stop<'f>(pub &'f AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Moments, the same for the same seed: `FAULTS_SEED`, else the clock's, which is printed.
pub struct Moments(u64);

impl Moments {
    pub fn new(what: &str) -> Moments {
        let given = std::env::var("FAULTS_SEED").ok();
        let seed = given.map_or(seconds() as u64, |seed| seed.parse().unwrap());
        eprintln!("{what}: FAULTS_SEED={seed}");
        Moments(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

fn under_load(world: &World, program: &Program, moment: u64, name: &str) -> Vec<Answer> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| load(world, program.address, 6, &stop));
        std::thread::sleep(Duration::from_millis(moment));
        program.signal(name);
        asked.join().unwrap()
    })
}

#[test]
fn a_kill_at_any_moment_leaves_records_that_the_next_start_completes() {
    for durability in ["written", "strict"] {
        kills(5, durability, 250);
    }
}

#[test]
#[ignore = "takes minutes; tests/endurance/run faults runs it"]
fn a_thousand_kills() {
    for durability in ["written", "strict"] {
        kills(1000, durability, 100);
    }
}

/// The process is killed at a moment below so many milliseconds, again and again, over one log that is rotated and signed.
fn kills(rounds: usize, durability: &str, below: u64) {
    let log = "rotate_at: 1MiB, keep: all, checkpoints: { key: audit.key, every: 100ms }";
    let world = World::of(&Setup {
        audit: &format!(", durability: {durability}, {log}"),
        ..Setup::default()
    });
    world.make_key();
    let mut moments = Moments::new("kill");
    let mut answered = 0;
    for round in 0..rounds {
        let program = world.start();
        if round > 0 {
            // what the last kill left was mended; the whole log is looked at in the end
            world.verified(2);
        }
        let answers = under_load(&world, &program, moments.below(below), "KILL");
        assert!(!program.ended().success());
        for answer in &answers {
            if answer.status == 0 {
                world.forgive(answer);
            } else {
                answered += 1;
            }
        }
    }
    assert!(answered > rounds, "{answered}");
    let program = world.start();
    let records = world.holds(program);
    let signed = world.verified(usize::MAX).signed.unwrap();
    assert_eq!((signed.after, signed.disagree), (0, 0), "{signed:?}");
    let of = |end: &str| records.iter().filter(|r| r["end"] == end).count();
    eprintln!(
        "{durability}: {answered} answered, {} unknown, {} complete, {signed:?}",
        of("unknown"),
        of("complete")
    );
    let starts = records.iter().filter(|r| r["event"] == "start").count();
    assert_eq!(starts, rounds + 1);
}

#[test]
fn a_termination_at_any_moment_answers_what_was_decided() {
    let world = World::new();
    let mut moments = Moments::new("term");
    for _ in 0..4 {
        let program = world.start();
        let answers = under_load(&world, &program, moments.below(200), "TERM");
        assert!(program.ended().success());
        let records = world.records();
        assert_eq!(records.last().unwrap()["event"], "stop");
        for answer in answers.iter().filter(|answer| answer.status == 0) {
            let decided = records.iter().any(|r| r["trace_id"] == answer.trace);
            assert!(!decided, "decided, and not answered: {}", answer.trace);
            world.forgive(answer);
        }
    }
    let records = world.holds(world.start());
    let complete = of_kind(&records, "outcome")
        .iter()
        .all(|o| o["end"] == "complete");
    assert!(complete);
}

/// From the first moment on, when nobody listens to signals yet, and then under load.
#[test]
fn a_storm_of_hangups_is_weathered() {
    let world = World::new();
    let config = world.file("portcullis.yaml");
    // Some come before the process can have said anything.
    for delay in [1, 5, 10, 20, 40, 80] {
        let (mut child, log) = spawn(&mut plain(), &config);
        // Before `main` no program can hold off a signal.
        until("the program runs", || {
            let id = child.id();
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            let caught = status.lines().find(|l| l.starts_with("SigCgt:")).unwrap();
            let caught = u64::from_str_radix(caught[7..].trim(), 16).unwrap();
            // SIGHUP is the first bit.
            caught & 1 == 1
        });
        std::thread::sleep(Duration::from_millis(delay));
        for _ in 0..20 {
            signal(child.id(), "HUP");
        }
        let serving = || {
            log.lock()
                .unwrap()
                .iter()
                .any(|l| l.to_string().contains("serving"))
        };
        until("serving", || {
            serving() || child.try_wait().unwrap().is_some()
        });
        assert_eq!(child.try_wait().unwrap(), None, "{:?}", log.lock().unwrap());
        signal(child.id(), "TERM");
        assert!(child.wait().unwrap().success());
    }
    let program = world.start();
    let flag = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = Stop(&flag);
        let asked = scope.spawn(|| load(&world, program.address, 4, &flag));
        for _ in 0..300 {
            program.signal("HUP");
        }
        drop(stop);
        for answer in asked.join().unwrap() {
            assert!(matches!(answer.status, 200 | 401), "{answer:?}");
        }
    });
    let before = program.times_logged("reloaded");
    program.signal("HUP");
    until("a reload after the storm", || {
        program.times_logged("reloaded") > before
    });
    let records = world.holds(program);
    let failed = records
        .iter()
        .any(|r| r["event"] == "reload" && r["ok"] == false);
    assert!(!failed);
}

/// A termination while it starts is an end in order, too: with a stop on record where there is a start.
#[test]
fn a_termination_while_it_starts_is_an_end_in_order() {
    let silent = crate::server::serve(&Default::default(), |_, wire| wire.hang());
    // An issuer that hangs makes a long start.
    let provider = format!(
        r#"    slow: {{ issuer: slow, audience: portcullis, algorithms: [ES256], keys: {{ url: "http://{silent}/jwks" }}, agents: ["agent/slow/**"] }}"#
    );
    let world = World::of(&Setup {
        providers: &provider,
        ..Setup::default()
    });
    let (mut child, log) = spawn(&mut plain(), &world.file("portcullis.yaml"));
    until("a start on record", || {
        let text = std::fs::read_to_string(world.file("audit.jsonl"));
        text.is_ok_and(|text| text.contains(r#""event":"start""#))
    });
    signal(child.id(), "TERM");
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {:?}", log.lock().unwrap());
    let records = world.reconciled(&["audit.jsonl"]);
    assert_eq!(records.last().unwrap()["event"], "stop");
}

/// Logs that nobody takes: closed, a full device, a pipe whose reader went. Nothing depends on them.
#[test]
fn standard_streams_that_are_gone_stop_nothing() {
    for (what, redirect) in [
        ("closed", ">&- 2>&- <&-"),
        ("full", ">/dev/full 2>/dev/full"),
        ("a pipe without a reader", ""),
    ] {
        let world = World::new();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        world.edit(
            "portcullis.yaml",
            r#"name: main, address: "127.0.0.1:0""#,
            &format!(r#"name: main, address: "{port}""#),
        );
        let mut command = Command::new("sh");
        let script = format!(r#"exec "$0" serve --config "$1" {redirect}"#);
        command
            .args(["-c", &script, BINARY])
            .arg(world.file("portcullis.yaml"));
        if redirect.is_empty() {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let mut program = Program::unheard(child, port);
        until("serving", || {
            assert!(program.is_alive(), "{what}");
            let answer = world.try_ask(port, "GET", "/ok", &[], b"");
            answer.is_some_and(|answer| answer.status == 200)
        });
        world.settle(&mut program);
        let reloads = || {
            world
                .records()
                .iter()
                .filter(|r| r["event"] == "reload")
                .count()
        };
        // Each of these has something to say.
        program.signal("HUP");
        until("a reload", || reloads() > 0 || !program.is_alive());
        assert!(
            program.is_alive(),
            "{what}: a line that could not be logged ended it"
        );
        world.edit("policy.yaml", "GET /agent", "GET /agent/{");
        let before = reloads();
        until("a refused reload", || {
            reloads() > before || !program.is_alive()
        });
        assert!(program.is_alive(), "{what}");
        world.holds(program);
    }
}
