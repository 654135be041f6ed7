//! Names that don't resolve, and resolve later. The process gets a mount namespace of its own, with its own `/etc/hosts`.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use crate::program::{BINARY, until};
use crate::world::{Setup, World};

/// `unshare -m`, where this may be done.
fn apart(world: &World) -> Option<Command> {
    let script = r#"mount --make-rprivate / && mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv" /etc/resolv.conf && exec "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script])
        .arg(world.folder.path());
    let mut trial = Command::new("unshare");
    trial
        .args(["-m", "sh", "-c", script])
        .arg(world.folder.path())
        .arg("true");
    if !trial.output().is_ok_and(|output| output.status.success()) {
        eprintln!("passed over: a mount namespace of one's own isn't permitted here");
        return None;
    }
    command.arg(BINARY);
    Some(command)
}

/// A name server that takes questions and gives no answers, where its port may be had; each test needs it alive.
fn silent() -> Option<Arc<UdpSocket>> {
    static OPEN: OnceLock<Option<Arc<UdpSocket>>> = OnceLock::new();
    OPEN.get_or_init(|| UdpSocket::bind((SILENT, 53)).ok().map(Arc::new))
        .clone()
}

const SILENT: &str = "127.0.0.78";

#[test]
fn a_name_that_is_gone_is_told_and_found_when_it_is_back() {
    for (what, server) in [
        // Nothing listens there: the lookup fails at once.
        ("refused", "127.0.0.77"),
        // Nothing answers there: the lookup hangs.
        ("silent", SILENT),
    ] {
        let _silent = silent();
        let world = World::new();
        let port = world.api.port();
        let from = format!("odd: {{ addresses: \"http://{}\"", world.api);
        let to = format!("odd: {{ addresses: \"http://backend.corp.example:{port}\"");
        world.edit("portcullis.yaml", &from, &to);
        world.write("hosts", "127.0.0.1 localhost\n");
        world.write(
            "resolv",
            &format!("nameserver {server}\noptions timeout:2 attempts:1\n"),
        );
        let Some(mut command) = apart(&world) else {
            return;
        };
        let program = world.start_as(&mut command);
        for _ in 0..3 {
            let answer = world.post(&program, "/odd/x", b"{}");
            assert!(matches!(answer.status, 502 | 504), "{what}: {answer:?}");
            assert_eq!(world.reached(&answer.trace), 0);
        }
        // In place: the bind mount is of this very file.
        world.write("hosts", "127.0.0.1 localhost backend.corp.example\n");
        until("the name", || {
            world.post(&program, "/odd/x", b"{}").status == 200
        });
        // And gone again: connections that stand go on, new ones fail; nothing hangs.
        world.write("hosts", "127.0.0.1 localhost\n");
        for _ in 0..3 {
            let answer = world.post(&program, "/odd/x", b"{}");
            assert!(
                matches!(answer.status, 200 | 502 | 504),
                "{what}: {answer:?}"
            );
        }
        world.holds(program);
    }
}

/// The issuer's name hangs in the resolver: nothing waits for it, not even the end.
#[test]
fn an_issuer_whose_name_hangs_delays_no_end() {
    let world = World::of(&Setup {
        providers: r#"    away: { issuer: away, audience: portcullis, algorithms: [ES256], keys: { url: "https://keys.corp.example/jwks" }, agents: ["agent/away/**"] }"#,
        ..Setup::default()
    });
    world.write("hosts", "127.0.0.1 localhost\n");
    world.write(
        "resolv",
        &format!("nameserver {SILENT}\noptions timeout:20 attempts:3\n"),
    );
    let _silent = silent();
    let Some(mut command) = apart(&world) else {
        return;
    };
    let program = world.start_as(&mut command);
    let started = std::time::Instant::now();
    world.holds(program);
    assert!(started.elapsed().as_secs() < 15, "{:?}", started.elapsed());
}
