//! Lines on their way to the sink: numbering, holding, writing, and what happens when the sink fails.
//!
//! Under one lock a record gets its number and becomes a line in a buffer, so the file's order is the
//! numbers' order. Then it depends on what durability was configured:
//!
//! - `written`: a decision's own thread writes the buffer, in which the decision is the last line, and
//!   comes back once all of it is in the kernel. Outcomes and events wait in the buffer for the next
//!   decision, or for the flusher thread, at most [`LINGER`].
//! - `buffered`: the flusher writes everything; a decision waits where the buffer holds `queue` records.
//!
//! **A failing sink.** Lines that can't be written stay in the buffer and are tried again, by the next
//! decision and by the flusher. Decisions are refused, and a refused one is taken out of the buffer again
//! together with its number, for nothing was forwarded under it. So what accumulates is bounded by what was
//! forwarded before: outcomes. Nothing is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Notify;

use super::AuditError;
use super::encode;
use super::record::{Decision, Early, End, Event, Outcome, Refusals, SinkState, VERSION, Verdict};
use super::sink::{Sink, Written};
use crate::config::{self, Durability};
use crate::metrics::Metrics;

/// The buffer, the sink behind it, and those who wait for either. Locks are taken in this order.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Mutex<Lines>,
    sink: Mutex<Sink>,
    /// Wakes the flusher.
    work: Condvar,
    /// Wakes decisions that wait for room in `buffered`.
    room: Notify,
    durability: Durability,
    queue: usize,
    metrics: Metrics,
    counted: Counted,
}

/// Lines that aren't written yet.
#[derive(Debug)]
struct Lines {
    /// Whole lines; the first may be out [in part](Sink::torn).
    pending: Vec<u8>,
    /// Records in `pending` and in the flusher's hands.
    held: usize,
    /// The last number given.
    seq: u64,
    /// What a line of each kind begins with, up to its number.
    prefixes: Prefixes,
    trouble: Option<Trouble>,
    /// The flusher sleeps until it is woken.
    dozing: bool,
    /// The flusher should not wait for more.
    hurry: bool,
    stage: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// Nothing is decided any more; the flusher writes the rest.
    Closing,
    /// The flusher is gone: whoever still brings a record writes it.
    Closed,
}

/// A sink that fails.
#[derive(Debug)]
struct Trouble {
    since: Timestamp,
    /// Decisions refused meanwhile.
    refused: u64,
}

#[derive(Debug)]
struct Prefixes {
    decision: Box<[u8]>,
    outcome: Box<[u8]>,
    event: Box<[u8]>,
}

/// Refusals that have no record of their own, since the last event that told them.
#[derive(Debug)]
struct Counted {
    any: AtomicBool,
    causes: [AtomicU64; Early::COUNT],
}

