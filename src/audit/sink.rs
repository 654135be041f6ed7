//! Where lines go: a file that rotates, or standard output.
//!
//! A sink takes a batch of whole lines and writes as many as it can. What it can't write stays in the
//! batch, and a half-written line never stands before another one: it is cut off the file again, or, where
//! that can't be (a pipe), completed before anything else. In `strict` a batch counts once it is on the disk, and
//! all of it or nothing: what was written of one that failed is cut off again.
//!
//! A sink knows where in the log it stands, so that each file begins with a line that says so (see
//! [`segment`](super::segment)).
//!
//! A file has one writer. An exclusive advisory lock holds others off, and goes with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

use jiff::Timestamp;

use self::file::{append, is_at, open_locked, remove_if_there, sync_folder};
use super::AuditError;
use super::batch::Batch;
use super::keeper::{Closed, Job};
use super::segment::{Segment, suffixed};
use crate::config::{self, Durability};

pub(super) mod file;

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
    /// Where the log stands with what the file holds.
    at: Segment,
    /// What the file is called once it is closed.
    closed: PathBuf,
    rotation: Rotation,
    /// Whether a batch counts once it is on the disk.
    strict: bool,
    /// `strict`: bytes at the file's end that don't count and could not be cut off yet.
    doubtful: u64,
    /// How much of the batch's first line is already out.
    torn: usize,
    /// Who looks after closed files.
    keeper: Option<Sender<Job>>,
}

#[derive(Debug)]
struct Rotation {
    /// From this length on the file is rotated before the next line; `None`: never.
    at: Option<u64>,
    /// The length from which on it is tried: that, pushed back after a failure.
    next: u64,
    /// From this age on it is rotated, too.
    every: Option<Duration>,
    /// When the file's first record was written.
    began: Timestamp,
}

/// What [`Sink::write`] did besides.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The rotation that was due and failed; the lines are written nevertheless.
    pub(super) rotation_failed: Option<io::Error>,
    /// The file had been removed, and what was written began a new one.
    pub(super) removed: bool,
}

/// What a recovery found in the file that the sink goes on with.
#[derive(Debug)]
pub(super) enum Current {
    /// Nothing.
    Empty,
    /// A file of this log, which began there; and when, if that is known.
    Begun(Segment, Option<Timestamp>),
    /// A file without the line that a log's files begin with.
    Foreign,
}

impl Sink {
    /// Opens the sink and, where it is a file, locks it. It takes lines after [`go_on`](Self::go_on).
    pub(super) fn open(config: &config::Audit) -> Result<Sink, AuditError> {
        match &config.to {
            config::AuditTarget::Stdout => Self::stdout(config),
            config::AuditTarget::File(path) => Self::file(path, config),
        }
    }

    fn stdout(config: &config::Audit) -> Result<Sink, AuditError> {
        // a descriptor of its own: `std::io::Stdout` would split lines at its own buffer's end
        let fd = io::stdout().as_fd().try_clone_to_owned();
        let file = fd.map(File::from).map_err(|source| AuditError::Open {
            path: "standard output".into(),
            source,
        });
        file.map(|file| Self::over(file, config))
    }

    /// A sink that can't be cut, rotated or read back.
    pub(super) fn over(file: File, config: &config::Audit) -> Sink {
        Sink {
            file,
            path: None,
            regular: false,
            len: 0,
            at: Segment::first(&config.node),
            closed: PathBuf::new(),
            rotation: Rotation {
                at: None,
                next: u64::MAX,
                every: None,
                began: Timestamp::now(),
            },
            strict: false,
            doubtful: 0,
            torn: 0,
            keeper: None,
        }
    }

    fn file(path: &Path, config: &config::Audit) -> Result<Sink, AuditError> {
        let (file, len, regular) = open_locked(path)?;
        let strict = config.durability == Durability::Strict;
        if strict && !regular {
            return Err(AuditError::NotRegular {
                path: path.to_owned(),
            });
        }
        let at = config.rotate_at.filter(|_| regular);
        Ok(Sink {
            path: Some(path.to_owned()),
            regular,
            len,
            rotation: Rotation {
                at,
                next: at.unwrap_or(u64::MAX),
                every: config.rotate_every.filter(|_| regular),
                began: Timestamp::now(),
            },
            strict,
            ..Self::over(file, config)
        })
    }

    /// Goes on with what a recovery found: the log stands there, and the file is in that state.
    pub(super) fn go_on(&mut self, at: Segment, current: &Current) -> Result<(), AuditError> {
        self.at = at;
        match (current, self.path.clone()) {
            // nothing was written after a first line of another name: who writes it writes the next record
            (Current::Begun(first, _), Some(_))
                if first.seq == self.at.seq && first.node != self.at.node =>
            {
                self.cut(self.len)
                    .and_then(|()| self.head())
                    .map_err(AuditError::Sink)
            }
            (Current::Begun(first, began), Some(path)) => {
                self.closed = first.closed(&path);
                self.rotation.began = began.unwrap_or(self.rotation.began);
                Ok(())
            }
            (Current::Foreign, Some(path)) => self
                .begin(&path, &unchained(&path))
                .map_err(|source| AuditError::Open { path, source }),
            (Current::Empty, path) => {
                self.head().map_err(AuditError::Sink)?;
                match path {
                    Some(path) if self.strict => {
                        sync_folder(&path).map_err(|source| AuditError::Open { path, source })
                    }
                    Some(_) | None => Ok(()),
                }
            }
            (_, None) => Ok(()),
        }
    }

