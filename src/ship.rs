//! Shipping: the audit file's records, sent to an OpenTelemetry receiver over OTLP/HTTP as logs and traces.
//!
//! The file stays the truth. One thread reads it as any tailer would (`tail.rs`) and is never on a request's way: a
//! receiver that is slow, away or full holds up nothing but itself. What was acknowledged is noted beside the log
//! (`cursor.rs`), so that each record is sent at least once, over restarts and crashes; where it may have been sent
//! and the answer is missing, it is sent again. A record's number and node tell duplicates.
//!
//! Memory is bounded: one batch (records and bytes) and the open permits (`spans.rs`). What the receiver can't take now
//! is tried again, ever more seldom; what it will never take is passed over, counted and told (`batch.rs`). What
//! retention removed before it was shipped is counted and told.
//!
//! Messages are those of `opentelemetry-proto`, posted by hyper. The SDK and its exporters are deliberately absent:
//! their processors queue in memory, drop when they are full, and don't say which batch was acknowledged, which is
//! what the cursor stands on; and their HTTP clients bring a second TLS stack.

mod batch;
mod client;
mod cursor;
mod files;
mod otlp;
mod spans;
mod tail;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::watch;

use self::batch::Batch;
use self::client::{Client, ShipError};
use self::cursor::Cursor;
use self::otlp::{Converted, Signals};
use self::spans::Spans;
use self::tail::{Resumed, Tail};
use crate::config;
use crate::metrics::{Metrics, ShipMetrics};

/// The thread that ships. Dropped without [`finish`](Shipper::finish) it stops at once; what isn't sent is sent after
/// the next start.
#[derive(Debug)]
pub struct Shipper {
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Not yet.
    Run,
    /// Once all that is there was tried.
    Finish,
    /// Now.
    Now,
}

impl Shipper {
    /// Starts shipping as the configuration says; `None` where it says no. The log must be open by now.
    ///
    /// # Errors
    /// There is no thread, or no runtime for it.
    pub fn start(audit: &config::Audit, metrics: &Metrics) -> io::Result<Option<Shipper>> {
        let (Some(ship), config::AuditTarget::File(log)) = (&audit.ship, &audit.to) else {
            return Ok(None);
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(Stop::Run);
        let work = Work::new(log, ship, &audit.node, metrics.ship().clone(), stopped);
        let thread = std::thread::Builder::new()
            .name("ship".to_owned())
            .spawn(move || {
                runtime.block_on(work.run());
                // a name that hangs in the resolver has a thread of its own
                runtime.shutdown_background();
            })?;
        Ok(Some(Shipper {
            stop,
            thread: Some(thread),
        }))
    }

    /// Sends what is there, if it can be sent at once, and stops. Blocks for at most five seconds.
    pub fn finish(mut self) {
        self.end(Stop::Finish);
    }

    fn end(&mut self, how: Stop) {
        self.stop.send_replace(how);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the shipping thread had panicked");
        }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.end(Stop::Now);
    }
}

/// What the thread works with.
struct Work {
    log: PathBuf,
    node: Arc<str>,
    every: Duration,
    most: usize,
    signals: Signals,
    client: Client,
    metrics: ShipMetrics,
    stop: watch::Receiver<Stop>,
    /// Set once the log could be read.
    tail: Option<Tail>,
    spans: Spans,
    /// The latest time in a record: what is old is so by the log's time, however late it is read.
    now: Timestamp,
    pending: Pending,
    /// Failures in a row.
    failures: u32,
    /// When the failures were last told.
    told: Option<tokio::time::Instant>,
}

/// A batch that isn't acknowledged.
#[derive(Debug, Default)]
struct Pending {
    logs: Batch<LogRecord>,
    spans: Batch<Span>,
    /// Where the log stands once it is.
    cursor: Option<Cursor>,
    /// It was filled to its bound, so there may be more.
    full: bool,
}

