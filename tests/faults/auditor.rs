//! An auditor with a log that a gateway wrote: verifies it, proves each of its records, asks it and exports it.

use std::process::Command;

use crate::program::BINARY;
use crate::world::{Setup, World, of_kind};

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn audit(world: &World, arguments: &[&str]) -> Ended {
    let mut command = Command::new(BINARY);
    command
        .arg("audit")
        .args(arguments)
        .current_dir(world.folder.path());
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_log_is_verified_proved_asked_and_exported() {
    let world = World::of(&Setup {
        audit: ", durability: strict, checkpoints: { key: audit.key, every: 100ms }",
        ..Setup::default()
    });
    world.make_key();
    let key = portcullis::audit::note::Signer::parse(
        &std::fs::read_to_string(world.file("audit.key")).unwrap(),
    );
    let key = key.unwrap().verifier().to_string();
    let program = world.start();
    for _ in 0..5 {
        assert_eq!(world.get(&program, "/ok?token=abc").status, 200);
        assert_eq!(world.get(&program, "/refused").status, 401);
    }
    let records = world.holds(program);
    let decisions = of_kind(&records, "decision");

    let verified = audit(&world, &["verify", "--key", &key]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    assert!(
        verified.out.contains("the chain is whole"),
        "{}",
        verified.out
    );
    // Each record is proved to whoever has the verifier key, and no other is.
    for record in records.iter().step_by(3) {
        let seq = record["seq"].to_string();
        let proof = audit(&world, &["prove", "--seq", &seq, "--key", &key]);
        assert_eq!(proof.code, Some(0), "{}", proof.err);
        world.write("one.tlog-proof", &proof.out);
        let check = ["prove", "--check", "one.tlog-proof", "--key", &key];
        assert_eq!(audit(&world, &check).code, Some(0), "{record}");
        let index = format!("index {}\n", record["seq"].as_u64().unwrap() - 1);
        world.edit("one.tlog-proof", &index, "index 999\n");
        assert_eq!(audit(&world, &check).code, Some(1), "{record}");
    }

    let asked = audit(&world, &["query", "--verdict", "deny", "--json"]);
    let denied = decisions.iter().filter(|d| d["decision"] == "deny").count();
    assert_eq!((asked.code, asked.out.lines().count()), (Some(0), denied));
    let nobody = audit(&world, &["query", "--agent", "nobody"]);
    assert_eq!((nobody.code, &*nobody.out), (Some(1), ""));
    let counts = audit(
        &world,
        &["query", "--path", "/ref*", "--count-by", "reason"],
    );
    assert!(counts.out.contains("no_credentials"), "{}", counts.out);
    let last = audit(&world, &["tail", "-n", "1"]);
    assert!(last.out.contains(" stop"), "{}", last.out);
    let events = audit(&world, &["export", "--format", "ocsf"]);
    assert_eq!(
        events.out.lines().count(),
        decisions.len(),
        "{}",
        events.err
    );

    // Somebody changes what was asked for, and hashes nothing anew.
    let line = asked.out.lines().next().unwrap();
    let changed = line.replace("/refused", "/ok");
    world.edit("audit.jsonl", line, &changed);
    let verified = audit(&world, &["verify", "--key", &key]);
    assert_eq!(verified.code, Some(1));
    assert!(verified.out.contains("changed"), "{}", verified.out);
}
