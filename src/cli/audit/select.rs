//! Which records a subcommand is about: the filters, and the files, that they all take alike.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::audit::files::{self, Part};
use crate::audit::filter::Filter;
use crate::audit::view::{Field, KINDS};
use crate::cli::complain;
use crate::config::units;
use crate::policy::Reason;

/// The filters. Different ones must all fit; of one that is given more than once, one of its values.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Filters (each may be repeated: one of; `*` stands for any text)")]
pub(super) struct Select {
    /// From this moment on: RFC 3339, or so long ago, such as 90s, 15m, 2h, 7d.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Before this moment.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// The agent that acted.
    #[arg(long, value_name = "TEXT")]
    agent: Vec<String>,
    /// The person on whose behalf.
    #[arg(long, value_name = "TEXT")]
    user: Vec<String>,
    /// The session.
    #[arg(long, value_name = "TEXT")]
    session: Vec<String>,
    /// The task.
    #[arg(long, value_name = "TEXT")]
    task: Vec<String>,
    /// A policy that decided: the permit that was chosen, or a forbid that applied.
    #[arg(long, value_name = "ID")]
    policy: Vec<String>,
    /// permit or deny.
    #[arg(long, value_name = "VERDICT", value_parser = verdict)]
    verdict: Vec<String>,
    /// The reason of a denial.
    #[arg(long, value_name = "CODE", value_parser = reason)]
    reason: Vec<String>,
    /// The canonical path.
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// The route's name.
    #[arg(long, value_name = "NAME")]
    route: Vec<String>,
    /// The identity provider's name.
    #[arg(long, value_name = "NAME")]
    provider: Vec<String>,
    /// The grant that a decision used.
    #[arg(long, value_name = "ID")]
    grant: Vec<String>,
    /// The id of a decision, and of its outcome.
    #[arg(long, value_name = "ID", value_parser = id)]
    id: Vec<String>,
    /// decision, outcome or event.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<String>,
}

impl Select {
    /// The filter as of now; the error says what is wrong.
    pub(super) fn filter(&self, now: Timestamp) -> Result<Filter, String> {
        let at = |moment: &Option<Moment>| moment.as_ref().map(|m| m.at(now)).transpose();
        let (since, until) = (at(&self.since)?, at(&self.until)?);
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(format!("--since {since} is not before --until {until}"));
        }
        Ok([
            (Field::Agent, &self.agent),
            (Field::User, &self.user),
            (Field::Session, &self.session),
            (Field::Task, &self.task),
            (Field::Policy, &self.policy),
            (Field::Verdict, &self.verdict),
            (Field::Reason, &self.reason),
            (Field::Path, &self.path),
            (Field::Route, &self.route),
            (Field::Provider, &self.provider),
            (Field::Grant, &self.grant),
            (Field::Id, &self.id),
            (Field::Kind, &self.kind),
        ]
        .into_iter()
        .fold(Filter::between(since, until), |filter, (field, texts)| {
            filter.with(field, texts)
        }))
    }
}

/// The files to read: one is a log with its rotated files, several are exactly these. `None`: it was said why not.
pub(super) fn parts(files: &[PathBuf]) -> Option<Vec<Part>> {
    let parts = match files {
        [] => one(Path::new(DEFAULT)),
        [path] => one(path),
        several => files::in_order(several).map_err(|error| error.to_string()),
    };
    parts.map_err(|error| complain(&error)).ok()
}

fn one(path: &Path) -> Result<Vec<Part>, String> {
    files::parts(path).map_err(|error| error.to_string())
}

/// The log where none is named: what the configuration's default writes.
pub(super) const DEFAULT: &str = "audit.jsonl";

/// A moment as people give it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    At(Timestamp),
    Ago(Duration),
}

impl Moment {
    fn parse(text: &str) -> Result<Moment, String> {
        let days = |unit, hours: u64| {
            let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
            let seconds = number.checked_mul(hours * 3_600)?;
            Some(Duration::from_secs(seconds))
        };
        let ago = days('d', 24).or_else(|| days('w', 24 * 7));
        if let Some(ago) = ago.or_else(|| units::duration(text).ok()) {
            return Ok(Moment::Ago(ago));
        }
        text.parse().map(Moment::At).map_err(|_| {
            "expected RFC 3339 with its offset, such as 2026-11-21T09:00:00Z, or how long ago, such as 2h"
                .to_owned()
        })
    }

    fn at(self, now: Timestamp) -> Result<Timestamp, String> {
        match self {
            Moment::At(at) => Ok(at),
            Moment::Ago(ago) => now
                .checked_sub(ago)
                .map_err(|_| "a time so long ago can't be written".to_owned()),
        }
    }
}

/// One of a closed list, or a pattern.
fn known(text: &str, known: &[&str]) -> Result<String, String> {
    if text.contains('*') || known.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected one of {}", known.join(", ")))
    }
}

fn verdict(text: &str) -> Result<String, String> {
    known(text, &["permit", "deny"])
}

fn kind(text: &str) -> Result<String, String> {
    known(text, &KINDS)
}

fn reason(text: &str) -> Result<String, String> {
    let codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    known(text, &codes)
}

fn id(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Ok(text.to_ascii_lowercase());
    }
    match Uuid::try_parse(text) {
        Ok(id) => Ok(id.hyphenated().to_string()),
        Err(_) => Err("expected a UUID, or a pattern with `*`".to_owned()),
    }
}
