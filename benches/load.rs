//! How long 100,000 policies take to load, and what they hold in memory.
//!
//! `cargo bench --bench load` measures each shape in a process of its own, since memory that was freed is not
//! always given back. `peak` includes the text of the policies and all that loading needs for a moment. With
//! `--count N` another number; DESIGN 10 allows 3 s and 400 MB for 100,000.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and prints what it found"
)]

#[path = "support/policies.rs"]
#[expect(dead_code, reason = "the calls are for the other bench")]
mod policies;

use std::process::Command;
use std::time::Instant;

use policies::SHAPES;

/// The binary's, or the figures would be of another program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().skip_while(|a| *a != flag).nth(1).cloned();
    let measured = arguments.iter().any(|a| a == "--bench");
    let count = after("--count").and_then(|n| n.parse().ok());
    let count = count.unwrap_or(if measured { 100_000 } else { 100 });
    let Some(shape) = after("--shape") else {
        for shape in SHAPES {
            for body in ["no", "yes"] {
                let mut own = Command::new(&arguments[0]);
                own.args([
                    "--count",
                    &count.to_string(),
                    "--shape",
                    shape.name(),
                    "--body",
                    body,
                ]);
                assert!(own.status().is_ok_and(|status| status.success()));
            }
        }
        return;
    };
    let body = after("--body").is_some_and(|body| body == "yes");
    for known in SHAPES.into_iter().filter(|known| known.name() == shape) {
        let file = known.policies(count, body);
        let (text, before) = (file.text.len(), status("VmRSS:"));
        let started = Instant::now();
        let set = policies::load(file);
        let took = started.elapsed();
        println!(
            "{} policies, {shape}, body rule: {}, {} KiB of text: load {took:.2?}, holds {} MiB, peak {} MiB",
            set.len(),
            if body { "yes" } else { "no" },
            text / 1024,
            (status("VmRSS:") + text / 1024).saturating_sub(before) / 1024,
            status("VmHWM:") / 1024,
        );
    }
}

/// KiB of a line of `/proc/self/status`; 0 where the system has none.
fn status(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|l| l.strip_prefix(line));
    found
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
