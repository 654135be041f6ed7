//! Logs that begin later than with their first record: what ties them to what was signed.

use super::*;

#[test]
fn a_log_that_begins_beyond_all_checkpoints() {
    let log = Log::small();
    let mut forged = Log::new();
    for _ in 0..40 {
        forged.append("forged");
    }
    forged.rotate();
    let header = forged.files.pop().unwrap();
    forged.files = vec![header];
    for _ in 0..3 {
        forged.append("forged");
    }
    let halves: Vec<&str> = log.checkpoints.split_inclusive("\n\n").collect();
    let upto = |count: usize| halves[..2 * count].concat();
    let [one, two, three] = log.lines().try_into().unwrap();
    let folder = Folder::new();
    let check = |what: &str, files: &[&[u8]], checkpoints: &str, expected: &[&str]| {
        let names = ["p0", "p1", "p2"];
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.path(name)).collect();
        for (name, content) in names.iter().zip(files) {
            folder.write(name, content);
        }
        folder.write("audit.checkpoints", checkpoints.as_bytes());
        let report = folder.verify_files(&paths[..files.len()], true);
        assert_eq!(told(&report), expected, "{what}: {:#?}", report.findings);
        // without a key nothing is said of it
        let unsigned = folder.verify_files(&paths[..files.len()], false);
        assert_eq!(told(&unsigned), [""; 0], "{what}: {:#?}", unsigned.findings);
    };
    let whole = &forged.lines()[0][..];
    check(
        "forged",
        &[whole],
        &log.checkpoints,
        &["removed p0:1 15-40"],
    );
    check(
        "forged, an empty file before it",
        &[b"", whole],
        &log.checkpoints,
        &["removed p1:1 15-40"],
    );
    check(
        "forged, no checkpoint",
        &[whole],
        "",
        &["removed p0:1 1-40"],
    );
    check(
        "honest, an older copy of the checkpoints",
        &[&three],
        &upto(2),
        &["removed p0:1 6-9"],
    );
    check(
        "honest, the checkpoint at its beginning",
        &[&three],
        &upto(3),
        &[],
    );
    check(
        "honest, one within it",
        &[&three],
        &halves[6..8].concat(),
        &[],
    );
    check(
        "honest, one within it, two files",
        &[&two, &three],
        &halves[4..6].concat(),
        &[],
    );
    check(
        "honest and whole, no checkpoint",
        &[&one, &two, &three],
        "",
        &[],
    );
    // a later one speaks of records that the forged log has not, or has others of
    for size in [42, 43, 44] {
        let mut other = Log::new();
        for _ in 0..size {
            other.append("true");
        }
        other.sign();
        let expected = match size {
            44 => "truncated p0:4 44-44".to_owned(),
            _ => format!("changed p0:2 41-{size}"),
        };
        check("a later one", &[whole], &other.checkpoints, &[&expected]);
    }
}

#[test]
fn a_log_that_goes_on_after_records_that_were_never_chained() {
    let mut log = Log::new();
    log.state.seq = 100;
    log.files = Vec::new();
    log.rotate();
    for _ in 0..3 {
        log.append("chained");
    }
    log.sign();
    let folder = Folder::new();
    let verify = |log: &Log| {
        folder.write("audit.jsonl", &log.lines()[0]);
        folder.write("audit.checkpoints", log.checkpoints.as_bytes());
        folder.verify()
    };
    let report = verify(&log);
    assert_eq!(told(&report), [""; 0], "{:#?}", report.findings);
    assert_eq!(report.signed.unwrap().up_to, Some(103));
    assert_eq!(
        report.notes,
        [
            "the log begins with record 101: the ones before it are not here, as after retention",
            "100 records before the log's first file are in no tree: they were lost, or never chained",
        ]
    );
    // no other number, and no hash
    for (from, to) in [
        ("100", "101"),
        ("100", "0"),
        ("\"prev\":\"0", "\"prev\":\"1"),
    ] {
        let mut bent = log.clone();
        bent.files[0][0] = bent.files[0][0].replacen(from, to, 1);
        assert!(!verify(&bent).findings.is_empty(), "{from} to {to}");
    }
}
