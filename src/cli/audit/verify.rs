//! `portcullis audit verify`: whether a log is whole, what was done to it if not, and how much of it is signed.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::progress::Progress;
use crate::audit::note::Verifier;
use crate::audit::verify::{
    Finding, Report, SignedPart, Trusted, VerifyError, files_of, verify, verify_log,
};
use crate::cli::{Exit, Paint, colours, complain};

/// Check that nothing in a log was changed, removed, inserted, reordered or cut off.
///
/// Exit code 0: whole; 1: something was done to it; 2: it can't be read.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log: one file stands for itself and its closed ones beside it, several for exactly these.
    #[arg(default_value = "audit.jsonl")]
    files: Vec<PathBuf>,
    /// The verifier key as `portcullis audit init` showed it, or @ and a file that holds it.
    #[arg(long, value_name = "VKEY|@FILE")]
    key: Option<String>,
    /// The signed checkpoints that were kept of the log.
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        default_value = "audit.checkpoints"
    )]
    checkpoints: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let (report, key) = match look(args) {
        Ok(found) => found,
        Err(why) => {
            complain(&why);
            return Ok(Exit::Usage);
        }
    };
    match args.json {
        true => as_json(&report, out)?,
        false => as_text(&report, key.as_ref(), out)?,
    }
    Ok(match report.findings.is_empty() {
        true => Exit::Fine,
        false => Exit::Found,
    })
}

fn look(args: &Args) -> Result<(Report, Option<Verifier>), String> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    let trusted = key.as_ref().map(|key| Trusted {
        key,
        checkpoints: &args.checkpoints,
    });
    let report = match args.files.as_slice() {
        [log] => {
            // what can't be listed is told by whoever checks it
            let mut progress = Progress::over(&files_of(log).unwrap_or_default(), !args.json);
            verify_log(log, trusted, &mut |bytes| progress.read(bytes))
        }
        files => {
            let mut progress = Progress::over(files, !args.json);
            verify(files, trusted, &mut |bytes| progress.read(bytes))
        }
    };
    Ok((report.map_err(|error| error.to_string())?, key))
}

/// A verifier key, given itself or by `@` and a file.
pub(super) fn read_key(given: &str) -> Result<Verifier, String> {
    let text = match given.strip_prefix('@') {
        Some(file) => {
            let path = Path::new(file);
            let read = std::fs::read_to_string(path);
            read.map_err(|source| {
                let path = path.to_owned();
                VerifyError::Read { path, source }.to_string()
            })?
        }
        None => given.to_owned(),
    };
    Verifier::parse(text.trim()).map_err(|error| error.to_string())
}

fn as_text(report: &Report, key: Option<&Verifier>, out: &mut impl Write) -> io::Result<()> {
    let paint = Paint(colours());
    for note in &report.notes {
        writeln!(out, "{} {note}", paint.yellow("note"))?;
    }
    for finding in report.findings.iter().take(SHOWN) {
        let Finding { kind, text, .. } = finding;
        let code = kind.code().replace('_', " ");
        writeln!(
            out,
            "{} {}{}: {text}",
            paint.red(&code),
            place(finding),
            subject(finding)
        )?;
    }
    if let Some(more) = report
        .findings
        .len()
        .checked_sub(SHOWN)
        .filter(|more| *more > 0)
    {
        writeln!(out, "… and {more} more; --json tells all")?;
    }
    let (files, records) = (report.files.len(), report.records);
    let span = match report.span {
        Some((first, last)) => format!(", {first} to {last}"),
        None => String::new(),
    };
    let plural = |count: u64, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    let looked = format!(
        "{}{span}, in {}",
        plural(records, "record"),
        plural(files as u64, "file")
    );
    match report.findings.len() as u64 {
        0 => writeln!(out, "{} {looked}: the chain is whole", paint.green("ok"))?,
        found => writeln!(
            out,
            "{} {looked}: {}",
            paint.red("NOT WHOLE"),
            plural(found, "finding")
        )?,
    }
    match (&report.signed, key) {
        (Some(part), Some(key)) => signed(part, key, paint, out),
        (_, _) => writeln!(
            out,
            "{} without --key no signature was checked: the chain alone shows accidents and careless hands. Whoever can \
             write the log can make it anew, and only signed checkpoints that are kept elsewhere tell",
            paint.yellow("unsigned")
        ),
    }
}

fn signed(part: &SignedPart, key: &Verifier, paint: Paint, out: &mut impl Write) -> io::Result<()> {
    let SignedPart {
        checkpoints,
        agree,
        disagree,
        not_compared,
        after,
        ..
    } = part;
    write!(
        out,
        "{agree} of {checkpoints} checkpoints signed by {} agree",
        key.name()
    )?;
    if *disagree > 0 {
        write!(out, ", {} don't", paint.red(&disagree.to_string()))?;
    }
    if *not_compared > 0 {
        write!(out, ", {not_compared} could not be compared")?;
    }
    match part.up_to {
        Some(last) => writeln!(out, "; {} up to record {last}", paint.green("signed"))?,
        None => writeln!(out, "; {}", paint.yellow("nothing of the log is signed"))?,
    }
    if *after > 0 {
        let (records, are) = if *after == 1 {
            ("record", "is")
        } else {
            ("records", "are")
        };
        writeln!(
            out,
            "{} the last {after} {records} {are} chained and not yet signed",
            paint.yellow("note")
        )?;
    }
    Ok(())
}

/// `file:line`.
fn place(finding: &Finding) -> String {
    match &finding.file {
        Some(file) if finding.line > 0 => format!("{}:{}", file.display(), finding.line),
        Some(file) => file.display().to_string(),
        None => "the log".to_owned(),
    }
}

fn subject(finding: &Finding) -> String {
    match finding.records {
        Some((first, last)) if first == last => format!(" record {first}"),
        Some((first, last)) => format!(" records {first} to {last}"),
        None => String::new(),
    }
}

fn as_json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let finding = |finding: &Finding| {
        json!({
            "kind": finding.kind.code(),
            "file": finding.file.as_ref().map(|file| file.display().to_string()),
            "line": finding.line,
            "records": finding.records.map(|(first, last)| [first, last]),
            "message": finding.text,
        })
    };
    let value = json!({
        "ok": report.findings.is_empty(),
        "files": report.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "records": report.records,
        "first": report.span.map(|(first, _)| first),
        "last": report.span.map(|(_, last)| last),
        "bytes": report.bytes,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "notes": report.notes,
        "signed": report.signed.map(|part| json!({
            "checkpoints": part.checkpoints,
            "agree": part.agree,
            "disagree": part.disagree,
            "older": part.older,
            "not_compared": part.not_compared,
            "up_to": part.up_to,
            "after": part.after,
        })),
    });
    serde_json::to_writer_pretty(&mut *out, &value).map_err(|error| {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind),
            None => io::Error::new(ErrorKind::InvalidData, error),
        }
    })?;
    writeln!(out)
}

/// More findings are counted only.
const SHOWN: usize = 200;
