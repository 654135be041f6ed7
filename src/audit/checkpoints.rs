//! The file of signed checkpoints: read back at the start, appended to at an interval.
//!
//! A key signs one history only (C2SP tlog-checkpoint, "Signatures"): each checkpoint is of more records than the last,
//! and none is signed any more once the log is found not to be the one that was signed for. A way out is a new key with
//! a new file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AuditError;
use super::note::{Checkpoint, NoteError, Signer, notes};
use super::recover::Found;
use super::sink::file::is_at;
use super::tree::Hash;
use crate::config;

/// The open file.
#[derive(Debug)]
pub(super) struct Checkpoints {
    signer: Arc<Signer>,
    path: PathBuf,
    file: File,
    last: Option<Checkpoint>,
    contradicted: bool,
}

impl Checkpoints {
    /// Opens the file and reads the last checkpoint. Half a one, which a crash left, is cut off.
    pub(super) fn open(config: &config::Checkpoints) -> Result<Checkpoints, AuditError> {
        let path = &config.to;
        let error = |source| AuditError::Open {
            path: path.clone(),
            source,
        };
        let file = open(path).map_err(error)?;
        let found = file.metadata().map_err(error)?;
        let none = || AuditError::NotCheckpoints { path: path.clone() };
        if !found.is_file() {
            return Err(none());
        }
        // two logs under one key would be two histories
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::Locked { path: path.clone() });
            }
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        let text = end_of(&file, found.len()).map_err(error)?;
        let text = String::from_utf8(text).map_err(|_| none())?;
        let whole: usize = notes(&text).map(|note| note.len() + 1).sum();
        let verifier = config.signer.verifier();
        let last = notes(&text).last().map(|note| verifier.open(note));
        let half = text.get(whole..).unwrap_or_default();
        let last = match last.transpose() {
            Ok(last) if verifier.begins(half) => last,
            Err(NoteError::OtherKey) => {
                return Err(AuditError::OtherKey { path: path.clone() });
            }
            Ok(_) | Err(_) => return Err(none()),
        };
        if !half.is_empty() {
            file.set_len(found.len() - half.len() as u64)
                .map_err(error)?;
        }
        Ok(Checkpoints {
            signer: config.signer.clone(),
            path: path.clone(),
            file,
            last,
            contradicted: false,
        })
    }

    /// The size of the last checkpoint.
    pub(super) fn last_size(&self) -> Option<u64> {
        self.last.as_ref().map(|last| last.size)
    }

    /// Whether the log that was found may be the one that was signed for; if not, nothing is signed any more.
    pub(super) fn go_on(&mut self, found: &Found) -> bool {
        self.contradicted = self.last.as_ref().is_some_and(|last| {
            let shorter = found.at.tree.size() < last.size;
            shorter || found.root.is_some_and(|root| root != last.root)
        });
        !self.contradicted
    }

    /// Whether a tree of so many records has a checkpoint to come.
    pub(super) fn wants(&self, size: u64) -> bool {
        !self.contradicted && self.last_size().is_none_or(|last| last < size) && size > 0
    }

    /// Signs a tree and appends the checkpoint. On an error there is none, and the file is as it was.
    pub(super) fn sign(&mut self, size: u64, root: Hash) -> io::Result<()> {
        if !is_at(&self.file, &self.path)? {
            let path = self.path.display();
            tracing::warn!(%path, "the file of checkpoints was moved or removed; a new one is begun");
            let file = open(&self.path)?;
            file.try_lock()?;
            self.file = file;
        }
        let note = self.signer.sign(size, root) + "\n";
        let len = self.file.metadata()?.len();
        let written = self.file.write_all(note.as_bytes());
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.file.set_len(len)?;
            return Err(error);
        }
        let origin = self.signer.verifier().name().to_owned();
        self.last = Some(Checkpoint { origin, size, root });
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // what is in it isn't secret; who may write to it is the log's owner
    options.append(true).read(true).create(true).mode(0o644);
    options.open(path)
}

/// The file's end, from the beginning of a note or of its signatures on: it holds the last note whole.
fn end_of(file: &File, len: u64) -> io::Result<Vec<u8>> {
    let start = len.saturating_sub(END_BYTES);
    let mut end = vec![0; usize::try_from(len - start).unwrap_or_default()];
    file.read_exact_at(&mut end, start)?;
    let first = match start {
        0 => 0,
        _ => memchr::memmem::find(&end, b"\n\n").map_or(end.len(), |at| at + 2),
    };
    end.drain(..first);
    Ok(end)
}

/// Far longer than a note.
const END_BYTES: u64 = 64 << 10;
