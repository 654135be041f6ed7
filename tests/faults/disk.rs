//! The audit log's file: a full disk, and a file that is moved, removed, emptied or replaced under the process.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portcullis::audit::segment::Segment;
use portcullis::audit::verify::files_of;

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
    for durability in ["strict", "written", "buffered"] {
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
        // a permit that `strict` refused stands there, with an outcome that says so
        for aborted in of_kind(&records, "outcome") {
            if aborted["end"] == "aborted" {
                assert_eq!(durability, "strict", "{aborted}");
            }
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

/// A disk that does nothing for a while: what is asked meanwhile waits, and goes on when its record is there.
#[test]
fn a_disk_that_hangs_holds_requests_back() {
    for durability in ["strict", "written"] {
        let world = on_a_disk(&format!(", durability: {durability}"));
        let Some(disk) = BlockDisk::mount(&world) else {
            return;
        };
        let program = world.start();
        let before = world.seen.lock().unwrap().len();
        disk.freeze(true);
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| world.get(&program, "/ok")))
                .collect();
            until("a write hangs", || hangs(&program));
            assert!(
                asked.iter().all(|asked| !asked.is_finished()),
                "{durability}: answered"
            );
            let seen = world.seen.lock().unwrap().len();
            assert_eq!(seen, before, "{durability}: forwarded without a record");
            disk.freeze(false);
            for asked in asked {
                assert_eq!(asked.join().unwrap().status, 200);
            }
        });
        world.serves(&program);
        world.ends(program);
        world.reconciled(&["disk/audit.jsonl"]);
    }
}

/// A file system that became read-only after an error refuses everything, until it is mounted again and the process told.
#[test]
fn a_read_only_file_system_refuses_until_it_is_mounted_again() {
    for durability in ["strict", "written"] {
        let world = on_a_disk(&format!(", durability: {durability}"));
        let Some(disk) = BlockDisk::mount(&world) else {
            return;
        };
        let program = world.start();
        world.serves(&program);
        disk.fail();
        for _ in 0..5 {
            let answer = world.get(&program, "/ok");
            assert_eq!((answer.status, &*answer.reason()), (503, "unavailable"));
            assert_eq!(world.reached(&answer.trace), 0);
            world.forgive(&answer);
        }
        disk.mount_again();
        program.signal("HUP");
        until("it is written again", || {
            let answer = world.get(&program, "/ok");
            if answer.status == 503 {
                world.forgive(&answer);
            }
            answer.status == 200
        });
        world.serves(&program);
        world.ends(program);
        // What `written` promises is in the kernel, whose pages went with the file system.
        if durability == "strict" {
            let files = files_of(&world.file("disk/audit.jsonl")).unwrap();
            assert_eq!(files.len(), 2, "{files:?}");
            let files = files.iter().map(|file| file.to_str().unwrap());
            world.reconciled(&files.collect::<Vec<_>>());
        }
    }
}

/// Whether one of the process's threads waits for a disk.
fn hangs(program: &Program) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let state = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).ok();
    tasks.filter_map(|task| state(task.ok()?)).any(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('D'))
    })
}

/// A world whose log lies in the folder `disk`.
fn on_a_disk(audit: &str) -> World {
    let world = World::of(&Setup {
        audit,
        ..Setup::default()
    });
    world.edit(
        "portcullis.yaml",
        "audit: { to: audit.jsonl",
        "audit: { to: disk/audit.jsonl",
    );
    world
}

/// An ext4 on a loop device in a world's folder, for as long as this lives; `None` where that isn't permitted.
struct BlockDisk {
    image: PathBuf,
    at: PathBuf,
}

impl BlockDisk {
    fn mount(world: &World) -> Option<BlockDisk> {
        let (image, at) = (world.file("disk.img"), world.file("disk"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F"])
            .arg(&image)
            .output();
        let disk = BlockDisk { image, at };
        if !made.is_ok_and(|made| made.status.success()) || !disk.mounted() {
            eprintln!("passed over: mounting a file system of its own isn't permitted here");
            return None;
        }
        Some(disk)
    }

    fn mounted(&self) -> bool {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", "loop,errors=remount-ro"])
            .arg(&self.image)
            .arg(&self.at);
        mount.output().is_ok_and(|output| output.status.success())
    }

    fn freeze(&self, freeze: bool) {
        let how = if freeze { "--freeze" } else { "--unfreeze" };
        let done = Command::new("fsfreeze")
            .arg(how)
            .arg(&self.at)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// Has the file system meet an error.
    fn fail(&self) {
        let device = Command::new("losetup")
            .arg("-j")
            .arg(&self.image)
            .output()
            .unwrap();
        let device = String::from_utf8(device.stdout).unwrap();
        let device = device
            .split(':')
            .next()
            .unwrap()
            .trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
    }

    /// Repaired and mounted in the same place, as an operator would.
    fn mount_again(&self) {
        let lazily = Command::new("umount")
            .arg("-l")
            .arg(&self.at)
            .output()
            .unwrap();
        assert!(lazily.status.success(), "{lazily:?}");
        // a copy: the old one is held by who has a file of it open
        let copy = self.image.with_extension("copy");
        fs::copy(&self.image, &copy).unwrap();
        let repaired = Command::new("fsck.ext4")
            .args(["-y", "-f"])
            .arg(&copy)
            .output()
            .unwrap();
        assert!(
            repaired.status.code().is_some_and(|code| code < 4),
            "{repaired:?}"
        );
        let copied = BlockDisk {
            image: copy,
            at: self.at.clone(),
        };
        assert!(copied.mounted());
        std::mem::forget(copied);
    }
}

impl Drop for BlockDisk {
    fn drop(&mut self) {
        let _thawed_already = Command::new("fsfreeze")
            .arg("--unfreeze")
            .arg(&self.at)
            .output();
        let _gone_already = Command::new("umount").arg("-l").arg(&self.at).output();
    }
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
        // What was written to it before that was seen stands in the new one as well.
        let text = fs::read_to_string(&path).unwrap();
        let begins = Segment::parse(text.lines().next().unwrap().as_bytes()).unwrap();
        let removed = read(kept);
        let before = removed.split_inclusive('\n').take(begins.seq as usize + 1);
        fs::write(world.file("audit.removed"), before.collect::<String>()).unwrap();
        world.reconciled(&["audit.removed", "audit.jsonl"]);
    }
}

/// Emptied in place, as `copytruncate` does it: what comes after it is whole, and stands in a file that begins as one.
#[test]
fn a_file_that_is_emptied_begins_anew() {
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
    until("a first line", || {
        assert_eq!(world.get(&program, "/ok").status, 200);
        let text = fs::read_to_string(&path).unwrap();
        text.contains(r#""kind":"segment""#)
    });
    world.serves(&program);
    world.ends(program);
    // Lines that came before it was seen are set aside: none is lost.
    let names = fs::read_dir(world.folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside: Vec<String> = names.filter(|name| name.contains(".unchained-")).collect();
    let mut files = vec!["audit.copy"];
    files.extend(aside.iter().map(String::as_str));
    files.push("audit.jsonl");
    match &aside[..] {
        [] => world.reconciled(&files),
        _ => world.accounted(&files),
    };
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
