//! What is signed over a log, and when nothing is signed any more.

use super::*;
use crate::audit::note::{Checkpoint, Signer, Verifier, notes};

fn signed(path: &Path, every: Duration) -> config::Audit {
    config::Audit {
        checkpoints: Some(config::Checkpoints {
            signer: Arc::new(Signer::generate("example.com/n1").unwrap()),
            to: path.with_extension("checkpoints"),
            every,
        }),
        ..written(path)
    }
}

fn verifier(config: &config::Audit) -> &Verifier {
    config.checkpoints.as_ref().unwrap().signer.verifier()
}

/// The checkpoints so far, each of which agrees with the log.
fn checkpoints(config: &config::Audit, path: &Path) -> Vec<Checkpoint> {
    let file = &config.checkpoints.as_ref().unwrap().to;
    let text = fs::read_to_string(file).unwrap();
    let all: Vec<Checkpoint> = notes(&text)
        .map(|note| verifier(config).open(note).unwrap())
        .collect();
    let (records, _) = records_of_all_files(path);
    let mut files = closed_files(path).unwrap();
    files.push(path.to_owned());
    let text: String = files.iter().map(|file| text_of(file)).collect();
    let first = Segment::parse(text.lines().next().unwrap().as_bytes()).unwrap();
    let mut tree = first.tree;
    let mut roots = std::collections::HashMap::from([(tree.size(), tree.root())]);
    for line in segment::records(&text) {
        tree.push(tree::leaf(line.as_bytes()));
        roots.insert(tree.size(), tree.root());
    }
    assert_eq!(tree.size(), records.last().unwrap().envelope().seq);
    for checkpoint in &all {
        let root = roots.get(&checkpoint.size);
        // what was removed since is vouched for by what follows
        assert!(root.is_none_or(|root| *root == checkpoint.root));
    }
    assert!(all.is_sorted_by(|a, b| a.size < b.size));
    all
}

#[test]
fn a_checkpoint_covers_the_log_at_each_rotation_and_at_the_end() {
    for durability in [
        Durability::Strict,
        Durability::Written,
        Durability::Buffered,
    ] {
        let (_folder, path) = folder();
        let config = config::Audit {
            durability,
            rotate_at: Some(4000),
            keep: Some(2),
            compress: true,
            ..signed(&path, Duration::from_secs(3600))
        };
        let (audit, _) = open(&config).unwrap();
        work(&audit, 40);
        audit.close();
        let sizes: Vec<u64> = checkpoints(&config, &path).iter().map(|c| c.size).collect();
        assert_eq!(sizes.last(), Some(&82));
        assert!(sizes.len() > 1, "{sizes:?}");
        // the first line of the oldest file that is left is vouched for
        let oldest = text_of(&closed_files(&path).unwrap()[0]);
        let begins = Segment::parse(oldest.lines().next().unwrap().as_bytes()).unwrap();
        let at = begins.tree.size();
        assert!(at == 0 || sizes.contains(&at), "{at} {sizes:?}");
    }
}

#[test]
fn a_checkpoint_comes_at_its_interval_and_only_for_something_new() {
    let (_folder, path) = folder();
    let config = signed(&path, Duration::from_millis(5));
    let (audit, _) = open(&config).unwrap();
    let size = |count: u64| {
        let started = Instant::now();
        while checkpoints(&config, &path).last().map(|last| last.size) != Some(count) {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "none for {count}"
            );
            std::thread::yield_now();
        }
    };
    size(1);
    decide(&audit, &deny()).unwrap();
    size(2);
    audit.close();
    let all = checkpoints(&config, &path);
    assert_eq!(all.last().unwrap().size, 3);
    assert!(all.len() <= 3);
}

#[test]
fn a_log_that_lacks_what_was_signed_is_signed_for_no_more() {
    type Bend = fn(&str) -> String;
    let shortened: Bend = |text| {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines[..lines.len() - 2].concat()
    };
    for (what, bent) in [
        ("untouched", str::to_owned as Bend),
        ("shortened", shortened),
        ("changed", |text| {
            text.replacen("/accounts/42", "/accounts/43", 1)
        }),
        ("removed", |_| String::new()),
    ] {
        let (_folder, path) = folder();
        let config = signed(&path, Duration::from_secs(3600));
        let (audit, _) = open(&config).unwrap();
        work(&audit, 3);
        audit.close();
        drop(audit);
        let before = checkpoints(&config, &path).len();
        fs::write(&path, bent(&text_of(&path))).unwrap();
        let (audit, _) = again(&config);
        audit.close();
        let file = fs::read_to_string(&config.checkpoints.as_ref().unwrap().to).unwrap();
        let told = text_of(&path).contains("\"state\":\"contradicted\"");
        let more = notes(&file).count() - before;
        let expected = if what == "untouched" {
            (false, 1)
        } else {
            (true, 0)
        };
        assert_eq!((told, more), expected, "{what}");
    }
}

