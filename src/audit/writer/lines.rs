//! Records become lines with numbers.

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::audit::batch::Batch;
use crate::audit::record::{Decision, Event, Outcome, VERSION};
use crate::audit::segment::Segment;
use crate::audit::tree::{self, Hash};
use crate::audit::{AuditError, encode, line};

/// Lines that aren't written yet.
#[derive(Debug)]
pub(super) struct Lines {
    /// Whole lines; the first may be out [in part](super::Sink::torn).
    pub(super) pending: Batch,
    /// Records in the flusher's hands.
    pub(super) taken: usize,
    /// `strict`: those whose decision is pending. Dropped unanswered, one tells of a failure.
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    /// The last number given.
    seq: u64,
    /// The hash of the last record, and of the one before it.
    prev: Hash,
    before: Hash,
    /// Where a line is made: a zero byte, then the line, which is what its hash is over.
    scratch: Vec<u8>,
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
    /// No lines yet; the first goes on from where the log stands.
    pub(super) fn new(node: &str, at: &Segment) -> Result<Lines, AuditError> {
        let node = serde_json::to_string(node)?;
        let prefix = |kind: &str| {
            let text = format!(r#"{{"v":{VERSION},"kind":"{kind}","node":{node},"seq":"#);
            text.into_bytes().into()
        };
        Ok(Lines {
            pending: Batch::with_capacity(BUFFER_BYTES),
            taken: 0,
            waiting: Vec::new(),
            seq: at.seq,
            prev: at.prev,
            before: at.prev,
            scratch: vec![tree::LEAF],
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

    /// Records that aren't written yet.
    pub(super) fn held(&self) -> usize {
        self.pending.lines() + self.taken
    }

    /// Bytes of the last line, its line feed included.
    pub(super) fn last_line(&self) -> usize {
        self.scratch.len()
    }

    /// Takes the last line out again, with its number. At most once after each.
    pub(super) fn retract(&mut self) {
        self.pending.pop(self.last_line());
        self.seq -= 1;
        self.prev = self.before;
    }

    /// Numbers a record, ties it to the one before and appends its line; on an error nothing has changed.
    fn append(
        &mut self,
        prefix: impl Fn(&Prefixes) -> &[u8],
        record: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> Result<(), AuditError> {
        let to = &mut self.scratch;
        to.truncate(1);
        to.extend_from_slice(prefix(&self.prefixes));
        to.extend_from_slice(itoa::Buffer::new().format(self.seq + 1).as_bytes());
        to.extend_from_slice(b",\"prev\":\"");
        to.extend_from_slice(&encode::hex_digits(&self.prev));
        to.push(b'"');
        let joint = to.len();
        record(to)?;
        // the record's own brace becomes the comma after the envelope
        if let Some(brace) = to.get_mut(joint) {
            *brace = b',';
        }
        let leaf = tree::sha256(to);
        self.pending.push(to.get(1..).unwrap_or_default(), leaf);
        self.before = std::mem::replace(&mut self.prev, leaf);
        self.seq += 1;
        Ok(())
    }
}

/// Room for what gathers between two writes; it grows where more does.
const BUFFER_BYTES: usize = 64 << 10;
