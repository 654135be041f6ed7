//! `portcullis test`: runs the cases that stand beside policies, by the code that judges requests.
//!
//! A `cases.yaml` runs against the policies that were found beside it and below it, and no others: each folder is
//! a set of its own.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Exit, Paint, colours, complain, problem_json};
use crate::policy::PolicySet;
use crate::policy::cases::{Case, Cases, Outcome};
use crate::sources::{self, Found};
use crate::yaml::Problem;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Policy files or folders, with their `cases.yaml`.
    #[arg(default_value = "policies")]
    paths: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

struct Run {
    file: String,
    line: u32,
    name: String,
    expected: String,
    got: String,
    passed: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    for path in &args.paths {
        if let Err(error) = std::fs::metadata(path) {
            complain(&format!("{}: {error}", path.display()));
            return Ok(Exit::Usage);
        }
    }
    let (runs, problems) = match Found::under(&args.paths) {
        Ok(found) => all(&found),
        Err(problems) => (Vec::new(), problems),
    };
    if args.json {
        as_json(&runs, &problems, out)?;
    } else {
        as_text(&runs, &problems, out)?;
    }
    let passed = problems.is_empty() && runs.iter().all(|run| run.passed);
    Ok(match (passed, runs.is_empty()) {
        (true, true) => {
            complain("no cases found");
            Exit::Usage
        }
        (true, false) => Exit::Fine,
        (false, _) => Exit::Found,
    })
}

/// Runs all cases. The policies beside a `cases.yaml` and below it are its set.
fn all(found: &Found) -> (Vec<Run>, Vec<Problem>) {
    let mut runs = Vec::new();
    let mut problems = Vec::new();
    for path in &found.cases {
        let folder = path.parent().unwrap_or(Path::new(""));
        let own = found.policies.iter().filter(|p| p.starts_with(folder));
        let set = sources::read(own).and_then(|files| PolicySet::load(&files));
        let cases =
            sources::text(path).and_then(|text| Cases::read(path.display().to_string(), &text));
        match (set, cases) {
            (Ok(set), Ok(cases)) => {
                runs.extend(cases.cases.iter().map(|case| of_case(&cases, case, &set)));
            }
            (set, cases) => {
                problems.extend(set.err().into_iter().flatten());
                problems.extend(cases.err().into_iter().flatten());
            }
        }
    }
    (runs, problems)
}

fn of_case(cases: &Cases, case: &Case, set: &PolicySet) -> Run {
    let outcome: Outcome = cases.run(case, set);
    Run {
        file: cases.file.to_string(),
        line: case.mark.line,
        name: case.name.clone(),
        expected: case.expect.to_string(),
        got: outcome.to_string(),
        passed: case.expect.met_by(&outcome),
    }
}

fn as_text(runs: &[Run], problems: &[Problem], out: &mut impl Write) -> io::Result<()> {
    let paint = Paint(colours());
    for problem in problems {
        writeln!(out, "{} {problem}", paint.red("problem"))?;
    }
    for run in runs.iter().filter(|run| !run.passed) {
        let place = format!("{}:{}", run.file, run.line);
        writeln!(out, "{} {place} {}", paint.red("failed"), run.name)?;
        writeln!(out, "  expected {}", run.expected)?;
        writeln!(out, "  came     {}", run.got)?;
    }
    let failed = runs.iter().filter(|run| !run.passed).count();
    let passed = runs.len() - failed;
    let verdict = if failed == 0 && problems.is_empty() {
        paint.green("ok")
    } else {
        paint.red("not ok")
    };
    writeln!(out, "{verdict} {passed} passed, {failed} failed")
}

fn as_json(runs: &[Run], problems: &[Problem], out: &mut impl Write) -> io::Result<()> {
    let cases: Vec<_> = runs
        .iter()
        .map(|run| {
            serde_json::json!({
                "file": run.file,
                "line": run.line,
                "name": run.name,
                "expected": run.expected,
                "got": run.got,
                "passed": run.passed,
            })
        })
        .collect();
    let value = serde_json::json!({
        "ok": problems.is_empty() && runs.iter().all(|run| run.passed),
        "cases": cases,
        "problems": problems.iter().map(problem_json).collect::<Vec<_>>(),
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}
