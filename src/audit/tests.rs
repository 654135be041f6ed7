//! Real files, real pipes, a real full disk.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::read::{Record, describe};
use super::record::{Decision, Ids, JudgedFields, QueryNames, Request, Stages, Verdict};
use super::segment::{Segment, closed_files};
use super::*;
use crate::config::{AuditTarget, Durability};
use crate::policy::{self, Json, Reason};
use crate::schema::audit_lines;

mod checkpoints;
mod disk;
mod schema;

fn config(to: AuditTarget, durability: Durability) -> config::Audit {
    config::Audit {
        to,
        durability,
        rotate_at: None,
        rotate_every: None,
        keep: Some(5),
        compress: false,
        checkpoints: None,
        queue: 64,
        refusals_per_second: 3,
        node: "n1".into(),
        fields: config::Fields::default(),
        ship: None,
    }
}

fn written(path: &Path) -> config::Audit {
    config(AuditTarget::File(path.to_owned()), Durability::Written)
}

fn open(config: &config::Audit) -> Result<(Audit, Metrics), AuditError> {
    let metrics = Metrics::new().unwrap();
    let start = StartEvent {
        version: "0.1.0".into(),
        policy_set: "ab".repeat(32),
        policies: 2,
    };
    Audit::open(config, &metrics, start).map(|audit| (audit, metrics))
}

/// The same of a log that was open before: a process that another test starts holds its lock for a moment.
fn again(config: &config::Audit) -> (Audit, Metrics) {
    let started = Instant::now();
    loop {
        match open(config) {
            Err(AuditError::Locked { .. }) => {
                assert!(
                    started.elapsed() < Duration::from_secs(20),
                    "locked for good"
                );
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    (folder, path)
}

fn permit() -> Decision<'static> {
    Decision {
        id: Uuid::now_v7(),
        at: Timestamp::now(),
        policy_set: "ab".repeat(32).into(),
        decision: Verdict::Permit,
        reason: None,
        detail: None,
        policies: Ids(vec![Arc::from("items.read")].into()),
        shadow: Default::default(),
        principal: None,
        client: SocketAddr::from(([127, 0, 0, 1], 4711)),
        route: Some("api".into()),
        upstream: Some("backend".into()),
        request: Request {
            method: Some("GET".into()),
            path: Some("/accounts/42".into()),
            ..Request::default()
        },
        trace_id: None,
        span_id: None,
        parent_id: None,
        sampled: false,
        stages_us: Stages::default(),
    }
}

fn deny() -> Decision<'static> {
    Decision {
        decision: Verdict::Deny,
        reason: Some(Reason::NoPolicy),
        ..permit()
    }
}

/// Runs a decision on a small runtime of its own.
fn decide(audit: &Audit, decision: &Decision<'_>) -> Result<(), AuditError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(audit.decided(decision))
}

/// The records of a log's file, each of which follows from the one before.
fn records(path: &Path) -> Vec<Record> {
    chained(&[fs::read_to_string(path).unwrap()])
}

/// The same of several files, which follow from each other.
fn chained(files: &[String]) -> Vec<Record> {
    let mut at: Option<Segment> = None;
    let mut records = Vec::new();
    for file in files {
        audit_lines::check(file);
        let (first, rest) = file.split_once('\n').unwrap();
        let begins = Segment::parse(first.as_bytes()).unwrap_or_else(|| panic!("{first}"));
        if let Some(at) = &at {
            assert_eq!(&begins, at);
        }
        let at = at.insert(begins);
        for line in rest.split_inclusive('\n') {
            let record = Record::parse(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let envelope = record.envelope();
            assert_eq!(
                (envelope.seq, envelope.prev),
                (at.seq + 1, Some(Sha256(at.prev)))
            );
            at.advance(tree::leaf(line.strip_suffix('\n').unwrap().as_bytes()));
            records.push(record);
        }
    }
    records
}

/// The records' kinds in order: `permit`, `deny`, an outcome's end, an event's name.
fn kinds(records: &[Record]) -> Vec<String> {
    let name = |record: &Record| match record {
        Record::Decision(_, decision) => format!("{:?}", decision.decision),
        Record::Outcome(_, outcome) => format!("{:?}", outcome.end),
        Record::Event(_, _, Event::Sink { state, .. }) => format!("{state:?}"),
        Record::Event(_, _, event) => {
            let name = format!("{event:?}");
            name.split([' ', '(']).next().unwrap().to_owned()
        }
    };
    records.iter().map(name).collect()
}

fn assert_gapless(records: &[Record]) {
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.envelope().seq, index as u64 + 1, "{record:?}");
    }
}

