//! `portcullis audit`: what is done with an audit log besides writing it. One file for each subcommand.

use std::io::{self, Write};
use std::path::Path;

use clap::Subcommand;

use super::{Exit, complain};
use crate::audit::query::{QueryError, Tally};

mod columns;
mod counts;
mod export;
mod init;
mod progress;
mod prove;
mod query;
mod select;
mod show;
mod tail;
mod verify;

/// Work with audit logs.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the key that signs a log's checkpoints.
    Init(init::Args),
    // boxed: their filters are many
    /// Find records, or count them.
    Query(Box<query::Args>),
    /// Show a log's last records, and those that come.
    Tail(Box<tail::Args>),
    /// Write decisions in the form of another schema.
    Export(Box<export::Args>),
    /// Check that nothing in a log was changed, removed, inserted, reordered or cut off.
    Verify(verify::Args),
    /// Prove that a record is in a signed log, in a file that can be checked alone.
    Prove(prove::Args),
}

/// Runs the subcommand.
pub fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    match &args.command {
        Command::Init(args) => init::run(args, out),
        Command::Query(args) => query::run(args, out),
        Command::Tail(args) => tail::run(args, out),
        Command::Export(args) => export::run(args, out),
        Command::Verify(args) => verify::run(args, out),
        Command::Prove(args) => prove::run(args, out),
    }
}

/// What is said on standard error about files that were read.
#[derive(Debug, Default)]
struct Told {
    /// Something could not be read, so that an answer may not be whole.
    incomplete: bool,
}

impl Told {
    /// How a search ended that found something or not.
    fn exit(&self, any: bool) -> Exit {
        match (self.incomplete, any) {
            (true, _) => Exit::Usage,
            (false, true) => Exit::Fine,
            (false, false) => Exit::Found,
        }
    }

    /// Tells what was wrong with a file; the error is that of the output.
    fn file(
        &mut self,
        path: &Path,
        tally: &Tally,
        ended: Result<(), QueryError>,
    ) -> io::Result<()> {
        let path = path.display();
        if let Some(first) = tally.first_unreadable {
            self.incomplete = true;
            let (lines, are) = match tally.unreadable {
                1 => ("1 line".to_owned(), "is no record"),
                count => (format!("{count} lines"), "are no records"),
            };
            let newer = tally.later.map_or(String::new(), |version| {
                format!("; some are of the later version {version}")
            });
            complain(&format!(
                "{path}: {lines} {are}, the first is line {first}{newer}"
            ));
        }
        if tally.half {
            complain(&format!(
                "{path}: the last line is half a record, and passed over"
            ));
        }
        match ended {
            Ok(()) => Ok(()),
            Err(QueryError::Input(error)) => {
                self.incomplete = true;
                complain(&format!("{path}: {error}"));
                Ok(())
            }
            Err(QueryError::Output(error)) => Err(error),
        }
    }
}
