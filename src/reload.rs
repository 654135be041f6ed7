//! Changes of configuration and policies in a running proxy: all of them or none.
//!
//! On SIGHUP, and when a watched file changes, the whole configuration is loaded again with its policies. Any
//! problem, and nothing changes. Otherwise one pointer is swapped: requests that begin after it are judged by
//! the new policies, TLS handshakes after it use the new certificates, and every open stream is judged again
//! and cut if it no longer holds.
//!
//! What sockets, threads and the audit log were made from can't change without a restart, and is refused.
//!
//! Files are watched by looking at them. The system's events were tried first: they are per folder, so that an
//! audit log beside the configuration makes one with each record, which cost a quarter of a request's CPU time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::Running;
use crate::audit::record::Event;
use crate::config::Config;
use crate::proxy::routes::Routes;
use crate::proxy::worker::Snapshot;
use crate::sources;
use crate::yaml::Problem;

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Configuration or policies have problems.
    #[error("{} problems; the first: {}", .0.len(), first(.0))]
    Problems(Vec<Problem>),
    /// This takes a restart.
    #[error("`{0}` can't change without a restart")]
    Restart(&'static str),
    /// The proxy was started without a configuration file.
    #[error("there is no configuration file to read again")]
    NoSource,
}

/// Lets go of a snapshot after everybody else has: to take a hundred thousand policies apart takes long enough to
/// delay a worker's requests.
async fn retire(snapshot: Arc<Snapshot>) {
    let mut pause = Duration::from_millis(100);
    while Arc::strong_count(&snapshot) > 1 {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(60));
    }
}

fn first(problems: &[Problem]) -> String {
    problems
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}

impl Running {
    /// Reads the configuration's file again and puts it in force.
    ///
    /// # Errors
    /// Why nothing changed. It was logged, recorded and counted.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        let loaded = match &self.source {
            Some(path) => Config::load(path).map_err(ReloadError::Problems),
            None => Err(ReloadError::NoSource),
        };
        match loaded {
            Ok(config) => self.apply(config).await,
            Err(error) => self.told(Err(error)),
        }
    }

    /// Puts a configuration in force, with its policies read anew.
    ///
    /// # Errors
    /// Why nothing changed. It was logged, recorded and counted.
    pub async fn apply(&self, config: Config) -> Result<(), ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        let files = config.files.clone();
        let result = self.replace(config).await;
        *self.refused() = match result {
            Ok(()) => Vec::new(),
            Err(_) => files,
        };
        self.told(result)
    }

    async fn replace(&self, config: Config) -> Result<(), ReloadError> {
        let before = self.shared.snapshot();
        if let Some(key) = fixed(&before.config, &config) {
            return Err(ReloadError::Restart(key));
        }
        let policies = Arc::new(sources::load(&config.policies).map_err(ReloadError::Problems)?);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let identifier = before.identifier.renewed(&config.identity);
        // Keys first, or tokens that were good a moment ago would find none.
        identifier.start().await;
        let now = Timestamp::now();
        self.shared
            .metrics
            .policy_set_loaded(policies.digest(), policies.len(), now);
        self.shared.replace(Snapshot {
            generation: before.generation + 1,
            routes: Routes::new(&config.routes),
            policies: policies.clone(),
            identifier,
            loaded_at: now,
            config,
        });
        // After the swap: what registers now finds the new policies by itself.
        let streams = self.workers.iter().map(|w| &w.worker.streams);
        let cut: usize = streams.map(|streams| streams.rejudge(&policies, now)).sum();
        tracing::info!(
            policy_set = policies.digest(),
            policies = policies.len(),
            cut,
            "reloaded"
        );
        tokio::spawn(retire(before));
        Ok(())
    }

    fn refused(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs, records and counts a reload.
    fn told(&self, result: Result<(), ReloadError>) -> Result<(), ReloadError> {
        let problems = match &result {
            Ok(()) => 0,
            Err(ReloadError::Problems(problems)) => {
                for problem in problems {
                    tracing::error!("{problem}");
                }
                problems.len()
            }
            Err(ReloadError::Restart(_) | ReloadError::NoSource) => 1,
        };
        if let Err(error) = &result {
            tracing::error!(%error, "nothing was reloaded");
        }
        let shared = &self.shared;
        shared.metrics.reload(result.is_ok());
        let snapshot = shared.snapshot();
        let event = Event::Reload {
            ok: result.is_ok(),
            policy_set: Cow::Borrowed(snapshot.policies.digest()),
            policies: snapshot.policies.len() as u64,
            problems: problems as u64,
        };
        if let Err(error) = shared.audit.event(&event) {
            tracing::error!(%error, "a reload could not be recorded");
        }
        result
    }

    /// Reloads on SIGHUP, which also opens the audit file anew, and when a watched file changes. Never returns.
    ///
    /// # Errors
    /// The system takes no handler.
    pub async fn watch(&self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut known = self.seen.clone();
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP");
                    if let Err(error) = self.shared.audit.reopen() {
                        tracing::error!(%error, "the audit file could not be opened anew");
                    }
                    // Before the files are read: what changes in between is seen.
                    known = self.look().await;
                }
                changed = self.changed(&known) => {
                    known = changed;
                    tracing::info!("files changed");
                }
            }
            // Told already, whatever it was.
            let _told = self.reload().await;
        }
    }

    /// Waits until the files are no longer as they were, and have been still for a moment: a write is several
    /// steps, and a mounted ConfigMap changes several links one after the other.
    async fn changed(&self, known: &Seen) -> Seen {
        let mut before = None;
        loop {
            tokio::time::sleep(EVERY).await;
            let now = self.look().await;
            if now == *known {
                before = None;
            } else if before.as_ref() == Some(&now) {
                return now;
            } else {
                before = Some(now);
            }
        }
    }

    async fn look(&self) -> Seen {
        let mut files = self.shared.snapshot().config.files.clone();
        files.extend(self.refused().iter().cloned());
        // Files may lie on a network, and the runtime has other things to do. An error is a runtime that ends.
        tokio::task::spawn_blocking(move || look(&files))
            .await
            .unwrap_or_default()
    }
}

