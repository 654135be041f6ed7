//! The audit log's file: a full disk, and a file that is moved, removed, emptied or replaced under the process.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::{Program, plain, until};
use crate::world::{Setup, World, of_kind};

/// A small file system in a world's folder, for as long as this lives; `None` where mounting isn't permitted.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(world: &World) -> Option<SmallDisk> {
        let path = world.file("disk");
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=512k", "none"])
            .arg(&path);
        if !mount.output().is_ok_and(|output| output.status.success()) {
            eprintln!("passed over: mounting a small file system isn't permitted here");
            return None;
        }
        Some(SmallDisk(path))
    }

    /// Takes all its space.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = fs::File::create(&path).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone_already = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_refuses_everything_until_there_is_space() {
    for durability in ["written", "buffered"] {
        let world = World::of(&Setup {
            audit: &format!(", durability: {durability}"),
            ..Setup::default()
        });
        world.edit(
            "portcullis.yaml",
            "audit: { to: audit.jsonl",
            "audit: { to: disk/audit.jsonl",
        );
        let Some(disk) = SmallDisk::mount(&world) else {
            return;
        };
        let program = world.start();
        std::thread::scope(|scope| {
            // Permitted while there is space, answered when there is none: its outcome must not be lost.
            let early = scope.spawn(|| world.get(&program, "/ok?ms=1500"));
            until("it reached", || {
                world
                    .seen
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|(_, t)| t == "/ok?ms=1500")
            });
            let filler = disk.fill();
            let mut refused = 0;
            let mut asked = 0;
            while refused < 20 {
                let answer = match asked % 3 {
                    0 => world.get(&program, "/ok"),
                    1 => world.post(&program, "/judged", br#"{"name":"ok"}"#),
                    _ => world.get(&program, "/refused"),
                };
                asked += 1;
                assert!(asked < 5000, "never full");
                if answer.status == 503 {
                    refused += 1;
                    assert_eq!(answer.reason(), "unavailable");
                    assert_eq!(
                        world.reached(&answer.trace),
                        0,
                        "{durability}: forwarded without a record"
                    );
                    world.forgive(&answer);
                } else {
                    // In `buffered` it takes a moment until the trouble is known.
                    assert!(matches!(answer.status, 200 | 401), "{answer:?}");
                }
            }
            let answer = early.join().unwrap();
            assert_eq!((answer.status, answer.whole), (200, true));
            fs::remove_file(filler).unwrap();
            until("space is seen", || {
                let answer = world.get(&program, "/ok");
                if answer.status == 503 {
                    world.forgive(&answer);
                }
                answer.status == 200
            });
        });
        world.serves(&program);
        world.ends(program);
        let records = world.reconciled(&["disk/audit.jsonl"]);
        for state in ["trouble", "recovered"] {
            let told = records.iter().filter(|r| r["state"] == state).count();
            assert_eq!(told, 1, "{durability}: {state}");
        }
        let lost = of_kind(&records, "outcome")
            .into_iter()
            .find(|o| o["end"] == "unknown");
        assert_eq!(lost, None);
    }
}

/// Standard output whose reader goes is a sink that fails.
#[test]
fn records_that_nobody_reads_refuse_everything() {
    let world = World::new();
    world.edit(
        "portcullis.yaml",
        "audit: { to: audit.jsonl",
        "audit: { to: stdout",
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    world.edit(
        "portcullis.yaml",
        r#"name: main, address: "127.0.0.1:0""#,
        &format!(r#"name: main, address: "{port}""#),
    );
    let mut command = plain();
    command
        .arg("serve")
        .arg("--config")
        .arg(world.file("portcullis.yaml"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let program = Program::unheard(child, port);
    until("serving", || {
        let answer = world.try_ask(port, "GET", "/ok", &[], b"");
        answer.is_some_and(|answer| answer.status == 200)
    });
    drop(out);
    for _ in 0..5 {
        let answer = world.get(&program, "/ok");
        assert_eq!((answer.status, &*answer.reason()), (503, "unavailable"));
        assert_eq!(world.reached(&answer.trace), 0);
    }
    world.ends(program);
}

/// What happens to the file while the process has it open, and what then must hold.
#[test]
fn a_file_that_is_moved_goes_on_until_a_hangup() {
    let world = World::new();
    let program = world.start();
    fs::rename(world.file("audit.jsonl"), world.file("audit.old")).unwrap();
    for _ in 0..5 {
        assert_eq!(world.get(&program, "/ok").status, 200);
    }
    assert!(!world.file("audit.jsonl").exists());
    // A folder has taken its place: it can't be opened anew, and goes on where it is.
    fs::create_dir(world.file("audit.jsonl")).unwrap();
    program.signal("HUP");
    until("told", || program.logged("could not be opened anew"));
    assert_eq!(world.get(&program, "/ok").status, 200);
    fs::remove_dir(world.file("audit.jsonl")).unwrap();
    program.signal("HUP");
    until("a new file", || world.file("audit.jsonl").exists());
    world.serves(&program);
    world.ends(program);
    world.reconciled(&["audit.old", "audit.jsonl"]);
}

/// Whoever removes the file takes its records. Those after it need a file, and get one.
#[test]
fn a_file_that_is_removed_is_made_anew() {
    for durability in ["written", "buffered"] {
        let world = World::of(&Setup {
            audit: &format!(", durability: {durability}"),
            ..Setup::default()
        });
        let program = world.start();
        // A name of our own for it, to see that nothing is missing.
        let path = world.file("audit.jsonl");
        let kept = open(&path);
        fs::remove_file(&path).unwrap();
        until("a new file", || {
            assert_eq!(world.get(&program, "/ok").status, 200);
            path.exists()
        });
        assert_eq!(world.get(&program, "/ok").status, 200);
        world.serves(&program);
        world.ends(program);
        fs::write(world.file("audit.removed"), read(kept)).unwrap();
        world.reconciled(&["audit.removed", "audit.jsonl"]);
    }
}

/// Emptied in place, as `copytruncate` does it: lines after it are whole, and stand at its beginning.
#[test]
fn a_file_that_is_emptied_goes_on_at_its_beginning() {
    let world = World::new();
    let program = world.start();
    let path = world.file("audit.jsonl");
    until("the first records are out", || {
        let outcomes = world
            .records()
            .iter()
            .filter(|r| r["kind"] == "outcome")
            .count();
        outcomes == 12
    });
    fs::copy(&path, world.file("audit.copy")).unwrap();
    open(&path).set_len(0).unwrap();
    world.serves(&program);
    world.ends(program);
    world.reconciled(&["audit.copy", "audit.jsonl"]);
}

/// Made read-only: who has it open goes on; a start over it is refused, and says why.
#[test]
fn a_file_that_is_read_only_refuses_the_next_start() {
    let world = World::new();
    let program = world.start();
    let path = world.file("audit.jsonl");
    let chattr = |flag: &str| Command::new("chattr").arg(flag).arg(&path).output();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    program.signal("HUP");
    world.holds(program);
    // Root writes to it nevertheless, unless it is immutable.
    if !chattr("+i").is_ok_and(|output| output.status.success()) {
        eprintln!("passed over: no file can be made immutable here");
        return;
    }
    let mut command = plain();
    command
        .arg("serve")
        .arg("--config")
        .arg(world.file("portcullis.yaml"));
    let output = command.output();
    chattr("-i").unwrap();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("audit.jsonl"), "{text}");
}

fn open(path: &Path) -> fs::File {
    fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

fn read(mut file: fs::File) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut file, &mut text).unwrap();
    text
}