#[test]
fn a_decision_is_in_the_file_when_it_is_decided() {
    let (_folder, path) = folder();
    let (audit, metrics) = open(&written(&path)).unwrap();
    let decision = permit();
    decide(&audit, &decision).unwrap();
    assert_eq!(kinds(&records(&path)), ["Start", "Permit"]);

    let mut outcome = audit.open_outcome(decision.id, Instant::now());
    outcome.head(200);
    outcome.relayed(b"hello ");
    outcome.relayed(b"");
    outcome.relayed(b"world");
    outcome.request_bytes = 7;
    outcome.upstream = Some("10.0.0.1:80".into());
    outcome.close(End::Complete);
    drop(audit.open_outcome(decision.id, Instant::now()));
    audit.close();
    audit.close();
    assert!(!audit.healthy());

    let records = records(&path);
    assert_eq!(
        kinds(&records),
        ["Start", "Permit", "Complete", "Aborted", "Stop"]
    );
    assert_gapless(&records);
    let Record::Outcome(_, outcome) = &records[2] else {
        panic!("{records:?}");
    };
    assert_eq!(outcome.id, decision.id);
    assert_eq!((outcome.status, outcome.bytes), (Some(200), 11));
    assert_eq!(outcome.sha256, Some(Sha256::of(b"hello world")));
    assert_eq!(outcome.upstream.as_deref(), Some("10.0.0.1:80"));
    assert!(outcome.head_us <= outcome.total_us);

    let text = metrics.text();
    assert!(text.contains("portcullis_audit_records_total{kind=\"decision\"} 1\n"));
    assert!(text.contains("portcullis_audit_records_total{kind=\"outcome\"} 2\n"));
    assert!(text.contains("portcullis_audit_records_total{kind=\"event\"} 2\n"));
    assert!(text.contains("portcullis_audit_queue 0\n"));
}

#[test]
fn after_closing_decisions_are_refused_and_outcomes_still_written() {
    let (_folder, path) = folder();
    for durability in [
        Durability::Strict,
        Durability::Written,
        Durability::Buffered,
    ] {
        let target = AuditTarget::File(path.clone());
        let (audit, _) = again(&config(target, durability));
        let decision = permit();
        decide(&audit, &decision).unwrap();
        let outcome = audit.open_outcome(decision.id, Instant::now());
        audit.close();
        assert!(matches!(decide(&audit, &permit()), Err(AuditError::Closed)));
        outcome.close(End::Cut);
    }
    let expected = ["Start", "Permit", "Stop", "Cut"].repeat(3);
    let records = records(&path);
    assert_eq!(kinds(&records), expected);
    assert_gapless(&records);
}

#[test]
fn outcomes_are_flushed_without_a_further_decision() {
    for durability in [
        Durability::Strict,
        Durability::Written,
        Durability::Buffered,
    ] {
        let (_folder, path) = folder();
        let target = AuditTarget::File(path.clone());
        let (audit, _) = open(&config(target, durability)).unwrap();
        drop(audit.open_outcome(Uuid::now_v7(), Instant::now()));
        await_lines(&path, 3);
        audit.event(&Event::Stop {}).unwrap();
        await_lines(&path, 4);
    }
}

/// Waits for the flusher; gives up after far longer than it takes.
fn await_lines(path: &Path, count: usize) {
    let started = Instant::now();
    while fs::read_to_string(path).unwrap().lines().count() < count {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing came");
        std::thread::yield_now();
    }
}

#[test]
fn every_record_of_every_thread_is_there_once() {
    const THREADS: usize = 8;
    const EACH: usize = 300;
    for (durability, rotate_at) in [
        (Durability::Written, None),
        (Durability::Buffered, None),
        (Durability::Strict, None),
        (Durability::Strict, Some(100_000)),
        (Durability::Written, Some(100_000)),
        (Durability::Buffered, Some(100_000)),
    ] {
        let (_folder, path) = folder();
        let config = config::Audit {
            rotate_at,
            keep: None,
            ..config(AuditTarget::File(path.clone()), durability)
        };
        let (audit, _) = open(&config).unwrap();
        let mut ids: Vec<Uuid> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| scope.spawn(|| work(&audit, EACH)))
                .collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        audit.close();
        let (records, files) = records_of_all_files(&path);
        assert_eq!(files > 1, rotate_at.is_some(), "{files} files");
        assert_gapless(&records);
        assert_eq!(records.len(), 2 + 2 * THREADS * EACH);
        let of = |pick: fn(&Record) -> Option<Uuid>| {
            let mut ids: Vec<Uuid> = records.iter().filter_map(pick).collect();
            ids.sort();
            ids
        };
        ids.sort();
        assert!(
            ids == of(|r| match r {
                Record::Decision(_, decision) => Some(decision.id),
                Record::Outcome(..) | Record::Event(..) => None,
            })
        );
        assert!(
            ids == of(|r| match r {
                Record::Outcome(_, outcome) => Some(outcome.id),
                Record::Decision(..) | Record::Event(..) => None,
            })
        );
    }
}

