//! How fast a log of 1 GB is searched, on one core.
//!
//! `cargo bench --bench query` writes the log into a temporary folder (`TMPDIR`) and goes through it by the code of
//! `portcullis audit query`. The issue asks for over 500 MB/s where nothing matches. With `--mb N` another size.
//! The best of three runs counts; the file is in the page cache by then.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and prints what it found"
)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use portcullis::audit::files;
use portcullis::audit::filter::Filter;
use portcullis::audit::query::{Query, Tally};
use portcullis::audit::view::Field;

/// The binary's, or the figures would be of another program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let measured = arguments.iter().any(|a| a == "--bench");
    let megabytes = arguments.iter().skip_while(|a| *a != "--mb").nth(1);
    let megabytes = megabytes.and_then(|n| n.parse().ok());
    let megabytes: u64 = megabytes.unwrap_or(if measured { 1_000 } else { 2 });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("audit.jsonl");
    write(&path, megabytes * 1_000_000).expect("room for the log");

    let one = |field, text: &str| Filter::default().with(field, &[text.to_owned()]);
    let many: Vec<String> = (0..8).map(|n| format!("nobody-{n}")).collect();
    let late = "2036-01-01T00:00:00Z".parse().expect("a time");
    for (what, filter) in [
        ("no such user", one(Field::User, "nobody")),
        (
            "no such path, by pattern",
            one(Field::Path, "/tenants/*/nothing/*"),
        ),
        ("no such policy", one(Field::Policy, "p.none")),
        (
            "none of eight users",
            Filter::default().with(Field::User, &many),
        ),
        (
            "denied, of no such agent",
            one(Field::Verdict, "deny")
                .with(Field::Agent, &["spiffe://corp/agent/none".to_owned()]),
        ),
        ("nothing since then", Filter::between(Some(late), None)),
        ("one in a thousand: a session", one(Field::Session, "s-7")),
        ("one in twenty: denied", one(Field::Verdict, "deny")),
        ("all", Filter::default()),
    ] {
        let (mut best, mut found, mut bytes) = (Duration::MAX, 0_u64, 0);
        for _ in 0..3 {
            let mut input = files::open(&path).expect("the log");
            let mut tally = Tally::default();
            found = 0;
            let started = Instant::now();
            Query::new(&filter)
                .run(&mut input, &mut tally, |_| {
                    found += 1;
                    Ok(ControlFlow::Continue(()))
                })
                .expect("a search");
            best = best.min(started.elapsed());
            assert_eq!(tally.unreadable, 0, "{what}");
            bytes = path.metadata().expect("its length").len();
        }
        let rate = bytes as f64 / 1e6 / best.as_secs_f64();
        println!(
            "{what}: {found} found, {:.0} MB in {best:.2?}: {rate:.0} MB/s",
            bytes as f64 / 1e6
        );
    }
}

/// Decisions and outcomes as a gateway with a thousand sessions writes them.
fn write(path: &Path, bytes: u64) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut written, mut seq) = (0, 0_u64);
    let prev = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    while written < bytes {
        seq += 1;
        let (number, session) = (seq / 2, seq / 2 % 1_000);
        let id = format!("019aa6f0-0000-7000-8000-{number:012x}");
        let at = format!(
            "2026-11-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            1 + seq / 10_000_000 % 28,
            seq / 400_000 % 24,
            seq / 7_000 % 60,
            seq / 120 % 60,
            seq % 1_000_000
        );
        let line = if seq % 2 == 1 {
            let (verdict, reason) = match number % 20 {
                0 => ("deny", r#","reason":"no_policy""#),
                _ => ("permit", r#","policies":["ticket.account"]"#),
            };
            format!(
                concat!(
                    r#"{{"v":1,"kind":"decision","node":"gw-1","seq":{seq},"prev":"{prev}","id":"{id}","at":"{at}","policy_set":"{prev}","decision":"{verdict}"{reason},"#,
                    r#""principal":{{"provider":"corp","agent":"spiffe://corp/agent/support/{agent}","user":"user-{session}","session":"s-{session}","task":"t-{session}","groups":["support"],"token_id":"{id}"}},"#,
                    r#""client":"10.1.2.3:40123","route":"crm","upstream":"crm","request":{{"method":"GET","host":"crm.corp.example","path":"/tenants/acme/accounts/{number}","template":"/tenants/{{tenant}}/accounts/{{account}}"}},"#,
                    r#""stages_us":{{"normalise":1,"identify":3,"match":1,"inspect":0,"decide":1}}}}"#,
                    "\n"
                ),
                seq = seq,
                prev = prev,
                id = id,
                at = at,
                verdict = verdict,
                reason = reason,
                agent = session % 50,
                session = session,
                number = number,
            )
        } else {
            format!(
                concat!(
                    r#"{{"v":1,"kind":"outcome","node":"gw-1","seq":{seq},"prev":"{prev}","id":"{id}","at":"{at}","end":"complete","status":200,"bytes":1234,"request_bytes":0,"#,
                    r#""sha256":"{prev}","upstream":"10.9.8.7:8080","head_us":812,"total_us":901}}"#,
                    "\n"
                ),
                seq = seq,
                prev = prev,
                id = id,
                at = at,
            )
        };
        written += line.len() as u64;
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}
