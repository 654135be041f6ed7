//! The command line: one file for each subcommand.
//!
//! Exit codes: 0 fine; 1 something was found (a problem, a failed case); 2 wrong usage, or input that can't be
//! read. What a command is asked for goes to standard output, what it says about itself to standard error.

pub mod audit;
pub mod check;
pub mod demo;
mod health;
pub mod schema;
pub mod serve;
pub mod test;

use std::ffi::OsString;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::yaml::Problem;

/// A reverse proxy that lets AI agents and other non-human identities do exactly what was approved.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(serve::Args),
    /// Run the whole journey on loopback: sample API, issuer, gateway, and ready-made calls.
    Demo(demo::Args),
    /// Load a configuration or policies, and tell every problem.
    Check(check::Args),
    /// Run the cases that stand beside policies.
    Test(test::Args),
    /// Work with audit logs.
    Audit(audit::Args),
    /// Print the JSON Schema of a file, for editors.
    Schema(schema::Args),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// Something was found.
    Found,
    /// Wrong usage or unreadable input.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Found => 1,
            Exit::Usage => 2,
        })
    }
}

/// Runs the command line with these arguments, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way, too, and are no errors.
            let code = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Fine
            };
            let _nobody_reads = error.print();
            return code.into();
        }
    };
    let mut out = io::stdout().lock();
    let ended = match cli.command {
        Command::Serve(args) => {
            drop(out);
            return serve::run(&args).into();
        }
        Command::Demo(args) => demo::run(&args, &mut out),
        Command::Check(args) => check::run(&args, &mut out),
        Command::Test(args) => test::run(&args, &mut out),
        Command::Audit(args) => audit::run(&args, &mut out),
        Command::Schema(args) => schema::run(&args, &mut out),
    };
    match ended.and_then(|exit| out.flush().map(|()| exit)) {
        Ok(exit) => exit.into(),
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Fine.into(),
        Err(error) => {
            complain(&format!("can't write: {error}"));
            Exit::Usage.into()
        }
    }
}

/// One line on standard error.
fn complain(text: &str) {
    let _nobody_reads = writeln!(io::stderr().lock(), "portcullis: {text}");
}

/// Whether standard output takes colours: a terminal, and no `NO_COLOR` (<https://no-color.org>).
fn colours() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && io::stdout().is_terminal()
}

/// Marks for results, coloured where that is wanted.
#[derive(Debug, Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A problem as JSON.
fn problem_json(problem: &Problem) -> serde_json::Value {
    serde_json::json!({
        "file": &*problem.file,
        "line": problem.mark.map(|mark| mark.line),
        "column": problem.mark.map(|mark| mark.column),
        "key": problem.key,
        "message": problem.message,
    })
}
