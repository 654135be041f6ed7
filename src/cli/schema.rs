//! `portcullis schema`: the JSON Schema of a file that people write.

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
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let schema = match args.what {
        What::Config => crate::schema::config(),
        What::Policy => crate::schema::policy(),
        What::Cases => crate::schema::cases(),
    };
    serde_json::to_writer_pretty(&mut *out, &schema)?;
    writeln!(out)?;
    Ok(Exit::Fine)
}