/// Decides and forwards so many requests.
fn work(audit: &Audit, count: usize) -> Vec<Uuid> {
    let decide_one = |_| {
        let decision = permit();
        decide(audit, &decision).unwrap();
        audit
            .open_outcome(decision.id, Instant::now())
            .close(End::Complete);
        decision.id
    };
    (0..count).map(decide_one).collect()
}

/// The records of the file and its predecessors, oldest first, and how many files there are.
fn records_of_all_files(path: &Path) -> (Vec<Record>, usize) {
    let mut files = closed_files(path).unwrap();
    files.push(path.to_owned());
    let texts: Vec<String> = files.iter().map(|file| text_of(file)).collect();
    (chained(&texts), files.len())
}

fn text_of(file: &Path) -> String {
    let bytes = fs::read(file).unwrap();
    let mut text = String::new();
    match file.extension().is_some_and(|end| end == "gz") {
        true => flate2::read::GzDecoder::new(&*bytes).read_to_string(&mut text),
        false => (&*bytes).read_to_string(&mut text),
    }
    .unwrap();
    text
}

#[test]
fn only_so_many_rotated_files_are_kept() {
    for (keep, compress) in [(1, false), (3, false), (3, true)] {
        let (folder, path) = folder();
        let config = config::Audit {
            rotate_at: Some(1000),
            keep: Some(keep),
            compress,
            ..written(&path)
        };
        let (audit, _) = open(&config).unwrap();
        work(&audit, 40);
        audit.close();
        let files = keep as usize + 1;
        let names = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let (compressed, plain): (Vec<_>, Vec<_>) =
            names.partition(|name| name.to_string_lossy().ends_with(".gz"));
        let expected = if compress { (files - 1, 1) } else { (0, files) };
        assert_eq!((compressed.len(), plain.len()), expected);
        let (records, _) = records_of_all_files(&path);
        assert_eq!(records.last().unwrap().envelope().seq, 82);
    }
}

#[test]
fn a_file_is_rotated_by_its_age() {
    let (_folder, path) = folder();
    let config = config::Audit {
        rotate_every: Some(Duration::from_secs(3600)),
        ..written(&path)
    };
    let (audit, _) = open(&config).unwrap();
    work(&audit, 3);
    audit.close();
    drop(audit);
    // as if it had been begun an hour and a minute ago
    let text = fs::read_to_string(&path).unwrap();
    let mut at = Segment::first("n1");
    let mut old = at.line().unwrap() + "\n";
    let long_ago = Timestamp::now() - jiff::SignedDuration::from_mins(61);
    for line in text.lines().skip(1) {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["at"] = format!("{long_ago:.6}").into();
        record["prev"] = encode::hex_of(&at.prev).into();
        let line = record.to_string();
        at.advance(tree::leaf(line.as_bytes()));
        old += &(line + "\n");
    }
    fs::write(&path, old).unwrap();
    let (audit, _) = again(&config);
    work(&audit, 3);
    audit.close();
    let (records, files) = records_of_all_files(&path);
    assert_eq!((records.len(), files), (16, 2));
}

#[test]
fn rotation_that_fails_is_told_and_loses_nothing() {
    let (folder, path) = folder();
    let config = config::Audit {
        rotate_at: Some(600),
        ..written(&path)
    };
    let (audit, metrics) = open(&config).unwrap();
    // a folder can't be replaced by a file
    fs::create_dir(folder.path().join("audit.jsonl.new")).unwrap();
    work(&audit, 10);
    audit.close();
    let records = records(&path);
    assert_gapless(&records);
    let kinds = kinds(&records);
    assert!(kinds.contains(&"RotationFailed".to_owned()), "{kinds:?}");
    assert!(!metrics.text().contains("portcullis_audit_failures_total 0"));
}

#[test]
fn a_file_that_was_moved_away_pushes_no_older_one_out() {
    let (folder, path) = folder();
    let config = config::Audit {
        rotate_at: Some(600),
        keep: Some(3),
        ..written(&path)
    };
    let (audit, _) = open(&config).unwrap();
    let older = folder.path().join("audit.jsonl.0000000000000001");
    fs::write(&older, "older\n").unwrap();
    let moved = folder.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    work(&audit, 40);
    audit.close();
    assert_eq!(fs::read_to_string(older).unwrap(), "older\n");
    let records = records(&moved);
    assert_gapless(&records);
    let kinds = kinds(&records);
    assert!(kinds.contains(&"RotationFailed".to_owned()), "{kinds:?}");
}

