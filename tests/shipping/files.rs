//! The log's files under the shipper: rotated, compressed, removed, cut; and where it goes on after a restart.

use std::fs;

use portcullis::config::Ship;

use super::log::{Log, gzip};
use super::receiver::{Receiver, Reply, logs, seq, text};
use super::{counted, section, ship, ship_by};

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut log = Log::new();
    log.denials(3);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records(1..=3);
    running.finish();
    log.denials(2);
    let running = ship(&log, &receiver);
    receiver.records(1..=5);
    running.finish();
    // and nothing more where there is nothing more
    let running = ship(&log, &receiver);
    running.counts("portcullis_ship_lag_records 0");
    running.finish();
    receiver.records(1..=5);
}

#[test]
fn a_crash_loses_nothing() {
    let mut log = Log::new();
    let receiver = Receiver::taking();
    for round in 0..20u64 {
        log.denials(10);
        if round % 5 == 4 {
            log.rotate();
        }
        let running = ship_by(
            &log,
            Ship {
                batch: 3,
                ..section(&receiver)
            },
        );
        receiver.until("the next", |taken| {
            logs(taken).iter().any(|record| seq(record) > round * 10)
        });
        running.kill();
    }
    let running = ship(&log, &receiver);
    receiver.until("the last", |taken| {
        logs(taken).iter().any(|record| seq(record) == 200)
    });
    running.finish();
    let taken = receiver.until("all", |_| true);
    let mut numbers: Vec<u64> = logs(&taken).iter().map(seq).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
}

