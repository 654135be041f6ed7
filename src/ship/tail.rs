//! The log's records in their order, over its files, as they are written.
//!
//! The file that is being written is followed by what is open, not by its name: once another file has the name
//! and something in it, nothing more goes to the one before, which is read to its end first. What comes next is
//! told by the numbers in the names of closed files. Files that logrotate moved to names of its own are read to
//! their end where they are open, and not found otherwise; the numbers show what is missing then.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::cursor::{Cursor, Place, leaf};
use super::files::{self, Lines, Next, Rotated};
use crate::audit::record::Sha256;

/// Reads on from where it stands.
#[derive(Debug)]
pub(super) struct Tail {
    log: PathBuf,
    open: Option<Open>,
    /// The record before.
    last: Option<Found>,
    /// The number of the last record after which something odd was looked at twice.
    checked: Option<u64>,
    /// Lines that are no records, since [`Tail::unreadable`] was asked.
    unreadable: u64,
}

#[derive(Debug)]
struct Open {
    lines: Lines,
    /// It had the name of a closed file when it was opened.
    closed: bool,
    /// The number of the first record, once it is known.
    first: Option<u64>,
    /// The hash of the first line, once it is known.
    head: Option<Sha256>,
    /// Where the last line begins.
    start: u64,
    /// Another file is there to be read: this one is read to its end once more, and then left.
    leaving: bool,
}

/// A record; its line is in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) seq: u64,
    pub(super) leaf: Sha256,
    pub(super) place: Place,
    /// Records between the one before and this that aren't there.
    pub(super) missing: u64,
    /// Its number isn't above the one before: another log begins.
    pub(super) another: bool,
}

/// What became of a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// Its record is there; reading goes on after it.
    After,
    /// Its record is gone, with all before it; reading goes on with what is left.
    Gone,
    /// The log isn't the one that it was made for, or was cut; reading begins where they may differ.
    Other,
}

/// What comes next in a file.
enum Step {
    Record(Found),
    /// Nothing, as yet.
    End,
    /// It doesn't fit what was read before: the file may be another by now, under the same name.
    Odd,
}

/// What matters of a line here.
#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    seq: u64,
}

impl Peek<'_> {
    /// Where this line begins a file: the number of the file's first record.
    fn first(&self) -> u64 {
        match &*self.kind {
            SEGMENT => self.seq.saturating_add(1),
            _ => self.seq,
        }
    }
}

impl Tail {
    /// From the log's first record on.
    pub(super) fn new(log: &Path) -> Tail {
        Tail {
            log: log.to_owned(),
            open: None,
            last: None,
            checked: None,
            unreadable: 0,
        }
    }

    /// From the beginning of the file on that holds the record with this number.
    pub(super) fn near(log: &Path, seq: u64) -> io::Result<Tail> {
        let mut tail = Tail::new(log);
        tail.open = tail.holding(seq)?;
        Ok(tail)
    }

    /// From the record on that comes after the cursor's.
    pub(super) fn resume(log: &Path, cursor: &Cursor) -> io::Result<(Tail, Resumed)> {
        let last = Found {
            seq: cursor.seq,
            leaf: cursor.leaf,
            place: cursor.place,
            missing: 0,
            another: false,
        };
        Tail::after(log, last)
    }

    fn after(log: &Path, last: Found) -> io::Result<(Tail, Resumed)> {
        let mut tail = Tail::new(log);
        let mut line = Vec::new();
        let place = last.place;
        // by its place
        if let Some(mut open) = tail.beginning_with(place.first, place.start)? {
            let found = open.next(&mut line)? == Next::Line && leaf(&line) == last.leaf;
            if found {
                (open.first, open.head) = (Some(place.first), Some(place.head));
                (tail.open, tail.last) = (Some(open), Some(last));
                return Ok((tail, Resumed::After));
            }
        }
        // by its number
        let Some(open) = tail.holding(last.seq)? else {
            tail.last = Some(last);
            return Ok((tail, Resumed::Gone));
        };
        tail.open = Some(open);
        // Without a record before it, nothing is odd.
        while let Step::Record(found) = tail.next_in_file(&mut line)? {
            if found.seq == last.seq && found.leaf == last.leaf {
                tail.unreadable = 0;
                return Ok((tail, Resumed::After));
            }
            tail.last = None;
        }
        // The same file as far as it goes: its end is another's, not what is before it.
        let mut tail = Tail::new(log);
        if let Some(mut open) = tail.beginning_with(place.first, 0)?
            && open.next(&mut line)? == Next::Line
            && leaf(&line) == place.head
        {
            tail.open = tail.beginning_with(place.first, 0)?;
        }
        Ok((tail, Resumed::Other))
    }

