//! Whole records removed, moved, doubled, forged: what is told of each, as data.

use super::*;

/// The small log's records as (file, line) in which they stand, and its contents with one thing done.
fn with(change: impl FnOnce(&mut Vec<Vec<String>>)) -> Vec<Vec<u8>> {
    let mut log = Log::small();
    change(&mut log.files);
    log.lines()
}

fn name((file, line): (usize, u64)) -> String {
    format!("f{}:{line}", file + 1)
}

fn slot(seq: u64) -> (usize, usize) {
    let (file, line) = Log::at(seq);
    (file, line as usize - 1)
}

#[test]
fn each_record_removed() {
    let log = Log::small();
    for seq in 1..=14 {
        let (file, at) = slot(seq);
        let contents = with(|files| {
            files[file].remove(at);
        });
        let expected = match seq {
            14 => "truncated f3:5 14-14".to_owned(),
            // told where the next one stands
            5 | 9 => format!("removed {} {seq}-{seq}", name(Log::at(seq + 1))),
            _ => format!("removed {} {seq}-{seq}", name(Log::at(seq))),
        };
        check(
            &format!("without {seq}"),
            &contents,
            &log.checkpoints,
            &[&expected],
        );
    }
}

#[test]
fn each_run_of_records_removed() {
    let log = Log::small();
    let folder = Folder::new();
    for first in 1..=14 {
        for last in first + 1..=14 {
            let contents = with(|files| {
                for seq in (first..=last).rev() {
                    let (file, at) = slot(seq);
                    files[file].remove(at);
                }
            });
            folder.put(&contents, log.checkpoints.as_bytes());
            let report = folder.verify();
            let gone: &[_] = match (first, last) {
                // the last file's header still says which were before it
                (..10, 14) => &[((first, 9), Kind::Removed), ((10, 14), Kind::Truncated)],
                (_, 14) => &[((first, 14), Kind::Truncated)],
                _ => &[((first, last), Kind::Removed)],
            };
            let mut all: Vec<_> = report
                .findings
                .iter()
                .map(|found| (found.records.unwrap(), found.kind))
                .collect();
            all.sort();
            assert_eq!(all, gone, "{first} to {last}: {:#?}", report.findings);
        }
    }
}

#[test]
fn each_pair_of_records_swapped() {
    let log = Log::small();
    let folder = Folder::new();
    for first in 1..=14 {
        for second in first + 1..=14 {
            let contents = with(|files| {
                let ((f, a), (g, b)) = (slot(first), slot(second));
                let one = files[f][a].clone();
                files[f][a] = std::mem::replace(&mut files[g][b], one);
            });
            folder.put(&contents, log.checkpoints.as_bytes());
            let report = folder.verify();
            let moved: Vec<_> = report
                .findings
                .iter()
                .filter_map(|found| found.records)
                .collect();
            for found in &report.findings {
                assert_eq!(
                    found.kind,
                    Kind::Reordered,
                    "{first}, {second}: {:#?}",
                    report.findings
                );
            }
            let names = |seq| moved.iter().any(|(from, to)| (*from..=*to).contains(&seq));
            match second - first {
                1 => assert!(names(first) ^ names(second), "{first}, {second}: {moved:?}"),
                // records 3 and 5 around record 4 may be 4 and one of them
                2 => assert_eq!(moved.len(), 2, "{first}, {second}: {moved:?}"),
                _ => assert!(
                    names(first) && names(second),
                    "{first}, {second}: {moved:?}"
                ),
            }
        }
    }
}

#[test]
fn each_record_doubled_at_each_place() {
    let log = Log::small();
    let folder = Folder::new();
    for seq in 1..=14 {
        for before in 1..=15 {
            let contents = with(|files| {
                let (f, a) = slot(seq);
                let copy = files[f][a].clone();
                let (g, b) = if before == 15 { (2, 6) } else { slot(before) };
                files[g].insert(b, copy);
            });
            folder.put(&contents, log.checkpoints.as_bytes());
            let report = folder.verify();
            let all: Vec<_> = report
                .findings
                .iter()
                .map(|found| (found.kind, found.records))
                .collect();
            assert_eq!(
                all,
                [(Kind::Inserted, Some((seq, seq)))],
                "{seq} before {before}: {:#?}",
                report.findings
            );
        }
    }
}

