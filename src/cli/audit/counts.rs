//! How many records there are of each value of a key.
//!
//! Values are the callers' to choose, so that what is kept of them is bounded: past it, records of values that
//! weren't seen before are counted together, and it is said.

use std::collections::HashMap;
use std::io::{self, Write};

use clap::ValueEnum;

use super::columns;
use crate::audit::read::{visible, visible_json};
use crate::audit::view::{Field, View};

/// What is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Key {
    Agent,
    User,
    Workload,
    Session,
    Task,
    Provider,
    Policy,
    Verdict,
    Reason,
    Detail,
    Method,
    Host,
    Path,
    Template,
    Route,
    Upstream,
    Grant,
    Kind,
    Event,
    Node,
    End,
    Status,
    Hour,
    Day,
}

/// Whose value a key is.
enum Of {
    Decisions(Field),
    Outcomes(Field),
    Events(Field),
    Any(Field),
    Status,
    Hour,
    Day,
}

impl Key {
    fn of(self) -> Of {
        match self {
            Key::Agent => Of::Decisions(Field::Agent),
            Key::User => Of::Decisions(Field::User),
            Key::Workload => Of::Decisions(Field::Workload),
            Key::Session => Of::Decisions(Field::Session),
            Key::Task => Of::Decisions(Field::Task),
            Key::Provider => Of::Decisions(Field::Provider),
            Key::Policy => Of::Decisions(Field::Policy),
            Key::Verdict => Of::Decisions(Field::Verdict),
            Key::Reason => Of::Decisions(Field::Reason),
            Key::Detail => Of::Decisions(Field::Detail),
            Key::Method => Of::Decisions(Field::Method),
            Key::Host => Of::Decisions(Field::Host),
            Key::Path => Of::Decisions(Field::Path),
            Key::Template => Of::Decisions(Field::Template),
            Key::Route => Of::Decisions(Field::Route),
            Key::Upstream => Of::Decisions(Field::Upstream),
            Key::Grant => Of::Decisions(Field::Grant),
            Key::Kind => Of::Any(Field::Kind),
            Key::Event => Of::Events(Field::Event),
            Key::Node => Of::Any(Field::Node),
            Key::End => Of::Outcomes(Field::End),
            Key::Status => Of::Status,
            Key::Hour => Of::Hour,
            Key::Day => Of::Day,
        }
    }
}

/// The counts.
#[derive(Debug)]
pub(super) struct Counts {
    key: Key,
    /// By value; the empty place is for records without one.
    of: HashMap<Option<Box<str>>, u64>,
    /// What may still be kept.
    room: usize,
    /// Records of values that there was no room for.
    others: u64,
}

impl Counts {
    pub(super) fn by(key: Key) -> Counts {
        Counts {
            key,
            of: HashMap::new(),
            room: ROOM,
            others: 0,
        }
    }

    /// Counts a record, if it is of a kind that has such a key at all. One with several values counts to each.
    pub(super) fn note(&mut self, view: &View<'_>) {
        let (field, kind) = match self.key.of() {
            Of::Any(field) => (field, None),
            Of::Decisions(field) => (field, Some("decision")),
            Of::Outcomes(field) => (field, Some("outcome")),
            Of::Events(field) => (field, Some("event")),
            Of::Status => {
                if view.kind() == "outcome" {
                    self.add(view.status().map(|status| status.to_string()).as_deref());
                }
                return;
            }
            Of::Hour => return self.add(Some(&view.at.strftime("%Y-%m-%dT%H:00Z").to_string())),
            Of::Day => return self.add(Some(&view.at.strftime("%Y-%m-%d").to_string())),
        };
        if kind.is_some_and(|kind| kind != view.kind()) {
            return;
        }
        let mut any = false;
        for text in view.texts(field) {
            any = true;
            self.add(Some(text));
        }
        if !any {
            self.add(None);
        }
    }

    fn add(&mut self, value: Option<&str>) {
        let value = value.map(Box::from);
        if let Some(count) = self.of.get_mut(&value) {
            *count += 1;
            return;
        }
        let bytes = value.as_deref().map_or(0, str::len) + ENTRY;
        match self.room.checked_sub(bytes) {
            Some(room) => {
                self.room = room;
                self.of.insert(value, 1);
            }
            None => self.others += 1,
        }
    }

