//! `audit verify` and `audit prove` as people call them: what they say, in which words, with which exit code.

use std::fmt::Write as _;
use std::fs;

use portcullis::audit::note::Signer;
use portcullis::audit::segment::Segment;
use portcullis::audit::tree::leaf;
use serde_json::Value;

use super::Folder;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A log of two files with 3 and 3 records, signed after 3 and 5; its verifier key.
fn log(folder: &Folder) -> String {
    let key = folder.path("audit.key");
    let made = folder.run("audit init example.com/n1");
    assert_eq!(made.code, 0, "{}", made.err);
    let key = Signer::parse(&fs::read_to_string(key).unwrap()).unwrap();
    let (mut state, mut checkpoints) = (Segment::first("n1"), String::new());
    for name in ["audit.jsonl.0000000000000001", "audit.jsonl"] {
        let mut content = state.line().unwrap() + "\n";
        for _ in 0..3 {
            let seq = state.seq + 1;
            let mut prev = String::new();
            for byte in state.prev {
                write!(prev, "{byte:02x}").unwrap();
            }
            let line = format!(
                r#"{{"v":1,"kind":"outcome","node":"n1","seq":{seq},"prev":"{prev}","id":"{}{seq}","at":"2026-11-22T09:00:00.000000Z","end":"complete","bytes":10,"request_bytes":0}}"#,
                ID.get(..35).unwrap()
            );
            state.prev = leaf(line.as_bytes());
            state.tree.push(state.prev);
            state.seq = seq;
            content.push_str(&line);
            content.push('\n');
            if [3, 5].contains(&seq) {
                checkpoints.push_str(&key.sign(seq, state.tree.root()));
                checkpoints.push('\n');
            }
        }
        folder.write(name, content);
    }
    folder.write("audit.checkpoints", checkpoints);
    let vkey = key.verifier().to_string();
    folder.write("n1.vkey", format!("{vkey}\n"));
    vkey
}

const UNSIGNED: &str = "unsigned without --key no signature was checked: the chain alone shows accidents and careless hands. \
    Whoever can write the log can make it anew, and only signed checkpoints that are kept elsewhere tell";

#[test]
fn a_log_is_whole_or_is_told_where_it_is_not() {
    let folder = Folder::new();
    let vkey = log(&folder);
    let whole = "ok 6 records, 1 to 6, in 2 files: the chain is whole";
    folder.check("audit verify", 0, &format!("{whole}\n{UNSIGNED}"), "");
    let signed = format!(
        "{whole}\n2 of 2 checkpoints signed by example.com/n1 agree; signed up to record 5\nnote the last 1 record is chained and not yet signed"
    );
    for key in ["@n1.vkey", &vkey] {
        folder.check(&format!("audit verify --key {key}"), 0, &signed, "");
    }
    let both = "audit verify audit.jsonl audit.jsonl.0000000000000001 --key @n1.vkey --checkpoints audit.checkpoints";
    folder.check(both, 0, &signed, "");

    let text = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    folder.write(
        "audit.jsonl",
        text.replacen("\"bytes\":10", "\"bytes\":11", 1),
    );
    folder.check(
        "audit verify",
        1,
        &format!(
            "changed audit.jsonl:2 record 4: the record after it, at audit.jsonl:3, carries the hash of another one\n\
             NOT WHOLE 6 records, 1 to 6, in 2 files: 1 finding\n{UNSIGNED}"
        ),
        "",
    );
    let json: Value =
        serde_json::from_str(&folder.run("audit verify --json --key @n1.vkey").out).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["findings"][0]["kind"], "changed");
    assert_eq!(json["findings"][0]["file"], "audit.jsonl");
    assert_eq!(json["findings"][0]["line"], 2);
    assert_eq!(json["findings"][0]["records"], serde_json::json!([4, 4]));
    // the checkpoint vouches for all others
    assert_eq!(json["signed"]["up_to"], 5);
}

#[test]
fn what_cannot_be_verified_is_wrong_usage() {
    let folder = Folder::new();
    log(&folder);
    let missing = "No such file or directory (os error 2)";
    for (arguments, err) in [
        ("audit verify none.jsonl", format!("portcullis: none.jsonl: {missing}")),
        ("audit verify audit.jsonl none", format!("portcullis: none: {missing}")),
        ("audit verify --key @none", format!("portcullis: none: {missing}")),
        ("audit verify --key @n1.vkey --checkpoints none", format!("portcullis: none: {missing}")),
        (
            "audit verify --key nonsense",
            "portcullis: not a verifier key: expected `<name>+<id>+<base64>`, as `portcullis audit init` prints it".to_owned(),
        ),
        ("audit prove --seq 1 none.jsonl --key @n1.vkey", format!("portcullis: none.jsonl: {missing}")),
        ("audit prove --check none --key @n1.vkey", format!("portcullis: none: {missing}")),
    ] {
        folder.check(arguments, 2, "", &err);
    }
    for arguments in [
        "audit verify --checkpoints audit.checkpoints",
        "audit prove --key @n1.vkey",
        "audit prove --seq 1",
        "audit prove --seq 1 --id 01890a5d-ac96-774b-bcce-b302099a8057 --key @n1.vkey",
    ] {
        let ended = folder.run(arguments);
        assert_eq!(
            (ended.code, &*ended.out),
            (2, ""),
            "{arguments}: {}",
            ended.err
        );
    }
}

#[test]
fn a_record_is_proven_and_the_proof_checked_alone() {
    let folder = Folder::new();
    log(&folder);
    let id = format!("{}4", ID.get(..35).unwrap());
    let by_seq = folder.run("audit prove --seq 4 --key @n1.vkey");
    let by_id = folder.run(&format!(
        "audit prove --id {id} --kind outcome --key @n1.vkey"
    ));
    assert_eq!(
        (by_seq.code, &*by_seq.err, &by_seq.out),
        (0, "", &by_id.out)
    );
    folder.write("4.tlog-proof", &by_seq.out);
    for file in [
        "audit.jsonl",
        "audit.jsonl.0000000000000001",
        "audit.checkpoints",
    ] {
        fs::remove_file(folder.path(file)).unwrap();
    }
    let told = format!(
        "2026-11-22T09:00:00.000Z done   10 bytes id={id}\nproven record 4 of node n1 is the 4. of the 5 records that a checkpoint of example.com/n1 signs"
    );
    folder.check(
        "audit prove --check 4.tlog-proof --key @n1.vkey",
        0,
        &told,
        "",
    );
    folder.write("4.tlog-proof", by_seq.out.replace("index 3", "index 2"));
    let err = "portcullis: the record is not in the log that was signed, or not at this place";
    folder.check(
        "audit prove --check 4.tlog-proof --key @n1.vkey",
        1,
        "",
        err,
    );

    log(&Folder::new());
    let folder = Folder::new();
    log(&folder);
    for (arguments, err) in [
        (
            "--seq 6",
            "no checkpoint signed by this key covers record 6",
        ),
        ("--seq 7", "the log has no such record"),
        (&format!("--id {id}"), "the log has no such record"),
    ] {
        let arguments = format!("audit prove {arguments} --key @n1.vkey");
        folder.check(&arguments, 1, "", &format!("portcullis: {err}"));
    }
}
