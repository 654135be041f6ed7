//! `portcullis schema`: the JSON Schema of a file that people write, or of the audit log.

use std::io::{self, Write};

use clap::ValueEnum;

use super::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which file.
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// The configuration.
    Config,
    /// A policy file.
    Policy,
    /// A file of cases.
    Cases,
    /// A line of the audit log.
    Audit,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let schema = match args.what {
        What::Config => crate::schema::config(),
        What::Policy => crate::schema::policy(),
        What::Cases => crate::schema::cases(),
        What::Audit => crate::schema::audit(),
    };
    serde_json::to_writer_pretty(&mut *out, &schema)?;
    writeln!(out)?;
    Ok(Exit::Fine)
}
