//! Records become lines with numbers.

use jiff::Timestamp;
use serde::Serialize;

use crate::audit::record::{Decision, Event, Outcome, VERSION};
use crate::audit::{AuditError, encode, line};

/// Lines that aren't written yet.
#[derive(Debug)]
pub(super) struct Lines {
    /// Whole lines; the first may be out [in part](super::Sink::torn).
    pub(super) pending: Vec<u8>,
    /// Records in `pending` and in the flusher's hands.
    pub(super) held: usize,
    /// The last number given.
    pub(super) seq: u64,
    /// What a line of each kind begins with, up to its number.
    prefixes: Prefixes,
    pub(super) trouble: Option<Trouble>,
    /// The flusher sleeps until it is woken.
    pub(super) dozing: bool,
    /// The flusher should not wait for more.
    pub(super) hurry: bool,
    pub(super) stage: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// Nothing is decided any more; the flusher writes the rest.
    Closing,
    /// The flusher is gone: whoever still brings a record writes it.
    Closed,
}

/// A sink that fails.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) since: Timestamp,
    /// Decisions refused meanwhile.
    pub(super) refused: u64,
}

#[derive(Debug)]
struct Prefixes {
    decision: Box<[u8]>,
    outcome: Box<[u8]>,
    event: Box<[u8]>,
}

#[derive(Serialize)]
struct Timed<'a> {
    #[serde(with = "encode::time")]
    at: Timestamp,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl Lines {
    /// No lines yet; the first gets the number after `seq`.
    pub(super) fn new(node: &str, seq: u64) -> Result<Lines, AuditError> {
        let node = serde_json::to_string(node)?;
        let prefix = |kind: &str| {
            let text = format!(r#"{{"v":{VERSION},"kind":"{kind}","node":{node},"seq":"#);
            text.into_bytes().into()
        };
        Ok(Lines {
            pending: Vec::with_capacity(BUFFER_BYTES),
            held: 0,
            seq,
            prefixes: Prefixes {
                decision: prefix("decision"),
                outcome: prefix("outcome"),
                event: prefix("event"),
            },
            trouble: None,
            dozing: false,
            hurry: false,
            stage: Life::Running,
        })
    }

    pub(super) fn decision(&mut self, decision: &Decision<'_>) -> Result<(), AuditError> {
        self.append(|p| &p.decision, |to| line::decision(to, decision))
    }

    pub(super) fn outcome(&mut self, outcome: &Outcome<'_>) -> Result<(), AuditError> {
        self.append(|p| &p.outcome, |to| line::outcome(to, outcome))
    }

    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<(), AuditError> {
        let at = Timestamp::now();
        let timed = Timed { at, event };
        self.append(|p| &p.event, |to| serde_json::to_writer(to, &timed))
    }

    /// Numbers a record and appends its line; on an error nothing has changed.
    fn append(
        &mut self,
        prefix: impl Fn(&Prefixes) -> &[u8],
        record: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> Result<(), AuditError> {
        let start = self.pending.len();
        self.pending.extend_from_slice(prefix(&self.prefixes));
        let mut digits = itoa::Buffer::new();
        self.pending
            .extend_from_slice(digits.format(self.seq + 1).as_bytes());
        let joint = self.pending.len();
        if let Err(error) = record(&mut self.pending) {
            self.pending.truncate(start);
            return Err(error.into());
        }
        // the record's own brace becomes the comma after the envelope
        if let Some(brace) = self.pending.get_mut(joint) {
            *brace = b',';
        }
        self.pending.push(b'\n');
        self.seq += 1;
        self.held += 1;
        Ok(())
    }
}

/// Room for what gathers between two writes; it grows where more does.
const BUFFER_BYTES: usize = 64 << 10;
