//! `portcullis check`: loads a configuration or policies as `serve` would, and tells every problem and warning.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Exit, Paint, colours, complain, health, problem_json};
use crate::audit::redact;
use crate::config::{Config, Fields};
use crate::policy::PolicySet;
use crate::policy::cases::Cases;
use crate::policy::lint;
use crate::sources::{self, Found};
use crate::yaml::Problem;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Policy files, or folders of them.
    #[arg(required_unless_present_any = ["config", "health"])]
    policies: Vec<PathBuf>,
    /// A configuration file; its policies are checked with it.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Ask a running proxy, by the URL of its admin listener, whether it lives; nothing else is checked.
    #[arg(long, value_name = "URL", conflicts_with_all = ["policies", "config", "json"])]
    health: Option<http::Uri>,
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
    passed_over: Vec<String>,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    if let Some(url) = &args.health {
        return Ok(match health::ask(url) {
            Ok(()) => Exit::Fine,
            Err(why) => {
                complain(&why);
                Exit::Found
            }
        });
    }
    let mut report = Report::default();
    let mut paths = args.policies.clone();
    // All of them, so that every unreadable one is told.
    let unreadable = paths.iter().chain(&args.config);
    if unreadable.filter(|path| !readable(path)).count() > 0 {
        return Ok(Exit::Usage);
    }
    if let Some(folder) = args.config.iter().find(|path| path.is_dir()) {
        complain(&format!(
            "{}: is a folder; expected a file",
            folder.display()
        ));
        return Ok(Exit::Usage);
    }
    let mut told = Fields::default();
    if let Some(path) = &args.config {
        match Config::load(path) {
            Ok(config) => {
                report.warnings = config.warnings;
                paths.extend(config.policies);
                told = config.audit.fields;
            }
            Err(problems) => report.problems = problems,
        }
    }
    let loaded = Found::under(&paths)
        .and_then(|found| sources::read(&found.policies))
        .and_then(|files| PolicySet::load(&files).map(|set| (set, files)));
    match loaded {
        Ok((set, files)) => {
            report.warnings.extend(redact::unjudged(&told, &set));
            report.warnings.extend(lint::lint(&files));
            report.policies = set.len();
            set.digest().clone_into(&mut report.digest);
        }
        Err(problems) => report.problems.extend(problems),
    }
    if let Ok(found) = Found::under(&paths) {
        if args.config.is_none() && found.policies.is_empty() && found.cases.is_empty() {
            complain("no policy files found");
            return Ok(Exit::Usage);
        }
        report.problems.extend(cases(&found));
        let passed_over = found.passed_over.into_iter();
        report.passed_over = passed_over.map(|p| p.display().to_string()).collect();
    }
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

/// Whether there is something that may be read; told if not.
fn readable(path: &PathBuf) -> bool {
    let opened = std::fs::File::open(path);
    if let Err(error) = &opened {
        complain(&format!("{}: {error}", path.display()));
    }
    opened.is_ok()
}

/// What is wrong with the cases beside the policies; whether they hold is for `test` to say.
fn cases(found: &Found) -> Vec<Problem> {
    let problems = |path: &PathBuf| {
        sources::text(path)
            .and_then(|text| Cases::read(path.display().to_string(), &text))
            .err()
    };
    found.cases.iter().filter_map(problems).flatten().collect()
}

fn as_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let paint = Paint(colours());
    for path in &report.passed_over {
        let note = paint.yellow("note");
        writeln!(
            out,
            "{note} {path} is a configuration, no policy file; passed over"
        )?;
    }
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
        let plural = if report.problems.len() == 1 { "" } else { "s" };
        writeln!(out, "{} problem{plural}", report.problems.len())
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
        "passed_over": report.passed_over,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}