#[test]
fn one_process_writes_to_a_file() {
    let (_folder, path) = folder();
    let (audit, _) = open(&written(&path)).unwrap();
    let error = open(&written(&path)).unwrap_err();
    assert!(matches!(error, AuditError::Locked { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "audit: {}: another process writes to this file",
            path.display()
        )
    );
    drop(audit);
    again(&written(&path));
}

#[test]
fn the_lock_stays_over_rotation_and_reopening() {
    let (folder, path) = folder();
    let config = config::Audit {
        rotate_at: Some(1000),
        ..written(&path)
    };
    let (audit, _) = open(&config).unwrap();
    work(&audit, 20);
    assert!(!closed_files(&path).unwrap().is_empty());
    assert!(matches!(open(&config), Err(AuditError::Locked { .. })));
    fs::rename(&path, folder.path().join("moved")).unwrap();
    audit.reopen().unwrap();
    assert!(matches!(open(&config), Err(AuditError::Locked { .. })));
}

#[test]
fn reopening_follows_the_path() {
    for durability in [
        Durability::Strict,
        Durability::Written,
        Durability::Buffered,
    ] {
        let (folder, path) = folder();
        let target = AuditTarget::File(path.clone());
        let (audit, _) = open(&config(target, durability)).unwrap();
        decide(&audit, &permit()).unwrap();
        audit.reopen().unwrap(); // nothing was moved: the same file goes on
        await_lines(&path, 3);
        let moved = folder.path().join("moved.jsonl");
        fs::rename(&path, &moved).unwrap();
        decide(&audit, &deny()).unwrap();
        await_lines(&moved, 4);
        audit.reopen().unwrap();
        decide(&audit, &permit()).unwrap();
        audit.close();
        assert_eq!(kinds(&records(&moved)), ["Start", "Permit", "Deny"]);
        let all = chained(&[text_of(&moved), text_of(&path)]);
        assert_eq!(kinds(&all)[3..], ["Permit", "Stop"]);
        assert_gapless(&all);
    }
}

#[test]
fn early_refusals_above_the_rate_are_counted() {
    let (_folder, path) = folder();
    let config = config::Audit {
        refusals_per_second: 0,
        ..written(&path)
    };
    let (audit, metrics) = open(&config).unwrap();
    assert!(!audit.refused_early());
    for _ in 0..2 {
        assert!(!audit.refused_early_for(Early::Denied(Reason::AmbiguousRequest)));
    }
    audit.count_refused(Early::Parser);
    audit.close();
    let records = records(&path);
    let counts: Vec<(String, u64)> = records
        .iter()
        .flat_map(|record| match record {
            Record::Event(_, _, Event::Refusals { counts }) => counts.clone(),
            Record::Event(..) | Record::Decision(..) | Record::Outcome(..) => Vec::new(),
        })
        .map(|refusals| (refusals.cause.into_owned(), refusals.count))
        .collect();
    assert_eq!(
        counts,
        [
            ("ambiguous_request".to_owned(), 2),
            ("parser".to_owned(), 1),
            ("other".to_owned(), 1)
        ]
    );
    let text = metrics.text();
    assert!(text.contains("portcullis_refused_early_total{reason=\"ambiguous_request\"} 2\n"));
}

#[test]
fn the_rate_is_a_second_s() {
    let rate = Rate::new(2);
    let admitted: Vec<bool> = [0, 0, 0, 1, 1, 1, 0, 5, 5, 5]
        .into_iter()
        .map(|second| rate.admit_at(second))
        .collect();
    let expected = [
        true, true, false, true, true, false, false, true, true, false,
    ];
    assert_eq!(admitted, expected);
    assert!(!Rate::new(0).admit_at(9));
}

#[test]
fn a_file_that_can_t_be_opened_is_told_by_its_path() {
    let path = Path::new("/nowhere/audit.jsonl");
    let error = open(&written(path)).unwrap_err().to_string();
    assert_eq!(
        error,
        "audit: /nowhere/audit.jsonl: No such file or directory (os error 2)"
    );
}

#[test]
fn standard_output_is_a_sink() {
    let stdout = config(AuditTarget::Stdout, Durability::Written);
    // nothing is written to it: the test's own output stays as it is
    let sink = Sink::open(&stdout).unwrap();
    assert!(sink.readable().is_none());
}
