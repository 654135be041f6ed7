//! The record of every decision: one line before a request leaves, one when it has ended.
//!
//! [`record`] is the schema. `sink.rs` is a file or standard output, `writer.rs` numbers lines and gets them
//! there, `line.rs` formats them, [`redact`] says what of judged fields they tell, `recover.rs` closes what a crash left open, [`read`] reads lines back.
//!
//! Records are never dropped: a sink that is full or fails makes [`Audit::decided`] wait or fail, and then
//! nothing may be forwarded. Deliberately absent: what the records are about (see [`record`]), and any way
//! to turn them off.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use jiff::Timestamp;
use uuid::Uuid;

use crate::config;
use crate::metrics::Metrics;

mod batch;
mod checkpoints;
mod encode;
pub mod files;
pub mod filter;
pub mod follow;
mod keeper;
mod line;
pub mod note;
pub mod ocsf;
pub mod proof;
pub mod query;
pub mod read;
pub mod record;
mod recover;
pub mod redact;
pub mod segment;
mod sink;
pub mod tree;
pub mod verify;
pub mod view;
mod writer;

use self::checkpoints::Checkpoints;
use self::keeper::Keeper;
pub use self::record::{Early, End, StartEvent};
use self::record::{Event, Outcome, Sha256, SinkState};
use self::recover::{Found, Tail};
use self::sink::{Current, Sink};
use self::writer::Writer;

/// The open audit log; a clone writes to the same. The last one closes it.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Arc<Writer>,
    flusher: Mutex<Option<JoinHandle<()>>>,
    keeper: Mutex<Option<Keeper>>,
    rate: Rate,
}

