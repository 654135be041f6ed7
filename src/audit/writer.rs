//! Lines on their way to the sink: numbering, holding, writing, and what happens when the sink fails.
//!
//! Under one lock a record gets its number and becomes a line in a buffer, so the file's order is the
//! numbers' order. Then it depends on what durability was configured:
//!
//! - `strict`: the flusher writes everything in batches, and puts each on the disk before it wakes those whose
//!   decisions are in it. What comes in meanwhile is the next batch.
//! - `written`: a decision's own thread writes the buffer, in which the decision is the last line, and
//!   comes back once all of it is in the kernel. Outcomes and events wait in the buffer for the next
//!   decision, or for the flusher thread, at most 50 ms.
//! - `buffered`: the flusher writes everything; a decision waits where the buffer holds `queue` records.
//!
//! **A failing sink.** Lines that can't be written stay in the buffer and are tried again, by the next
//! decision and by the flusher. Decisions are refused. In `written` a refused one is taken out of the buffer again
//! together with its number, for nothing was forwarded under it; in `strict` others were tied to it meanwhile, so it
//! stays, and a permit gets an outcome that says so. What accumulates is bounded by what was forwarded or held
//! before. Nothing is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};

use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use self::lines::{Life, Lines, Trouble};
use super::AuditError;
use super::keeper::Closed;
use super::record::{Decision, Early, End, Event, Outcome, Refusals, SinkState, Verdict};
use super::sink::{Sink, Written};
use crate::config::{self, Durability};
use crate::metrics::Metrics;

mod flusher;
mod lines;

/// The buffer, the sink behind it, and those who wait for either. Locks are taken in this order.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Mutex<Lines>,
    sink: Mutex<Sink>,
    /// Wakes the flusher.
    work: Condvar,
    /// Wakes decisions that wait for room in `strict` and `buffered`.
    room: Notify,
    durability: Durability,
    queue: usize,
    metrics: Metrics,
    counted: Counted,
}

/// Refusals that have no record of their own, since the last event that told them.
#[derive(Debug)]
struct Counted {
    any: AtomicBool,
    causes: [AtomicU64; Early::COUNT],
}

impl Writer {
    /// A writer that goes on where the sink stands.
    pub(super) fn new(
        config: &config::Audit,
        sink: Sink,
        metrics: &Metrics,
    ) -> Result<Writer, AuditError> {
        Ok(Writer {
            lines: Mutex::new(Lines::new(&config.node, sink.at())?),
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
        self.metrics.audit().outcomes.inc_by(outcomes.len() as u64);
        self.metrics.audit().events.inc_by(events.len() as u64);
        Ok(())
    }

    /// Commits a decision; see the module.
    pub(super) async fn decided(&self, decision: &Decision<'_>) -> Result<(), AuditError> {
        match self.durability {
            Durability::Written => self.write(decision)?,
            Durability::Buffered => self.queue(decision, &mut None).await?,
            Durability::Strict => {
                let (tell, told) = oneshot::channel();
                self.queue(decision, &mut Some(tell)).await?;
                let uncommitted = Uncommitted::of(self, decision);
                // dropped unanswered: it isn't on the disk
                told.await.map_err(|_| AuditError::SinkFailing)?;
                uncommitted.committed();
            }
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
        lines.decision(decision)?;
        let line = lines.last_line();
        let mut sink = self.sink()?;
        let Err(error) = self.flush(&mut lines, &mut sink) else {
            return Ok(());
        };
        if lines.pending.lines() == 1 && lines.pending.bytes().len() == line && sink.torn() > 0 {
            // half of it is out and can't be taken back: say that nothing came of it
            if decision.decision == Verdict::Permit {
                lines.outcome(&not_forwarded(decision.id))?;
            }
        } else {
            lines.retract();
        }
        self.failed(&mut lines, &error);
        if let Some(trouble) = &mut lines.trouble {
            trouble.refused += 1;
        }
        Err(AuditError::Sink(error))
    }

    /// Into the buffer with this decision, once there is room.
    async fn queue(
        &self,
        decision: &Decision<'_>,
        tell: &mut Option<oneshot::Sender<()>>,
    ) -> Result<(), AuditError> {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // before the look at the buffer, or room that is made in between is missed
            room.as_mut().enable();
            if self.enqueue(decision, tell)? {
                return Ok(());
            }
            room.await;
        }
    }

    /// Into the buffer with this decision, and who is told when it counts; `false` where it is full.
    fn enqueue(
        &self,
        decision: &Decision<'_>,
        tell: &mut Option<oneshot::Sender<()>>,
    ) -> Result<bool, AuditError> {
        let mut lines = self.lines()?;
        if lines.stage != Life::Running {
            return Err(AuditError::Closed);
        }
        if let Some(trouble) = &mut lines.trouble {
            trouble.refused += 1;
            return Err(AuditError::SinkFailing);
        }
        let full = lines.held() >= self.queue;
        if !full {
            lines.decision(decision)?;
            lines.waiting.extend(tell.take());
            self.metrics.audit().queue.set(gauge(lines.held()));
        }
        if full || !lines.waiting.is_empty() || lines.held() >= self.queue.div_ceil(2) {
            // one that is under way looks before it rests
            if !std::mem::replace(&mut lines.hurry, true) {
                lines.dozing = false;
                self.work.notify_one();
            }
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
        if lines.trouble.is_some() && lines.pending.bytes().len() > EVENT_BYTES {
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
            Durability::Strict | Durability::Buffered => self.sink()?.reopen(),
        }
    }

    /// Where the log stands with what is written, and the file.
    pub(super) fn stands(&self) -> std::io::Result<Closed> {
        let sink = self.sink().map_err(std::io::Error::other)?;
        let tree = &sink.at().tree;
        Ok(Closed {
            file: sink.handle()?,
            size: tree.size(),
            root: tree.root(),
        })
    }

    /// Tells that what was written could not be looked after.
    pub(super) fn keeping_failed(&self, state: SinkState, error: &std::io::Error) {
        tracing::error!(%error, ?state, "audit files can't be looked after");
        self.metrics.audit().failures.inc();
        if let Err(error) = self.event(&sink_event(state, Some(error))) {
            tracing::error!(%error, "an audit event could not be recorded");
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
        self.metrics.audit().queue.set(gauge(lines.held()));
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
        if written.removed {
            tracing::error!("the audit file was removed; a new one was begun");
            self.metrics.audit().failures.inc();
            self.tell(lines, &sink_event(SinkState::Removed, None));
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

/// `strict`: a decision that is in the buffer and not known to be on the disk. Where it is a permit, its drop says that
/// nothing came of it: a failing sink refused it, or its request went away meanwhile.
struct Uncommitted<'w> {
    writer: &'w Writer,
    permit: Option<Uuid>,
}

impl<'w> Uncommitted<'w> {
    fn of(writer: &'w Writer, decision: &Decision<'_>) -> Uncommitted<'w> {
        let permit = decision.decision == Verdict::Permit;
        Uncommitted {
            writer,
            permit: permit.then_some(decision.id),
        }
    }

    fn committed(mut self) {
        self.permit = None;
    }
}

impl Drop for Uncommitted<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.permit
            && let Err(error) = self.writer.outcome(&not_forwarded(id))
        {
            tracing::error!(%error, %id, "an outcome could not be recorded");
        }
    }
}

fn not_forwarded(id: Uuid) -> Outcome<'static> {
    Outcome {
        id,
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

/// Events are refused while the sink fails and this much is held.
const EVENT_BYTES: usize = 16 << 20;
