//! A search through a log: line by line in bounded memory, at the speed at which lines can be told apart.
//!
//! Of most lines only the ends are looked at and that they hold what the filter's [`Sieve`] asks for; what it lets
//! through is read as a [`View`] and judged by the [`Filter`]. A line that doesn't even look like a record of
//! ours is read, so that it is found, or counted as none.
//!
//! Deliberately absent: whether the log is whole. A search finds what is there; `audit verify` says what isn't.

use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::ControlFlow;

use memchr::{memchr, memmem};
use uuid::Uuid;

use super::filter::{Filter, Sieve};
use super::view::{Field, NoRecord, View};

/// A search, over as many inputs as there are.
#[derive(Debug)]
pub struct Query<'f> {
    filter: &'f Filter,
    sieve: Sieve,
    /// Matches still wanted.
    wanted: u64,
    /// The permits found whose outcome hasn't come; `None`: outcomes aren't asked for.
    open: Option<HashSet<Uuid>>,
    /// Decisions whose outcome isn't looked for, because too many were open.
    pub unfollowed: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Found<'l> {
    /// The line, without its line feed.
    pub line: &'l str,
    /// What it says.
    pub view: View<'l>,
    /// It isn't what was asked for, but the outcome of a decision that was.
    pub outcome: bool,
}

/// What one input held besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines seen.
    pub lines: u64,
    /// Those that are no records.
    pub unreadable: u64,
    /// The number of the first of them, from 1.
    pub first_unreadable: Option<u64>,
    /// A later version of the schema that some of them are of.
    pub later: Option<u64>,
    /// The last line has no end and is no record yet: it is being written, or a crash left it.
    pub half: bool,
}

/// Why a search stopped.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The input can't be read on.
    #[error("{0}")]
    Input(#[source] io::Error),
    /// What was found can't be told.
    #[error("{0}")]
    Output(#[source] io::Error),
}

impl<'f> Query<'f> {
    /// A search for all that fits.
    pub fn new(filter: &'f Filter) -> Query<'f> {
        Query {
            filter,
            sieve: filter.sieve(),
            wanted: u64::MAX,
            open: None,
            unfollowed: 0,
        }
    }

    /// Only the first so many.
    #[must_use]
    pub fn first(mut self, limit: u64) -> Query<'f> {
        self.wanted = limit;
        self
    }

    /// And the outcomes of the decisions that are found. They don't count into a limit.
    #[must_use]
    pub fn with_outcomes(mut self) -> Query<'f> {
        self.open = Some(HashSet::new());
        self
    }

    /// Whether nothing more can be found.
    pub fn is_over(&self) -> bool {
        self.wanted == 0 && self.open.as_ref().is_none_or(HashSet::is_empty)
    }

    /// Goes through an input, which follows the ones before. `tally` holds what was seen also where it fails.
    pub fn run(
        &mut self,
        input: &mut dyn Read,
        tally: &mut Tally,
        mut found: impl FnMut(Found<'_>) -> io::Result<ControlFlow<()>>,
    ) -> Result<(), QueryError> {
        let mut lines = Lines::default();
        while !self.is_over() {
            let Some(line) = lines.next(input).map_err(QueryError::Input)? else {
                break;
            };
            tally.lines += 1;
            let Some(hit) = self.judge(&line, tally) else {
                continue;
            };
            if found(hit).map_err(QueryError::Output)?.is_break() {
                self.wanted = 0;
                self.open = None;
            }
        }
        Ok(())
    }

    /// What the line is to this search.
    pub fn judge<'l>(&mut self, line: &Line<'l>, tally: &mut Tally) -> Option<Found<'l>> {
        let shape = Shape::of(line.text);
        match shape {
            Shape::Header => return None,
            Shape::Ours { outcome } => {
                let asked = self.wanted > 0 && self.sieve.lets_through(line.text);
                let followed = || outcome && self.may_be_open(line.text);
                if !(asked || followed()) {
                    return None;
                }
            }
            Shape::Other => {}
        }
        let text = str::from_utf8(line.text).unwrap_or_default();
        let view = match View::parse(text) {
            Ok(view) => view,
            Err(why) => {
                tally.note(line, &why);
                return None;
            }
        };
        let id = || Uuid::try_parse(view.text(Field::Id)?).ok();
        if self.wanted > 0 && self.filter.fits(&view) {
            self.wanted -= 1;
            match (view.kind(), &mut self.open) {
                ("decision", Some(open)) if view.text(Field::Verdict) == Some("permit") => {
                    if open.len() < OPEN {
                        open.extend(id());
                    } else {
                        self.unfollowed += 1;
                    }
                }
                ("outcome", Some(open)) => {
                    id().map(|id| open.remove(&id));
                }
                _ => {}
            }
            let outcome = false;
            return Some(Found {
                line: text,
                view,
                outcome,
            });
        }
        let open = self.open.as_mut().filter(|_| view.kind() == "outcome");
        let outcome = open.is_some_and(|open| id().is_some_and(|id| open.remove(&id)));
        outcome.then_some(Found {
            line: text,
            view,
            outcome,
        })
    }

    /// Whether an outcome's line may be that of an open decision. The first key `id` is its own.
    fn may_be_open(&self, line: &[u8]) -> bool {
        const KEY: &[u8] = b"\"id\":\"";
        let Some(open) = self.open.as_ref().filter(|open| !open.is_empty()) else {
            return false;
        };
        let id = || {
            let start = memmem::find(line, KEY)? + KEY.len();
            Uuid::try_parse_ascii(line.get(start..start + 36)?).ok()
        };
        id().is_none_or(|id| open.contains(&id))
    }
}