    /// Whom closed files are handed to.
    pub(super) fn hand_closed_to(&mut self, keeper: Sender<Job>) {
        self.keeper = Some(keeper);
    }

    /// Where the log stands.
    pub(super) fn at(&self) -> &Segment {
        &self.at
    }

    /// Another handle on the file, for whoever waits until it is on the disk.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The path of a regular file, which can be read back.
    pub(super) fn readable(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.regular)
    }

    /// How much of the batch's first line is already out.
    pub(super) fn torn(&self) -> usize {
        self.torn
    }

    /// Writes the batch's lines. On success it is empty; on failure it holds the lines that don't count as written,
    /// the first of them perhaps out [in part](Self::torn).
    pub(super) fn write(&mut self, lines: &mut Batch) -> io::Result<Written> {
        let mut written = Written::default();
        if lines.is_empty() {
            return Ok(written);
        }
        if self.doubtful > 0 {
            self.cut(self.doubtful)?;
            self.doubtful = 0;
        }
        if self.torn == 0 {
            written.rotation_failed = self.rotate_if_due().err();
        }
        let (mut done, mut outcome) = self.put_through(lines.bytes());
        if outcome.is_ok() && self.regular && self.is_lost(done)? {
            // what was written is in no file that anybody finds: all of it goes to a new one
            written.removed = true;
            self.torn = 0;
            (done, outcome) = self.put_through(lines.bytes());
        }
        let new = (done - self.torn) as u64;
        let Err(error) = outcome else {
            self.torn = 0;
            for leaf in lines.clear() {
                self.at.advance(leaf);
            }
            return Ok(written);
        };
        if self.strict {
            if new > 0 && self.cut(new).is_err() {
                self.doubtful = new;
            }
            return Err(error);
        }
        let out = lines.bytes().get(..done).unwrap_or_default();
        let whole = memchr::memrchr(b'\n', out).map_or(0, |end| end + 1);
        self.torn = done - whole;
        for leaf in lines.take_front(whole) {
            self.at.advance(leaf);
        }
        if self.torn > 0 && self.regular && self.cut(self.torn as u64).is_ok() {
            self.torn = 0;
        }
        Err(error)
    }

    /// Writes what isn't out of these lines, and in `strict` puts it on the disk. Gives back how many bytes are out.
    fn put_through(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let (done, outcome) = put(&mut self.file, lines, self.torn);
        self.len += (done - self.torn) as u64;
        match outcome {
            Ok(()) if self.strict => (done, self.file.sync_data()),
            outcome => (done, outcome),
        }
    }

    /// Whether lines, of which so many bytes were just written, went to a file that has no name any more, or was emptied
    /// before them. A new file is begun then. One that was only moved keeps its records, and is written to until a hangup.
    fn is_lost(&mut self, bytes: usize) -> io::Result<bool> {
        let found = self.file.metadata()?;
        if found.nlink() == 0 {
            self.reopen().map_err(|error| match error {
                AuditError::Open { source, .. } => source,
                error => io::Error::other(error),
            })?;
            return Ok(true);
        }
        if found.len() >= self.len {
            return Ok(false);
        }
        if found.len() == bytes as u64 {
            self.file.set_len(0)?;
            self.len = 0;
            self.head()?;
            return Ok(true);
        }
        // cut in the middle by whomever: it keeps what it has, and the log goes on in a new file
        let path = self.path.clone().unwrap_or_default();
        self.begin(&path, &unchained(&path))?;
        Ok(true)
    }

    /// The line that says where the file begins.
    fn head(&mut self) -> io::Result<()> {
        let line = self.at.line()? + "\n";
        let (done, outcome) = put(&mut self.file, line.as_bytes(), 0);
        self.len += done as u64;
        outcome.inspect_err(|_| {
            let _ = self.regular && self.cut(done as u64).is_ok();
        })?;
        if let Some(path) = &self.path {
            self.closed = self.at.closed(path);
        }
        self.rotation.began = Timestamp::now();
        Ok(())
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

    /// Opens the path anew, after an external tool moved the file away, or mounted another file system there. The pending
    /// lines go to the new file. One that holds something already is given another name.
    pub(super) fn reopen(&mut self) -> Result<(), AuditError> {
        let Some(path) = self.readable().map(ToOwned::to_owned) else {
            return Ok(());
        };
        let error = |source| AuditError::Open {
            path: path.clone(),
            source,
        };
        if is_at(&self.file, &path).map_err(error)? {
            // still there: perhaps emptied in place
            self.len = self.file.metadata().map_err(error)?.len();
            return match self.len {
                0 => self.head().map_err(error),
                _ => Ok(()),
            };
        }
        let (file, len, regular) = open_locked(&path)?;
        if !regular {
            return Err(AuditError::NotRegular { path });
        }
        if len > 0 {
            let aside = self.aside(&path).map_err(error)?;
            self.begin(&path, &aside).map_err(error)?;
        } else {
            // as it was made for us: its owner and mode are somebody's choice
            self.file = file;
            self.len = 0;
            self.head().map_err(error)?;
            if self.strict {
                sync_folder(&path).map_err(error)?;
            }
        }
        // what is half out goes whole into the new file; under whatever name the old one lies, it isn't ours any more
        (self.torn, self.doubtful) = (0, 0);
        Ok(())
    }

    /// The name for a file that is in our place: that of a closed file, where it is one of a log.
    fn aside(&self, path: &Path) -> io::Result<PathBuf> {
        let mut first = vec![0; HEAD_BYTES];
        let read = File::open(path)?.read_at(&mut first, 0)?;
        let first = first.get(..read).unwrap_or_default();
        let line = first
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let closed = Segment::parse(line).map(|first| first.closed(path));
        Ok(match closed {
            Some(closed) if !closed.try_exists()? => closed,
            Some(_) | None => unchained(path),
        })
    }

    fn rotate_if_due(&mut self) -> io::Result<()> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let long = self.rotation.at.is_some() && self.len >= self.rotation.next;
        let old = self.rotation.every.is_some_and(|every| {
            let age = Timestamp::now().duration_since(self.rotation.began);
            age.unsigned_abs() >= every && !age.is_negative()
        });
        if !long && !old {
            return Ok(());
        }
        let outcome = match is_at(&self.file, &path)? {
            // Or somebody else's file would take its place.
            false => Err(io::Error::other("the file was moved away")),
            true => {
                let (old, closed) = (self.handle()?, self.closed.clone());
                let begun = self.begin(&path, &closed);
                begun.inspect(|()| self.hand_over(old))
            }
        };
        outcome.inspect_err(|_| {
            // not again at each line
            self.rotation.next = self
                .len
                .saturating_add(self.rotation.at.unwrap_or(self.len) / 8 + 1);
            self.rotation.began = Timestamp::now();
        })
    }

    /// Hands a file that was just closed, with what it held at the end, to who looks after it.
    fn hand_over(&self, file: File) {
        if let Some(keeper) = &self.keeper {
            let (size, root) = (self.at.tree.size(), self.at.tree.root());
            // one that is gone has nothing to keep any more
            let _ = keeper.send(Job::Closed(Closed { file, size, root }));
        }
    }

    /// Makes `path` a new, locked file that holds the first line alone, and gives what was there the name `closed`. The
    /// new file is whole and locked before it takes the name: at no moment is there no file, or half of one.
    fn begin(&mut self, path: &Path, closed: &Path) -> io::Result<()> {
        let staged = suffixed(path, ".new");
        // left over from a crash within a rotation: no record was ever written to it
        remove_if_there(&staged)?;
        let file = append(OpenOptions::new().create_new(true), &staged)?;
        let outcome = self.exchange(file, &staged, path, closed);
        outcome.inspect_err(|_| {
            let _ = std::fs::remove_file(&staged);
        })
    }

    fn exchange(
        &mut self,
        mut file: File,
        staged: &Path,
        path: &Path,
        closed: &Path,
    ) -> io::Result<()> {
        file.set_permissions(self.file.metadata()?.permissions())?;
        file.lock()?;
        let line = self.at.line()? + "\n";
        file.write_all(line.as_bytes())?;
        if self.strict {
            file.sync_all()?;
        }
        match std::fs::hard_link(path, closed) {
            Ok(()) => {}
            // from a rotation that a crash ended here; another file of that name is left alone
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && is_at(&self.file, closed)? => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // a file system without hard links, where renaming would replace what is there
            Err(error) if closed.try_exists()? => return Err(error),
            Err(_) => std::fs::rename(path, closed)?,
        }
        std::fs::rename(staged, path)?;
        if self.strict {
            sync_folder(path)?;
        }
        self.file = file;
        self.len = line.len() as u64;
        self.closed = self.at.closed(path);
        self.rotation.began = Timestamp::now();
        self.rotation.next = self.rotation.at.unwrap_or(u64::MAX);
        Ok(())
    }
}

/// Writes the bytes after the first `done`. Gives back how many are out.
fn put(file: &mut File, bytes: &[u8], mut done: usize) -> (usize, io::Result<()>) {
    loop {
        let rest = bytes.get(done..).unwrap_or_default();
        if rest.is_empty() {
            return (done, Ok(()));
        }
        match file.write(rest) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
}

/// The name of a file that is set aside.
fn unchained(path: &Path) -> PathBuf {
    suffixed(
        path,
        &format!(".unchained-{}", Timestamp::now().as_second()),
    )
}

/// Longer than any file's first line: 64 hashes and what stands before them.
const HEAD_BYTES: usize = 16 << 10;
