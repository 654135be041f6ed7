//! The files of a log: which there are, in which order, and opening them whether compressed or not.
//!
//! A log that is being written is rotated, compressed and cut back while it is read. So the current file is opened
//! before the others are listed, and a file that got its `.gz` meanwhile is found under that name: no record is
//! missed or met twice for that.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::query::Lines;
use super::segment::{COMPRESSED, Segment, closed_files, suffixed};
use super::view::{Field, View};

/// The files of the log at `path` that are there, the oldest first and the current one last.
pub fn of_log(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = closed_files(path)?;
    match std::fs::metadata(path) {
        Ok(_) => files.push(path.to_owned()),
        // between a logrotate and the hangup there is none
        Err(error) if error.kind() == ErrorKind::NotFound && !files.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(files)
}

/// Opens a file of a log. What begins as gzip does is decompressed, whatever its name; a closed file that was
/// compressed since it was listed is opened as that.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            reader(File::open(suffixed(path, COMPRESSED)).map_err(|_| error)?)
        }
        file => reader(file?),
    }
}

fn reader(mut file: File) -> io::Result<Box<dyn BufRead + Send>> {
    let mut magic = Vec::with_capacity(GZIP.len());
    (&mut file)
        .take(GZIP.len() as u64)
        .read_to_end(&mut magic)?;
    if magic != GZIP && file.stream_position().is_ok() {
        file.rewind()?;
        return Ok(Box::new(BufReader::with_capacity(READ_BYTES, file)));
    }
    // a pipe gives nothing twice
    let whole = io::Cursor::new(magic.clone()).chain(file);
    let reader = BufReader::with_capacity(READ_BYTES, whole);
    if magic != GZIP {
        return Ok(Box::new(reader));
    }
    let plain = MultiGzDecoder::new(reader);
    Ok(Box::new(BufReader::with_capacity(READ_BYTES, plain)))
}

/// A file to be read.
#[derive(Debug)]
pub struct Part {
    /// Where it lies, or lay when it was found.
    pub path: PathBuf,
    /// The current file, which may be another one by the time it is read.
    held: Option<File>,
}

impl Part {
    /// Opens it.
    pub fn open(self) -> io::Result<Box<dyn BufRead + Send>> {
        match self.held {
            Some(file) => reader(file),
            None => open(&self.path),
        }
    }
}

/// The files of the log at `path` as they are at this moment, the oldest first.
pub fn parts(path: &Path) -> io::Result<Vec<Part>> {
    let (current, missing) = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => (None, Some(error)),
        file => (Some(file?), None),
    };
    let own = match &current {
        Some(file) => Some((file.metadata()?, begins_at_start(file)?)),
        None => None,
    };
    let mut parts = Vec::new();
    for path in closed_files(path)? {
        let closed_since = match &own {
            Some((own, first)) => is_now(&path, own, first.as_ref())?,
            None => false,
        };
        if !closed_since {
            parts.push(Part { path, held: None });
        }
    }
    if let Some(error) = missing.filter(|_| parts.is_empty()) {
        return Err(error);
    }
    parts.extend(current.map(|file| Part {
        path: path.to_owned(),
        held: Some(file),
    }));
    Ok(parts)
}

/// Whether this closed file is one that was the current one when it was opened: the same file, or, compressed since, what
/// begins with the same record.
pub(super) fn is_now(
    closed: &Path,
    opened: &std::fs::Metadata,
    first: Option<&Begins>,
) -> io::Result<bool> {
    match std::fs::metadata(closed) {
        Ok(there) if is_same(opened, &there) => Ok(true),
        Ok(_) | Err(_) => match open(closed) {
            Ok(file) => {
                let other = begins(file)?;
                Ok(other.is_some_and(|other| first.is_some_and(|first| other.begins_as(first))))
            }
            // removed as too old, or not to be read; who reads it says so
            Err(_) => Ok(false),
        },
    }
}

fn begins_at_start(mut file: &File) -> io::Result<Option<Begins>> {
    let first = match is_compressed(file) {
        Ok(false) => begins(file)?,
        // it is no log that goes on
        Ok(true) => None,
        Err(_) => return Ok(None), // a pipe: nothing may be taken from it
    };
    file.rewind()?;
    Ok(first)
}

/// Whether both are the same file.
pub(super) fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Why a list of files is no log.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A file can't be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Two of the files begin with the same record, so that records would be met twice.
    #[error("{one} and {other} begin with the same record; give one of them", one = one.display(), other = other.display())]
    Twice {
        /// One of them.
        one: PathBuf,
        /// The other one.
        other: PathBuf,
    },
}

/// Exactly these files, put in order by what they begin with: by node, then by number. A file that begins with
/// neither a header nor a record comes last.
pub fn in_order(paths: &[PathBuf]) -> Result<Vec<Part>, ListError> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let read = |source| ListError::Read {
            path: path.clone(),
            source,
        };
        files.push((begins(open(path).map_err(read)?).map_err(read)?, path));
    }
    files.sort_by(|(one, _), (other, _)| match (one, other) {
        (Some(one), Some(other)) => one.cmp(other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    });
    let mut seen = HashSet::new();
    for (begins, path) in &files {
        let twice = |other: &&(Option<Begins>, &PathBuf)| other.0 == *begins;
        if let Some(begins) = begins
            && begins.recorded
            && !seen.insert(begins)
            && let Some((_, one)) = files.iter().find(twice)
        {
            return Err(ListError::Twice {
                one: one.to_path_buf(),
                other: path.to_path_buf(),
            });
        }
    }
    let part = |(_, path): (_, &PathBuf)| Part {
        path: path.clone(),
        held: None,
    };
    Ok(files.into_iter().map(part).collect())
}

/// What a file begins with, in the order of a log.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Begins {
    pub(super) node: String,
    /// The number of the first record in it, or that would be.
    pub(super) seq: u64,
    /// There is a record. (An idle log that is rotated leaves a file without.)
    recorded: bool,
}

impl Begins {
    /// With the same record; of a file without records nothing is known but its place.
    fn begins_as(&self, other: &Begins) -> bool {
        (self.seq, &self.node) == (other.seq, &other.node) && self.recorded
    }
}

/// The first record tells; without one, the header.
pub(super) fn begins(mut input: impl Read) -> io::Result<Option<Begins>> {
    let mut lines = Lines::default();
    let mut found = None;
    while let Some(line) = lines.next(&mut input)? {
        if let Ok(view) = View::parse(str::from_utf8(line.text).unwrap_or_default()) {
            return Ok(Some(Begins {
                node: view.text(Field::Node).unwrap_or_default().to_owned(),
                seq: view.seq,
                recorded: true,
            }));
        }
        match Segment::parse(line.text) {
            Some(header) if found.is_none() => {
                found = Some(Begins {
                    node: header.node,
                    seq: header.seq.saturating_add(1),
                    recorded: false,
                });
            }
            Some(_) | None => {}
        }
        if lines.count() >= LOOK_AT {
            break;
        }
    }
    Ok(found)
}

/// Whether an open file is compressed.
pub(super) fn is_compressed(file: &File) -> io::Result<bool> {
    let mut magic = [0; GZIP.len()];
    match file.read_exact_at(&mut magic, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| magic == GZIP),
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const READ_BYTES: usize = 64 << 10;
/// Lines that are looked at for a file's first record.
const LOOK_AT: u64 = 64;
