//! The thread that looks after what is written: signs checkpoints, compresses closed files, removes the oldest.
//!
//! All of it may take long or fail without keeping a request waiting. A checkpoint covers only what is on the disk, so
//! that no crash leaves a log shorter than what was signed for it; and no file is removed before the checkpoint at its end is
//! written, so that the first line of the file after it stays vouched for.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::checkpoints::Checkpoints;
use super::record::SinkState;
use super::segment::{COMPRESSED, closed_files, suffixed};
use super::sink::file::remove_if_there;
use super::tree::Hash;
use super::writer::Writer;
use crate::config;

/// The keeper, running or about to.
#[derive(Debug)]
pub(super) struct Keeper {
    jobs: Sender<Job>,
    thread: Option<JoinHandle<()>>,
    work: Option<Work>,
}

/// What it is told.
#[derive(Debug)]
pub(super) enum Job {
    /// A file was closed.
    Closed(Closed),
    /// Sign for all that is written by now, and end.
    Stop,
}

/// A file that was just rotated away.
#[derive(Debug)]
pub(super) struct Closed {
    /// The file; the last one that holds it open.
    pub(super) file: File,
    /// Leaves of the tree at its end.
    pub(super) size: u64,
    /// The tree's root at its end.
    pub(super) root: Hash,
}

#[derive(Debug)]
struct Work {
    jobs: Receiver<Job>,
    log: PathBuf,
    keep: Option<u32>,
    compress: bool,
    checkpoints: Option<Checkpoints>,
    every: Duration,
    /// Closed files whose checkpoint isn't written yet.
    owed: VecDeque<Closed>,
    /// What fails now has been told.
    told: bool,
    stopping: bool,
}

impl Keeper {
    /// A keeper of this log; `None` where there is nothing to keep.
    pub(super) fn new(config: &config::Audit, checkpoints: Option<Checkpoints>) -> Option<Keeper> {
        let config::AuditTarget::File(log) = &config.to else {
            return None;
        };
        let (sender, jobs) = mpsc::channel();
        let every = config
            .checkpoints
            .as_ref()
            .map_or(Duration::MAX, |c| c.every);
        Some(Keeper {
            jobs: sender,
            thread: None,
            work: Some(Work {
                jobs,
                log: log.clone(),
                keep: config.keep,
                compress: config.compress,
                checkpoints,
                every,
                owed: VecDeque::new(),
                told: false,
                stopping: false,
            }),
        })
    }

    /// Where closed files go.
    pub(super) fn jobs(&self) -> Sender<Job> {
        self.jobs.clone()
    }

    /// Begins with what the last run left.
    pub(super) fn start(&mut self, writer: Arc<Writer>) -> io::Result<()> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let thread = std::thread::Builder::new().name("audit-keeper".to_owned());
        self.thread = Some(thread.spawn(move || work.run(&writer))?);
        Ok(())
    }

    /// Signs for all that is written by now, and ends.
    pub(super) fn stop(self) {
        let Keeper { jobs, thread, .. } = self;
        let _ = jobs.send(Job::Stop); // one that panicked is told of below
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit keeper panicked");
        }
    }
}