#[derive(Serialize)]
struct Timed<'a> {
    #[serde(with = "encode::time")]
    at: Timestamp,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl Writer {
    /// A writer whose next record has the number after `seq`.
    pub(super) fn new(
        config: &config::Audit,
        sink: Sink,
        seq: u64,
        metrics: &Metrics,
    ) -> Result<Writer, AuditError> {
        let prefix = |kind: &str| -> Result<Box<[u8]>, AuditError> {
            let node = serde_json::to_string(&*config.node)?;
            let text = format!(r#"{{"v":{VERSION},"kind":"{kind}","node":{node},"seq":"#);
            Ok(text.into_bytes().into())
        };
        Ok(Writer {
            lines: Mutex::new(Lines {
                pending: Vec::with_capacity(64 << 10),
                held: 0,
                seq,
                prefixes: Prefixes {
                    decision: prefix("decision")?,
                    outcome: prefix("outcome")?,
                    event: prefix("event")?,
                },
                trouble: None,
                dozing: false,
                hurry: false,
                stage: Life::Running,
            }),
            sink: Mutex::new(sink),
            work: Condvar::new(),
            room: Notify::new(),
            durability: config.durability,
            queue: config.queue.max(1),
            metrics: metrics.clone(),
            counted: Counted {
                any: AtomicBool::new(false),
                causes: std::array::from_fn(|_| AtomicU64::new(0)),
            },
        })
    }

    /// Writes what is to stand in the file before anything is decided. All of it, or none counts.
    pub(super) fn begin(
        &self,
        outcomes: &[Outcome<'_>],
        events: &[Event<'_>],
    ) -> Result<(), AuditError> {
        let mut lines = self.lines()?;
        for outcome in outcomes {
            lines.outcome(outcome)?;
        }
        for event in events {
            lines.event(event)?;
        }
        self.sink()?
            .write(&mut lines.pending)
            .map_err(AuditError::Sink)?;
        lines.held = 0;
        self.metrics.audit().outcomes.inc_by(outcomes.len() as u64);
        self.metrics.audit().events.inc_by(events.len() as u64);
        Ok(())
    }

    /// Commits a decision; see the module.
    pub(super) async fn decided(&self, decision: &Decision<'_>) -> Result<(), AuditError> {
        match self.durability {
            Durability::Written => self.write(decision)?,
            Durability::Buffered => loop {
                let room = self.room.notified();
                tokio::pin!(room);
                // before the look at the buffer, or room that is made in between is missed
                room.as_mut().enable();
                if self.enqueue(decision)? {
                    break;
                }
                room.await;
            },
        }
        self.metrics.audit().decisions.inc();
        Ok(())
    }

    /// `written`: out with the buffer and this decision.
    fn write(&self, decision: &Decision<'_>) -> Result<(), AuditError> {
        let mut lines = self.lines()?;
        if lines.stage != Life::Running {
            return Err(AuditError::Closed);
        }
        let before = lines.pending.len();
        lines.decision(decision)?;
        let line = lines.pending.len() - before;
        let mut sink = self.sink()?;
        let Err(error) = self.flush(&mut lines, &mut sink) else {
            return Ok(());
        };
        let left = lines.pending.len();
        if left == line && sink.torn() > 0 {
            // half of it is out and can't be taken back: say that nothing came of it
            if decision.decision == Verdict::Permit {
                lines.outcome(&not_forwarded(decision))?;
            }
        } else {
            lines.pending.truncate(left.saturating_sub(line));
            lines.seq -= 1;
            lines.held = lines.held.saturating_sub(1);
        }
        self.failed(&mut lines, &error);
        if let Some(trouble) = &mut lines.trouble {
            trouble.refused += 1;
        }
        Err(AuditError::Sink(error))
    }

    /// `buffered`: into the buffer with this decision; `false` where it is full.
    fn enqueue(&self, decision: &Decision<'_>) -> Result<bool, AuditError> {
        let mut lines = self.lines()?;
        if lines.stage != Life::Running {
            return Err(AuditError::Closed);
        }
        if let Some(trouble) = &mut lines.trouble {
            trouble.refused += 1;
            return Err(AuditError::SinkFailing);
        }
        let full = lines.held >= self.queue;
        if !full {
            lines.decision(decision)?;
            self.metrics.audit().queue.set(gauge(lines.held));
        }
        if full || lines.held >= self.queue.div_ceil(2) {
            lines.hurry = true;
            self.work.notify_one();
        } else {
            self.rouse(&mut lines);
        }
        Ok(!full)
    }

    /// Takes an outcome, which goes with the next write.
    pub(super) fn outcome(&self, outcome: &Outcome<'_>) -> Result<(), AuditError> {
        let mut lines = self.lines()?;
        lines.outcome(outcome)?;
        self.metrics.audit().outcomes.inc();
        self.hold(lines)
    }

    /// Takes an event, which goes with the next write.
    pub(super) fn event(&self, event: &Event<'_>) -> Result<(), AuditError> {
        let mut lines = self.lines()?;
        if lines.trouble.is_some() && lines.pending.len() > EVENT_BYTES {
            return Err(AuditError::SinkFailing);
        }
        lines.event(event)?;
        self.metrics.audit().events.inc();
        self.hold(lines)
    }

    /// Counts a refusal, which becomes part of an event within about a second.
    pub(super) fn count_refused(&self, cause: Early) {
        self.metrics.refused_early(cause);
        if let Some(count) = self.counted.causes.get(cause.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if !self.counted.any.swap(true, Ordering::AcqRel)
            && let Ok(mut lines) = self.lines()
        {
            self.rouse(&mut lines);
        }
    }

    /// Whether records can be written, as far as is known.
    pub(super) fn healthy(&self) -> bool {
        self.lines()
            .is_ok_and(|lines| lines.trouble.is_none() && lines.stage == Life::Running)
    }

    /// Opens the file anew. In `written` what is pending goes to the old one first, if it can.
    pub(super) fn reopen(&self) -> Result<(), AuditError> {
        match self.durability {
            Durability::Written => {
                let mut lines = self.lines()?;
                let mut sink = self.sink()?;
                if let Err(error) = self.flush(&mut lines, &mut sink) {
                    self.failed(&mut lines, &error);
                }
                sink.reopen()
            }
            Durability::Buffered => self.sink()?.reopen(),
        }
    }

    /// Stops deciding and has the flusher write the rest and end. `false` where that was done before.
    pub(super) fn close(&self, stop: &Event<'_>) -> Result<bool, AuditError> {
        let mut lines = self.lines()?;
        if lines.stage != Life::Running {
            return Ok(false);
        }
        for event in self.counted.take().iter().chain([stop]) {
            lines.event(event)?;
            self.metrics.audit().events.inc();
        }
        lines.stage = Life::Closing;
        drop(lines);
        self.work.notify_one();
        self.room.notify_waiters();
        Ok(true)
    }

    /// Leaves a line to the flusher, or writes it where there is none any more.
    fn hold(&self, mut lines: MutexGuard<'_, Lines>) -> Result<(), AuditError> {
        if lines.stage == Life::Closed {
            let mut sink = self.sink()?;
            return self.flush(&mut lines, &mut sink).map_err(AuditError::Sink);
        }
        self.rouse(&mut lines);
        Ok(())
    }

    /// Wakes the flusher where it sleeps. Under load it doesn't, and this costs nothing.
    fn rouse(&self, lines: &mut Lines) {
        if std::mem::take(&mut lines.dozing) {
            self.work.notify_one();
        }
    }

    /// Writes all that is pending.
    fn flush(&self, lines: &mut Lines, sink: &mut Sink) -> std::io::Result<()> {
        if lines.pending.is_empty() {
            return Ok(());
        }
        let written = sink.write(&mut lines.pending);
        lines.held = match written {
            Ok(_) => 0,
            Err(_) => memchr::memchr_iter(b'\n', &lines.pending).count(),
        };
        self.metrics.audit().queue.set(gauge(lines.held));
        self.succeeded(lines, &written?);
        Ok(())
    }

    /// After a write that went well: tells what went before.
    fn succeeded(&self, lines: &mut Lines, written: &Written) {
        if let Some(error) = &written.rotation_failed {
            tracing::warn!(%error, "the audit file could not be rotated");
            self.metrics.audit().failures.inc();
            self.tell(lines, &sink_event(SinkState::RotationFailed, Some(error)));
        }
        if let Some(trouble) = lines.trouble.take() {
            tracing::info!(refused = trouble.refused, "audit records are written again");
            let event = Event::Sink {
                state: SinkState::Recovered,
                error: None,
                since: Some(trouble.since),
                count: Some(trouble.refused),
            };
            self.tell(lines, &event);
        }
    }

    /// After a write that failed: from now on decisions are refused.
    fn failed(&self, lines: &mut Lines, error: &std::io::Error) {
        self.metrics.audit().failures.inc();
        if lines.trouble.is_none() {
            tracing::error!(%error, "audit records can't be written; requests are refused");
            lines.trouble = Some(Trouble {
                since: Timestamp::now(),
                refused: 0,
            });
            self.tell(lines, &sink_event(SinkState::Trouble, Some(error)));
        }
    }

    /// An event of the writer's own.
    fn tell(&self, lines: &mut Lines, event: &Event<'_>) {
        match lines.event(event) {
            Ok(()) => self.metrics.audit().events.inc(),
            Err(error) => tracing::error!(%error, "an audit event could not be formatted"),
        }
        self.rouse(lines);
    }

    fn lines(&self) -> Result<MutexGuard<'_, Lines>, AuditError> {
        self.lines.lock().map_err(|_| AuditError::Poisoned)
    }

    fn sink(&self) -> Result<MutexGuard<'_, Sink>, AuditError> {
        self.sink.lock().map_err(|_| AuditError::Poisoned)
    }
}

/// The flusher's side.
impl Writer {
    /// Writes what others leave, until the writer is closed.
    pub(super) fn run(self: Arc<Self>) {
        if let Err(error) = self.flush_forever() {
            tracing::error!(%error, "the audit flusher ended; requests are refused");
        }
    }

    fn flush_forever(&self) -> Result<(), AuditError> {
        // `buffered`: lines taken out of the buffer, so that others can go on filling it
        let mut batch = Batch::default();
        let mut told = Instant::now();
        let mut last_tries = CLOSING_TRIES;
        loop {
            let mut lines = self.wait(&batch)?;
            lines.hurry = false;
            if told.elapsed() >= REFUSALS_EVERY && lines.trouble.is_none() {
                told = Instant::now();
                if let Some(event) = self.counted.take() {
                    self.tell(&mut lines, &event);
                }
            }
            let mut lines = match self.durability {
                Durability::Written => {
                    let mut sink = self.sink()?;
                    if let Err(error) = self.flush(&mut lines, &mut sink) {
                        self.failed(&mut lines, &error);
                    }
                    lines
                }
                Durability::Buffered => self.write_batch(lines, &mut batch)?,
            };
            if lines.stage == Life::Running {
                continue;
            }
            last_tries -= 1;
            let all_out = lines.pending.is_empty() && batch.lines.is_empty();
            if all_out || last_tries == 0 {
                if !all_out {
                    tracing::error!(records = lines.held, "audit records were lost at shutdown");
                }
                // in their order, for whoever still brings one
                batch.lines.append(&mut lines.pending);
                lines.pending = batch.lines;
                lines.stage = Life::Closed;
                return Ok(());
            }
        }
    }

    /// Sleeps until there is something to write, then lets lines gather.
    fn wait(&self, batch: &Batch) -> Result<MutexGuard<'_, Lines>, AuditError> {
        let mut lines = self.lines()?;
        while lines.stage == Life::Running
            && lines.pending.is_empty()
            && batch.lines.is_empty()
            && !self.counted.any.load(Ordering::Acquire)
        {
            lines.dozing = true;
            lines = self.work.wait(lines).map_err(|_| AuditError::Poisoned)?;
        }
        lines.dozing = false;
        let failing = lines.trouble.is_some();
        let (lines, _) = self
            .work
            .wait_timeout_while(lines, LINGER, |lines| {
                // a failing sink gets its rest, whoever hurries
                failing || !lines.hurry && lines.stage == Life::Running
            })
            .map_err(|_| AuditError::Poisoned)?;
        Ok(lines)
    }

    /// `buffered`: writes a batch while others fill the buffer.
    fn write_batch<'w>(
        &'w self,
        mut lines: MutexGuard<'w, Lines>,
        batch: &mut Batch,
    ) -> Result<MutexGuard<'w, Lines>, AuditError> {
        if batch.lines.is_empty() {
            std::mem::swap(&mut batch.lines, &mut lines.pending);
            batch.records = lines.held;
        }
        drop(lines);
        let written = self.sink()?.write(&mut batch.lines);
        let mut lines = self.lines()?;
        let left = match &written {
            Ok(_) => 0,
            Err(_) => memchr::memchr_iter(b'\n', &batch.lines).count(),
        };
        lines.held -= batch.records - left;
        batch.records = left;
        self.metrics.audit().queue.set(gauge(lines.held));
        match written {
            Ok(written) => self.succeeded(&mut lines, &written),
            Err(error) => self.failed(&mut lines, &error),
        }
        // there is room, or there is a reason to refuse
        self.room.notify_waiters();
        Ok(lines)
    }
}

