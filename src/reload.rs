//! Changes of configuration and policies in a running proxy: all of them or none.
//!
//! On SIGHUP, and when a watched file changes, the whole configuration is loaded again with its policies. Any
//! problem, and nothing changes. Otherwise one pointer is swapped: requests that begin after it are judged by
//! the new policies, TLS handshakes after it use the new certificates, and every open stream is judged again
//! and cut if it no longer holds.
//!
//! A file that is still being written is valid at many of its lines, and without the rest of them. So files are read
//! once they have been the same for several looks, and what was read counts only if they still are: with a rename there
//! is nothing to wait for, and a writer that rests for longer than that is believed.
//!
//! What sockets, threads and the audit log were made from can't change without a restart, and is refused.
//!
//! Files are watched by looking at them. The system's events were tried first: they are per folder, so that an
//! audit log beside the configuration makes one with each record, which cost a quarter of a request's CPU time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::Running;
use crate::audit::record::Event;
use crate::audit::redact::Redaction;
use crate::config::Config;
use crate::policy::PolicySet;
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
    /// The files changed while they were read, each time.
    #[error("the files are being written")]
    Changing,
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
    /// Reads the configuration's file again and puts it in force. It doesn't wait for a writer to be done, but reads again
    /// what changed while it was read.
    ///
    /// # Errors
    /// Why nothing changed. It was logged, recorded and counted.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        let Some(path) = &self.source else {
            return self.told(Err(ReloadError::NoSource));
        };
        let _one_at_a_time = self.reloading.lock().await;
        for _ in 0..TRIES {
            let before = self.look(&[]).await;
            if let Some(read) = self.read(path, &before).await {
                let result = self.put(read).await;
                return self.told(result);
            }
        }
        self.told(Err(ReloadError::Changing))
    }

    /// Reads the files as they were when they were looked at. Where they are no longer that, nothing came of it and
    /// nothing is told.
    async fn reload_seen(&self, before: &Seen) {
        let Some(path) = &self.source else {
            // It is told by this, and nobody waits for it.
            let _told = self.told(Err(ReloadError::NoSource));
            return;
        };
        let _one_at_a_time = self.reloading.lock().await;
        match self.read(path, before).await {
            Some(read) => {
                let result = self.put(read).await;
                let _told = self.told(result);
            }
            None => tracing::info!("the files changed while they were read"),
        }
    }

    /// Puts a configuration in force, with its policies read anew.
    ///
    /// # Errors
    /// Why nothing changed. It was logged, recorded and counted.
    pub async fn apply(&self, config: Config) -> Result<(), ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        for _ in 0..TRIES {
            let before = self.look(&config.files).await;
            let load = || sources::load(&config.policies);
            let look = async |_: &Result<_, _>| self.look(&config.files).await;
            if let Some(policies) = steady(&before, load, look).await {
                let result = self.put(Ok((config, policies))).await;
                return self.told(result);
            }
        }
        self.told(Err(ReloadError::Changing))
    }

    /// What the files say; `None` if they aren't what they were before. Files that only the new configuration names are
    /// looked at from then on, so that it is read once more.
    async fn read(&self, path: &Path, before: &Seen) -> Option<Read> {
        let load = || {
            let config = Config::load(path)?;
            let policies = sources::load(&config.policies);
            Ok((config, policies))
        };
        let look = async |read: &Read| {
            let files = read.as_ref().map(|(config, _)| config.files.clone());
            let files = files.unwrap_or_default();
            let seen = self.look(&files).await;
            if seen != *before && !files.is_empty() {
                *self.refused() = files;
            }
            seen
        };
        steady(before, load, look).await
    }

    async fn put(&self, read: Read) -> Result<(), ReloadError> {
        let (config, policies) = read.map_err(ReloadError::Problems)?;
        let files = config.files.clone();
        let result = self.replace(config, policies).await;
        *self.refused() = match result {
            Ok(()) => Vec::new(),
            Err(_) => files,
        };
        result
    }

    async fn replace(
        &self,
        config: Config,
        policies: Result<PolicySet, Vec<Problem>>,
    ) -> Result<(), ReloadError> {
        let before = self.shared.snapshot();
        if let Some(key) = fixed(&before.config, &config) {
            return Err(ReloadError::Restart(key));
        }
        let policies = Arc::new(policies.map_err(ReloadError::Problems)?);
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
            redaction: Redaction::new(&config.audit.fields, &policies),
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
        let audit = &self.shared.snapshot().config.audit;
        if audit.ship != before.config.audit.ship {
            self.ship_anew(audit).await;
        }
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
            Err(ReloadError::Restart(_) | ReloadError::Changing | ReloadError::NoSource) => 1,
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
        let mut known = Some(self.seen.clone());
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP");
                    if let Err(error) = self.shared.audit.reopen() {
                        tracing::error!(%error, "the audit file could not be opened anew");
                    }
                    // Read again whatever they are, but not while they are written.
                    known = None;
                }
                seen = self.settled(known.as_ref()) => {
                    tracing::info!("reading the files again");
                    self.reload_seen(&seen).await;
                    // As they were before they were read: what changed since is seen.
                    known = Some(seen);
                }
            }
        }
    }

    /// Waits until the files are no longer as they were known, and still.
    async fn settled(&self, known: Option<&Seen>) -> Seen {
        let mut still = Still::default();
        loop {
            let now = self.look(&[]).await;
            if still.after(known, &now) {
                return now;
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Looks at the files in force, at those of a configuration that was refused, and at these.
    async fn look(&self, more: &[PathBuf]) -> Seen {
        let mut files = self.shared.snapshot().config.files.clone();
        files.extend(self.refused().iter().chain(more).cloned());
        // Files may lie on a network, and the runtime has other things to do. An error is a runtime that ends.
        tokio::task::spawn_blocking(move || look(&files))
            .await
            .unwrap_or_default()
    }
}

/// What was read: a configuration and its policies, each with the problems that it has.
type Read = Result<(Config, Result<PolicySet, Vec<Problem>>), Vec<Problem>>;

/// Reads between two looks; `None` if they differ.
async fn steady<T>(
    before: &Seen,
    read: impl FnOnce() -> T,
    look: impl AsyncFnOnce(&T) -> Seen,
) -> Option<T> {
    let read = read();
    let after = look(&read).await;
    (after == *before).then_some(read)
}

/// Whether files are still, look by look: a write is several steps, and a mounted ConfigMap changes several links one
/// after the other.
#[derive(Debug, Default)]
struct Still {
    before: Option<Seen>,
    looks: u32,
    /// How often they were other than at the look before.
    restless: u32,
}

impl Still {
    /// Takes the next look: whether files that aren't as they were known have been the same for long enough.
    fn after(&mut self, known: Option<&Seen>, now: &Seen) -> bool {
        if known == Some(now) {
            *self = Still::default();
            return false;
        }
        if self.before.as_ref() == Some(now) {
            self.looks += 1;
        } else {
            self.before = Some(now.clone());
            self.looks = 1;
            self.restless += 1;
            if self.restless == RESTLESS {
                tracing::warn!("files keep changing; they are read again once they don't");
            }
        }
        self.looks >= LOOKS
    }
}

/// How often files are looked at. A change is in force after three to four times this.
const EVERY: Duration = Duration::from_millis(500);
/// So many looks that see the same are stillness.
const LOOKS: u32 = 3;
/// So many changed looks without stillness are told.
const RESTLESS: u32 = 20;
/// How often a reload that was asked for reads files that change under it.
const TRIES: u32 = 5;

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
        && a.rotate_every == b.rotate_every
        && a.keep == b.keep
        && a.compress == b.compress
        && a.checkpoints == b.checkpoints
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn folder() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "a").unwrap();
        fs::write(dir.path().join("b.yml"), "b").unwrap();
        let files = vec![dir.path().to_owned()];
        (dir, files)
    }

    /// A writer that goes on: the same file grows.
    fn write_on(path: &Path) {
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"more").unwrap();
    }

    #[tokio::test]
    async fn what_was_read_while_it_was_written_is_thrown_away() {
        type Change = fn(&Path);
        let changes: [(&str, Change, bool); 6] = [
            ("nothing", |_| {}, true),
            (
                "a file that is none of these",
                |dir| fs::write(dir.join("c.txt"), "").unwrap(),
                true,
            ),
            (
                "a writer that goes on",
                |dir| write_on(&dir.join("a.yaml")),
                false,
            ),
            (
                "a new file",
                |dir| fs::write(dir.join("c.yaml"), "").unwrap(),
                false,
            ),
            (
                "a file that is gone",
                |dir| fs::remove_file(dir.join("b.yml")).unwrap(),
                false,
            ),
            (
                "a file in the place of another, of the same length",
                |dir| {
                    fs::write(dir.join("new"), "x").unwrap();
                    fs::rename(dir.join("new"), dir.join("a.yaml")).unwrap();
                },
                false,
            ),
        ];
        for (what, change, counts) in changes {
            let (dir, files) = folder();
            let before = look(&files);
            let read = || {
                let text = fs::read_to_string(dir.path().join("a.yaml")).unwrap();
                change(dir.path());
                text
            };
            let found = steady(&before, read, async |_: &String| look(&files)).await;
            assert_eq!(found, counts.then(|| "a".to_owned()), "{what}");
        }
    }

    #[test]
    fn files_are_still_after_several_looks_that_see_the_same() {
        let (dir, files) = folder();
        let (mut known, mut still) = (look(&files), Still::default());
        let mut looks = |change: bool, known: Option<&Seen>| {
            if change {
                write_on(&dir.path().join("b.yml"));
            }
            still.after(known, &look(&files))
        };
        // As long as nothing changes, there is nothing to read.
        for _ in 0..5 {
            assert!(!looks(false, Some(&known)));
        }
        // A writer that rests for two looks isn't done.
        for change in [true, false, true, true, false, true, false] {
            assert!(!looks(change, Some(&known)), "{change}");
        }
        assert!(looks(false, Some(&known)));
        known = look(&files);
        assert!(!looks(false, Some(&known)));
        // Who asks by a signal waits as long, changed or not.
        for still in [false, false, true] {
            assert_eq!(looks(false, None), still);
        }
    }
}
