//! `portcullis check`: loads a configuration or policies as `serve` would, and tells every problem and warning.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Exit, Paint, colours, complain, problem_json};
use crate::config::Config;
use crate::policy::PolicySet;
use crate::policy::cases::Cases;
use crate::policy::lint;
use crate::sources::{self, Found};
use crate::yaml::Problem;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Policy files, or folders of them.
    #[arg(required_unless_present = "config")]
    policies: Vec<PathBuf>,
    /// A configuration file; its policies are checked with it.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Default)]
struct Report {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    policies: usize,
    digest: String,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let mut report = Report::default();
    let mut paths = args.policies.clone();
    let readable = |path: &PathBuf| {
        let found = std::fs::metadata(path);
        if let Err(error) = &found {
            complain(&format!("{}: {error}", path.display()));
        }
        found.is_ok()
    };
    // All of them, so that every unreadable one is told.
    let unreadable = paths
        .iter()
        .chain(&args.config)
        .filter(|path| !readable(path));
    if unreadable.count() > 0 {
        return Ok(Exit::Usage);
    }
    if let Some(path) = &args.config {
        match Config::load(path) {
            Ok(config) => {
                report.warnings = config.warnings;
                paths.extend(config.policies);
            }
            Err(problems) => report.problems = problems,
        }
    }
    let loaded = Found::under(&paths)
        .and_then(|found| sources::read(&found.policies))
        .and_then(|files| PolicySet::load(&files).map(|set| (set, files)));
    match loaded {
        Ok((set, files)) => {
            report.warnings.extend(lint::lint(&files));
            report.policies = set.len();
            set.digest().clone_into(&mut report.digest);
        }
        Err(problems) => report.problems.extend(problems),
    }
    report.problems.extend(cases(&paths));
    if args.json {
        as_json(&report, out)?;
    } else {
        as_text(&report, out)?;
    }
    Ok(if report.problems.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    })
}

/// What is wrong with the cases beside the policies; whether they hold is for `test` to say.
fn cases(paths: &[PathBuf]) -> Vec<Problem> {
    let Ok(found) = Found::under(paths) else {
        return Vec::new();
    };
    let problems = |path: &PathBuf| {
        sources::text(path)
            .and_then(|text| Cases::read(path.display().to_string(), &text))
            .err()
    };
    found.cases.iter().filter_map(problems).flatten().collect()
}

fn as_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let paint = Paint(colours());
    for warning in &report.warnings {
        writeln!(out, "{} {warning}", paint.yellow("warning"))?;
    }
    for problem in &report.problems {
        writeln!(out, "{} {problem}", paint.red("problem"))?;
    }
    if report.problems.is_empty() {
        let (policies, digest) = (report.policies, &report.digest);
        writeln!(
            out,
            "{} {policies} policies, set {digest}",
            paint.green("ok")
        )
    } else {
        writeln!(out, "{} problems", report.problems.len())
    }
}

fn as_json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let list = |problems: &[Problem]| -> Vec<_> { problems.iter().map(problem_json).collect() };
    let value = serde_json::json!({
        "ok": report.problems.is_empty(),
        "policies": report.policies,
        "policy_set": report.digest,
        "problems": list(&report.problems),
        "warnings": list(&report.warnings),
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}
