//! Logs that nobody touched, and what is told of them.

use super::*;

#[test]
fn an_untouched_log_is_whole_and_signed() {
    let log = Log::small();
    let folder = Folder::new();
    folder.put(&log.lines(), log.checkpoints.as_bytes());
    let report = folder.verify();
    assert_eq!(told(&report), [""; 0], "{:#?}", report.findings);
    assert_eq!(report.notes, [""; 0]);
    assert_eq!((report.records, report.span), (14, Some((1, 14))));
    let signed = SignedPart {
        checkpoints: 5,
        agree: 5,
        up_to: Some(14),
        ..SignedPart::default()
    };
    assert_eq!(report.signed, Some(signed));
    let unsigned = folder.verify_with(false);
    assert_eq!((told(&unsigned).len(), unsigned.signed), (0, None));
}

#[test]
fn what_is_not_signed_is_counted() {
    let mut log = Log::small();
    log.append("later");
    log.append("later");
    let folder = Folder::new();
    folder.put(&log.lines(), log.checkpoints.as_bytes());
    let signed = folder.verify().signed.unwrap();
    assert_eq!((signed.up_to, signed.after), (Some(14), 2));
    // its first records may be removed by retention; what the header says of them is vouched for
    fs::remove_file(folder.path(NAMES[0])).unwrap();
    let report = folder.verify();
    assert_eq!(told(&report), [""; 0]);
    assert_eq!(
        report.notes,
        [
            "the log begins with record 6: the ones before it are not here, as after retention; a checkpoint vouches for them",
            "1 checkpoints are older than the log's first file",
        ]
    );
    let signed = report.signed.unwrap();
    assert_eq!((signed.agree, signed.older), (4, 1));
}

#[test]
fn what_a_crash_leaves_is_no_finding() {
    let log = Log::small();
    let whole = log.lines();
    let folder = Folder::new();
    let last = &whole[2];
    let more = record(15, &log.state.prev, "torn");
    for cut in 1..more.len() {
        let torn = [&last[..], &more.as_bytes()[..cut]].concat();
        folder.put(
            &[whole[0].clone(), whole[1].clone(), torn],
            log.checkpoints.as_bytes(),
        );
        let report = folder.verify();
        assert_eq!(told(&report), [""; 0]);
        let note = format!(
            "the log ends in half a line of {cut} bytes, as a crash leaves it; it doesn't count"
        );
        assert_eq!(report.notes, [note]);
    }
    // a record that only lacks its line feed counts
    let unended = [&last[..], more.as_bytes()].concat();
    folder.put(
        &[whole[0].clone(), whole[1].clone(), unended],
        log.checkpoints.as_bytes(),
    );
    let report = folder.verify();
    assert_eq!((told(&report).len(), report.records), (0, 15));
    // a file that was begun, and a checkpoint that was
    let header = Segment::parse(log.files[2][0].as_bytes())
        .unwrap()
        .line()
        .unwrap();
    for cut in 0..header.len() {
        folder.write("audit.jsonl", &header.as_bytes()[..cut]);
        let signed = log.checkpoints.match_indices("\n\n").nth(5).unwrap().0 + 2;
        folder.write("audit.checkpoints", &log.checkpoints.as_bytes()[..signed]);
        let report = folder.verify();
        assert_eq!(told(&report), [""; 0]);
        assert_eq!(report.notes.len(), 1);
    }
}

#[test]
fn half_a_checkpoint_is_no_finding() {
    let log = Log::small();
    let folder = Folder::new();
    folder.put(&log.lines(), b"");
    let third = log.checkpoints.match_indices("\n\n").nth(5).unwrap().0 + 2;
    for cut in third..log.checkpoints.len() {
        folder.write("audit.checkpoints", &log.checkpoints.as_bytes()[..cut]);
        let report = folder.verify();
        assert_eq!(told(&report), [""; 0], "{cut}");
    }
}

#[test]
fn logs_of_any_length_and_rotation() {
    let folder = Folder::new();
    for length in 0..70 {
        let mut log = Log::new();
        for seq in 0..length {
            log.append("x");
            if seq % 7 == 3 {
                log.rotate();
            }
            if seq % 5 == 0 {
                log.sign();
            }
        }
        let files: Vec<PathBuf> = log
            .lines()
            .iter()
            .enumerate()
            .map(|(at, content)| {
                let name = format!("part{at}");
                folder.write(&name, content);
                folder.path(&name)
            })
            .collect();
        folder.write("audit.checkpoints", log.checkpoints.as_bytes());
        let mut shuffled = files.clone();
        shuffled.reverse();
        for files in [&files, &shuffled] {
            let report = folder.verify_files(files, true);
            assert_eq!(told(&report), [""; 0], "{length}: {:?}", report.findings);
            assert_eq!(report.records, length);
            assert_eq!(report.signed.unwrap().not_compared, 0);
        }
    }
}