/// Why a record isn't kept. But for opening, each of these means: forward nothing, answer 503.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file can't be opened, locked or rotated.
    #[error("audit: {path}: {source}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process writes to the file.
    #[error("audit: {path}: another process writes to this file", path = path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// What can't be put on a disk, or isn't what was there before.
    #[error("audit: {path}: not a regular file", path = path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoints so far are of another key.
    #[error("audit: {path}: signed by another key; a new key needs a new file", path = path.display())]
    OtherKey {
        /// The file of checkpoints.
        path: PathBuf,
    },
    /// A file that is to take checkpoints holds something else.
    #[error("audit: {path}: not a file of checkpoints", path = path.display())]
    NotCheckpoints {
        /// The file.
        path: PathBuf,
    },
    /// The last run's records can't be read, so its open decisions can't be closed.
    #[error("audit: {path}: can't be read back: {source}", path = path.display())]
    Recover {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The sink didn't take the record.
    #[error("audit: the record was not written: {0}")]
    Sink(#[source] std::io::Error),
    /// The sink didn't take earlier records.
    #[error("audit: the sink is failing")]
    SinkFailing,
    /// The log was closed.
    #[error("audit: the log is closed")]
    Closed,
    /// A thread could not be started.
    #[error("audit: no thread: {0}")]
    Thread(#[source] std::io::Error),
    /// Ours: a record that can't be formatted.
    #[error("audit: {0}")]
    Format(#[from] serde_json::Error),
    /// Ours: a thread panicked while it held the log.
    #[error("audit: the log is in an unknown state")]
    Poisoned,
}

impl Audit {
    /// Opens the sink; closes decisions that a crash left open (outcome `unknown`); writes the `start` event.
    pub fn open(
        config: &config::Audit,
        metrics: &Metrics,
        start: StartEvent,
    ) -> Result<Audit, AuditError> {
        let mut sink = Sink::open(config)?;
        let mut checkpoints = config
            .checkpoints
            .as_ref()
            .map(Checkpoints::open)
            .transpose()?;
        let mut events = Vec::new();
        let found = recover(&mut sink, config, checkpoints.as_ref(), &mut events)?;
        let now = Timestamp::now();
        let outcomes: Vec<Outcome<'_>> = found.open.iter().map(|id| unknown(*id, now)).collect();
        if !outcomes.is_empty() {
            tracing::warn!(
                decisions = outcomes.len(),
                "closed decisions that the last run left open"
            );
        }
        if let Some(checkpoints) = &mut checkpoints
            && !checkpoints.go_on(&found)
        {
            tracing::error!("the log isn't the one that its last checkpoint was signed for");
            metrics.audit().failures.inc();
            events.push(Event::sink(SinkState::Contradicted));
        }
        sink.go_on(found.at, &found.current)?;
        let keeper = Keeper::new(config, checkpoints);
        if let Some(keeper) = &keeper {
            sink.hand_closed_to(keeper.jobs());
        }
        events.push(Event::Start(start));
        let writer = Arc::new(Writer::new(config, sink, metrics)?);
        writer.begin(&outcomes, &events)?;
        let flusher = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn({
                let writer = Arc::clone(&writer);
                move || writer.run()
            })
            .map_err(AuditError::Thread)?;
        let inner = Inner {
            flusher: Mutex::new(Some(flusher)),
            keeper: Mutex::new(None),
            rate: Rate::new(config.refusals_per_second),
            writer: Arc::clone(&writer),
        };
        let audit = Audit(Arc::new(inner));
        if let Some(mut keeper) = keeper {
            keeper.start(writer).map_err(AuditError::Thread)?;
            *audit
                .0
                .keeper
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        }
        Ok(audit)
    }

    /// Commits a decision: when this returns `Ok` it is on the disk in `strict`, in the kernel in `written`, in the
    /// queue in `buffered`. On `Err` nothing may be forwarded (503).
    ///
    /// Cancel-safe: a dropped call has recorded the decision or not, never half; a permit that is on record when
    /// nobody waits for it any more gets its outcome.
    pub async fn decided(&self, decision: &record::Decision<'_>) -> Result<(), AuditError> {
        self.0.writer.decided(decision).await
    }

    /// After a recorded permit: the guard whose drop writes the outcome, whatever happens. `started` is when
    /// the request's head was complete. Nothing may be awaited between [`decided`](Self::decided) and this.
    pub fn open_outcome(&self, id: Uuid, started: Instant) -> OpenOutcome {
        OpenOutcome {
            status: None,
            bytes: 0,
            request_bytes: 0,
            upstream: None,
            writer: Arc::clone(&self.0.writer),
            id,
            started,
            head: None,
            digest: None,
            sha256: None,
            end: End::Aborted,
        }
    }

    /// Records an event; it is in the kernel within 50 ms.
    pub fn event(&self, event: &Event<'_>) -> Result<(), AuditError> {
        self.0.writer.event(event)
    }

    /// Whether a refusal before identity gets a record of its own. `false` once over `refusals_per_second`:
    /// the caller skips its record, and the refusal is counted, as is told about each second by an event.
    pub fn refused_early(&self) -> bool {
        self.refused_early_for(Early::Other)
    }

    /// The same, counted under its cause.
    pub fn refused_early_for(&self, cause: Early) -> bool {
        let admitted = self.0.rate.admit();
        if !admitted {
            self.0.writer.count_refused(cause);
        }
        admitted
    }

    /// Counts a refusal that never has a record of its own: what the parser or TLS rejected.
    pub fn count_refused(&self, cause: Early) {
        self.0.writer.count_refused(cause);
    }

    /// Whether records can be written, as far as is known.
    pub fn healthy(&self) -> bool {
        self.0.writer.healthy()
    }

    /// Opens the file anew, on SIGHUP after an external tool moved it away. On an error the old one is kept.
    pub fn reopen(&self) -> Result<(), AuditError> {
        self.0.writer.reopen()
    }

    /// Writes the `stop` event and all that is held. Later decisions are refused; later outcomes are written
    /// at once. Blocks until it is done, at most for about a second where the sink fails.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn close(&self) {
        if let Err(error) = self.writer.close(&Event::Stop {}) {
            tracing::error!(%error, "the audit log could not be closed in order");
            return;
        }
        let flusher = self
            .flusher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if flusher.is_some_and(|flusher| flusher.join().is_err()) {
            tracing::error!("the audit flusher panicked");
        }
        let keeper = self
            .keeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // its last checkpoint covers what the flusher wrote last
        if let Some(keeper) = keeper {
            keeper.stop();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// The outcome of a forwarded request, while it is not yet known. Its drop writes the record: `aborted`,
/// unless [`close`](Self::close) said how it ended.
pub struct OpenOutcome {
    /// The status that the client got.
    pub status: Option<u16>,
    /// Bytes of the response body relayed; [`relayed`](Self::relayed) counts them.
    pub bytes: u64,
    /// Bytes of the request body relayed.
    pub request_bytes: u64,
    /// The upstream server's address.
    pub upstream: Option<Arc<str>>,
    writer: Arc<Writer>,
    id: Uuid,
    started: Instant,
    head: Option<Duration>,
    digest: Option<digest::Context>,
    sha256: Option<Sha256>,
    end: End,
}

impl OpenOutcome {
    /// The decision's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The response's head is here.
    pub fn head(&mut self, status: u16) {
        self.status = Some(status);
        self.head = Some(self.started.elapsed());
    }

    /// A piece of the response body was relayed: counted and hashed.
    pub fn relayed(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len() as u64;
        self.digest
            .get_or_insert_with(|| digest::Context::new(&digest::SHA256))
            .update(piece);
    }

    /// Says how it ended where somebody else counted and hashed what was relayed, and writes the record.
    pub fn close_relayed(mut self, end: End, bytes: u64, sha256: [u8; 32]) {
        self.bytes = bytes;
        self.sha256 = (bytes > 0).then_some(Sha256(sha256));
        self.end = end;
    }

    /// Says how it ended, and writes the record.
    pub fn close(mut self, end: End) {
        self.end = end;
    }
}

impl Drop for OpenOutcome {
    fn drop(&mut self) {
        let digest = self.digest.take().map(digest::Context::finish);
        let outcome = Outcome {
            id: self.id,
            at: Timestamp::now(),
            end: self.end,
            status: self.status,
            bytes: self.bytes,
            request_bytes: self.request_bytes,
            sha256: digest.as_ref().map(Sha256::from_digest).or(self.sha256),
            upstream: self.upstream.as_deref().map(Cow::Borrowed),
            head_us: self.head,
            total_us: Some(self.started.elapsed()),
        };
        if let Err(error) = self.writer.outcome(&outcome) {
            tracing::error!(%error, id = %self.id, "an outcome could not be recorded");
        }
    }
}

impl fmt::Debug for OpenOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOutcome")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Reads back what the last run left in the file, and mends its end.
fn recover(
    sink: &mut Sink,
    config: &config::Audit,
    checkpoints: Option<&Checkpoints>,
    events: &mut Vec<Event<'_>>,
) -> Result<Found, AuditError> {
    let Some(path) = sink.readable().map(ToOwned::to_owned) else {
        return Ok(Found::nothing(&config.node));
    };
    let error = |source| AuditError::Recover {
        path: path.clone(),
        source,
    };
    let asked = checkpoints.and_then(Checkpoints::last_size);
    let found = recover::scan(&path, &config.node, asked)?;
    let mut tell = |state, count| {
        events.push(Event::Sink {
            state,
            error: None,
            since: None,
            count: Some(count),
        });
    };
    match &found.tail {
        Some(Tail::Torn(bytes)) => {
            recover::set_aside(&path, *bytes).map_err(error)?;
            sink.cut(*bytes).map_err(error)?;
            tell(SinkState::Torn, *bytes);
        }
        Some(Tail::Unended) => {
            sink.end_line().map_err(AuditError::Sink)?;
        }
        None => {}
    }
    if found.unreadable > 0 {
        tell(SinkState::Unreadable, found.unreadable);
    }
    if found.unlinked > 0 {
        tell(SinkState::Unlinked, found.unlinked);
    }
    if matches!(found.current, Current::Foreign) {
        tracing::warn!(path = %path.display(), "a log without the line that begins it was set aside");
        events.push(Event::sink(SinkState::SetAside));
    }
    Ok(found)
}

/// The outcome of a decision whose process died.
fn unknown(id: Uuid, at: Timestamp) -> Outcome<'static> {
    Outcome {
        id,
        at,
        end: End::Unknown,
        status: None,
        bytes: 0,
        request_bytes: 0,
        sha256: None,
        upstream: None,
        head_us: None,
        total_us: None,
    }
}

/// So many a second, by whole seconds.
#[derive(Debug)]
struct Rate {
    per_second: u32,
    started: Instant,
    /// The second in the upper half, what it admitted in the lower.
    window: AtomicU64,
}

impl Rate {
    fn new(per_second: u32) -> Rate {
        Rate {
            per_second,
            started: Instant::now(),
            window: AtomicU64::new(0),
        }
    }

    fn admit(&self) -> bool {
        self.admit_at(self.started.elapsed().as_secs())
    }

    fn admit_at(&self, second: u64) -> bool {
        let next = |window: u64| {
            let (of, admitted) = (window >> 32, window & u64::from(u32::MAX));
            // a thread that looked at the clock earlier counts into the newer second
            match second > of {
                true if self.per_second > 0 => Some(second << 32 | 1),
                false if admitted < u64::from(self.per_second) => Some(window + 1),
                true | false => None,
            }
        };
        self.window
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }
}

#[cfg(test)]
mod tests;