/// How often files are looked at. A change is in force after two to three times this.
const EVERY: Duration = Duration::from_millis(500);

/// What each file was when it was looked at; `None`: it could not be.
pub(crate) type Seen = BTreeMap<PathBuf, Option<Look>>;

/// What tells one state of a file from another: which file it is, its length, when its content and when its
/// place changed.
pub(crate) type Look = (u64, u64, u64, (i64, i64), (i64, i64));

/// Looks at files through all links, and at the policy files that stand below folders.
pub(crate) fn look(files: &[PathBuf]) -> Seen {
    let mut seen = Seen::new();
    for file in files {
        if file.is_dir()
            && let Ok(found) = sources::Found::listed(std::slice::from_ref(file))
        {
            seen.extend(found.policies.into_iter().map(stamped));
        }
        if !file.is_dir() {
            seen.extend([stamped(file.clone())]);
        }
    }
    seen
}

fn stamped(path: PathBuf) -> (PathBuf, Option<Look>) {
    let look = path.metadata().ok().map(|m| {
        let (content, place) = ((m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()));
        (m.dev(), m.ino(), m.len(), content, place)
    });
    (path, look)
}

/// The first key that differs among those that take a restart.
fn fixed(before: &Config, after: &Config) -> Option<&'static str> {
    let listeners = before.listeners.len() == after.listeners.len()
        && before.listeners.iter().zip(&after.listeners).all(|(a, b)| {
            a.name == b.name && a.address == b.address && a.tls.is_some() == b.tls.is_some()
        });
    let (a, b) = (&before.audit, &after.audit);
    let audit = a.to == b.to
        && a.durability == b.durability
        && a.rotate_at == b.rotate_at
        && a.keep == b.keep
        && a.queue == b.queue
        && a.refusals_per_second == b.refusals_per_second
        && a.node == b.node;
    let log = before.log.json == after.log.json && before.log.filter == after.log.filter;
    [
        ("listeners", listeners),
        ("workers", before.workers == after.workers),
        ("audit", audit),
        ("admin", before.admin == after.admin),
        ("log", log),
    ]
    .into_iter()
    .find(|(_, same)| !same)
    .map(|(key, _)| key)
}
