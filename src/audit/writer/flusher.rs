//! The flusher thread: writes what decisions leave behind, tells what was counted, and drains at the end.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::lines::{Life, Lines};
use super::{Writer, gauge};
use crate::audit::AuditError;
use crate::audit::batch::Batch;
use crate::config::Durability;

impl Writer {
    /// Writes what others leave, until the writer is closed.
    pub(in crate::audit) fn run(self: Arc<Self>) {
        if let Err(error) = self.flush_forever() {
            tracing::error!(%error, "the audit flusher ended; requests are refused");
        }
        // nobody will answer them
        let lines = self.lines.lock();
        lines
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .clear();
    }

    fn flush_forever(&self) -> Result<(), AuditError> {
        // `strict` and `buffered`: lines taken out of the buffer, so that others can go on filling it
        let mut batch = Taken::default();
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
                Durability::Strict | Durability::Buffered => self.write_batch(lines, &mut batch)?,
            };
            if lines.stage == Life::Running {
                continue;
            }
            last_tries -= 1;
            let all_out = lines.pending.is_empty() && batch.lines.is_empty();
            if all_out || last_tries == 0 {
                if !all_out {
                    let records = lines.held();
                    tracing::error!(records, "audit records were lost at shutdown");
                }
                // in their order, for whoever still brings one
                batch.lines.append(&mut lines.pending);
                lines.pending = batch.lines;
                lines.taken = 0;
                lines.stage = Life::Closed;
                return Ok(());
            }
        }
    }

    /// Sleeps until there is something to write, then lets lines gather.
    fn wait(&self, batch: &Taken) -> Result<MutexGuard<'_, Lines>, AuditError> {
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

    /// `strict` and `buffered`: writes a batch while others fill the buffer, and tells those who wait for it.
    fn write_batch<'w>(
        &'w self,
        mut lines: MutexGuard<'w, Lines>,
        batch: &mut Taken,
    ) -> Result<MutexGuard<'w, Lines>, AuditError> {
        if batch.lines.is_empty() {
            std::mem::swap(&mut batch.lines, &mut lines.pending);
            std::mem::swap(&mut batch.waiting, &mut lines.waiting);
            lines.taken = batch.lines.lines();
        }
        drop(lines);
        let written = self.sink()?.write(&mut batch.lines);
        if written.is_ok() {
            for waiting in batch.waiting.drain(..) {
                // who went away meanwhile has seen to its outcome
                let _ = waiting.send(());
            }
        }
        let mut lines = self.lines()?;
        lines.taken = batch.lines.lines();
        self.metrics.audit().queue.set(gauge(lines.held()));
        match written {
            Ok(written) => self.succeeded(&mut lines, &written),
            Err(error) => {
                // also those of the next batch: it may be long until it is tried
                batch.waiting.clear();
                lines.waiting.clear();
                self.failed(&mut lines, &error);
            }
        }
        // there is room, or there is a reason to refuse
        self.room.notify_waiters();
        Ok(lines)
    }
}

#[derive(Default)]
struct Taken {
    lines: Batch,
    /// `strict`: those whose decision is among them.
    waiting: Vec<oneshot::Sender<()>>,
}

/// How long outcomes and events wait for company.
const LINGER: Duration = Duration::from_millis(50);
/// How often counted refusals are told.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);
/// How often a failing sink is tried at shutdown, a [`LINGER`] apart.
const CLOSING_TRIES: u32 = 20;
