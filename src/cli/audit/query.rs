//! `portcullis audit query`: finds records, or counts them.
//!
//! An answer that may not be whole never ends in 0 or 1: where a file can't be read to its end, or lines are no
//! records, what was found is told all the same and the exit code is 2.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use jiff::Timestamp;

use super::counts::{Counts, Key};
use super::select::{Select, parts};
use super::{Told, columns, show};
use crate::audit::query::{Query, QueryError, Tally};
use crate::cli::{Exit, Paint, colours, complain};

/// Find records, or count them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log, with its rotated files; or several files, which are read as they are, in the order of their records
    /// [default: audit.jsonl].
    files: Vec<PathBuf>,
    #[command(flatten)]
    select: Select,
    /// Print the records' lines as they are.
    #[arg(long, conflicts_with = "csv", help_heading = "Output")]
    json: bool,
    /// Print CSV, with the columns' names in its first row.
    #[arg(long, help_heading = "Output")]
    csv: bool,
    /// Count records by this instead of showing them, the most frequent value first.
    #[arg(long, value_name = "KEY", help_heading = "Output")]
    count_by: Option<Key>,
    /// Also show the outcome of each decision that is found.
    #[arg(long, conflicts_with = "count_by", help_heading = "Output")]
    with_outcomes: bool,
    /// At most so many records, the oldest first; of counts, so many values.
    #[arg(short = 'n', value_name = "LIMIT", help_heading = "Output",
          value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// Searches, and tells.
pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let filter = match args.select.filter(Timestamp::now()) {
        Ok(filter) => filter,
        Err(error) => {
            complain(&error);
            return Ok(Exit::Usage);
        }
    };
    let Some(parts) = parts(&args.files) else {
        return Ok(Exit::Usage);
    };
    let mut query = Query::new(&filter);
    if let Some(limit) = args.limit.filter(|_| args.count_by.is_none()) {
        query = query.first(limit);
    }
    if args.with_outcomes {
        query = query.with_outcomes();
    }
    let mut counts = args.count_by.map(Counts::by);
    let mut out = BufWriter::with_capacity(OUT_BYTES, out);
    if args.csv && counts.is_none() {
        columns::names(&mut out)?;
    }
    let paint = Paint(colours());
    let mut told = Told::default();
    let mut any = false;
    for part in parts {
        if query.is_over() {
            break;
        }
        let path = part.path.clone();
        let mut tally = Tally::default();
        let ended = part
            .open()
            .map_err(QueryError::Input)
            .and_then(|mut input| {
                query.run(&mut input, &mut tally, |found| {
                    any = true;
                    match &mut counts {
                        Some(counts) => counts.note(&found.view),
                        None if args.csv => columns::record(&found.view, &mut out)?,
                        None if args.json => show::raw(found.line, &mut out)?,
                        None => show::readable(found.line, paint, &mut out)?,
                    }
                    Ok(ControlFlow::Continue(()))
                })
            });
        told.file(&path, &tally, ended)?;
    }
    if let Some(counts) = &counts {
        let limit = args.limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(usize::MAX);
        match (args.json, args.csv) {
            (true, _) => counts.as_json(limit, &mut out)?,
            (false, true) => counts.as_csv(limit, &mut out)?,
            (false, false) => counts.as_text(limit, &mut out)?,
        }
        any = !counts.is_empty();
    }
    out.flush()?;
    if let Some(others) = counts.map(|counts| counts.others()).filter(|n| *n > 0) {
        complain(&format!(
            "too many values to keep apart: {others} records of values that came late are counted together"
        ));
    }
    if query.unfollowed > 0 {
        told.incomplete = true;
        complain(&format!(
            "too many decisions were open at a time: the outcomes of {} weren't looked for",
            query.unfollowed
        ));
    }
    Ok(told.exit(any))
}

const OUT_BYTES: usize = 64 << 10;