/// Why nothing goes on for now.
#[derive(Debug, thiserror::Error)]
enum Held {
    #[error(transparent)]
    Ship(#[from] ShipError),
    #[error("the audit file can't be read: {0}")]
    Read(io::Error),
    #[error("the cursor beside the audit file can't be written: {0}")]
    Cursor(io::Error),
}

impl Work {
    fn new(
        log: &Path,
        ship: &config::Ship,
        node: &Arc<str>,
        metrics: ShipMetrics,
        stop: watch::Receiver<Stop>,
    ) -> Work {
        Work {
            log: log.to_owned(),
            node: node.clone(),
            every: ship.every,
            most: ship.batch.max(1),
            signals: Signals {
                logs: ship.logs,
                traces: ship.traces,
            },
            client: Client::new(ship.clone()),
            metrics,
            stop,
            tail: None,
            spans: Spans::default(),
            now: Timestamp::MIN,
            pending: Pending::default(),
            failures: 0,
            told: None,
        }
    }

    /// Until it is stopped: at once, or after a last try that is bounded.
    async fn run(mut self) {
        let mut stop = self.stop.clone();
        let bound = async move {
            // The sender gone is an end as well.
            let asked = stop
                .wait_for(|stop| *stop != Stop::Run)
                .await
                .map(|how| *how);
            if asked.is_ok_and(|how| how == Stop::Finish) {
                let now = stop.wait_for(|stop| *stop == Stop::Now);
                let _late = tokio::time::timeout(LAST, now).await;
            }
        };
        tokio::select! {
            biased;
            () = bound => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        loop {
            let last = *self.stop.borrow_and_update() != Stop::Run;
            let wait = match self.step().await {
                Ok(true) => continue,
                Ok(false) => self.every,
                Err(held) => self.held(&held),
            };
            if last {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Reads a batch and sends it; what couldn't be sent before is sent first. `true` where there may be more.
    async fn step(&mut self) -> Result<bool, Held> {
        if self.tail.is_none() {
            self.tail = Some(self.begin().await.map_err(Held::Read)?);
        }
        if self.pending.cursor.is_none() {
            self.fill().map_err(Held::Read)?;
        }
        let Pending { logs, spans, .. } = &mut self.pending;
        logs.send(&mut self.client, &self.metrics.records).await?;
        spans.send(&mut self.client, &self.metrics.spans).await?;
        if let Some(cursor) = &self.pending.cursor {
            cursor.save(&self.log).map_err(Held::Cursor)?;
            self.metrics.acknowledged(cursor.seq);
            self.pending.cursor = None;
        }
        if let Some(newest) = self.tail.as_ref().and_then(Tail::newest) {
            self.metrics.newest(newest);
        }
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "records are shipped again");
            (self.failures, self.told) = (0, None);
        }
        Ok(std::mem::take(&mut self.pending.full))
    }

    /// Finds the place to go on from, and the permits that were open there.
    async fn begin(&mut self) -> io::Result<Tail> {
        let Some(cursor) = Cursor::load(&self.log)? else {
            return Ok(Tail::new(&self.log));
        };
        let (tail, resumed) = Tail::resume(&self.log, &cursor)?;
        self.metrics.acknowledged(cursor.seq);
        match (resumed, cursor.open) {
            (Resumed::After, Some(open)) => self.replay(open, cursor.seq).await?,
            (Resumed::After | Resumed::Gone, _) => {}
            (Resumed::Other, _) => {
                self.metrics.acknowledged(0);
                tracing::warn!(
                    seq = cursor.seq,
                    "the audit log isn't as it was when it was shipped; what may differ is sent again"
                );
            }
        }
        Ok(tail)
    }

    /// Reads records once more that were shipped, from the oldest permit on that was open then.
    async fn replay(&mut self, from: u64, to: u64) -> io::Result<()> {
        let mut tail = Tail::near(&self.log, from)?;
        let mut line = Vec::new();
        let mut lines = 0u32;
        while let Some(found) = tail.next(&mut line)? {
            if found.seq > to {
                break;
            }
            if found.seq >= from {
                otlp::convert(&line, found.seq, &self.node, self.signals, &mut self.spans);
            }
            lines = lines.wrapping_add(1);
            if lines.is_multiple_of(YIELD_EVERY) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Reads the next batch.
    fn fill(&mut self) -> io::Result<()> {
        let Some(tail) = &mut self.tail else {
            return Ok(());
        };
        let (mut logs, mut spans) = (Vec::new(), Vec::new());
        let mut last = None;
        let (mut records, mut bytes) = (0, 0);
        let mut line = Vec::new();
        let failed = loop {
            if records >= self.most || bytes >= BATCH_BYTES {
                self.pending.full = true;
                break None;
            }
            let found = match tail.next(&mut line) {
                Ok(Some(found)) => found,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            if found.missing > 0 {
                self.metrics.lost.inc_by(found.missing);
                tracing::warn!(
                    records = found.missing,
                    before = found.seq,
                    "records were gone before they were shipped"
                );
            }
            if found.another {
                tracing::warn!(seq = found.seq, "the audit log's numbers begin anew");
            }
            let Converted {
                node,
                at,
                log,
                span,
            } = otlp::convert(&line, found.seq, &self.node, self.signals, &mut self.spans);
            logs.extend(log.map(|log| (node.clone(), log)));
            spans.extend(span.map(|span| (node, span)));
            last = Some(found);
            self.now = self.now.max(at);
            records += 1;
            bytes += line.len();
        };
        let unreadable = tail.unreadable();
        if unreadable > 0 {
            self.metrics.unreadable.inc_by(unreadable);
            tracing::error!(
                lines = unreadable,
                "lines of the audit file are no records; they aren't shipped"
            );
        }
        while let Some(over) = self.spans.over(self.now) {
            spans.extend(otlp::unended(over));
        }
        let open = self.spans.oldest();
        self.pending.cursor = last.map(|last| Cursor::new(last.seq, last.leaf, last.place, open));
        self.pending.logs = Batch::new(logs);
        self.pending.spans = Batch::new(spans);
        match failed {
            // what was read before goes out first
            Some(error) if records == 0 => Err(error),
            Some(_) | None => Ok(()),
        }
    }

    /// Counts and tells a failure; gives back how long to wait.
    fn held(&mut self, held: &Held) -> Duration {
        let (cause, after) = match held {
            Held::Ship(error) => (error.cause(), error.after()),
            Held::Read(_) => ("read", None),
            Held::Cursor(_) => ("cursor", None),
        };
        self.metrics.failure(cause);
        self.failures = self.failures.saturating_add(1);
        if let Some(newest) = self.tail.as_ref().and_then(Tail::newest) {
            self.metrics.newest(newest);
        }
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(tokio::time::Instant::now());
            let error: &dyn std::error::Error = held;
            tracing::warn!(
                error,
                failures = self.failures,
                "records aren't shipped for now"
            );
        }
        let after = after.unwrap_or_default().min(LONGEST_AFTER);
        backoff(self.every, self.failures, random()).max(after)
    }
}

/// Twice as long after each failure, from the least on, up to a bound; of that between half and all.
fn backoff(every: Duration, failures: u32, random: u64) -> Duration {
    let least = every.clamp(Duration::from_millis(1), LEAST_WAIT);
    let doubled = least.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let half = doubled.min(LONGEST_WAIT) / 2;
    let part = u32::try_from(random % 1024).unwrap_or(0);
    half + half * part / 1024
}

/// A number that differs among processes and moments; it need not be secret.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::thread::current().id())
}

/// Bytes of lines in a batch; the last one may go beyond.
const BATCH_BYTES: usize = 4 << 20;
/// The first wait after a failure, where `every` isn't shorter.
const LEAST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that a receiver may ask for.
const LONGEST_AFTER: Duration = Duration::from_secs(600);
/// How often it is told that nothing goes on.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// For the last try at the end.
const LAST: Duration = Duration::from_secs(5);
const YIELD_EVERY: u32 = 4096;

#[cfg(test)]
mod tests;
