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
