//! A log's end, and what comes after it: lines in their order, none lost and none twice, while the file is written,
//! rotated, moved away, removed or emptied.
//!
//! Only whole lines count as read. What stands after the last line feed is read again each time, so that it doesn't
//! matter whether the writer completes it or cuts it off. Another file at the log's path is gone to once
//! something stands in it: from then on the writer writes there and nowhere else, so that the rest of the old file is
//! its end.
//!
//! Deliberately absent: being told of changes by the system. Looking ten times a second costs nothing beside a
//! terminal, and works on every file system.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::files::{self, Begins, begins, is_compressed, is_now, is_same};
use super::query::{LINE_BYTES, Line, Lines};
use super::segment::closed_files;

/// The current file of a log, and how far it was read.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: File,
    /// Where the first line begins that wasn't given out.
    at: u64,
    /// What stands before it: where something else does, the file was emptied and written anew.
    before: Vec<u8>,
    /// Within a line that is longer than any record.
    skipping: bool,
}

/// What happened to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The log goes on in another file.
    Next,
    /// The old file ended within a line, which nobody completes.
    Half,
    /// A rotated file was removed before it could be read.
    Lost,
    /// It was emptied in place, and is read from its beginning.
    Emptied,
}

/// Why it can't be followed, or what was read not be told.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The file can't be read.
    #[error("{0}")]
    Input(#[from] io::Error),
    /// What was read can't be told.
    #[error("{0}")]
    Output(#[source] io::Error),
}

/// Takes a line.
pub type Each<'e> = &'e mut dyn FnMut(&Line<'_>) -> io::Result<()>;

impl Follow {
    /// Opens the log's current file, at its end: whole lines in it count as read.
    pub fn open(path: &Path) -> io::Result<Follow> {
        let file = File::open(path)?;
        if is_compressed(&file)? {
            let text = "a compressed file has no end that could be read alone";
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        let mut follow = Follow {
            path: path.to_owned(),
            at: end_of_lines(&file)?,
            file,
            before: Vec::new(),
            skipping: false,
        };
        follow.remember()?;
        Ok(follow)
    }

    /// The last lines of the log that `wanted` takes, at most so many: of this file, and of those before it as far as
    /// they are needed. The oldest first.
    pub fn last(
        &self,
        most: usize,
        mut wanted: impl FnMut(&Line<'_>) -> bool,
    ) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        if most == 0 {
            return Ok(found);
        }
        let mut window = WINDOW;
        loop {
            let from = self.at.saturating_sub(window);
            // from one byte before: what is before the first line feed is no line's beginning
            let mut input = &self.file;
            input.seek(SeekFrom::Start(from.saturating_sub(1)))?;
            let bytes = self.at - from.saturating_sub(1);
            found = last_of(input.take(bytes), most, from > 0, &mut wanted)?;
            if found.len() >= most || from == 0 {
                break;
            }
            window = window.saturating_mul(4);
        }
        let (own, first) = (self.file.metadata()?, self.begins()?);
        for path in closed_files(&self.path)?.iter().rev() {
            if found.len() >= most {
                break;
            }
            if is_now(path, &own, first.as_ref())? {
                continue;
            }
            let input = match files::open(path) {
                // removed as too old
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                input => input?,
            };
            let mut older = last_of(input, most - found.len(), false, &mut wanted)?;
            older.append(&mut found);
            found = older;
        }
        Ok(found)
    }

    /// What stands after the last whole line, where the log ends so.
    pub fn rest(&self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        let mut input = &self.file;
        input.seek(SeekFrom::Start(self.at))?;
        input.take(LINE_BYTES as u64).read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Gives out the lines that were written since, and says what happened to the file meanwhile.
    pub fn poll(&mut self, each: Each<'_>) -> Result<Vec<Change>, FollowError> {
        let mut changes = Vec::new();
        self.read_on(each, &mut changes)?;
        let there = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(changes),
            there => there?,
        };
        let own = self.file.metadata()?;
        if is_same(&own, &there) || there.len() == 0 {
            return Ok(changes);
        }
        let next = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(changes),
            next => next?,
        };
        let mut input = &next;
        let first = begins(input)?;
        input.seek(SeekFrom::Start(0))?;
        if first.is_none() && end_of_lines(&next)? == 0 {
            return Ok(changes); // its first line is being written
        }
        // what came between the last look and the first line of the next file
        self.read_on(each, &mut changes)?;
        if self.file.metadata()?.len() > self.at {
            changes.push(Change::Half);
        }
        if let (Some(own), Some(next)) = (self.begins()?, first) {
            self.read_between(&own, &next, each, &mut changes)?;
        }
        self.file = next;
        (self.at, self.skipping) = (0, false);
        self.before.clear();
        changes.push(Change::Next);
        self.read_on(each, &mut changes)?;
        Ok(changes)
    }

    /// Files that were begun and closed again since the last look. Numbers tell them, because the old file and the next
    /// one may be closed and compressed by now.
    fn read_between(
        &mut self,
        own: &Begins,
        next: &Begins,
        each: Each<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), FollowError> {
        for path in closed_files(&self.path)? {
            let between = |other: Begins| {
                other.node == own.node && other.seq > own.seq && other.seq < next.seq
            };
            let open =
                || files::open(&path).and_then(|file| Ok((begins(file)?, files::open(&path)?)));
            let (first, mut input) = match open() {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    changes.push(Change::Lost);
                    continue;
                }
                opened => opened?,
            };
            if !first.is_some_and(between) {
                continue;
            }
            let mut lines = Lines::default();
            while let Some(line) = lines.next(&mut input)? {
                each(&line).map_err(FollowError::Output)?;
            }
        }
        Ok(())
    }

    fn begins(&self) -> io::Result<Option<Begins>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        begins(file)
    }

    fn read_on(&mut self, each: Each<'_>, changes: &mut Vec<Change>) -> Result<(), FollowError> {
        let len = self.file.metadata()?.len();
        if len < self.at || (len > self.at && !self.is_as_before()?) {
            changes.push(Change::Emptied);
            (self.at, self.skipping) = (0, false);
            self.before.clear();
        }
        if len == self.at {
            return Ok(());
        }
        let from = self.at;
        let mut input = &self.file;
        input.seek(SeekFrom::Start(from))?;
        let mut lines = Lines::default();
        while let Some(line) = lines.next(&mut input)? {
            let too_long = line.bytes > LINE_BYTES as u64;
            if !line.ended && !too_long {
                break;
            }
            self.at += line.bytes;
            if std::mem::replace(&mut self.skipping, !line.ended) && line.ended {
                // the end of a line whose beginning was dropped is none
                let line = Line { text: &[], ..line };
                each(&line).map_err(FollowError::Output)?;
            } else if line.ended {
                each(&line).map_err(FollowError::Output)?;
            }
        }
        if self.at != from {
            self.remember()?;
        }
        Ok(())
    }

    fn remember(&mut self) -> io::Result<()> {
        let bytes = self.at.min(BEFORE);
        self.before
            .resize(usize::try_from(bytes).unwrap_or_default(), 0);
        match self.file.read_exact_at(&mut self.before, self.at - bytes) {
            // emptied just now, which the next look finds by the length
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            read => read,
        }
    }

    fn is_as_before(&self) -> io::Result<bool> {
        let mut there = vec![0; self.before.len()];
        let from = self.at - self.before.len() as u64;
        match self.file.read_exact_at(&mut there, from) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| there == self.before),
        }
    }
}

/// The last lines that are wanted.
fn last_of(
    mut input: impl Read,
    most: usize,
    inside: bool,
    wanted: &mut impl FnMut(&Line<'_>) -> bool,
) -> io::Result<Vec<Vec<u8>>> {
    let mut found = std::collections::VecDeque::new();
    let mut lines = Lines::default();
    if inside {
        lines.next(&mut input)?;
    }
    while let Some(line) = lines.next(&mut input)? {
        if wanted(&line) {
            if found.len() == most {
                found.pop_front();
            }
            found.push_back(line.text.to_vec());
        }
    }
    Ok(found.into())
}

/// Where the last line feed is, looked for from the end.
fn end_of_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = vec![0; 64 << 10];
    while end > 0 {
        let from = end.saturating_sub(piece.len() as u64);
        let bytes = usize::try_from(end - from).unwrap_or_default();
        let piece = piece.get_mut(..bytes).unwrap_or_default();
        match file.read_exact_at(piece, from) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0), // emptied just now
            read => read?,
        }
        if let Some(at) = memchr::memrchr(b'\n', piece) {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

const WINDOW: u64 = 1 << 20;
/// Enough to hold a record's number and hash.
const BEFORE: u64 = 2 << 10;

#[cfg(test)]
mod tests;
