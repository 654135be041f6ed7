//! Receivers that are away, busy, slow, broken or strict.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use portcullis::config::Ship;

use super::log::Log;
use super::receiver::{PATIENCE, Receiver, Reply, body, logs, message, seq, status};
use super::{counted, section, ship, ship_by};

/// Each of these makes one try fail; then all goes out, once.
#[test]
fn what_fails_is_sent_again() {
    let redirect = "location: http://127.0.0.1:1/v1/logs\r\n";
    let slow = "HTTP/1.1 200 OK\r\ncontent-le";
    let huge_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    for (reply, cause) in [
        (status(429, ""), "busy"),
        (status(502, ""), "busy"),
        (status(503, "retry-after: 0\r\n"), "busy"),
        (status(504, "retry-after: soon\r\n"), "busy"),
        (status(307, redirect), "status"),
        (status(308, redirect), "status"),
        (status(401, ""), "status"),
        (status(404, ""), "status"),
        (status(500, ""), "status"),
        (Reply::Close, "protocol"),
        (Reply::Say("SSH-2.0-OpenSSH_9.2\r\n".into()), "protocol"),
        (Reply::Say(huge_head), "protocol"),
        (Reply::Say(slow.into()), "timeout"),
        (Reply::Hang, "timeout"),
    ] {
        let mut log = Log::new();
        log.denials(3);
        let receiver = Receiver::taking();
        receiver.next([reply.clone()]);
        let timeout = match cause {
            "timeout" => Duration::from_millis(100),
            _ => PATIENCE,
        };
        let running = ship_by(
            &log,
            Ship {
                timeout,
                ..section(&receiver)
            },
        );
        receiver.records(1..=3);
        log.denials(1);
        receiver.records(1..=4);
        let metrics = running.finish();
        counted(
            &metrics,
            &[
                &format!(r#"portcullis_ship_failures_total{{cause="{cause}"}} 1"#),
                r#"portcullis_ship_records_total{result="accepted"} 4"#,
                r#"portcullis_ship_records_total{result="passed_over"} 0"#,
                r#"portcullis_ship_records_total{result="lost"} 0"#,
            ],
        );
    }
}

#[test]
fn a_receiver_that_is_away_is_waited_for() {
    let mut log = Log::new();
    log.denials(2);
    let receiver = Receiver::taking();
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = away.local_addr().unwrap();
    drop(away);
    let running = ship_by(
        &log,
        Ship {
            endpoint: format!("http://{address}/").parse().unwrap(),
            ..section(&receiver)
        },
    );
    running.counts(r#"portcullis_ship_failures_total{cause="connect"} 3"#);
    log.denials(2);
    running.counts("portcullis_ship_lag_records 4");
    running.kill();
    let running = ship(&log, &receiver);
    receiver.records(1..=4);
    running.counts("portcullis_ship_lag_records 0");
}

/// The answers to these say that it was taken, whatever comes after.
#[test]
fn what_was_taken_is_taken() {
    let mut huge = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 1000000\r\n\r\n".to_vec();
    huge.resize(huge.len() + 1_000_000, b'x');
    let json = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        .to_vec();
    let garbage = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 3\r\n\r\n\xff\xff\xff".to_vec();
    let encoded = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx".to_vec();
    let broken_off = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".to_vec();
    let accepted = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec();
    for reply in [huge, json, garbage, encoded, broken_off, accepted] {
        let mut log = Log::new();
        log.denials(1);
        let receiver = Receiver::taking();
        receiver.next([Reply::TakeAndSay(reply)]);
        let running = ship_by(
            &log,
            Ship {
                timeout: Duration::from_secs(1),
                ..section(&receiver)
            },
        );
        receiver.records([1]);
        running.counts(r#"portcullis_ship_records_total{result="accepted"} 1"#);
        log.denials(1);
        receiver.records([1, 2]);
        let metrics = running.finish();
        counted(
            &metrics,
            &[r#"portcullis_ship_records_total{result="accepted"} 2"#],
        );
        assert!(!metrics.text().contains("portcullis_ship_failures_total"));
    }
}

/// A connection that the receiver closes after its answer is no failure.
#[test]
fn a_connection_that_was_closed_while_idle_is_replaced() {
    let mut log = Log::new();
    let receiver = Receiver::start(|_| Reply::TakeAndLeave);
    let running = ship(&log, &receiver);
    for number in 1..=4 {
        log.denials(1);
        receiver.records(1..=number);
    }
    let metrics = running.finish();
    counted(
        &metrics,
        &[r#"portcullis_ship_records_total{result="accepted"} 4"#],
    );
    assert!(
        !metrics.text().contains("portcullis_ship_failures_total"),
        "{}",
        metrics.text()
    );
}

#[test]
fn a_connection_is_used_again() {
    let mut log = Log::new();
    let receiver = Receiver::taking();
    let running = ship(&log, &receiver);
    for number in 1..=4 {
        log.denials(1);
        receiver.records(1..=number);
    }
    running.finish();
    let taken = receiver.until("requests", |taken| !taken.is_empty());
    assert!(taken.iter().all(|request| request.connection == 0));
}

/// One that won't be had is passed over and counted, and the others go out, each once.
#[test]
fn a_record_that_is_refused_is_passed_over() {
    for refusal in [400, 413, 422] {
        let mut log = Log::new();
        for number in 1..=23 {
            let poison = matches!(number, 7 | 8 | 20);
            log.denial(if poison { "/poison" } else { "/fine" }, "");
        }
        let receiver = Receiver::start(move |request| {
            match request
                .logs
                .iter()
                .any(|record| body(record).contains("poison"))
            {
                true => status(refusal, ""),
                false => Reply::Take,
            }
        });
        let running = ship(&log, &receiver);
        let numbers: Vec<u64> = (1..=23).filter(|n| !matches!(n, 7 | 8 | 20)).collect();
        receiver.records(numbers.iter().copied());
        log.denials(1);
        receiver.records(numbers.iter().copied().chain([24]));
        let metrics = running.finish();
        counted(
            &metrics,
            &[
                r#"portcullis_ship_records_total{result="accepted"} 21"#,
                r#"portcullis_ship_records_total{result="passed_over"} 3"#,
                "portcullis_ship_lag_records 0",
            ],
        );
    }
}

/// What is left of a batch that was refused in parts isn't sent from its beginning when one of them fails.
#[test]
fn a_batch_in_parts_goes_on_where_it_was() {
    let mut log = Log::new();
    log.denials(4);
    let receiver = Receiver::taking();
    receiver.next([status(413, ""), Reply::Take, status(503, ""), Reply::Close]);
    let running = ship(&log, &receiver);
    receiver.records(1..=4);
    running.finish();
}

#[test]
fn what_was_taken_and_not_kept_is_counted() {
    let mut log = Log::new();
    log.denials(5);
    let receiver = Receiver::taking();
    let partial_success = Some(ExportLogsPartialSuccess {
        rejected_log_records: 2,
        error_message: "too old\u{1b}[2J".to_owned(),
    });
    receiver.next([Reply::TakeAndSay(message(&ExportLogsServiceResponse {
        partial_success,
    }))]);
    let running = ship(&log, &receiver);
    receiver.records(1..=5);
    let metrics = running.finish();
    counted(
        &metrics,
        &[
            r#"portcullis_ship_records_total{result="accepted"} 3"#,
            r#"portcullis_ship_records_total{result="rejected"} 2"#,
        ],
    );
}

/// Taken, and the answer lost: sent again, for nobody can know.
#[test]
fn an_answer_that_is_lost_makes_a_second_time() {
    let mut log = Log::new();
    log.denials(2);
    let receiver = Receiver::taking();
    receiver.next([Reply::TakeAndClose]);
    let running = ship(&log, &receiver);
    receiver.records([1, 2, 1, 2]);
    running.finish();
}

#[test]
fn the_end_sends_what_is_there() {
    let mut log = Log::new();
    let receiver = Receiver::taking();
    let running = ship_by(
        &log,
        Ship {
            every: PATIENCE,
            batch: 2,
            ..section(&receiver)
        },
    );
    log.denials(7);
    let metrics = running.finish();
    let taken = receiver.until("records", |taken| logs(taken).len() >= 7);
    assert_eq!(
        logs(&taken).iter().map(seq).collect::<Vec<_>>(),
        (1..=7).collect::<Vec<_>>()
    );
    counted(&metrics, &["portcullis_ship_lag_records 0"]);
}

#[test]
fn the_end_waits_for_nobody() {
    let mut log = Log::new();
    log.denials(1);
    let receiver = Receiver::taking();
    receiver.next([
        status(503, "retry-after: 3600\r\n"),
        status(503, "retry-after: 3600\r\n"),
    ]);
    let running = ship(&log, &receiver);
    receiver.asked(1);
    running.finish();
    // and where it hangs, both ends come all the same
    for kill in [true, false] {
        receiver.next([Reply::Hang]);
        let running = ship(&log, &receiver);
        receiver.asked(3);
        match kill {
            true => running.kill(),
            false => running.finish(),
        };
    }
    let running = ship(&log, &receiver);
    receiver.records([1]);
    running.finish();
}