impl Work {
    fn run(mut self, writer: &Writer) {
        self.tidy(writer);
        let mut due = Instant::now().checked_add(self.every);
        loop {
            let next = match due {
                Some(due) => self
                    .jobs
                    .recv_timeout(due.saturating_duration_since(Instant::now())),
                None => self.jobs.recv().map_err(RecvTimeoutError::from),
            };
            match next {
                Ok(Job::Closed(closed)) => {
                    self.owed.push_back(closed);
                    self.sign_owed(writer);
                    self.tidy(writer);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.sign_all(writer);
                    if self.stopping {
                        return self.sign_all(writer);
                    }
                    self.tidy(writer);
                    due = Instant::now().checked_add(self.every);
                }
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return self.sign_all(writer);
                }
            }
        }
    }

    /// A checkpoint of where the log stands, after those of the files that were closed before.
    fn sign_all(&mut self, writer: &Writer) {
        if self.checkpoints.is_none() {
            return;
        }
        let stands = writer.stands();
        // what was closed before that moment has been handed over by now
        for job in self.jobs.try_iter() {
            match job {
                Job::Closed(closed) => self.owed.push_back(closed),
                Job::Stop => self.stopping = true,
            }
        }
        self.sign_owed(writer);
        match stands {
            Ok(stands) if self.owed.is_empty() => self.sign(&stands, writer),
            Ok(_) => false,
            Err(error) => self.failed(writer, SinkState::CheckpointFailed, &error),
        };
    }

    fn sign_owed(&mut self, writer: &Writer) {
        while let Some(closed) = self.owed.pop_front() {
            if !self.sign(&closed, writer) {
                self.owed.push_front(closed);
                return;
            }
        }
    }

    /// Whether that checkpoint is written, or none is wanted.
    fn sign(&mut self, closed: &Closed, writer: &Writer) -> bool {
        let Some(checkpoints) = &mut self.checkpoints else {
            return true;
        };
        if !checkpoints.wants(closed.size) {
            return true;
        }
        let signed = closed.file.sync_data();
        match signed.and_then(|()| checkpoints.sign(closed.size, closed.root)) {
            Ok(()) => {
                self.told = false;
                true
            }
            Err(error) => self.failed(writer, SinkState::CheckpointFailed, &error),
        }
    }

    /// Compresses closed files, and removes those that are too many.
    fn tidy(&mut self, writer: &Writer) {
        let tidied = closed_files(&self.log).and_then(|files| self.tidy_files(&files));
        if let Err(error) = tidied {
            self.failed(writer, SinkState::KeepingFailed, &error);
        }
    }

    fn tidy_files(&self, files: &[PathBuf]) -> io::Result<()> {
        // a rotation that a crash ended leaves the current file under two names
        let current = match std::fs::metadata(&self.log) {
            // moved away, until a hangup: another time
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            current => current?,
        };
        let is_current = |file: &Path| {
            std::fs::metadata(file)
                .is_ok_and(|found| (found.dev(), found.ino()) == (current.dev(), current.ino()))
        };
        let too_many = match self.keep {
            Some(keep) if self.owed.is_empty() => files.len().saturating_sub(keep as usize),
            Some(_) | None => 0,
        };
        let (old, kept) = files.split_at_checked(too_many).unwrap_or_default();
        for file in old {
            remove_if_there(file)?;
            remove_if_there(&suffixed(file, COMPRESSED))?;
        }
        for file in kept.iter().filter(|_| self.compress) {
            if !file
                .as_os_str()
                .as_encoded_bytes()
                .ends_with(COMPRESSED.as_bytes())
                && !is_current(file)
            {
                compress(file)?;
            }
        }
        Ok(())
    }

    /// Tells that something fails, once until it goes well again.
    fn failed(&mut self, writer: &Writer, state: SinkState, error: &io::Error) -> bool {
        if !std::mem::replace(&mut self.told, true) {
            writer.keeping_failed(state, error);
        }
        false
    }
}

/// Makes `file` its compressed self. At each moment one of the two is whole.
fn compress(file: &Path) -> io::Result<()> {
    let target = suffixed(file, COMPRESSED);
    let staged = suffixed(&target, ".tmp");
    remove_if_there(&staged)?;
    let mut plain = File::open(file)?;
    let mode = plain.metadata()?.mode() & 0o777;
    let out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&staged)?;
    let written = (|| {
        let mut encoder = GzEncoder::new(out, Compression::default());
        io::copy(&mut plain, &mut encoder)?;
        let mut out = encoder.finish()?;
        out.flush()?;
        out.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        out.sync_all()
    })();
    if let Err(error) = written {
        let _ = std::fs::remove_file(&staged);
        return Err(error);
    }
    std::fs::rename(&staged, &target)?;
    std::fs::remove_file(file)
}
