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
