//! Where lines go: a file that rotates, or standard output.
//!
//! A sink takes a buffer of whole lines and writes as many as it can. What it can't write stays in the
//! buffer, and a half-written line never stands before another one: it is cut off the file again, or, where
//! that can't be (a pipe), completed before anything else.
//!
//! A file has one writer. An exclusive advisory lock holds others off, and goes with the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::AuditError;
use crate::config;

/// An open sink.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// Where the file lies; `None`: standard output.
    path: Option<PathBuf>,
    /// A regular file: it can be cut, rotated and read back.
    regular: bool,
    /// Bytes in a regular file.
    len: u64,
    rotation: Option<Rotation>,
    /// How much of the buffer's first line is already out.
    torn: usize,
    /// When it was last seen that the file has a name.
    named: Instant,
}

#[derive(Debug)]
struct Rotation {
    /// From this length on the file is rotated before the next line.
    at: u64,
    /// The same, pushed back after a failure.
    next: u64,
    /// Rotated files kept.
    keep: u32,
}

/// What [`Sink::write`] did besides.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The rotation that was due and failed; the lines are written nevertheless.
    pub(super) rotation_failed: Option<io::Error>,
    /// The file had been removed, and what was written began a new one.
    pub(super) removed: bool,
}

impl Sink {
    /// Opens the sink and, where it is a file, locks it.
    pub(super) fn open(config: &config::Audit) -> Result<Sink, AuditError> {
        match &config.to {
            config::AuditTarget::Stdout => Self::stdout(),
            config::AuditTarget::File(path) => Self::file(path, config),
        }
    }

    fn stdout() -> Result<Sink, AuditError> {
        // a descriptor of its own: `std::io::Stdout` would split lines at its own buffer's end
        let fd = io::stdout().as_fd().try_clone_to_owned();
        let file = fd.map(File::from).map_err(|source| AuditError::Open {
            path: "standard output".into(),
            source,
        });
        file.map(Self::over)
    }

    /// A sink that can't be cut, rotated or read back.
    pub(super) fn over(file: File) -> Sink {
        Sink {
            file,
            path: None,
            regular: false,
            len: 0,
            rotation: None,
            torn: 0,
            named: Instant::now(),
        }
    }

    fn file(path: &Path, config: &config::Audit) -> Result<Sink, AuditError> {
        let (file, len, regular) = open_locked(path)?;
        let rotation = config.rotate_at.filter(|_| regular);
        Ok(Sink {
            file,
            path: Some(path.to_owned()),
            regular,
            len,
            rotation: rotation.map(|at| Rotation {
                at,
                next: at,
                keep: config.keep,
            }),
            torn: 0,
            named: Instant::now(),
        })
    }