#[test]
fn a_file_that_holds_something_else_is_left_alone() {
    let device = config::Checkpoints {
        to: "/dev/zero".into(),
        ..signed(Path::new("x"), Duration::MAX).checkpoints.unwrap()
    };
    let error = Checkpoints::open(&device).unwrap_err();
    assert!(
        matches!(error, AuditError::NotCheckpoints { .. }),
        "{error}"
    );
    for text in ["a letter\n", "a\n\nb\n\nc\n"] {
        let (_folder, path) = folder();
        let config = signed(&path, Duration::from_secs(3600));
        let to = &config.checkpoints.as_ref().unwrap().to;
        fs::write(to, text).unwrap();
        let error = open(&config).unwrap_err();
        assert!(
            matches!(error, AuditError::NotCheckpoints { .. }),
            "{error}"
        );
        assert_eq!(fs::read_to_string(to).unwrap(), text);
    }
}

#[test]
fn half_a_checkpoint_is_cut_off() {
    let (_folder, path) = folder();
    let config = signed(&path, Duration::from_secs(3600));
    let to = &config.checkpoints.as_ref().unwrap().to;
    let note = config.checkpoints.as_ref().unwrap().signer.sign(9, [0; 32]);
    for half in (0..note.len()).filter(|end| note.is_char_boundary(*end)) {
        let before = fs::read_to_string(to).unwrap_or_default();
        fs::write(to, before + note.split_at(half).0).unwrap();
        let (audit, _) = again(&config);
        audit.close();
        drop(audit);
    }
    let all = checkpoints(&config, &path);
    assert_eq!(all.len(), note.len() - 2);
}

#[test]
fn two_logs_have_no_file_of_checkpoints_together() {
    let (folder, path) = folder();
    let config = signed(&path, Duration::from_secs(3600));
    let (audit, _) = open(&config).unwrap();
    let other = config::Audit {
        to: AuditTarget::File(folder.path().join("other.jsonl")),
        ..config.clone()
    };
    let error = open(&other).unwrap_err();
    assert!(matches!(error, AuditError::Locked { .. }), "{error}");
    drop(audit);
    again(&other);
}

#[test]
fn a_new_key_needs_a_new_file() {
    let (_folder, path) = folder();
    let config = signed(&path, Duration::from_secs(3600));
    open(&config).unwrap();
    let other = signed(&path, Duration::from_secs(3600));
    let error = loop {
        match open(&other).unwrap_err() {
            AuditError::Locked { .. } => std::thread::yield_now(),
            error => break error,
        }
    };
    let to = other.checkpoints.unwrap().to;
    assert_eq!(
        error.to_string(),
        format!(
            "audit: {}: signed by another key; a new key needs a new file",
            to.display()
        )
    );
}

#[test]
fn checkpoints_go_on_in_a_new_file_where_theirs_was_moved_or_removed() {
    for remove in [false, true] {
        let (_folder, path) = folder();
        let config = signed(&path, Duration::from_millis(5));
        let to = config.checkpoints.as_ref().unwrap().to.clone();
        let (audit, _) = open(&config).unwrap();
        let started = Instant::now();
        let wait = || {
            while !fs::read_to_string(&to).is_ok_and(|text| notes(&text).count() > 0) {
                assert!(started.elapsed() < Duration::from_secs(20), "none came");
                std::thread::yield_now();
            }
        };
        wait();
        match remove {
            true => fs::remove_file(&to).unwrap(),
            false => fs::rename(&to, to.with_extension("moved")).unwrap(),
        }
        decide(&audit, &deny()).unwrap();
        wait();
        audit.close();
        assert_eq!(checkpoints(&config, &path).last().unwrap().size, 3);
    }
}

/// A disk that is full for checkpoints alone: told once, and records go on.
#[test]
fn checkpoints_that_can_t_be_written_are_told() {
    let (_folder, path) = folder();
    let mut config = signed(&path, Duration::from_millis(5));
    let Some(disk) = disk::SmallDisk::mount() else {
        return;
    };
    config.checkpoints.as_mut().unwrap().to = disk.0.path().join("audit.checkpoints");
    let (audit, _) = open(&config).unwrap();
    let _filler = disk.fill();
    let started = Instant::now();
    while !text_of(&path).contains("checkpoint_failed") {
        decide(&audit, &deny()).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "never told");
    }
    audit.close();
    let told = kinds(&records(&path));
    assert_eq!(
        told.iter()
            .filter(|kind| *kind == "CheckpointFailed")
            .count(),
        1
    );
}

/// In `strict` a permit whose request went away while it waited has an outcome.
#[test]
fn a_request_that_goes_while_it_waits_leaves_an_outcome() {
    let (_folder, path) = folder();
    let config = config::Audit {
        durability: Durability::Strict,
        queue: 1000,
        ..written(&path)
    };
    let (audit, _) = open(&config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for _ in 0..50 {
        let decision = permit();
        runtime.block_on(async {
            let mut waiting = std::pin::pin!(audit.decided(&decision));
            // one look at it, which leaves it in the buffer
            let looked = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(waiting.as_mut().poll(cx).is_ready())
            });
            assert!(!looked.await);
        });
    }
    audit.close();
    let kinds = kinds(&records(&path));
    let count = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    assert_eq!((count("Permit"), count("Aborted")), (50, 50));
}