#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    records: usize,
}

impl Lines {
    fn decision(&mut self, decision: &Decision<'_>) -> Result<(), AuditError> {
        self.append(|prefixes| &prefixes.decision, decision)
    }

    fn outcome(&mut self, outcome: &Outcome<'_>) -> Result<(), AuditError> {
        self.append(|prefixes| &prefixes.outcome, outcome)
    }

    fn event(&mut self, event: &Event<'_>) -> Result<(), AuditError> {
        let at = Timestamp::now();
        self.append(|prefixes| &prefixes.event, &Timed { at, event })
    }

    /// Numbers a record and appends its line; on an error nothing has changed.
    fn append<T: Serialize>(
        &mut self,
        prefix: impl Fn(&Prefixes) -> &[u8],
        record: &T,
    ) -> Result<(), AuditError> {
        let start = self.pending.len();
        self.pending.extend_from_slice(prefix(&self.prefixes));
        let mut digits = itoa::Buffer::new();
        self.pending
            .extend_from_slice(digits.format(self.seq + 1).as_bytes());
        let joint = self.pending.len();
        if let Err(error) = serde_json::to_writer(&mut self.pending, record) {
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

impl Counted {
    /// The event that tells what was counted since the last one.
    fn take(&self) -> Option<Event<'static>> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return None;
        }
        let counts: Vec<Refusals> = Early::all()
            .zip(&self.causes)
            .map(|(cause, count)| Refusals {
                cause: cause.code().into(),
                count: count.swap(0, Ordering::Relaxed),
            })
            .filter(|refusals| refusals.count > 0)
            .collect();
        (!counts.is_empty()).then_some(Event::Refusals { counts })
    }
}

fn not_forwarded<'a>(decision: &Decision<'_>) -> Outcome<'a> {
    Outcome {
        id: decision.id,
        at: Timestamp::now(),
        end: End::Aborted,
        status: None,
        bytes: 0,
        request_bytes: 0,
        sha256: None,
        upstream: None,
        head_us: None,
        total_us: None,
    }
}

fn sink_event(state: SinkState, error: Option<&std::io::Error>) -> Event<'static> {
    Event::Sink {
        state,
        error: error.map(|error| error.to_string().into()),
        since: None,
        count: None,
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// How long outcomes and events wait for company.
const LINGER: Duration = Duration::from_millis(50);
/// How often counted refusals are told.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);
/// How often a failing sink is tried at shutdown, a [`LINGER`] apart.
const CLOSING_TRIES: u32 = 20;
/// Events are refused while the sink fails and this much is held.
const EVENT_BYTES: usize = 16 << 20;
