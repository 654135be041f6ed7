//! The files of a log: which there are, in which order, and opening them whether compressed or not.
//!
//! A log that is being written is rotated, compressed and cut back while it is read. So all of its files are opened
//! before one is read, and only from a moment at which they were all there: no record is missed or met twice for that.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::query::Lines;
use super::segment::{COMPRESSED, Segment, closed_as, closed_files, suffixed};
use super::view::{Field, View};

/// Opens a file of a log. What begins as gzip does is decompressed, whatever its name; a closed file that was
/// compressed since it was listed is opened as that.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead + Send>> {
    reader(opened(path)?.0)
}

/// The file, and the name under which it was there.
fn opened(path: &Path) -> io::Result<(File, PathBuf)> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let compressed = suffixed(path, COMPRESSED);
            Ok((File::open(&compressed).map_err(|_| error)?, compressed))
        }
        file => Ok((file?, path.to_owned())),
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
    /// What lay there, which may be gone or another one by the time it is read.
    held: Option<File>,
}

impl Part {
    /// The file that is there when it is read.
    pub fn at(path: &Path) -> Part {
        Part {
            path: path.to_owned(),
            held: None,
        }
    }

    /// Opens it, to be read from its beginning. Of what is read at the same time, each takes from the others.
    pub fn open(&self) -> io::Result<Box<dyn BufRead + Send>> {
        reader(self.file()?)
    }

    /// The same as it lies there.
    pub(super) fn file(&self) -> io::Result<File> {
        let Some(held) = &self.held else {
            return Ok(opened(&self.path)?.0);
        };
        let mut file = held.try_clone()?;
        // a pipe has no beginning
        if file.stream_position().is_ok() {
            file.rewind()?;
        }
        Ok(file)
    }
}

/// A file of a log that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

/// The files of the log at `path` as they are at one moment, the oldest first and the current one last.
///
/// Those that can't be opened are among them, and say why where they are read.
pub fn parts(path: &Path) -> Result<Vec<Part>, Unreadable> {
    parts_while(path, &mut || ())
}

/// `meanwhile` is called wherever somebody else may change the files.
fn parts_while(path: &Path, meanwhile: &mut dyn FnMut()) -> Result<Vec<Part>, Unreadable> {
    let unreadable = |source| Unreadable {
        path: path.to_owned(),
        source,
    };
    for attempt in 1..=ATTEMPTS {
        let parts = parts_now(path, attempt == ATTEMPTS, meanwhile).map_err(unreadable)?;
        if let Some(parts) = parts {
            return Ok(parts);
        }
    }
    let text = "its files change faster than they can be opened";
    Err(unreadable(io::Error::new(ErrorKind::ResourceBusy, text)))
}

/// `None` where they changed meanwhile; the last time, a closed file that isn't there is left to be told.
fn parts_now(
    path: &Path,
    last: bool,
    meanwhile: &mut dyn FnMut(),
) -> io::Result<Option<Vec<Part>>> {
    let (current, missing) = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => (None, Some(error)),
        file => (Some(file?), None),
    };
    let own = current.as_ref().map(File::metadata).transpose()?;
    meanwhile();
    let closed = closed_files(path)?;
    let mut parts = Vec::with_capacity(closed.len() + 1);
    for file in &closed {
        meanwhile();
        // the oldest are those that are removed
        let part = match (parts.len() < HELD).then(|| opened(file)) {
            Some(Ok((held, path))) => Part {
                path,
                held: Some(held),
            },
            Some(Err(error)) if error.kind() == ErrorKind::NotFound && !last => return Ok(None),
            Some(Err(_)) | None => Part::at(file),
        };
        // rotation gives the current file its second name before it takes the first one away
        let there = match &part.held {
            Some(held) => held.metadata().ok(),
            None => std::fs::metadata(&part.path).ok(),
        };
        let is_current = there.zip(own.as_ref());
        if !is_current.is_some_and(|(there, own)| is_same(own, &there)) {
            parts.push(part);
        }
    }
    meanwhile();
    // a folder that is listed while it changes may show neither the old name of a file nor its new one
    let numbers = |files: &[PathBuf]| -> Vec<_> {
        let number = |file: &PathBuf| closed_as(path, file).map(|(first, _)| first);
        files.iter().map(number).collect()
    };
    let settled = match (std::fs::metadata(path), &own) {
        (Ok(there), Some(own)) => is_same(own, &there),
        (Err(error), None) => error.kind() == ErrorKind::NotFound,
        (Ok(_), None) | (Err(_), Some(_)) => false,
    };
    if !settled || numbers(&closed_files(path)?) != numbers(&closed) {
        return Ok(None);
    }
    // between a logrotate and the hangup there is no current one
    if let Some(error) = missing.filter(|_| parts.is_empty()) {
        return Err(error);
    }
    parts.extend(current.map(|file| Part {
        path: path.to_owned(),
        held: Some(file),
    }));
    Ok(Some(parts))
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

/// Whether both are the same file.
pub(super) fn is_same(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Why a list of files is no log.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A file can't be read.
    #[error(transparent)]
    Read(#[from] Unreadable),
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
        let read = |source| Unreadable {
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
    Ok(files.iter().map(|(_, path)| Part::at(path)).collect())
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
/// Times that files are opened that change meanwhile. Once takes milliseconds, and a log isn't rotated so often.
const ATTEMPTS: u32 = 50;
/// Files that are held open: fewer than any usual limit. Of more, the newest are opened when their turn comes.
const HELD: usize = 200;

#[cfg(test)]
mod tests;
