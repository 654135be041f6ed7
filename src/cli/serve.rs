//! `portcullis serve`: runs the proxy until it is told to stop.

use std::io;
use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Exit, complain};
use crate::app::{App, StartError};
use crate::config::{Config, Log};
use crate::shutdown;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file.
    #[arg(long, short)]
    config: PathBuf,
}

pub(super) fn run(args: &Args) -> Exit {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                complain(&problem.to_string());
            }
            return Exit::Usage;
        }
    };
    match serve(config, args.config.clone()) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            complain(&format!("{error:#}"));
            match error.downcast_ref::<StartError>() {
                Some(StartError::Policies(_)) => Exit::Usage,
                _ => Exit::Found,
            }
        }
    }
}

fn serve(config: Config, source: PathBuf) -> anyhow::Result<()> {
    log(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start a runtime")?;
    let served = runtime.block_on(run_until_asked(config, source));
    // A name that hangs in the resolver has a thread of its own, for which a runtime that is dropped waits.
    runtime.shutdown_background();
    served
}

async fn run_until_asked(config: Config, source: PathBuf) -> anyhow::Result<()> {
    const UNHEARD: &str = "can't listen for signals";
    // Before anything is opened: a start may take its time, and a signal that nobody holds off ends the process.
    let mut asked = std::pin::pin!(shutdown::asked().context(UNHEARD)?);
    // A reload before the first load is done has nothing to do: what changes meanwhile is seen by `watch`.
    let _held_off = signal(SignalKind::hangup()).context(UNHEARD)?;
    let running = tokio::select! {
        running = App::start(config, Some(source)) => running?,
        // What it had opened is closed in order.
        () = &mut asked => return Ok(()),
    };
    let listening = running.addresses.iter().map(ToString::to_string);
    let listening: Vec<_> = listening.collect();
    let admin = running.admin.map(|address| address.to_string());
    tracing::info!(listening = listening.join(", "), admin, "serving");
    tokio::select! {
        () = &mut asked => {}
        watched = running.watch() => watched.context(UNHEARD)?,
    }
    running.shutdown().await;
    Ok(())
}

/// Logs go to standard error: standard output may be the audit record's.
fn log(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter).context("log.filter")?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would tell on standard error that standard error takes nothing, and panic over that.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    let set = if log.json {
        builder.json().try_init()
    } else {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = io::IsTerminal::is_terminal(&io::stderr());
        builder.with_ansi(terminal && !plain).try_init()
    };
    set.map_err(|error| anyhow::anyhow!("can't log: {error}"))
}
