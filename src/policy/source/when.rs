//! `when`: the window, and the moments and durations that it is written in.

use super::Reader;
use crate::policy::facts::FactRef;
use crate::policy::matcher::Names;
use crate::policy::window::{Moment, Weekly, Window, numeric_date, parse_rfc3339};
use crate::yaml::{At, Yaml};

impl Reader<'_> {
    pub(super) fn window(&mut self, at: &At<'_>) -> Option<Window> {
        let map = at.fields(&["from", "until", "max", "weekly"], self.problems)?;
        let from = map.optional("from").and_then(|at| self.moment(&at));
        let until = map.optional("until").and_then(|at| self.moment(&at));
        let max = map.optional("max").and_then(|at| self.duration(&at));
        if max.is_some() && map.optional("until").is_none() {
            at.problem(
                self.problems,
                "`max` bounds the time up to `until`, which is missing",
            );
        }
        if let (Some(Moment::At(a)), Some(Moment::At(b))) = (&from, &until)
            && a >= b
        {
            at.problem(
                self.problems,
                "the window is empty: `until` is not after `from`",
            );
        }
        let mut weekly = Vec::new();
        if let Some(list) = map.optional("weekly") {
            for item in list.one_or_many() {
                match item.text(self.problems).map(Weekly::parse) {
                    Some(Ok(hours)) => weekly.push(hours),
                    Some(Err(error)) => item.problem(self.problems, error),
                    None => {}
                }
            }
        }
        let says = |key: &&str| map.optional(key).is_some();
        if !["from", "until", "weekly"].iter().any(says) {
            at.problem(self.problems, "a window says `from`, `until` or `weekly`");
        }
        Some(Window {
            from,
            until,
            max,
            weekly,
        })
    }

    pub(super) fn moment(&mut self, at: &At<'_>) -> Option<Moment> {
        let found = match &at.node.value {
            Yaml::Number(text) => numeric_date(text).map(Moment::At),
            Yaml::Text(text) => match text.strip_prefix('$') {
                None => parse_rfc3339(text).map(Moment::At),
                Some(reference) => match self.scope.resolve(reference) {
                    Ok(fact @ FactRef::Claim(_)) => Some(Moment::Fact(fact)),
                    Ok(_) => {
                        at.problem(self.problems, "a window follows a claim: `$claims/…`; nothing else that a caller sends may move it");
                        return None;
                    }
                    Err(error) => {
                        at.problem(self.problems, error);
                        return None;
                    }
                },
            },
            Yaml::Null | Yaml::Bool(_) | Yaml::List(_) | Yaml::Map(_) => None,
        };
        if found.is_none() {
            at.problem(self.problems, "write RFC 3339 with an offset (`2026-11-21T09:00:00Z`), seconds since 1970, or `$claims/…`");
        }
        found
    }

    pub(super) fn duration(&mut self, at: &At<'_>) -> Option<jiff::SignedDuration> {
        let parsed = match &at.node.value {
            Yaml::Text(text) => parse_duration(text),
            _ => None,
        };
        if parsed.is_none() {
            at.problem(
                self.problems,
                "write a duration such as `30m`, `2h` or `45s`",
            );
        }
        parsed
    }
}

/// `45s`, `30m`, `2h`, `7d`.
fn parse_duration(text: &str) -> Option<jiff::SignedDuration> {
    let unit = text.chars().last()?;
    let count: i64 = text.strip_suffix(unit)?.parse().ok().filter(|n| *n > 0)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    Some(jiff::SignedDuration::from_secs(count.checked_mul(seconds)?))
}