    /// The next record, or `None` where all that is there was read.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<Found>> {
        loop {
            match self.next_in_file(line)? {
                Step::Record(found) => return Ok(Some(found)),
                Step::Odd => {
                    self.look_again()?;
                    continue;
                }
                Step::End => {}
            }
            let Some(next) = self.next_file()? else {
                if let Some(open) = &mut self.open {
                    open.leaving = false;
                }
                return Ok(None);
            };
            match &mut self.open {
                // It may have been written to until a moment ago.
                Some(open) if !open.leaving => open.leaving = true,
                open => *open = Some(next),
            }
        }
    }

    /// Lines that were passed over because they are no records, since this was last asked.
    pub(super) fn unreadable(&mut self) -> u64 {
        std::mem::take(&mut self.unreadable)
    }

    /// The number of the newest record in the file that is being written.
    pub(super) fn newest(&self) -> Option<u64> {
        let ending = files::ending(&self.log, ENDING_BYTES).ok()?;
        let mut lines = ending.rsplit(|byte| *byte == b'\n');
        lines.find_map(|line| Some(serde_json::from_slice::<Peek<'_>>(line).ok()?.seq))
    }

    /// Finds the last record again, and goes on after it; where it is gone, with what is there instead.
    fn look_again(&mut self) -> io::Result<()> {
        let Some(last) = self.last else {
            return Ok(());
        };
        let (tail, resumed) = Tail::after(&self.log, last)?;
        if resumed == Resumed::Other {
            tracing::warn!(
                seq = last.seq,
                "the audit log isn't as it was when it was shipped; what may differ is sent again"
            );
        }
        *self = Tail {
            checked: Some(last.seq),
            unreadable: self.unreadable,
            ..tail
        };
        Ok(())
    }

    fn next_in_file(&mut self, line: &mut Vec<u8>) -> io::Result<Step> {
        let Some(open) = &mut self.open else {
            return Ok(Step::End);
        };
        let last = self.last.map(|last| last.seq);
        // Looked at twice, it is as it is.
        let doubt = last.is_some() && self.checked != last;
        loop {
            match open.next(line) {
                Ok(Next::Line) => {}
                Ok(Next::Long | Next::Cut) if doubt => return Ok(Step::Odd),
                Ok(Next::Long) => {
                    self.unreadable += 1;
                    continue;
                }
                Ok(Next::Cut) => continue,
                Ok(Next::End) => return Ok(Step::End),
                Err(error) if is_broken(&error) => {
                    tracing::error!(%error, "a compressed audit file is broken; its rest isn't shipped");
                    self.unreadable += 1;
                    return Ok(Step::End);
                }
                Err(error) => return Err(error),
            }
            let Ok(peek) = serde_json::from_slice::<Peek<'_>>(line) else {
                if doubt {
                    return Ok(Step::Odd);
                }
                self.unreadable += 1;
                continue;
            };
            let first = *open.first.get_or_insert(peek.first());
            if peek.kind == SEGMENT {
                continue;
            }
            let seq = peek.seq;
            if doubt && last.and_then(|last| last.checked_add(1)) != Some(seq) {
                return Ok(Step::Odd);
            }
            let found = Found {
                seq,
                leaf: leaf(line),
                place: Place {
                    first,
                    head: open.head.unwrap_or(Sha256([0; 32])),
                    start: open.start,
                },
                missing: last.map_or(0, |last| seq.saturating_sub(last.saturating_add(1))),
                another: last.is_some_and(|last| seq <= last),
            };
            self.last = Some(found);
            return Ok(Step::Record(found));
        }
    }

    /// The file to read after what is open; `None` while that is still the one that is written.
    fn next_file(&self) -> io::Result<Option<Open>> {
        let id = self.open.as_ref().map(|open| open.lines.id);
        let first = self.open.as_ref().and_then(|open| open.first).unwrap_or(0);
        let after = self.last.map_or(0, |last| last.seq).max(first);
        if let Some(open) = &self.open
            && !open.closed
            && files::identity(&self.log)? == id
        {
            return Ok(None);
        }
        'again: for _ in 0..TRIES {
            let current = Open::at(&self.log, 0)?;
            let current = current.filter(|open| Some(open.lines.id) != id);
            // Looked for after the current one was opened: what was closed until then comes before it.
            for file in files::rotated(&self.log)? {
                if file.first <= after {
                    continue;
                }
                match Open::closed(&file)? {
                    // what is open has a closed file's name by now
                    Some(open) if Some(open.lines.id) == id => {}
                    Some(open) => return Ok(Some(open)),
                    // it was compressed or removed meanwhile
                    None => continue 'again,
                }
            }
            return Ok(current);
        }
        Ok(None)
    }

    /// The file whose first record has this number, opened at an offset.
    fn beginning_with(&self, first: u64, offset: u64) -> io::Result<Option<Open>> {
        for _ in 0..TRIES {
            // Before the closed ones: by then it may be one of them.
            let current = Open::current(&self.log)?;
            let closed = files::rotated(&self.log)?;
            if let Some(file) = closed.iter().find(|file| file.first == first) {
                match Open::at(&file.path, offset)? {
                    None => continue,
                    Some(open) => return Ok(Some(open.closed_as(first))),
                }
            }
            let Some(mut open) = current.filter(|open| open.first == Some(first)) else {
                return Ok(None);
            };
            open.lines.seek(offset)?;
            return Ok(Some(open));
        }
        Ok(None)
    }

    /// The file that holds the record with this number, if any does.
    fn holding(&self, seq: u64) -> io::Result<Option<Open>> {
        for _ in 0..TRIES {
            let current = Open::current(&self.log)?;
            let held = |open: &Open| open.first.is_some_and(|first| first <= seq);
            if let Some(open) = current.filter(held) {
                return Ok(Some(open));
            }
            let closed = files::rotated(&self.log)?;
            let Some(file) = closed.iter().rev().find(|file| file.first <= seq) else {
                return Ok(None);
            };
            if let Some(open) = Open::closed(file)? {
                return Ok(Some(open));
            }
        }
        Ok(None)
    }
}