#[test]
fn rotation_is_followed() {
    let mut log = Log::new();
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    for number in 1..=5 {
        log.denials(1);
        // sometimes it is behind, and compression is before it
        if number % 2 == 0 {
            receiver.records(1..=number);
        }
        let closed = log.rotate();
        if number % 3 == 0 {
            gzip(&closed);
        }
    }
    log.denials(1);
    receiver.records(1..=6);
    let metrics = running.finish();
    counted(
        &metrics,
        &[r#"portcullis_ship_records_total{result="lost"} 0"#],
    );
}

#[test]
fn files_that_were_rotated_while_it_was_away_are_read() {
    for compressed in [false, true] {
        let mut log = Log::new();
        log.denials(3);
        let receiver = Receiver::taking();
        let running = ship(&log, &receiver);
        receiver.records(1..=3);
        running.finish();
        for _ in 0..3 {
            log.denials(2);
            let closed = log.rotate();
            // what is unfinished, and what is none of the log's
            let named = closed.display();
            for ending in [".gz.tmp", ".bak"] {
                fs::write(format!("{named}{ending}"), "not a record\n").unwrap();
            }
            if compressed {
                gzip(&closed);
            }
        }
        log.denials(1);
        let running = ship(&log, &receiver);
        receiver.records(1..=10);
        let metrics = running.finish();
        counted(
            &metrics,
            &[
                r#"portcullis_ship_records_total{result="lost"} 0"#,
                r#"portcullis_ship_records_total{result="unreadable"} 0"#,
            ],
        );
    }
}

/// A plain file counts before its compressed twin: compression was interrupted, or has just ended.
#[test]
fn a_file_that_is_there_twice_is_read_once() {
    let mut log = Log::new();
    log.denials(3);
    let closed = log.rotate();
    let plain = fs::read(&closed).unwrap();
    gzip(&closed);
    fs::write(&closed, plain).unwrap();
    log.denials(1);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records(1..=4);
    running.finish();
}

#[test]
fn what_was_removed_before_it_was_shipped_is_counted() {
    let mut log = Log::new();
    log.denials(3);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records(1..=3);
    running.finish();
    log.denials(2);
    let first = log.rotate();
    log.denials(4);
    let second = log.rotate();
    log.denials(1);
    fs::remove_file(first).unwrap();
    fs::remove_file(second).unwrap();
    let running = ship(&log, &receiver);
    receiver.records([1, 2, 3, 10]);
    let metrics = running.finish();
    counted(
        &metrics,
        &[r#"portcullis_ship_records_total{result="lost"} 6"#],
    );
}

#[test]
fn a_removed_file_that_is_open_is_read_to_its_end() {
    let mut log = Log::new();
    log.denials(1);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records([1]);
    fs::remove_file(&log.path).unwrap();
    log.denials(1);
    receiver.records([1, 2]);
    running.finish();
}

/// logrotate gives names that tell nothing; what is open is read to its end, also what comes late.
#[test]
fn a_file_that_was_moved_away_is_read_to_its_end() {
    let mut log = Log::new();
    log.denials(1);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records([1]);
    let moved = log.path.with_file_name("audit.jsonl.1");
    fs::rename(&log.path, &moved).unwrap();
    fs::write(&log.path, "").unwrap();
    log.denials(1);
    receiver.records([1, 2]);
    fs::remove_file(&log.path).unwrap();
    fs::rename(&moved, &log.path).unwrap();
    log.moved();
    log.denials(1);
    let metrics = {
        receiver.records([1, 2, 3]);
        running.finish()
    };
    counted(
        &metrics,
        &[r#"portcullis_ship_records_total{result="lost"} 0"#],
    );
}

#[test]
fn another_log_is_shipped_from_its_beginning() {
    let mut log = Log::new();
    log.denials(3);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records(1..=3);
    // under its hands, and while it is away
    log.begin_anew();
    log.denial("/other", "");
    receiver.records([1, 2, 3, 1]);
    running.finish();
    log.begin_anew();
    log.denial("/yet/another", "");
    log.denials(4);
    let running = ship(&log, &receiver);
    receiver.records([1, 2, 3, 1, 1, 2, 3, 4, 5]);
    running.finish();
}

/// After power was lost: the file ends before what was shipped, and goes on with other records.
#[test]
fn a_log_whose_end_was_lost_is_shipped_from_its_last_file() {
    let mut log = Log::new();
    log.denials(2);
    log.rotate();
    log.denials(3);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records(1..=5);
    running.finish();
    let text = fs::read_to_string(&log.path).unwrap();
    let last = text.lines().last().unwrap().len() as u64 + 1;
    log.cut(last);
    log.seq -= 1;
    log.denial("/other", "");
    let running = ship(&log, &receiver);
    receiver.records([1, 2, 3, 4, 5, 3, 4, 5]);
    running.finish();
}

/// Half a line isn't shipped, nor is what takes its place lost.
#[test]
fn a_line_is_shipped_once_it_is_whole() {
    let mut log = Log::new();
    log.denials(1);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records([1]);
    let torn = r#"{"v":1,"kind":"decision","node":"n1","seq":2,"torn":"#;
    log.raw(torn);
    running.counts("portcullis_ship_lag_records 0");
    log.cut(torn.len() as u64);
    log.denials(2);
    receiver.records(1..=3);
    let metrics = running.finish();
    counted(
        &metrics,
        &[r#"portcullis_ship_records_total{result="unreadable"} 0"#],
    );
}

#[test]
fn a_file_that_was_emptied_in_place_is_read_anew() {
    let mut log = Log::new();
    log.denials(3);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records(1..=3);
    log.cut(fs::metadata(&log.path).unwrap().len());
    log.denial("/4", "");
    receiver.records(1..=4);
    running.finish();
    log.denials(1);
    let running = ship(&log, &receiver);
    receiver.records(1..=5);
    running.finish();
}

#[test]
fn lines_that_are_no_records_are_counted() {
    let mut log = Log::new();
    log.denials(1);
    log.raw("no record\n\n{\"kind\":\"decision\"}\n");
    log.raw(&format!("{}\n", "x".repeat(5 << 20)));
    log.denials(1);
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records([1, 2]);
    let metrics = running.finish();
    counted(
        &metrics,
        &[r#"portcullis_ship_records_total{result="unreadable"} 4"#],
    );
}

#[test]
fn a_compressed_file_that_is_broken_is_left() {
    let mut log = Log::new();
    log.denials(2);
    let closed = log.rotate();
    log.denials(2);
    log.rotate();
    log.denials(1);
    fs::write(format!("{}.gz", closed.display()), b"\x1f\x8bno gzip").unwrap();
    fs::remove_file(closed).unwrap();
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    receiver.records([3, 4, 5]);
    let metrics = running.finish();
    counted(
        &metrics,
        &[r#"portcullis_ship_records_total{result="unreadable"} 1"#],
    );
}

#[test]
fn a_cursor_that_cannot_be_read_is_none() {
    for broken in ["", "{", r#"{"v":2}"#, "\0\0\0\0"] {
        let mut log = Log::new();
        log.denials(2);
        let receiver = Receiver::taking();
        let running = ship(&log, &receiver);
        receiver.records([1, 2]);
        running.finish();
        fs::write(log.cursor(), broken).unwrap();
        let running = ship(&log, &receiver);
        receiver.records([1, 2, 1, 2]);
        running.finish();
    }
}

#[test]
fn where_the_cursor_cannot_be_written_it_is_told() {
    let mut log = Log::new();
    log.denials(2);
    fs::create_dir(log.path.with_file_name("audit.jsonl.shipped.tmp")).unwrap();
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    running.counts(r#"portcullis_ship_failures_total{cause="cursor"} 2"#);
    // what was taken isn't sent again for that
    receiver.records([1, 2]);
    fs::remove_dir(log.path.with_file_name("audit.jsonl.shipped.tmp")).unwrap();
    log.denials(1);
    receiver.records([1, 2, 3]);
    running.finish();
}

/// A permit whose record went out before a crash, and whose outcome came after it, is one whole span.
#[test]
fn open_spans_outlive_a_crash() {
    const BEGUN: &str = r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331","sampled":true,"#;
    let mut log = Log::new();
    let over = log.permit(BEGUN);
    let first = log.permit(BEGUN);
    log.outcome(over, "complete", r#","status":200"#);
    log.rotate();
    let second = log.permit(BEGUN);
    let receiver = Receiver::start(|_| Reply::Take);
    let running = ship(&log, &receiver);
    receiver.records(1..=4);
    receiver.spans(1);
    running.finish();
    log.rotate();
    log.outcome(second, "complete", r#","status":200"#);
    log.outcome(first, "cut", r#","status":201"#);
    let running = ship(&log, &receiver);
    let spans = receiver.spans(3);
    let records = receiver.records(1..=6);
    running.finish();
    let status = spans
        .iter()
        .map(|span| text(&span.attributes, "http.response.status_code"));
    assert_eq!(status.collect::<Vec<_>>(), ["200", "200", "201"]);
    let user = spans.iter().map(|span| text(&span.attributes, "user.id"));
    assert_eq!(user.collect::<Vec<_>>(), ["ann"; 3]);
    // the outcome's record knows its trace as well
    assert_eq!(records[5].trace_id.len(), 16);
}

/// What is read from a pipe is gone for its reader.
#[test]
fn a_pipe_is_left_alone() {
    let log = Log::new();
    fs::remove_file(&log.path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&log.path).status();
    assert!(made.unwrap().success());
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    running.counts(r#"portcullis_ship_failures_total{cause="read"} 2"#);
    running.finish();
}
