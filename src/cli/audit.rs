//! `portcullis audit`: what is done with an audit log besides writing it. One file for each subcommand.

use std::io::{self, Write};

use clap::Subcommand;

use super::Exit;

mod init;

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
}

/// Runs the subcommand.
pub fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    match &args.command {
        Command::Init(args) => init::run(args, out),
    }
}
