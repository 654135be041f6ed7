//! Changes of configuration and policies in a running proxy: all of them or none.
//!
//! On SIGHUP, and when a watched file changes, the whole configuration is loaded again with its policies. Any
//! problem, and nothing changes. Otherwise one pointer is swapped: requests that begin after it are judged by
//! the new policies, TLS handshakes after it use the new certificates, and every open stream is judged again
//! and cut if it no longer holds.
//!
//! What sockets, threads and the audit log were made from can't change without a restart, and is refused.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::app::Running;
use crate::audit::record::Event;
use crate::config::Config;
use crate::proxy::identify::Identifier;
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
        let result = self.replace(config).await;
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
        let identifier = Identifier::new(&config.identity, self.observer.clone());
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
        let changed = Arc::new(Notify::new());
        let mut _watching = None;
        loop {
            let files = self.shared.snapshot().config.files.clone();
            // The new one stands before the old one goes, or a change between the two is missed.
            _watching = watcher(&files, &changed);
            tokio::select! {
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP");
                    if let Err(error) = self.shared.audit.reopen() {
                        tracing::error!(%error, "the audit file could not be opened anew");
                    }
                }
                () = changed.notified() => {
                    // A write is many events; a mounted ConfigMap changes several links one after the other.
                    while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() {}
                    tracing::info!("files changed");
                }
            }
            // Told already, whatever it was.
            let _told = self.reload().await;
        }
    }
}

/// How long nothing must happen before files are read again.
const QUIET: Duration = Duration::from_millis(100);

/// Watches the folders that the files are in, since a file that is replaced is another file: editors and
/// Kubernetes both write beside it and move. Folders of policies are watched with all below them.
fn watcher(files: &[PathBuf], changed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let notify = changed.clone();
    let ours = Ours::new(files);
    let told = move |event: notify::Result<notify::Event>| {
        // Reading the files is an event as well, and must not lead to reading them again.
        if event
            .is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|p| ours.is(p)))
        {
            notify.notify_one();
        }
    };
    let mut watcher = match notify::recommended_watcher(told) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files can't be watched; send SIGHUP after a change");
            return None;
        }
    };
    for file in files {
        let (path, mode) = if file.is_dir() {
            (file.as_path(), RecursiveMode::Recursive)
        } else {
            let parent = file.parent().filter(|p| !p.as_os_str().is_empty());
            (
                parent.unwrap_or(Path::new(".")),
                RecursiveMode::NonRecursive,
            )
        };
        if let Err(error) = watcher.watch(path, mode) {
            tracing::warn!(%error, path = %path.display(), "can't be watched; send SIGHUP after a change");
        }
    }
    Some(watcher)
}

/// Which of the changes in a watched folder are meant: the audit log may lie beside the configuration.
struct Ours {
    names: Vec<OsString>,
    folders: bool,
}

impl Ours {
    fn new(files: &[PathBuf]) -> Ours {
        Ours {
            names: files
                .iter()
                .filter_map(|f| f.file_name().map(Into::into))
                .collect(),
            folders: files.iter().any(|file| file.is_dir()),
        }
    }

    fn is(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else {
            return false;
        };
        let policy = self.folders && path.extension().is_none_or(|extension| extension == "yaml");
        // `..data` is the link that Kubernetes moves when a mounted ConfigMap changes.
        let swapped = name.as_encoded_bytes().starts_with(b"..");
        policy || swapped || self.names.iter().any(|known| known == name)
    }
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
