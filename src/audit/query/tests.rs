//! Lines told apart, records found, and what isn't one counted.

use super::*;

fn decision(seq: u64, verdict: &str, more: &str) -> String {
    let id = Uuid::from_u128(seq.into());
    format!(
        r#"{{"v":1,"kind":"decision","node":"n1","seq":{seq},"id":"{id}","at":"2026-11-21T09:00:00.000000Z","decision":"{verdict}"{more}}}"#
    )
}

fn outcome(seq: u64, of: u64) -> String {
    let id = Uuid::from_u128(of.into());
    format!(
        r#"{{"v":1,"kind":"outcome","node":"n1","seq":{seq},"id":"{id}","at":"2026-11-21T09:00:01.000000Z","end":"complete","status":200,"bytes":1,"request_bytes":0}}"#
    )
}

fn numbers(query: &mut Query<'_>, log: &str) -> (Vec<u64>, Tally) {
    let (mut seqs, mut tally) = (Vec::new(), Tally::default());
    query
        .run(&mut log.as_bytes(), &mut tally, |found| {
            seqs.push(found.view.seq);
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    (seqs, tally)
}

#[test]
fn what_is_no_record_is_counted() {
    let half = |line: &str| line.split_at(40).0.to_owned();
    let header = r#"{"v":1,"kind":"segment","node":"n1","seq":0,"size":0,"prev":"00","tree":[]}"#;
    let good = decision(1, "permit", "");
    let found = vec![1];
    for (log, seqs, unreadable, first, later, half) in [
        (format!("{header}\n{good}\n"), &found, 0, None, None, false),
        // it lacks only its line feed
        (good.clone(), &found, 0, None, None, false),
        (
            format!("{good}\n{}", half(&good)),
            &found,
            0,
            None,
            None,
            true,
        ),
        (format!("{good}\n\n"), &found, 1, Some(2), None, false),
        (
            format!("junk\n{good}\nmore\n"),
            &found,
            2,
            Some(1),
            None,
            false,
        ),
        (
            format!("\u{feff}{good}\n{good}\n"),
            &found,
            1,
            Some(1),
            None,
            false,
        ),
        (
            good.replace("\"v\":1", "\"v\":2") + "\n",
            &vec![],
            1,
            Some(1),
            Some(2),
            false,
        ),
        (
            good.replace("decision\",", "other\",") + "\n",
            &vec![],
            1,
            Some(1),
            None,
            false,
        ),
        // a key twice has two readings
        (
            good.replace("\"v\":1", "\"v\":1,\"v\":1") + "\n",
            &vec![],
            1,
            Some(1),
            None,
            false,
        ),
        (
            good.replace("permit", "permit\",\"decision\":\"deny") + "\n",
            &vec![],
            1,
            Some(1),
            None,
            false,
        ),
        // somebody else wrote it, and it is a record
        (
            good.replace(':', ": ").replace("09: 00: 00", "09:00:00") + " \n",
            &found,
            0,
            None,
            None,
            false,
        ),
    ] {
        let filter = Filter::default();
        let (came, tally) = numbers(&mut Query::new(&filter), &log);
        assert_eq!(&came, seqs, "{log}");
        let told = (
            tally.unreadable,
            tally.first_unreadable,
            tally.later,
            tally.half,
        );
        assert_eq!(told, (unreadable, first, later, half), "{log}");
    }
    let filter = Filter::default();
    let mut tally = Tally::default();
    let log = [b"\xff\xfe\n".as_slice(), good.as_bytes()].concat();
    let mut any = 0;
    let counted = |_: Found<'_>| {
        any += 1;
        Ok(ControlFlow::Continue(()))
    };
    Query::new(&filter)
        .run(&mut log.as_slice(), &mut tally, counted)
        .unwrap();
    assert_eq!((any, tally.unreadable), (1, 1));
}

#[test]
fn a_record_that_another_tool_wrote_anew_is_found_by_its_value() {
    let ours = decision(1, "deny", r#","grant":"g-1","principal":{"agent":"é"}"#);
    let theirs = [
        ours.replace("\":", "\": "),
        ours.replace("{\"v\":1,", "{ \"v\":1,")
            .replace("é", "\\u00e9"),
        format!(" {ours}\t"),
    ];
    let filter = Filter::default()
        .with(Field::Grant, &["g-1".into()])
        .with(Field::Agent, &["é".into()]);
    for log in theirs.iter().chain([&ours]) {
        assert_eq!(numbers(&mut Query::new(&filter), log).0, [1], "{log}");
    }
    let filter = Filter::default().with(Field::Grant, &["g-2".into()]);
    assert_eq!(numbers(&mut Query::new(&filter), &ours).0, [0; 0]);
}

#[test]
fn outcomes_come_with_their_decisions() {
    let log = [
        decision(1, "permit", r#","route":"a""#),
        decision(2, "permit", r#","route":"b""#),
        decision(3, "deny", r#","route":"a""#),
        outcome(4, 2),
        outcome(5, 1),
        decision(6, "permit", r#","route":"a""#),
        outcome(7, 1),
        outcome(8, 6),
    ]
    .join("\n");
    let a = Filter::default().with(Field::Route, &["a".into()]);
    let all = Filter::default();
    let query = |filter| Query::new(filter).with_outcomes();
    for (mut query, expected) in [
        (Query::new(&a), &[1, 3, 6][..]),
        (query(&a), &[1, 3, 5, 6, 8]),
        // outcomes don't count, and are waited for
        (query(&a).first(1), &[1, 5]),
        (query(&a).first(2), &[1, 3, 5]),
        (Query::new(&a).first(2), &[1, 3]),
        (query(&all), &[1, 2, 3, 4, 5, 6, 7, 8]),
        (query(&all).first(2), &[1, 2, 4, 5]),
    ] {
        assert_eq!(numbers(&mut query, &log).0, expected, "{query:?}");
    }
    // over several files
    let (one, two) = log.split_once("{\"v\":1,\"kind\":\"outcome\"").unwrap();
    let mut query = query(&a).first(1);
    assert_eq!(numbers(&mut query, one).0, [1]);
    assert!(!query.is_over());
    let two = format!("{{\"v\":1,\"kind\":\"outcome\"{two}");
    assert_eq!(numbers(&mut query, &two).0, [5]);
    assert!(query.is_over());
}

/// Gives out a few bytes at a time.
struct Slow<'b>(&'b [u8], usize);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let many = self.1.min(to.len());
        self.0.read(to.get_mut(..many).unwrap())
    }
}

#[test]
fn lines_are_the_same_however_they_come() {
    let long = "x".repeat(CHUNK + 17);
    let text = format!("a\n\n{long}\nb\nlast");
    let expected = [
        ("a", true),
        ("", true),
        (&long, true),
        ("b", true),
        ("last", false),
    ];
    for step in [1, 2, 3, 1_000, CHUNK, usize::MAX] {
        let mut input = Slow(text.as_bytes(), step);
        let mut lines = Lines::default();
        for (text, ended) in expected {
            let line = lines.next(&mut input).unwrap().unwrap();
            assert!(
                line.text == text.as_bytes() && line.ended == ended,
                "{step}"
            );
        }
        assert!(lines.next(&mut input).unwrap().is_none(), "{step}");
        assert!(lines.next(&mut input).unwrap().is_none(), "{step}");
        assert_eq!(lines.count(), 5, "{step}");
    }
}

#[test]
fn of_a_line_without_end_little_is_kept() {
    let mut input = io::repeat(b'x').take(64 << 20).chain(&b"\nnext\n"[..]);
    let mut lines = Lines::default();
    let line = lines.next(&mut input).unwrap().unwrap();
    assert!(line.text.is_empty() && line.ended);
    assert_eq!(lines.next(&mut input).unwrap().unwrap().text, b"next");
    assert!(
        lines.buffer.len() <= 4 * LINE_BYTES,
        "{}",
        lines.buffer.len()
    );
}