#[test]
fn each_record_forged_alone_is_changed() {
    let log = Log::small();
    for seq in 1..=14 {
        let (file, at) = slot(seq);
        let contents = with(|files| {
            files[file][at] = files[file][at].replace("what", "nothing");
        });
        let expected = format!("changed {} {seq}-{seq}", name(Log::at(seq)));
        let expected = match seq {
            // nothing follows it: only the checkpoint of 14 speaks of it
            14 => "changed f3:5 13-14",
            _ => &expected,
        };
        check(&format!("{seq}"), &contents, &log.checkpoints, &[expected]);
    }
}

#[test]
fn a_chain_that_was_made_anew_is_found_by_checkpoints() {
    let log = Log::small();
    for seq in 1..=14 {
        let forged = Log::of(|at| {
            if at == seq {
                "nothing happened"
            } else {
                "what happened"
            }
            .to_owned()
        });
        let expected = match seq {
            1..=3 => "changed f1:2 1-3",
            4..=5 => "changed f1:5 4-5",
            6..=9 => "changed f2:2 6-9",
            10..=12 => "changed f3:2 10-12",
            _ => "changed f3:5 13-14",
        };
        check(
            &format!("{seq}"),
            &forged.lines(),
            &log.checkpoints,
            &[expected],
        );
        // and is whole by itself
        check(&format!("{seq}"), &forged.lines(), "", &[]);
    }
}

#[test]
fn a_chain_that_was_made_anew_up_to_a_file_s_end() {
    let log = Log::small();
    let forged = Log::of(|at| {
        if at == 4 {
            "nothing happened"
        } else {
            "what happened"
        }
        .to_owned()
    });
    let [_, two, three] = log.lines().try_into().unwrap();
    let contents = [forged.lines()[0].clone(), two, three];
    // by the chain alone, the last record of the file isn't the one that the next speaks of
    let told = "changed f1:6 5-5";
    check("unsigned", &contents, "", &[told]);
    // but it was not the only one
    check(
        "signed after 5",
        &contents,
        &log.checkpoints,
        &["changed f1:5 4-5", told],
    );
    let halves: Vec<&str> = log.checkpoints.split_inclusive("\n\n").collect();
    let later = [&halves[..2], &halves[4..]].concat().concat();
    check(
        "signed after 3 and 9",
        &contents,
        &later,
        &["changed f1:5 4-5", told],
    );
}

#[test]
fn each_length_that_the_log_was_cut_to() {
    let log = Log::small();
    for length in 0..14_u64 {
        let contents = with(|files| {
            for seq in (length + 1..=14).rev() {
                let (file, at) = slot(seq);
                files[file].truncate(at);
            }
            // a file that was begun later wasn't there
            files.retain(|lines| lines.len() > 1 || length == 0);
            files.truncate(if length == 0 { 1 } else { 3 });
        });
        let folder = Folder::new();
        let paths: Vec<PathBuf> = contents
            .iter()
            .enumerate()
            .map(|(at, content)| {
                folder.write(&format!("p{at}"), content);
                folder.path(&format!("p{at}"))
            })
            .collect();
        folder.write("audit.checkpoints", log.checkpoints.as_bytes());
        let report = folder.verify_files(&paths, true);
        let all: Vec<_> = report
            .findings
            .iter()
            .map(|found| (found.kind, found.records))
            .collect();
        assert_eq!(all, [(Kind::Truncated, Some((length + 1, 14)))], "{length}");
    }
}

