//! `portcullis audit query`, `tail` and `export`: what is asked of a log, and what is said about files that are none.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::Folder;

/// A decision. What `more` says comes after the verdict.
fn decision(seq: u64, verdict: &str, agent: &str, more: &str) -> String {
    format!(
        r#"{{"v":1,"kind":"decision","node":"n1","seq":{seq},"prev":"{zeros}","id":"{id}","at":"2026-11-21T{hour:02}:00:00.000000Z","policy_set":"ab","decision":"{verdict}"{more},"principal":{{"provider":"corp","agent":"{agent}","user":"ann"}},"client":"10.0.0.1:4711","route":"api","request":{{"method":"GET","host":"api.example","path":"/accounts/{seq}"}},"stages_us":{{"normalise":0,"identify":0,"match":0,"inspect":0,"decide":0}}}}"#,
        zeros = "0".repeat(64),
        id = id(seq),
        hour = seq % 24,
    )
}

fn outcome(seq: u64, of: u64) -> String {
    format!(
        r#"{{"v":1,"kind":"outcome","node":"n1","seq":{seq},"prev":"{zeros}","id":"{id}","at":"2026-11-21T{hour:02}:00:00.000000Z","end":"complete","status":200,"bytes":5,"request_bytes":0,"total_us":900}}"#,
        zeros = "0".repeat(64),
        id = id(of),
        hour = seq % 24,
    )
}

fn header(seq: u64) -> String {
    format!(
        r#"{{"v":1,"kind":"segment","node":"n1","seq":{seq},"size":{seq},"prev":"{}","tree":[]}}"#,
        "0".repeat(64)
    )
}

fn id(of: u64) -> String {
    format!("019aa6f0-0000-7000-8000-{of:012}")
}