impl Open {
    /// `None` where there is no such file, or nothing in it.
    fn at(path: &Path, offset: u64) -> io::Result<Option<Open>> {
        let lines = match Lines::open(path, offset) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            lines => lines?,
        };
        Ok(lines.map(|lines| Open {
            lines,
            closed: false,
            first: None,
            head: None,
            start: offset,
            leaving: false,
        }))
    }

    fn closed(file: &Rotated) -> io::Result<Option<Open>> {
        let open = Open::at(&file.path, 0)?;
        Ok(open.map(|open| open.closed_as(file.first)))
    }

    fn closed_as(self, first: u64) -> Open {
        Open {
            closed: true,
            first: Some(first),
            ..self
        }
    }

    /// The file that is being written, with the number of its first record, which its header or that record tells.
    fn current(log: &Path) -> io::Result<Option<Open>> {
        let Some(mut open) = Open::at(log, 0)? else {
            return Ok(None);
        };
        let mut line = Vec::new();
        while open.first.is_none() && open.next(&mut line)? != Next::End {
            if let Ok(peek) = serde_json::from_slice::<Peek<'_>>(&line) {
                open.first = Some(peek.first());
            }
        }
        open.lines.seek(0)?;
        Ok(Some(open))
    }

    fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Next> {
        let start = self.lines.offset;
        let next = self.lines.next(line)?;
        match next {
            Next::Line => {
                self.start = start;
                if start == 0 {
                    self.head = Some(leaf(line));
                }
            }
            // emptied in place: what comes is another file's beginning
            Next::Cut if self.lines.offset == 0 => (self.first, self.head) = (None, None),
            Next::Long | Next::End | Next::Cut => {}
        }
        Ok(next)
    }
}

/// Whether no other try will read more.
fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// The kind of line that begins a file and is no record.
const SEGMENT: &str = "segment";
const TRIES: u32 = 8;
const ENDING_BYTES: u64 = 64 << 10;
