//! What crashes leave and what full disks do.

use std::io::{ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::*;

/// Writes such files, the last of them the current one, opens the log, and gives back what then stands after it.
fn after_crash(files: &[String]) -> (Vec<Record>, String) {
    let (folder, path) = folder();
    let (last, older) = files.split_last().unwrap();
    for text in older {
        let begins = Segment::parse(text.lines().next().unwrap().as_bytes()).unwrap();
        fs::write(begins.closed(&path), text).unwrap();
    }
    fs::write(&path, last).unwrap();
    let (audit, _) = open(&written(&path)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    drop(audit);
    drop(folder);
    let kept = last
        .rsplit_once('\n')
        .map_or(0, |(lines, _)| lines.len() + 1);
    let rest = text.split_at(kept).1;
    let records = rest
        .lines()
        .filter(|line| !line.is_empty() && Segment::parse(line.as_bytes()).is_none())
        .map(|line| Record::parse(line).unwrap())
        .collect();
    (records, text)
}

/// A file of a log that stands there: its first line, and these, tied together.
fn file(at: &mut Segment, lines: &[String]) -> String {
    let mut text = at.line().unwrap() + "\n";
    for line in lines {
        let prev = encode::hex_of(&at.prev);
        let (seq, rest) = line
            .trim_end()
            .split_once(",\"id\"")
            .unwrap_or_else(|| line.trim_end().split_once(",\"event\"").unwrap());
        let key = if line.contains(",\"id\"") {
            "id"
        } else {
            "event"
        };
        let line = format!("{seq},\"prev\":\"{prev}\",\"{key}\"{rest}");
        at.advance(tree::leaf(line.as_bytes()));
        text += &(line + "\n");
    }
    text
}

fn log(lines: &[String]) -> String {
    file(&mut Segment::first("n1"), lines)
}

fn id(number: u32) -> String {
    format!("018f0000-0000-7000-8000-{number:012}")
}

fn decision_line(seq: u64, number: u32, decision: &str) -> String {
    let id = id(number);
    format!(
        r#"{{"v":1,"kind":"decision","node":"n1","seq":{seq},"id":"{id}","decision":"{decision}"}}"#
    ) + "\n"
}

fn outcome_line(seq: u64, number: u32) -> String {
    let id = id(number);
    format!(r#"{{"v":1,"kind":"outcome","node":"n1","seq":{seq},"id":"{id}","end":"complete"}}"#)
        + "\n"
}

fn start_line(seq: u64) -> String {
    format!(r#"{{"v":1,"kind":"event","node":"n1","seq":{seq},"event":"start"}}"#) + "\n"
}

fn ids(records: &[Record]) -> Vec<String> {
    let id = |record: &Record| match record {
        Record::Outcome(_, outcome) => Some(outcome.id.to_string()),
        Record::Decision(..) | Record::Event(..) => None,
    };
    records.iter().filter_map(id).collect()
}

#[test]
fn open_decisions_are_closed_at_the_next_start() {
    let lines = [
        start_line(1),
        decision_line(2, 1, "permit"),
        decision_line(3, 2, "permit"),
        decision_line(4, 3, "deny"),
        outcome_line(5, 1),
        decision_line(6, 4, "permit"),
    ];
    let (records, _) = after_crash(&[log(&lines)]);
    assert_eq!(kinds(&records), ["Unknown", "Unknown", "Start"]);
    assert_eq!(ids(&records), [id(2), id(4)]);
    let seqs: Vec<u64> = records.iter().map(|r| r.envelope().seq).collect();
    assert_eq!(seqs, [7, 8, 9]);
}

#[test]
fn what_an_earlier_start_closed_stays_closed() {
    let lines = [start_line(1), decision_line(2, 1, "permit"), start_line(3)];
    let (records, _) = after_crash(&[log(&lines)]);
    assert_eq!(kinds(&records), ["Start"]);
}

#[test]
fn open_decisions_are_found_over_rotated_files() {
    let mut at = Segment::first("n1");
    let files = [
        vec![start_line(1), decision_line(2, 9, "permit"), start_line(3)],
        vec![decision_line(4, 1, "permit"), decision_line(5, 2, "permit")],
        vec![outcome_line(6, 1), decision_line(7, 3, "permit")],
        vec![outcome_line(8, 3)],
    ]
    .map(|lines| file(&mut at, &lines));
    let (records, _) = after_crash(&files);
    assert_eq!(kinds(&records), ["Unknown", "Start"]);
    assert_eq!(ids(&records), [id(2)]);
    assert_eq!(records[0].envelope().seq, 9);
}

#[test]
fn a_crash_within_a_rotation_hides_nothing() {
    let (_folder, path) = folder();
    let text = log(&[start_line(1), decision_line(2, 1, "permit")]);
    fs::write(&path, &text).unwrap();
    // the file has its second name, and the new one not yet the first
    let closed = Segment::first("n1").closed(&path);
    fs::hard_link(&path, &closed).unwrap();
    fs::write(segment::suffixed(&path, ".new"), "half").unwrap();
    let config = config::Audit {
        rotate_at: Some(600),
        compress: true,
        ..written(&path)
    };
    let (audit, _) = open(&config).unwrap();
    work(&audit, 3);
    audit.close();
    let (records, files) = records_of_all_files_between(&path, &text);
    assert_eq!(ids(&records)[0], id(1));
    assert!(files > 2, "{files}");
    // and a crash between the first line of all and its line feed
    for half in ["", "{\"v\":1,"] {
        let mut at = Segment::first("n1");
        let older = file(&mut at, &[start_line(1), decision_line(2, 1, "permit")]);
        let (records, text) = after_crash(&[older, half.to_owned()]);
        assert_eq!(ids(&records[..1]), [id(1)], "{half}");
        assert!(text.starts_with(&at.line().unwrap()));
    }
}

/// The records after those that a test wrote by hand, which are no whole ones.
fn records_of_all_files_between(path: &Path, by_hand: &str) -> (Vec<Record>, usize) {
    let mut files = closed_files(path).unwrap();
    files.push(path.to_owned());
    let text: String = files.iter().map(|file| text_of(file)).collect();
    let records = text.strip_prefix(by_hand).unwrap().lines();
    let records = records.filter(|line| !line.contains("\"kind\":\"segment\""));
    (
        records.map(|line| Record::parse(line).unwrap()).collect(),
        files.len(),
    )
}

#[test]
fn a_file_that_is_no_log_s_is_set_aside() {
    let (folder, path) = folder();
    let text = start_line(6) + &decision_line(7, 1, "permit");
    fs::write(&path, &text).unwrap();
    let (audit, _) = open(&written(&path)).unwrap();
    drop(audit);
    let records = records(&path);
    assert_eq!(kinds(&records), ["Unknown", "SetAside", "Start", "Stop"]);
    assert_eq!(
        (ids(&records)[0].clone(), records[0].envelope().seq),
        (id(1), 8)
    );
    let aside = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let aside: Vec<PathBuf> = aside
        .filter(|path| path.to_string_lossy().contains(".unchained-"))
        .collect();
    assert_eq!(fs::read_to_string(&aside[0]).unwrap(), text);
}

#[test]
fn records_that_don_t_follow_are_told() {
    let text = log(&[
        start_line(1),
        decision_line(2, 1, "permit"),
        outcome_line(3, 1),
        outcome_line(4, 2),
    ]);
    let removed: String = text
        .split_inclusive('\n')
        .enumerate()
        .filter(|(line, _)| *line != 3)
        .map(|(_, line)| line)
        .collect();
    let (records, _) = after_crash(&[removed]);
    assert_eq!(kinds(&records), ["Unknown", "Unlinked", "Start"]);
    assert_eq!(records[0].envelope().seq, 5);
}

#[test]
fn half_a_line_is_cut_off_and_told() {
    let whole = log(&[start_line(1), decision_line(2, 1, "permit")]);
    let line = decision_line(3, 2, "permit");
    for half in [
        "{",
        line.split_at(40).0,
        line.trim_end_matches("}\n"),
        "\0\0\0",
    ] {
        let (records, text) = after_crash(&[format!("{whole}{half}")]);
        assert_eq!(kinds(&records), ["Unknown", "Torn", "Start"], "{half}");
        assert!(!text.contains(&id(2)));
        let Record::Event(_, _, Event::Sink { count, .. }) = &records[1] else {
            panic!("{records:?}");
        };
        assert_eq!(*count, Some(half.len() as u64));
    }
}

#[test]
fn a_record_that_lacks_only_its_line_feed_is_kept() {
    let whole = log(&[start_line(1), decision_line(2, 1, "permit")]);
    let last = whole.lines().last().unwrap();
    let (_folder, path) = folder();
    fs::write(&path, whole.trim_end()).unwrap();
    open(&written(&path)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[2], last);
    assert!(lines[3].contains(r#""end":"unknown""#));
}

#[test]
fn lines_that_are_no_records_are_told() {
    let text = log(&[start_line(1), decision_line(2, 1, "permit")]);
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    let long = "x".repeat(5 << 20);
    for garbage in ["not json", &long] {
        let text = format!("{before}\n{garbage}\n{last}\n");
        let (records, _) = after_crash(&[text]);
        assert_eq!(kinds(&records), ["Unknown", "Unreadable", "Start"]);
    }
}

/// A tool moved the file while nobody listened to hangups: numbers and chain go on, and what was open is closed.
#[test]
fn a_file_that_was_moved_while_nobody_ran_is_gone_on_from() {
    for (moved, empty) in [("audit.jsonl-20261122", false), ("audit.jsonl.1", true)] {
        let (folder, path) = folder();
        let mut at = Segment::first("n1");
        let older = file(&mut at, &[start_line(1), decision_line(2, 1, "permit")]);
        // a copy that somebody made earlier, and what isn't a log's
        let copy = folder.path().join("audit.jsonl.bak");
        fs::write(&copy, older.split_at(200).0).unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(60);
        File::options()
            .write(true)
            .open(&copy)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        fs::write(folder.path().join(moved), &older).unwrap();
        fs::write(folder.path().join("audit.jsonl.txt"), "a letter\n").unwrap();
        if empty {
            fs::write(&path, "").unwrap();
        }
        let (audit, _) = open(&written(&path)).unwrap();
        drop(audit);
        let text = text_of(&path);
        assert_eq!(text.lines().next(), Some(&*at.line().unwrap()), "{moved}");
        let records = records(&path);
        assert_eq!(kinds(&records), ["Unknown", "Start", "Stop"], "{moved}");
        assert_eq!(ids(&records), [id(1)]);
    }
}

/// Logs of others whose names begin alike are theirs.
#[test]
fn another_log_is_not_gone_on_from() {
    let (folder, path) = folder();
    let theirs = log(&[start_line(1), decision_line(2, 1, "permit")]);
    for name in ["audit.jsonl-b", "audit.jsonl2", "audit.jsonl.bak"] {
        fs::write(folder.path().join(name), &theirs).unwrap();
    }
    let (second, _) = open(&written(&folder.path().join("audit.jsonl-2"))).unwrap();
    let (audit, _) = open(&written(&path)).unwrap();
    drop((audit, second));
    let text = text_of(&path);
    assert_eq!(
        text.lines().next(),
        Some(&*Segment::first("n1").line().unwrap())
    );
    assert_eq!(kinds(&records(&path)), ["Start", "Stop"]);
}

#[test]
fn a_first_line_that_lacks_only_its_line_feed_is_kept() {
    let (_folder, path) = folder();
    fs::write(&path, log(&[]).trim_end()).unwrap();
    drop(open(&written(&path)).unwrap());
    assert_eq!(kinds(&records(&path)), ["Start", "Stop"]);
}

#[test]
fn a_first_line_alone_takes_the_name_of_who_goes_on() {
    let (_folder, path) = folder();
    fs::write(&path, log(&[])).unwrap();
    let config = config::Audit {
        node: "other".into(),
        ..written(&path)
    };
    drop(open(&config).unwrap());
    let text = text_of(&path);
    let first = Segment::parse(text.lines().next().unwrap().as_bytes()).unwrap();
    assert_eq!(first, Segment::first("other"));
    assert_eq!(kinds(&records(&path)), ["Start", "Stop"]);
}

#[test]
fn an_end_of_any_length_is_kept_aside() {
    let (_folder, path) = folder();
    let long = "x".repeat(9 << 20);
    fs::write(&path, log(&[start_line(1)]) + &long).unwrap();
    drop(open(&written(&path)).unwrap());
    let aside = fs::read_to_string(segment::suffixed(&path, ".torn")).unwrap();
    assert!(aside == long + "\n");
}

#[test]
fn an_old_file_that_can_t_be_read_stops_no_start() {
    let (_folder, path) = folder();
    let mut at = Segment::first("n1");
    let name = at.closed(&path);
    file(&mut at, &[start_line(1), decision_line(2, 1, "permit")]);
    fs::write(segment::suffixed(&name, ".gz"), b"\x1f\x8b\x08\0half").unwrap();
    fs::write(&path, file(&mut at, &[decision_line(3, 2, "permit")])).unwrap();
    drop(open(&written(&path)).unwrap());
    let text = text_of(&path);
    let last = text.lines().nth(2).unwrap();
    assert!(last.contains(&id(2)) && last.contains("unknown"), "{last}");
    assert!(text.contains(r#""state":"unreadable""#), "{text}");
}

/// Whoever removes the file takes its records, and none of those after.
#[test]
fn no_record_goes_to_a_file_that_is_gone() {
    for durability in [Durability::Strict, Durability::Written] {
        let (_folder, path) = folder();
        let target = AuditTarget::File(path.clone());
        let (audit, _) = open(&config(target, durability)).unwrap();
        for emptied in [false, true].repeat(20) {
            match emptied {
                true => File::options()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_len(0)
                    .unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
            let decision = permit();
            decide(&audit, &decision).unwrap();
            let text = text_of(&path);
            assert!(
                text.contains(&decision.id.to_string()),
                "{durability:?} {text}"
            );
            assert!(Segment::parse(text.lines().next().unwrap().as_bytes()).is_some());
        }
        audit.close();
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_decided() {
    let (_folder, path) = folder();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "audit::tests::disk::die",
            "--ignored",
            "--nocapture",
        ])
        .env("PORTCULLIS_TEST_AUDIT", &path)
        .output()
        .unwrap();
    assert!(!child.status.success());
    let (audit, _) = open(&written(&path)).unwrap();
    drop(audit);
    let records = records(&path);
    assert_gapless(&records);
    let kinds = kinds(&records);
    assert_eq!(
        kinds[..5],
        ["Start", "Permit", "Complete", "Permit", "Permit"]
    );
    assert_eq!(kinds[5..], ["Unknown", "Unknown", "Start", "Stop"]);
}

#[test]
#[ignore = "is started by a_killed_process_loses_nothing_that_was_decided"]
fn die() {
    let Some(path) = std::env::var_os("PORTCULLIS_TEST_AUDIT") else {
        return;
    };
    let (audit, _) = open(&written(Path::new(&path))).unwrap();
    for end in [Some(End::Complete), None, None] {
        let decision = permit();
        decide(&audit, &decision).unwrap();
        let outcome = audit.open_outcome(decision.id, Instant::now());
        match end {
            Some(end) => outcome.close(end),
            None => std::mem::forget(outcome),
        }
    }
    std::process::abort();
}

#[test]
fn a_device_that_is_full_refuses_the_start() {
    let error = open(&written(Path::new("/dev/full"))).unwrap_err();
    assert!(
        matches!(&error, AuditError::Sink(io) if io.kind() == ErrorKind::StorageFull),
        "{error}"
    );
}

/// A file system of 64 KiB, for as long as this lives; `None` where mounting isn't permitted.
pub(super) struct SmallDisk(pub(super) tempfile::TempDir);

impl SmallDisk {
    #[expect(clippy::print_stderr, reason = "a test that is passed over says so")]
    pub(super) fn mount() -> Option<SmallDisk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "none"])
            .arg(folder.path())
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("passed over: mounting a small file system isn't permitted here");
            return None;
        }
        Some(SmallDisk(folder))
    }

    /// Takes all its space.
    pub(super) fn fill(&self) -> PathBuf {
        let path = self.0.path().join("filler");
        let mut filler = File::create(&path).unwrap();
        let page = [0; 4096];
        while filler.write_all(&page).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_refuses_until_there_is_space() {
    for durability in [
        Durability::Strict,
        Durability::Written,
        Durability::Buffered,
    ] {
        let Some(disk) = SmallDisk::mount() else {
            return;
        };
        let path = disk.0.path().join("audit.jsonl");
        let target = AuditTarget::File(path.clone());
        let (audit, metrics) = open(&config(target, durability)).unwrap();
        let early = permit();
        decide(&audit, &early).unwrap();
        let outcome = audit.open_outcome(early.id, Instant::now());
        let filler = disk.fill();

        // the file's last page still has room; then it is refused
        let mut decided = 1;
        let started = Instant::now();
        let error = loop {
            match decide(&audit, &permit()) {
                Ok(()) => decided += 1,
                Err(error) => break error,
            }
            assert!(started.elapsed() < Duration::from_secs(20), "never full");
        };
        match durability {
            Durability::Written => assert!(
                matches!(&error, AuditError::Sink(io) if io.kind() == ErrorKind::StorageFull),
                "{error}"
            ),
            Durability::Strict | Durability::Buffered => {
                assert!(matches!(error, AuditError::SinkFailing), "{error}")
            }
        }
        assert!(!audit.healthy());
        assert!(!metrics.text().contains("portcullis_audit_failures_total 0"));
        outcome.close(End::Complete);
        assert!(decide(&audit, &permit()).is_err());
        records(&path); // whole lines only

        fs::remove_file(filler).unwrap();
        let started = Instant::now();
        while decide(&audit, &deny()).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "never recovered"
            );
        }
        audit.close();
        let records = records(&path);
        assert_gapless(&records);
        let kinds = kinds(&records);
        let count = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
        // in `strict` a refused permit stands there, with an outcome that says so
        let refused = count("Aborted");
        assert_eq!(refused > 0, durability == Durability::Strict);
        assert_eq!((count("Permit"), count("Deny")), (decided + refused, 1));
        assert_eq!((count("Complete"), count("Stop")), (1, 1));
        assert_eq!((count("Trouble"), count("Recovered")), (1, 1), "{kinds:?}");
    }
}

/// A log over a socket that takes only so much until it is read.
fn over_socket(durability: Durability) -> (Audit, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let target = config(AuditTarget::Stdout, durability);
    let mut sink = Sink::over(File::from(OwnedFd::from(ours)), &target);
    sink.go_on(Segment::first("n1"), &Current::Empty).unwrap();
    let writer = Writer::new(&target, sink, &Metrics::new().unwrap()).unwrap();
    let writer = Arc::new(writer);
    let flusher = std::thread::spawn({
        let writer = Arc::clone(&writer);
        move || writer.run()
    });
    let inner = Inner {
        writer,
        flusher: Mutex::new(Some(flusher)),
        keeper: Mutex::new(None),
        rate: Rate::new(0),
    };
    (Audit(Arc::new(inner)), theirs)
}

#[test]
fn a_pipe_that_is_full_never_tears_a_line() {
    for durability in [Durability::Written, Durability::Buffered] {
        let (audit, mut theirs) = over_socket(durability);
        let long = "/".to_owned() + &"x".repeat(10_000);
        let mut asked = 0;
        let decision = || {
            let mut decision = permit();
            decision.request.path = Some(long.clone().into());
            decision
        };
        let mut decided = 0;
        while asked == decided {
            asked += 1;
            decided += usize::from(decide(&audit, &decision()).is_ok());
            assert!(asked < 100_000, "never full");
        }
        assert!(decide(&audit, &deny()).is_err());
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            theirs.read_to_string(&mut text).unwrap();
            text
        });
        let started = Instant::now();
        while decide(&audit, &deny()).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "never recovered"
            );
        }
        audit.close();
        drop(audit);
        let text = reader.join().unwrap();
        let records = chained(&[text]);
        assert_gapless(&records);
        let kinds = kinds(&records);
        let permits = kinds.iter().filter(|kind| *kind == "Permit").count();
        let aborted = kinds.iter().filter(|kind| *kind == "Aborted").count();
        // a refused permit is there only if half of it was out, and then it says that nothing came of it
        assert_eq!(permits, decided + aborted);
        assert!(aborted <= 1);
        assert!(kinds.contains(&"Stop".to_owned()));
    }
}

#[test]
fn a_reader_that_went_away_refuses() {
    let (audit, theirs) = over_socket(Durability::Written);
    decide(&audit, &permit()).unwrap();
    drop(theirs);
    let error = decide(&audit, &permit()).unwrap_err();
    assert!(
        matches!(&error, AuditError::Sink(io) if io.kind() == ErrorKind::BrokenPipe),
        "{error}"
    );
}