#[test]
fn files_removed_swapped_and_doubled() {
    let log = Log::small();
    let [one, two, three] = log.lines().try_into().unwrap();
    let folder = Folder::new();
    let put = |names: &[(&str, &[u8])]| {
        for name in NAMES.iter().chain(&["audit.jsonl.0000000000000006"]) {
            let _ = fs::remove_file(folder.path(name));
        }
        for (name, bytes) in names {
            folder.write(name, bytes);
        }
        folder.write("audit.checkpoints", log.checkpoints.as_bytes());
        folder.verify()
    };
    let packed = gzip(&two);
    let (a, b, c) = (NAMES[0], NAMES[1], NAMES[2]);
    let plain = "audit.jsonl.0000000000000006";
    for (what, files, expected) in [
        (
            "the middle",
            vec![(a, &one), (c, &three)],
            vec!["removed f3:2 6-9"],
        ),
        (
            "the last",
            vec![(a, &one), (b, &packed)],
            vec!["truncated f2:5 10-14"],
        ),
        ("the first", vec![(b, &packed), (c, &three)], vec![]),
        ("all but the last", vec![(c, &three)], vec![]),
        // a compressed file whose original is there doesn't count
        (
            "none",
            vec![(a, &one), (plain, &two), (b, &vec![0]), (c, &three)],
            vec![],
        ),
        (
            "names swapped",
            vec![(a, &two), (plain, &one), (c, &three)],
            vec!["reordered f1:1", "reordered audit.jsonl.0000000000000006:1"],
        ),
    ] {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (*name, bytes.as_slice()))
            .collect();
        let report = put(&files);
        assert_eq!(told(&report), expected, "{what}: {:#?}", report.findings);
    }
    // the same file twice
    folder.write("x", &one);
    folder.write("y", &one);
    folder.write("z", &two);
    let report = folder.verify_files(&["x", "y", "z"].map(|name| folder.path(name)), false);
    let all: Vec<_> = report
        .findings
        .iter()
        .map(|found| (found.kind, found.records))
        .collect();
    assert_eq!(
        all,
        [(Kind::Inserted, Some((1, 5)))],
        "{:#?}",
        report.findings
    );
}

#[test]
fn two_histories() {
    let mut log = Log::small();
    let fork = Log::of(|seq| {
        if seq < 8 {
            "what happened"
        } else {
            "otherwise"
        }
        .to_owned()
    });
    // both were signed, also for the same size
    let notes = |log: &Log, from: usize| {
        let at = log
            .checkpoints
            .match_indices("\n\n")
            .nth(2 * from - 1)
            .unwrap()
            .0
            + 2;
        log.checkpoints.get(at..).unwrap().to_owned()
    };
    let same = format!("{}{}", log.checkpoints, notes(&fork, 2));
    check(
        "signed twice",
        &log.lines(),
        &same,
        &[
            "forked audit.checkpoints:31",
            "forked audit.checkpoints:37",
            "forked audit.checkpoints:43",
        ],
    );
    let folder = Folder::new();
    folder.put(&log.lines(), same.as_bytes());
    let signed = folder.verify().signed.unwrap();
    assert_eq!(
        (signed.checkpoints, signed.agree, signed.disagree),
        (8, 5, 3)
    );
    // both were signed, for different sizes
    let other = Log::of(|seq| if seq < 8 { "what happened" } else { "a third" }.to_owned());
    let third = signer().sign(10, {
        let mut tree = crate::audit::tree::Tree::default();
        other
            .files
            .iter()
            .flat_map(|lines| &lines[1..])
            .take(10)
            .for_each(|line| tree.push(leaf(line.as_bytes())));
        tree.root()
    });
    let both = format!("{}{third}\n", log.checkpoints);
    check(
        "signed besides",
        &log.lines(),
        &both,
        &["forked f3:2 10-12"],
    );
    // two continuations side by side, without a key
    let folder = Folder::new();
    let paths: Vec<PathBuf> = log
        .lines()
        .iter()
        .chain(&fork.lines()[1..])
        .enumerate()
        .map(|(at, content)| {
            folder.write(&format!("p{at}"), content);
            folder.path(&format!("p{at}"))
        })
        .collect();
    let report = folder.verify_files(&paths, false);
    assert!(
        report
            .findings
            .iter()
            .any(|found| found.kind == Kind::Forked),
        "{:#?}",
        report.findings
    );
    log.append("later");
    assert_ne!(ZERO, log.state.prev);
}

#[test]
fn the_wrong_key() {
    let log = Log::small();
    let mut folder = Folder::new();
    folder.put(&log.lines(), log.checkpoints.as_bytes());
    for name in ["example.com/portcullis/n1", "example.com/other"] {
        folder.key = Signer::generate(name).unwrap().verifier().to_string();
        let report = folder.verify();
        assert_eq!(told(&report), ["wrong_key audit.checkpoints:1"]);
        assert_eq!(report.signed.unwrap().checkpoints, 0);
        assert!(
            report.findings[0].text.ends_with(", and 4 more after it"),
            "{:?}",
            report.findings
        );
    }
}
