//! `portcullis audit export`: records in the form of another schema, for a SIEM.
//!
//! One object a line, in the order in which they are complete: a denial at once, a permit when its outcome is met, or
//! at the end without one.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::ValueEnum;
use jiff::Timestamp;

use super::Told;
use super::select::{Select, parts};
use crate::audit::ocsf::{self, Join, Joined};
use crate::audit::query::{Query, QueryError, Tally};
use crate::audit::view::Field;
use crate::cli::{Exit, complain};

/// Write decisions with their outcomes in the form of another schema.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log, with its rotated files; or several files, which are read as they are, in the order of their records
    /// [default: audit.jsonl].
    files: Vec<PathBuf>,
    /// The form.
    #[arg(long, value_enum)]
    format: Format,
    #[command(flatten)]
    select: Select,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// OCSF 1.8.0, API Activity (6003), one JSON object a line.
    Ocsf,
}

/// Exports.
pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let Format::Ocsf = args.format;
    let filter = match args.select.filter(Timestamp::now()) {
        Ok(filter) => filter.with(Field::Kind, &["decision".to_owned()]),
        Err(error) => {
            complain(&error);
            return Ok(Exit::Usage);
        }
    };
    let Some(parts) = parts(&args.files) else {
        return Ok(Exit::Usage);
    };
    let mut out = BufWriter::with_capacity(OUT_BYTES, out);
    let mut query = Query::new(&filter).with_outcomes();
    let mut join = Join::default();
    let mut told = Told::default();
    let mut any = false;
    for part in parts {
        let path = part.path.clone();
        let mut tally = Tally::default();
        let ended = part
            .open()
            .map_err(QueryError::Input)
            .and_then(|mut input| {
                query.run(&mut input, &mut tally, |found| {
                    any = true;
                    for joined in join.take(&found) {
                        write(joined, &mut out)?;
                    }
                    Ok(ControlFlow::Continue(()))
                })
            });
        told.file(&path, &tally, ended)?;
    }
    let unjoined = join.unjoined + query.unfollowed;
    for joined in join.rest() {
        write(joined, &mut out)?;
    }
    out.flush()?;
    if unjoined > 0 {
        told.incomplete = true;
        complain(&format!(
            "too many decisions were open at a time: {unjoined} stand without their outcomes"
        ));
    }
    Ok(told.exit(any))
}

fn write((decision, outcome): Joined, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", ocsf::event(&decision, outcome.as_deref())?)
}

const OUT_BYTES: usize = 64 << 10;