fn gz(text: &str) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap()
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A log in three files: one compressed, one rotated, one current. Its records are numbered 1 to 8.
fn log() -> Folder {
    let folder = Folder::new();
    let deny =
        |seq, agent, reason| decision(seq, "deny", agent, &format!(r#","reason":"{reason}""#));
    let permit = |seq, agent| {
        decision(
            seq,
            "permit",
            agent,
            r#","policies":["p.read"],"grant":"g-1""#,
        )
    };
    let old = lines(&[
        header(0),
        permit(1, "a/1"),
        outcome(2, 1),
        deny(3, "a/1", "no_policy"),
    ]);
    folder.write("audit.jsonl.0000000000000001.gz", gz(&old));
    let middle = lines(&[header(3), permit(4, "a/2"), deny(5, "b/1", "forbidden")]);
    folder.write("audit.jsonl.0000000000000004", middle);
    let now = lines(&[
        header(5),
        outcome(6, 4),
        deny(7, "a/1", "no_policy"),
        permit(8, "b/1"),
    ]);
    folder.write("audit.jsonl", now);
    // none of the log's
    folder.write("audit.jsonl.0000000000000001.gz.tmp", "half");
    folder.write("audit.jsonl.unchained-1790000000", "junk\n");
    folder
}

fn seq(line: &str) -> u64 {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    value.get("seq").and_then(Value::as_u64).unwrap()
}

/// The numbers of the records that a call prints as JSON.
fn numbers(folder: &Folder, arguments: &str) -> (i32, Vec<u64>, String) {
    let ended = folder.run(arguments);
    (ended.code, ended.out.lines().map(seq).collect(), ended.err)
}

#[test]
fn a_query_finds_what_it_is_asked_for() {
    let folder = log();
    let one = id(1);
    for (arguments, found) in [
        ("", &[1, 2, 3, 4, 5, 6, 7, 8][..]),
        ("audit.jsonl", &[1, 2, 3, 4, 5, 6, 7, 8]),
        ("--verdict deny", &[3, 5, 7]),
        ("--verdict deny --agent a/1", &[3, 7]),
        ("--agent a/1 --agent a/2", &[1, 3, 4, 7]),
        ("--agent b/*", &[5, 8]),
        ("--agent */2", &[4]),
        ("--reason forbidden", &[5]),
        ("--reason no_*", &[3, 7]),
        ("--policy p.read", &[1, 4, 8]),
        ("--policy p.rea", &[]),
        ("--path /accounts/7", &[7]),
        ("--path *7", &[7]),
        ("--route api --kind outcome", &[]),
        ("--kind outcome", &[2, 6]),
        ("--kind decision --kind outcome -n 3", &[1, 2, 3]),
        ("--grant g-1", &[1, 4, 8]),
        ("--grant g-2", &[]),
        ("--user ann --provider corp --verdict permit", &[1, 4, 8]),
        ("--user bob", &[]),
        ("--session s", &[]),
        ("--task t", &[]),
        (&format!("--id {one}"), &[1, 2]),
        (&format!("--id {}", one.to_uppercase()), &[1, 2]),
        ("--since 2026-11-21T07:00:00Z", &[7, 8]),
        ("--since 2026-11-21T08:00:00+01:00", &[7, 8]),
        (
            "--since 2026-11-21T03:00:00Z --until 2026-11-21T05:00:00Z",
            &[3, 4],
        ),
        ("--since 1s", &[]),
        ("--until 0s -n 1", &[1]),
        (
            "--agent a/* --verdict permit --with-outcomes",
            &[1, 2, 4, 6],
        ),
        ("--agent a/* --with-outcomes -n 1", &[1, 2]),
        // exactly these, whatever their order
        ("audit.jsonl audit.jsonl.0000000000000004", &[4, 5, 6, 7, 8]),
        ("audit.jsonl.0000000000000001.gz", &[1, 2, 3]),
        (
            "audit.jsonl.0000000000000004 audit.jsonl.0000000000000001.gz --verdict deny",
            &[3, 5],
        ),
    ] {
        let (code, came, err) = numbers(&folder, &format!("audit query --json {arguments}"));
        assert_eq!((came.as_slice(), &*err), (found, ""), "{arguments}");
        assert_eq!(code, i32::from(found.is_empty()), "{arguments}");
    }
    // names of their own, and a file whose header is all there is
    folder.write(
        "x-2026.gz",
        fs::read(folder.path("audit.jsonl.0000000000000001.gz")).unwrap(),
    );
    folder.write("w-idle", header(3) + "\n");
    let files = "audit.jsonl x-2026.gz w-idle audit.jsonl.0000000000000004";
    let (code, came, err) = numbers(&folder, &format!("audit query --json {files}"));
    assert_eq!(
        (code, came.as_slice(), &*err),
        (0, &[1, 2, 3, 4, 5, 6, 7, 8][..], "")
    );
}

#[test]
fn what_is_found_is_shown_in_each_form() {
    let folder = log();
    folder.check(
        "audit query --reason forbidden",
        0,
        &format!(
            "2026-11-21T05:00:00.000Z DENY   GET /accounts/5 reason=forbidden agent=b/1 user=ann id={}",
            id(5)
        ),
        "",
    );
    let ended = folder.run("audit query --id 019aa6f0-0000-7000-8000-000000000001 --json");
    let line = decision(
        1,
        "permit",
        "a/1",
        r#","policies":["p.read"],"grant":"g-1""#,
    );
    assert_eq!(ended.out, lines(&[line, outcome(2, 1)]), "as they are");

    let ended = folder.run("audit query --csv --id 019aa6f0-0000-7000-8000-000000000001");
    let expected = [
        "kind,node,seq,at,id,decision,reason,detail,policies,provider,agent,user,workload,session,task,client,route,upstream,\
         method,host,path,template,grant,trace_id,event,end,status,bytes,request_bytes,total_us\r\n"
            .to_owned(),
        format!(
            "decision,n1,1,2026-11-21T01:00:00.000000Z,{},permit,,,p.read,corp,a/1,ann,,,,10.0.0.1:4711,api,,GET,api.example,\
             /accounts/1,,g-1,,,,,,,\r\n",
            id(1)
        ),
        format!("outcome,n1,2,2026-11-21T02:00:00.000000Z,{},{}complete,200,5,0,900\r\n", id(1), ",".repeat(20)),
    ];
    assert_eq!(ended.out, expected.concat());

    for (arguments, out) in [
        (
            "--count-by agent",
            "         3  a/1\n         2  b/1\n         1  a/2",
        ),
        ("--count-by agent -n 1", "         3  a/1"),
        (
            "--count-by reason --verdict deny",
            "         2  no_policy\n         1  forbidden",
        ),
        (
            "--count-by verdict --json",
            "{\"value\":\"deny\",\"count\":3}\n{\"value\":\"permit\",\"count\":3}",
        ),
        ("--count-by session --json", "{\"value\":null,\"count\":6}"),
        ("--count-by session", "         6  (none)"),
        ("--count-by policy --csv", "value,count\r\n,3\r\np.read,3"),
        ("--count-by status", "         2  200"),
        (
            "--count-by hour --agent a/2",
            "         1  2026-11-21T04:00Z",
        ),
    ] {
        folder.check(&format!("audit query {arguments}"), 0, out, "");
    }
    folder.check("audit query --count-by agent --user bob", 1, "", "");
}

#[test]
fn what_is_no_record_is_told_and_never_fine() {
    let folder = log();
    let mut text = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    text.insert_str(0, "junk\n\n");
    folder.write("audit.jsonl", &text);
    let (code, came, err) = numbers(&folder, "audit query --json --verdict deny");
    assert_eq!((code, came.as_slice()), (2, &[3, 5, 7][..]));
    assert_eq!(
        err,
        "portcullis: audit.jsonl: 2 lines are no records, the first is line 1\n"
    );
    folder.write(
        "later.jsonl",
        decision(1, "deny", "a", "").replace("\"v\":1", "\"v\":2") + "\n",
    );
    let err = "portcullis: later.jsonl: 1 line is no record, the first is line 1; some are of the later version 2";
    folder.check("audit query later.jsonl", 2, "", err);

    // a last line that is being written is no damage
    folder.write(
        "half.jsonl",
        decision(1, "deny", "a", "") + "\n" + decision(2, "deny", "a", "").split_at(50).0,
    );
    let (code, came, err) = numbers(&folder, "audit query --json half.jsonl");
    assert_eq!((code, came.as_slice()), (0, &[1][..]));
    assert_eq!(
        err,
        "portcullis: half.jsonl: the last line is half a record, and passed over\n"
    );

    // a compressed file that ends early: what is there, and that it isn't all
    let whole = fs::read(folder.path("audit.jsonl.0000000000000001.gz")).unwrap();
    folder.write("cut.gz", &whole[..whole.len() - 9]);
    let ended = folder.run("audit query cut.gz --json");
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.starts_with("portcullis: cut.gz: "),
        "{}",
        ended.err
    );
}

/// What the program itself writes: the first line is a start, the last one a stop.
#[test]
fn a_log_that_a_gateway_wrote_is_all_records() {
    let folder = Folder::new();
    let mut gateway = folder
        .program("serve --config config.yaml")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(gateway.stderr.take().unwrap());
    let mut lines = told.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("listening")), "it serves");
    for signal in ["-HUP", "-TERM"] {
        let pid = gateway.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
        if signal == "-HUP" {
            assert!(lines.any(|line| line.contains("reloaded")), "it reloads");
        }
    }
    lines.for_each(drop);
    assert!(gateway.wait().unwrap().success());
    for (arguments, words) in [
        (
            "query",
            &["start, version", "reload, 1 policies", "stop"][..],
        ),
        (
            "query --count-by event",
            &["1  reload", "1  start", "1  stop"],
        ),
        (
            "tail -n 3",
            &["start, version", "reload, 1 policies", "stop"],
        ),
        ("tail -n 1", &["stop"]),
        (
            "query --csv --kind event",
            &["kind,node", "start", "reload", "stop"],
        ),
    ] {
        let ended = folder.run(&format!("audit {arguments}"));
        assert_eq!((ended.code, &*ended.err), (0, ""), "{arguments}");
        let came: Vec<_> = ended.out.lines().collect();
        assert_eq!(came.len(), words.len(), "{arguments}: {came:?}");
        for (line, word) in came.iter().zip(words) {
            assert!(line.contains(word), "{arguments}: {came:?}");
        }
    }
}