    /// The path of a regular file, which can be read back.
    pub(super) fn readable(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.regular)
    }

    /// How much of the buffer's first line is already out.
    pub(super) fn torn(&self) -> usize {
        self.torn
    }

    /// Writes the buffer's lines, all of which are whole. On success the buffer is empty; on failure it holds
    /// the lines that aren't out, the first of them perhaps [in part](Self::torn).
    pub(super) fn write(&mut self, lines: &mut Vec<u8>) -> io::Result<Written> {
        let mut written = Written::default();
        if lines.is_empty() {
            return Ok(written);
        }
        if self.torn == 0 {
            written.removed = self.begin_anew_if_removed()?;
            written.rotation_failed = self.rotate_if_due().err();
        }
        let mut done = self.torn;
        let outcome = loop {
            let rest = lines.get(done..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.file.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.len += (done - self.torn) as u64;
        let Err(error) = outcome else {
            self.torn = 0;
            lines.clear();
            return Ok(written);
        };
        let out = lines.get(..done).unwrap_or_default();
        let whole = memchr::memrchr(b'\n', out).map_or(0, |end| end + 1);
        self.torn = done - whole;
        lines.drain(..whole);
        if self.torn > 0 && self.regular && self.cut(self.torn as u64).is_ok() {
            self.torn = 0;
        }
        Err(error)
    }

    /// What is written to a file that has no name any more is gone with the process. A file that was only moved
    /// keeps its records, and is written to until a hangup.
    fn begin_anew_if_removed(&mut self) -> io::Result<bool> {
        if !self.regular || self.named.elapsed() < LOOK_EVERY {
            return Ok(false);
        }
        let removed = self.file.metadata()?.nlink() == 0;
        if removed {
            self.reopen().map_err(|error| match error {
                AuditError::Open { source, .. } => source,
                error => io::Error::other(error),
            })?;
        }
        // Not before: where no new file can be had, the next line must not go to the old one.
        self.named = Instant::now();
        Ok(removed)
    }

    /// Cuts bytes off the file's end. The length is asked anew: an external tool may have emptied the file.
    pub(super) fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        let len = len.checked_sub(bytes).ok_or(io::ErrorKind::InvalidData)?;
        self.file.set_len(len)?;
        self.len = len;
        Ok(())
    }

    /// Ends a line that an earlier process left without its line feed.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        self.file.write_all(b"\n")?;
        self.len += 1;
        Ok(())
    }

    /// Opens the path anew, after an external tool moved the file away. The pending lines go to the new one.
    pub(super) fn reopen(&mut self) -> Result<(), AuditError> {
        let Some(path) = self.path.as_deref().filter(|_| self.regular) else {
            return Ok(());
        };
        if self.torn > 0 {
            // its rest belongs into the old file
            return Err(AuditError::SinkFailing);
        }
        let error = |source| AuditError::Open {
            path: path.to_owned(),
            source,
        };
        if is_at(&self.file, path).map_err(error)? {
            // still there: perhaps emptied in place
            self.len = self.file.metadata().map_err(error)?.len();
            return Ok(());
        }
        let (file, len, regular) = open_locked(path)?;
        (self.file, self.len, self.regular) = (file, len, regular);
        Ok(())
    }

    fn rotate_if_due(&mut self) -> io::Result<()> {
        let (Some(rotation), Some(path)) = (&mut self.rotation, &self.path) else {
            return Ok(());
        };
        if self.len < rotation.next {
            return Ok(());
        }
        // Or the older files would move up for nothing, and the oldest be lost each time.
        if !is_at(&self.file, path)? {
            rotation.next = self.len.saturating_add(rotation.at / 8 + 1);
            return Err(io::Error::other("the file was moved away"));
        }
        match rotate(&self.file, path, rotation.keep) {
            Ok(file) => {
                self.file = file;
                self.len = 0;
                rotation.next = rotation.at;
                Ok(())
            }
            Err(error) => {
                // not again at each line
                rotation.next = self.len.saturating_add(rotation.at / 8 + 1);
                Err(error)
            }
        }
    }
}

/// The rotated file of this age: `audit.jsonl.1` is the newest.
pub(super) fn rotated(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// Makes `path` a new, locked, empty file and its content `path.1`. The new file is locked before it takes
/// the name, so that no other process can come between.
fn rotate(current: &File, path: &Path, keep: u32) -> io::Result<File> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let staged = PathBuf::from(staged);
    // left over from a crash within a rotation: nothing was ever written to it
    remove_if_there(&staged)?;
    let file = append(OpenOptions::new().create_new(true), &staged)?;
    file.set_permissions(current.metadata()?.permissions())?;
    file.lock()?;
    let shift = || -> io::Result<()> {
        for age in (1..keep).rev() {
            match std::fs::rename(rotated(path, age), rotated(path, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if keep > 0 {
            // a second name, then the exchange: at no moment is there no file at `path`
            let newest = rotated(path, 1);
            remove_if_there(&newest)?;
            if std::fs::hard_link(path, &newest).is_err() {
                std::fs::rename(path, &newest)?; // a file system without hard links
            }
        }
        std::fs::rename(&staged, path)
    };
    shift().inspect_err(|_| {
        let _ = std::fs::remove_file(&staged);
    })?;
    Ok(file)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn append(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // who asked for what is nobody else's business; a group may be let in by chmod, which rotation keeps
    options.append(true).mode(0o600).open(path)
}

/// Opens or creates the file and takes its lock. Gives back its length and whether it is a regular file.
fn open_locked(path: &Path) -> Result<(File, u64, bool), AuditError> {
    let error = |source| AuditError::Open {
        path: path.to_owned(),
        source,
    };
    for _ in 0..OPEN_TRIES {
        let file = append(OpenOptions::new().create(true), path).map_err(error)?;
        let metadata = file.metadata().map_err(error)?;
        if !metadata.is_file() {
            return Ok((file, 0, false));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        // between open and lock another process may have rotated the file away
        if is_at(&file, path).map_err(error)? {
            let len = file.metadata().map_err(error)?.len();
            return Ok((file, len, true));
        }
    }
    Err(AuditError::Locked {
        path: path.to_owned(),
    })
}

/// Whether the open file is the one at this path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

const OPEN_TRIES: u32 = 8;
/// How often it is looked whether the file was removed: seldom enough to cost nothing under load, and before each
/// write where there is none.
const LOOK_EVERY: Duration = Duration::from_millis(10);