    /// The greatest first, equals by value; at most so many.
    fn sorted(&self, limit: usize) -> Vec<(Option<&str>, u64)> {
        let mut rows: Vec<_> = self
            .of
            .iter()
            .map(|(value, count)| (value.as_deref(), *count))
            .collect();
        rows.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
        rows.truncate(limit);
        rows
    }

    /// Whether nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.others == 0
    }

    /// Records that there was no room to tell apart.
    pub(super) fn others(&self) -> u64 {
        self.others
    }

    /// For people. What has no value is `(none)`.
    pub(super) fn as_text(&self, limit: usize, out: &mut impl Write) -> io::Result<()> {
        for (value, count) in self.sorted(limit) {
            let value = value.map_or("(none)".to_owned(), visible);
            writeln!(out, "{count:>10}  {value}")?;
        }
        if self.others > 0 {
            writeln!(out, "{:>10}  (others)", self.others)?;
        }
        Ok(())
    }

    /// One object a line, `{"value":…,"count":…}`; null where there is no value.
    pub(super) fn as_json(&self, limit: usize, out: &mut impl Write) -> io::Result<()> {
        for (value, count) in self.sorted(limit) {
            let value = serde_json::to_string(&value)?;
            let value = visible_json(&value);
            writeln!(out, "{{\"value\":{value},\"count\":{count}}}")?;
        }
        if self.others > 0 {
            writeln!(out, "{{\"others\":true,\"count\":{}}}", self.others)?;
        }
        Ok(())
    }

    /// Two columns; the value is empty where there is none.
    pub(super) fn as_csv(&self, limit: usize, out: &mut impl Write) -> io::Result<()> {
        columns::row(["value", "count"].map(str::to_owned).into_iter(), out)?;
        for (value, count) in self.sorted(limit) {
            let cells = [value.unwrap_or_default().to_owned(), count.to_string()];
            columns::row(cells.into_iter(), out)?;
        }
        if self.others > 0 {
            let cells = ["(others)".to_owned(), self.others.to_string()];
            columns::row(cells.into_iter(), out)?;
        }
        Ok(())
    }
}

/// Bytes for values, what keeping one takes besides its text included: about half a million short ones.
const ROOM: usize = 64 << 20;
const ENTRY: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(agent: &str) -> String {
        format!(
            r#"{{"v":1,"kind":"decision","node":"n","seq":1,"at":"2026-11-21T09:59:00.000000Z","principal":{{"agent":"{agent}"}},"policies":["p","q"]}}"#
        )
    }

    fn text(counts: &Counts) -> String {
        let mut out = Vec::new();
        counts.as_text(usize::MAX, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_counted_in_bounded_memory() {
        let mut counts = Counts::by(Key::Agent);
        counts.room = 2 * (ENTRY + 1);
        for agent in ["b", "a", "c", "b", "d", "a", "b"] {
            counts.note(&View::parse(&decision(agent)).unwrap());
        }
        assert_eq!(
            text(&counts),
            "         3  b\n         2  a\n         2  (others)\n"
        );
        assert_eq!(counts.others(), 2);
    }

    #[test]
    fn a_record_counts_to_each_of_its_values_and_others_not_at_all() {
        let line = decision("a");
        let outcome = r#"{"v":1,"kind":"outcome","node":"n","seq":2,"at":"2026-11-21T10:00:00.000000Z","end":"complete","status":200}"#;
        for (key, told) in [
            (Key::Policy, "         1  p\n         1  q\n"),
            (Key::User, "         1  (none)\n"),
            (Key::End, "         1  complete\n"),
            (Key::Status, "         1  200\n"),
            (Key::Kind, "         1  decision\n         1  outcome\n"),
            (
                Key::Hour,
                "         1  2026-11-21T09:00Z\n         1  2026-11-21T10:00Z\n",
            ),
            (Key::Day, "         2  2026-11-21\n"),
        ] {
            let mut counts = Counts::by(key);
            counts.note(&View::parse(&line).unwrap());
            counts.note(&View::parse(outcome).unwrap());
            assert_eq!(text(&counts), told, "{key:?}");
        }
    }
}
