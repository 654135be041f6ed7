//! Proofs against the definition, of each record of a log, and bent in every byte.

use super::make::{seed, siblings};
use super::*;
use crate::audit::encode::hex_of;
use crate::audit::note::Signer;
use crate::audit::segment::Segment;
use crate::audit::tree::Tree;

/// RFC 6962, 2.1, by its words.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node(&root(left), &root(right))
        }
    }
}

/// RFC 6962, 2.1.1, by its words.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, beside) = match index.checked_sub(left.len()) {
        None => (path(index, left), root(right)),
        Some(index) => (path(index, right), root(left)),
    };
    path.push(beside);
    path
}

#[test]
fn a_path_is_the_one_that_is_defined_and_leads_to_no_other_root() {
    let leaves: Vec<Hash> = (0..70_u8).map(|number| leaf(&[number])).collect();
    for size in 1..=70 {
        let all = &leaves[..size];
        for index in 0..size {
            let expected = path(index, all);
            assert_eq!(
                root_of(all[index], index as u64, size as u64, &expected),
                Some(root(all))
            );
            // as it is made: of all leaves, or of a header and those after it
            for base in [0, index / 2, index] {
                let mut header = Segment::first("n1");
                all[..base].iter().for_each(|leaf| header.tree.push(*leaf));
                let mut made = siblings(index as u64, size as u64);
                assert_eq!(seed(&mut made, &header), base as u64);
                for (at, leaf) in (0..).zip(all).skip(base) {
                    let beside = made.iter_mut().find(|one| (one.from..one.to).contains(&at));
                    if let Some(beside) = beside {
                        beside.tree.push(*leaf);
                    }
                }
                let made: Vec<Hash> = made.iter().map(|one| one.tree.root()).collect();
                assert_eq!(made, expected, "{index} of {size} from {base}");
            }
            // another place, size or length
            for (at, of) in [(index + 1, size), (index, size + 1), (index, index)] {
                let other = root_of(all[index], at as u64, of as u64, &expected);
                let same_shape = at < of && path(at.min(size - 1), all).len() == expected.len();
                assert!(
                    other != Some(root(all)) || (same_shape && of != size),
                    "{at} of {of}"
                );
            }
            let longer = [&expected[..], &[leaves[0]]].concat();
            assert_eq!(
                root_of(all[index], index as u64, size as u64, &longer),
                None
            );
            if let Some((_, shorter)) = expected.split_last() {
                assert_ne!(
                    root_of(all[index], index as u64, size as u64, shorter),
                    Some(root(all))
                );
            }
        }
    }
}

const ID: &str = "01234567-89ab-7def-8123-456789abcdef";

struct Log {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
    key: Signer,
}