#[test]
fn a_node_may_be_given_another_name() {
    let folder = Folder::new();
    for (what, changes, expected) in [
        (
            "within a file",
            &[(3, "n2")][..],
            &[r#"from record 3 on the node is called "n2""#][..],
        ),
        (
            "at a file's beginning",
            &[(6, "n2")],
            &[r#"from record 6 on the node is called "n2""#],
        ),
        (
            "at the end",
            &[(14, "n2")],
            &[r#"from record 14 on the node is called "n2""#],
        ),
        (
            "there and back",
            &[(8, "\u{202e}n\"2"), (13, "n1")],
            &[
                r#"from record 8 on the node is called "\u{202e}n\"2""#,
                r#"from record 13 on the node is called "n1""#,
            ],
        ),
    ] {
        let log = Log::named(|seq| {
            let change = changes.iter().rev().find(|(from, _)| *from <= seq);
            change.map_or("n1", |(_, name)| name)
        });
        for cut in 0..3 {
            folder.put(&log.lines(), log.checkpoints.as_bytes());
            for name in &NAMES[..cut] {
                fs::remove_file(folder.path(name)).unwrap();
            }
            let report = folder.verify();
            assert_eq!(told(&report), [""; 0], "{what}: {:#?}", report.findings);
            let first = [1, 6, 10][cut];
            let later = changes
                .iter()
                .zip(expected)
                .filter(|((from, _), _)| *from >= first);
            // the first file's name is the first that is known
            let expected: Vec<&str> = later
                .filter(|((from, _), _)| *from > first || cut == 0)
                .map(|(_, note)| *note)
                .collect();
            let notes: Vec<&String> = report
                .notes
                .iter()
                .filter(|note| note.contains("is called"))
                .collect();
            assert_eq!(notes, expected, "{what}");
        }
    }
    // many changes are told up to a number
    let mut log = Log::new();
    for seq in 0..50 {
        log.name(if seq % 2 == 0 { "n1" } else { "n2" });
        log.append("x");
    }
    folder.put(&log.lines(), b"");
    let _ = fs::remove_file(folder.path(NAMES[0]));
    folder.write("audit.jsonl", &log.lines()[0]);
    let _ = fs::remove_file(folder.path(NAMES[1]));
    let report = folder.verify_with(false);
    assert_eq!(told(&report), [""; 0]);
    assert_eq!(report.notes.len(), 21);
    assert_eq!(report.notes[20], "and 29 more changes of the node's name");
}

#[test]
fn a_new_name_s_first_record_counts_without_its_line_feed() {
    let mut log = Log::small();
    log.name("n2");
    log.append("later");
    let [one, two, mut three] = log.lines().try_into().unwrap();
    three.pop();
    let folder = Folder::new();
    folder.put(&[one, two, three], log.checkpoints.as_bytes());
    let report = folder.verify();
    assert_eq!((told(&report).len(), report.records), (0, 15));
}

#[test]
fn a_header_is_of_the_node_that_wrote_the_next_record() {
    // written by a process that ended before it wrote a record: the next one has another name
    let mut log = Log::small();
    log.rotate();
    log.name("n2");
    log.append("later");
    let folder = Folder::new();
    let paths: Vec<PathBuf> = log
        .lines()
        .iter()
        .enumerate()
        .map(|(at, content)| {
            folder.write(&format!("p{at}"), content);
            folder.path(&format!("p{at}"))
        })
        .collect();
    folder.write("audit.checkpoints", log.checkpoints.as_bytes());
    for files in [&paths[..], &paths[3..]] {
        let report = folder.verify_files(files, true);
        assert_eq!(told(&report), [""; 0], "{:#?}", report.findings);
    }
    // any other was put there
    for (file, from) in [(0, "p0"), (1, "p1"), (3, "p3")] {
        let mut bent = log.clone();
        bent.files[file][0] = bent.files[file][0].replacen("\"n1\"", "\"n3\"", 1);
        folder.write(from, &bent.lines()[file]);
        let report = folder.verify_files(&paths, true);
        assert_eq!(
            told(&report),
            [format!("header {from}:1")],
            "{:#?}",
            report.findings
        );
        assert!(
            report.findings[0]
                .text
                .starts_with("it names another node than record ")
        );
        folder.write(from, &log.lines()[file]);
    }
}

/// A file that is checked is the one that was there, whatever becomes of its name.
#[test]
fn a_log_that_lives_meanwhile_is_whole() {
    let log = Log::small();
    let lines = log.lines();
    for remove in [false, true] {
        let folder = Folder::new();
        folder.put(&lines, log.checkpoints.as_bytes());
        let name = |seq: u64| folder.path(&format!("audit.jsonl.{seq:016}"));
        let mut changed = false;
        let mut change = |_| {
            if std::mem::replace(&mut changed, true) {
                return;
            }
            fs::write(
                folder.path("audit.jsonl.0000000000000001.gz"),
                gzip(&lines[0]),
            )
            .unwrap();
            fs::remove_file(name(1)).unwrap();
            fs::rename(folder.path("audit.jsonl"), name(10)).unwrap();
            let mut later = log.clone();
            later.rotate();
            later.append("later");
            later.sign();
            folder.write("audit.jsonl", later.lines().last().unwrap());
            folder.write("audit.checkpoints", later.checkpoints.as_bytes());
            if remove {
                fs::remove_file(folder.path("audit.jsonl.0000000000000001.gz")).unwrap();
                fs::remove_file(folder.path(NAMES[1])).unwrap();
            }
        };
        let key = Verifier::parse(&folder.key).unwrap();
        let checkpoints = folder.path("audit.checkpoints");
        let trusted = Trusted {
            key: &key,
            checkpoints: &checkpoints,
        };
        let path = folder.path("audit.jsonl");
        let report = verify_log(&path, Some(trusted), &mut change).unwrap();
        assert!(changed);
        assert_eq!(told(&report), [""; 0], "{:#?}", report.findings);
        assert_eq!((report.span, report.files.len()), (Some((1, 14)), 3));
        // and as it is now
        let report = verify_log(&path, Some(trusted), &mut |_| {}).unwrap();
        assert_eq!(told(&report), [""; 0], "{:#?}", report.findings);
        assert_eq!(report.span, Some((if remove { 10 } else { 1 }, 15)));
    }
}
