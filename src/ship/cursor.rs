//! How far the log was shipped, beside the log: `audit.jsonl.shipped`.
//!
//! It is replaced whole after each acknowledged batch. One that is older than the truth makes records go out
//! twice, never not at all; so it isn't synced, and one that can't be read is none.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use crate::audit::record::Sha256;

/// The last record that was acknowledged, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    v: u32,
    /// Its number.
    pub(super) seq: u64,
    /// Its hash, by which it is known again.
    pub(super) leaf: Sha256,
    /// Where it lies.
    #[serde(flatten)]
    pub(super) place: Place,
    /// The number of the oldest permit whose outcome isn't there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<u64>,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The number of its file's first record.
    pub(super) first: u64,
    /// The hash of its file's first line.
    pub(super) head: Sha256,
    /// Bytes before it in its file, decompressed.
    pub(super) start: u64,
}

impl Cursor {
    pub(super) fn new(seq: u64, leaf: Sha256, place: Place, open: Option<u64>) -> Cursor {
        Cursor {
            v: VERSION,
            seq,
            leaf,
            place,
            open,
        }
    }

    /// The cursor beside this log, if there is one that can be read.
    pub(super) fn load(log: &Path) -> io::Result<Option<Cursor>> {
        let bytes = match std::fs::read(beside(log, ".shipped")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let cursor = serde_json::from_slice::<Cursor>(&bytes);
        Ok(cursor.ok().filter(|cursor| cursor.v == VERSION))
    }

    /// Puts it in the place of the one before.
    pub(super) fn save(&self, log: &Path) -> io::Result<()> {
        let new = beside(log, ".shipped.tmp");
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        let mut text = serde_json::to_vec(self).map_err(io::Error::other)?;
        text.push(b'\n');
        options.open(&new)?.write_all(&text)?;
        std::fs::rename(&new, beside(log, ".shipped"))
    }
}

/// The hash of a line, as the log's chain has it (RFC 6962, 2.1).
pub(super) fn leaf(line: &[u8]) -> Sha256 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(line);
    // SHA-256 is 32 bytes long; the zeros stand for a case that can't be
    Sha256(context.finish().as_ref().try_into().unwrap_or_default())
}

fn beside(log: &Path, ending: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

const VERSION: u32 = 1;