/// Within a version events, codes and fields may be added.
#[test]
fn what_a_newer_program_wrote_is_shown_as_it_is() {
    let folder = Folder::new();
    let grown = decision(
        2,
        "deny",
        "a/1",
        r#","reason":"invented","grant":{"id":"g"},"why":[1]"#,
    );
    let event = r#"{"v":1,"kind":"event","node":"n1","seq":1,"at":"2026-11-21T09:00:00.000000Z","event":"invented","policies":{"n":1}}"#;
    folder.write(
        "audit.jsonl",
        lines(&[header(0), event.to_owned(), grown.clone()]),
    );
    let both = format!("{event}\n{grown}");
    for arguments in ["query", "query --json", "tail", "tail --json"] {
        folder.check(&format!("audit {arguments}"), 0, &both, "");
    }
    folder.check(
        "audit query --count-by event",
        0,
        "         1  invented",
        "",
    );
}

#[test]
fn bad_asking_is_refused() {
    let folder = log();
    fs::copy(folder.path("audit.jsonl"), folder.path("copy.jsonl")).unwrap();
    for (arguments, part) in [
        ("query --since yesterday", "expected RFC 3339"),
        ("query --since 2026-11-21", "expected RFC 3339"),
        ("query --since 99999999w", "so long ago"),
        ("query --since 1h --until 2h", "is not before"),
        ("query --verdict allow", "expected one of permit, deny"),
        (
            "query --reason no_polcy",
            "expected one of ambiguous_request",
        ),
        (
            "query --kind segment",
            "expected one of decision, outcome, event",
        ),
        ("query --id 7", "expected a UUID"),
        ("query --json --csv", "cannot be used with"),
        (
            "query --count-by agent --with-outcomes",
            "cannot be used with",
        ),
        ("query --count-by colour", "invalid value"),
        ("query -n 0", "0 is not in"),
        ("query --agnet x", "unexpected argument"),
        ("query none.jsonl", "none.jsonl: No such file"),
        ("query none.jsonl audit.jsonl", "none.jsonl: No such file"),
        (
            "query audit.jsonl audit.jsonl",
            "begin with the same record",
        ),
        ("query copy.jsonl audit.jsonl", "begin with the same record"),
        ("query good", "good: "),
        ("tail none.jsonl", "none.jsonl: No such file"),
        ("tail -f none.jsonl", "none.jsonl: No such file"),
        ("tail audit.jsonl.0000000000000001.gz", "compressed"),
        ("tail -n x", "invalid value"),
        ("export", "--format"),
        ("export --format ecs", "invalid value"),
        (
            "export --format ocsf none.jsonl",
            "none.jsonl: No such file",
        ),
    ] {
        let ended = folder.run(&format!("audit {arguments}"));
        assert_eq!(
            (ended.code, &*ended.out),
            (2, ""),
            "{arguments}: {}",
            ended.err
        );
        assert!(ended.err.contains(part), "{arguments}: {}", ended.err);
    }
}