/// Three files of 4 records, and checkpoints of 5 and 12. Record 7 is a decision of [`ID`], record 8 its outcome.
fn log() -> Log {
    let folder = tempfile::tempdir().unwrap();
    let key = Signer::generate("example.com/n1").unwrap();
    let (mut state, mut files, mut checkpoints) = (Segment::first("n1"), Vec::new(), String::new());
    for file in 0..3 {
        let mut content = state.line().unwrap() + "\n";
        for _ in 0..4 {
            let (seq, prev) = (state.seq + 1, hex_of(&state.prev));
            let rest = match seq {
                7 => format!(r#""id":"{ID}","about":"\"id\":\"00000000""#),
                _ => format!(
                    r#""id":"0000000{}-0000-7000-8000-000000000000","at":"x","quoted":"{ID}""#,
                    seq / 8
                ),
            };
            let kind = if seq == 8 { "outcome" } else { "decision" };
            let rest = if seq == 8 {
                format!(r#""id":"{ID}","end":"complete""#)
            } else {
                rest
            };
            let line = format!(
                r#"{{"v":1,"kind":"{kind}","node":"n1","seq":{seq},"prev":"{prev}",{rest}}}"#
            );
            state.prev = leaf(line.as_bytes());
            state.tree.push(state.prev);
            state.seq = seq;
            content.push_str(&line);
            content.push('\n');
            if [5, 12].contains(&seq) {
                checkpoints.push_str(&key.sign(seq, state.tree.root()));
                checkpoints.push('\n');
            }
        }
        files.push(folder.path().join(format!("f{file}")));
        std::fs::write(&files[file], content).unwrap();
    }
    std::fs::write(folder.path().join("checkpoints"), checkpoints).unwrap();
    Log { folder, files, key }
}

impl Log {
    fn prove(&self, files: &[PathBuf], wanted: Wanted) -> Result<Proof, ProofError> {
        let checkpoints = self.folder.path().join("checkpoints");
        prove(
            files,
            wanted,
            Trusted {
                key: self.key.verifier(),
                checkpoints: &checkpoints,
            },
        )
    }
}

#[test]
fn each_record_is_proven_by_the_smallest_checkpoint_also_without_older_files() {
    let log = log();
    for (first, files) in [
        (1, &log.files[..]),
        (5, &log.files[1..]),
        (9, &log.files[2..]),
    ] {
        for seq in 1..=12 {
            let proven = log.prove(files, Wanted::Seq(seq));
            if seq < first {
                assert!(matches!(proven, Err(ProofError::NoRecord)));
                continue;
            }
            let proof = proven.unwrap();
            let parsed = Proof::parse(&proof.to_string()).unwrap();
            assert_eq!(parsed, proof);
            let checkpoint = parsed.verify(log.key.verifier()).unwrap();
            assert_eq!(
                (proof.index, checkpoint.size),
                (seq - 1, if seq <= 5 { 5 } else { 12 })
            );
        }
    }
    let id: Uuid = ID.parse().unwrap();
    for (wanted, index) in [(Wanted::Decision(id), 6), (Wanted::Outcome(id), 7)] {
        assert_eq!(log.prove(&log.files, wanted).unwrap().index, index);
    }
    let other = Wanted::Decision(Uuid::nil());
    assert!(matches!(
        log.prove(&log.files, other),
        Err(ProofError::NoRecord)
    ));
}

#[test]
fn what_is_not_signed_or_was_changed_is_not_proven() {
    let log = log();
    let checkpoints = log.folder.path().join("checkpoints");
    let text = std::fs::read_to_string(&checkpoints).unwrap();
    let (first, _) = text.split_at(text.len() / 2);
    std::fs::write(&checkpoints, first).unwrap();
    assert!(matches!(
        log.prove(&log.files, Wanted::Seq(6)),
        Err(ProofError::NotSigned(6))
    ));
    std::fs::write(&checkpoints, &text).unwrap();
    let second = std::fs::read_to_string(&log.files[1]).unwrap();
    for changed in [
        second.replace("\"at\":\"x\"", "\"at\":\"y\""),
        second.lines().take(3).map(|l| format!("{l}\n")).collect(),
        String::new(),
    ] {
        std::fs::write(&log.files[1], changed).unwrap();
        let refused = log.prove(&log.files, Wanted::Seq(12)).unwrap_err();
        assert!(matches!(refused, ProofError::OtherLog), "{refused}");
    }
}

#[test]
fn a_proof_that_was_bent_anywhere_is_refused() {
    let log = log();
    let whole = log.prove(&log.files, Wanted::Seq(7)).unwrap().to_string();
    let check = |text: &str| Proof::parse(text).and_then(|proof| proof.verify(log.key.verifier()));
    assert!(check(&whole).is_ok());
    for at in 0..whole.len() {
        for other in (0..8)
            .map(|bit| whole.as_bytes()[at] ^ (1 << bit))
            .chain(*b"\n A=0")
        {
            let mut bytes = whole.clone().into_bytes();
            if bytes[at] == other {
                continue;
            }
            bytes[at] = other;
            if let Ok(text) = std::str::from_utf8(&bytes) {
                assert!(check(text).is_err(), "{at}: {text}");
            }
        }
        if let Some(torn) = whole.get(..at) {
            assert!(check(torn).is_err(), "{at}");
        }
    }
    assert!(check(&format!("{whole}\n")).is_err());
    let path = "A".repeat(43) + "=\n";
    for (text, expected) in [
        (
            whole.replace("@v1", "@v2"),
            "not a proof: it doesn't begin with c2sp.org/tlog-proof@v1",
        ),
        (
            whole.replace("extra", "extras"),
            "not a proof: it holds no record, which is expected as its extra data",
        ),
        (
            whole.replace("index 6", "index 06"),
            "not a proof: its index is no number as it is written",
        ),
        (
            whole.replace("index 6", "index 5"),
            "the record is not in the log that was signed, or not at this place",
        ),
        (
            whole.replace("index 6\n", &format!("index 6\n{path}")),
            "the record is not in the log that was signed, or not at this place",
        ),
        (
            whole.replace("index 6\n", &format!("index 6\n{}", path.repeat(65))),
            "not a proof: its path is longer than any",
        ),
        (
            whole.replace("index 6\n", &format!("index {}\n", u64::MAX)),
            "the record is not in the log that was signed, or not at this place",
        ),
    ] {
        assert_eq!(check(&text).unwrap_err().to_string(), expected);
    }
    let other = Signer::generate("example.com/n1").unwrap();
    let refused = Proof::parse(&whole)
        .unwrap()
        .verify(other.verifier())
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the proof's checkpoint doesn't count: signed by another key"
    );
}

#[test]
fn trees_of_nothing_have_no_paths() {
    assert_eq!(root_of([0; 32], 0, 0, &[]), None);
    assert_eq!(Tree::default().size(), 0);
}