impl Tally {
    fn note(&mut self, line: &Line<'_>, why: &NoRecord) {
        match why {
            NoRecord::Header => return,
            NoRecord::Malformed if !line.ended => {
                self.half = true;
                return;
            }
            NoRecord::Version(version) => self.later = Some(*version),
            NoRecord::Malformed => {}
        }
        self.unreadable += 1;
        self.first_unreadable.get_or_insert(self.lines);
    }
}

/// What a line looks like from its ends.
enum Shape {
    Header,
    /// As our writer begins and ends records.
    Ours {
        outcome: bool,
    },
    Other,
}

impl Shape {
    fn of(line: &[u8]) -> Shape {
        const BEGIN: &[u8] = b"{\"v\":1,\"kind\":\"";
        match (line.strip_prefix(BEGIN), line.last()) {
            (Some([b's', ..]), Some(b'}')) => Shape::Header,
            (Some([kind @ (b'd' | b'e' | b'o'), ..]), Some(b'}')) => Shape::Ours {
                outcome: *kind == b'o',
            },
            _ => Shape::Other,
        }
    }
}

/// Lines of an input, through one buffer.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// The part of the buffer that holds bytes not given out yet.
    start: usize,
    end: usize,
    /// No line feed is between `start` and here.
    searched: usize,
    count: u64,
    /// Of a line that is too long, the bytes that were dropped.
    dropped: u64,
}

/// A line of an input.
#[derive(Clone, Copy, Debug)]
pub struct Line<'l> {
    /// Without its line feed. Of a line that is longer than any record, nothing.
    pub text: &'l [u8],
    /// It has a line feed.
    pub ended: bool,
    /// Its bytes in the input, the line feed included.
    pub bytes: u64,
}

impl Lines {
    /// Lines given out so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The next line; `None` at the input's end.
    pub fn next(&mut self, input: &mut (impl Read + ?Sized)) -> io::Result<Option<Line<'_>>> {
        loop {
            let fresh = self.buffer.get(self.searched..self.end).unwrap_or_default();
            if let Some(at) = memchr(b'\n', fresh) {
                let (start, end) = (self.start, self.searched + at);
                self.start = end + 1;
                self.searched = self.start;
                self.count += 1;
                return Ok(Some(self.line(start, end, true)));
            }
            self.searched = self.end;
            if self.end - self.start > LINE_BYTES {
                self.dropped += (self.end - self.start) as u64;
                self.start = self.end;
            }
            if self.fill(input)? == 0 {
                let (start, end) = (self.start, self.end);
                if start == end && self.dropped == 0 {
                    return Ok(None);
                }
                (self.start, self.searched) = (end, end);
                self.count += 1;
                return Ok(Some(self.line(start, end, false)));
            }
        }
    }

    fn line(&mut self, start: usize, end: usize, ended: bool) -> Line<'_> {
        let dropped = std::mem::take(&mut self.dropped);
        let text = self.buffer.get(start..end).filter(|_| dropped == 0);
        Line {
            text: text.unwrap_or_default(),
            ended,
            bytes: dropped + (end - start) as u64 + u64::from(ended),
        }
    }

    /// Reads on; 0 at the end.
    fn fill(&mut self, input: &mut (impl Read + ?Sized)) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.resize((self.buffer.len() * 2).max(CHUNK), 0);
        }
        loop {
            match input.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.end += read;
                    return Ok(read);
                }
            }
        }
    }
}

/// Fits the second-level cache, and makes reads few.
const CHUNK: usize = 256 << 10;
/// Longer than any record: the head of a request is far smaller.
pub(super) const LINE_BYTES: usize = 4 << 20;
/// Decisions whose outcome is looked for at a time: more than can be under way, in 32 MiB.
const OPEN: usize = 1 << 20;

#[cfg(test)]
mod tests;