#[test]
fn what_callers_wrote_does_not_speak() {
    let folder = Folder::new();
    let hostile = "=x\u{9b}2J\u{202e}\\u001b[2J\\r\\n";
    folder.write(
        "audit.jsonl",
        decision(1, "deny", hostile, r#","reason":"no_policy""#) + "\n",
    );
    for arguments in [
        "query",
        "query --json",
        "query --csv",
        "query --count-by agent",
        "query --count-by agent --json",
        "query --count-by agent --csv",
        "tail",
        "tail --json",
        "export --format ocsf",
    ] {
        let ended = folder.run(&format!("audit {arguments}"));
        assert_eq!((ended.code, &*ended.err), (0, ""), "{arguments}");
        let speaks = |c: char| (c.is_control() && c != '\n' && c != '\r') || c == '\u{202e}';
        assert!(!ended.out.contains(speaks), "{arguments}: {:?}", ended.out);
        let lines = ended.out.matches(['\r', '\n']).count();
        let ends = if arguments.ends_with("--csv") { 4 } else { 1 };
        assert_eq!(lines, ends, "{arguments}: {:?}", ended.out);
        if arguments.ends_with("--csv") {
            assert!(ended.out.contains("'=x"), "{arguments}: {}", ended.out);
        }
    }
}

#[test]
fn an_export_joins_decisions_and_outcomes() {
    let folder = log();
    let ended = folder.run("audit export --format ocsf --agent a/*");
    assert_eq!((ended.code, &*ended.err), (0, ""));
    let events: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let uid = event["metadata"]["uid"].as_str().unwrap().to_owned();
            (
                uid,
                event["type_uid"].as_u64().unwrap(),
                event["status_id"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [(1, 1), (3, 2), (4, 1), (7, 2)].map(|(of, status)| (id(of), 600_302, status));
    assert_eq!(told, expected);
    folder.check("audit export --format ocsf --kind outcome", 1, "", "");
    let ended = folder.run("audit export --format ocsf --agent b/1 --verdict permit");
    assert!(
        ended.out.contains("\"status\":\"Unknown\""),
        "its outcome isn't there yet: {}",
        ended.out
    );
}

#[test]
fn the_tail_of_a_log() {
    let folder = log();
    for (arguments, found) in [
        ("", &[1, 2, 3, 4, 5, 6, 7, 8][..]),
        ("-n 2", &[7, 8]),
        ("-n 4", &[5, 6, 7, 8]),
        ("-n 2 --verdict deny", &[5, 7]),
        ("-n 3 --agent a/1", &[1, 3, 7]),
        ("-n 0", &[]),
        ("--user bob", &[]),
        ("audit.jsonl.0000000000000004", &[4, 5]),
    ] {
        let (code, came, err) = numbers(&folder, &format!("audit tail --json {arguments}"));
        assert_eq!((came.as_slice(), &*err), (found, ""), "{arguments}");
        assert_eq!(code, i32::from(found.is_empty()), "{arguments}");
    }
    let mut text = fs::read_to_string(folder.path("audit.jsonl")).unwrap();
    folder.write("audit.jsonl", text.trim_end());
    assert_eq!(
        numbers(&folder, "audit tail --json -n 2").1,
        [7, 8],
        "it lacks only its line feed"
    );
    text += "junk\n";
    folder.write("audit.jsonl", &text);
    let ended = folder.run("audit tail -n 2");
    assert_eq!((ended.code, ended.out.lines().count()), (2, 1));
    assert_eq!(
        ended.err,
        "portcullis: audit.jsonl: lines that are no records: 1\n"
    );
}

/// A `tail -f` under way.
struct Followed {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Followed {
    fn begin(folder: &Folder, arguments: &str) -> Followed {
        let mut child = folder
            .program(&format!("audit tail -f --json {arguments}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Followed { child, out }
    }

    /// Waits for the next line, and gives its number.
    fn next(&mut self) -> u64 {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        seq(&line)
    }

    fn end(mut self) -> (Option<i32>, String) {
        drop(self.out);
        let mut err = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        (self.child.wait().unwrap().code(), err)
    }
}

fn append(folder: &Folder, text: &str) {
    let path = folder.path("audit.jsonl");
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_tail_follows_through_rotation_removal_and_emptying() {
    let folder = log();
    let mut tail = Followed::begin(&folder, "-n 2 --agent a/1");
    assert_eq!((tail.next(), tail.next()), (3, 7));
    let permit = |seq| decision(seq, "permit", "a/1", "");
    let nine = permit(9);
    let (begin, end) = nine.split_at(100);
    append(&folder, begin);
    append(
        &folder,
        &format!("{end}\n{}\n", decision(10, "permit", "b/1", "")),
    );
    assert_eq!(tail.next(), 9);

    append(&folder, &format!("{}\n", permit(11)));
    let path = folder.path("audit.jsonl");
    fs::rename(&path, folder.path("audit.jsonl.0000000000000006")).unwrap();
    append(&folder, &lines(&[header(11), permit(12)]));
    assert_eq!((tail.next(), tail.next()), (11, 12));

    fs::remove_file(&path).unwrap();
    append(&folder, &lines(&[header(12), permit(13)]));
    assert_eq!(tail.next(), 13);

    fs::write(&path, "").unwrap();
    append(&folder, &lines(&[permit(14)]));
    assert_eq!(tail.next(), 14);

    let pid = tail.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let (code, err) = tail.end();
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("it was emptied"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn a_tail_ends_well_when_its_reader_goes() {
    let folder = log();
    let mut tail = Followed::begin(&folder, "-n 1");
    assert_eq!(tail.next(), 8);
    let Followed { mut child, out } = tail;
    drop(out);
    append(&folder, &lines(&[outcome(9, 8)]));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
