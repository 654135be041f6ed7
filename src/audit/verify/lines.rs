//! A file of the log as lines, in one piece of memory, whatever its length.
//!
//! A line is handed out with the byte before it, which is set to what a leaf's hash begins with: so a record is hashed
//! where it lies, without a copy. Longer lines than any record are not held, but told.

use std::io::{self, BufReader, ErrorKind, Read};
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;

use crate::audit::files::Part;
use crate::audit::segment::COMPRESSED;
use crate::audit::tree::LEAF;

/// Lines of something that is read.
pub(in crate::audit) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    /// Where the next line begins; there is always a byte before it.
    start: usize,
    /// What was looked through for a line feed.
    searched: usize,
    /// The end of what was read.
    end: usize,
    /// The line before, which stays until the next is handed out.
    before: Range<usize>,
    /// The rest of a line that is too long is being passed over.
    skipping: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::audit) enum Next<'l> {
    /// A line.
    Line(Line<'l>),
    /// A line of more than [`LINE_BYTES`], which is passed over.
    TooLong,
    /// No more.
    End,
}

/// A line without its line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Line<'l> {
    /// The mark of a leaf, and the line: what is hashed.
    pub(in crate::audit) marked: &'l [u8],
    /// Whether a line feed ended it, not the end of the file.
    pub(in crate::audit) ended: bool,
    /// The line before it; empty where there is none.
    pub(in crate::audit) before: &'l [u8],
}

impl<'l> Line<'l> {
    /// The line itself.
    pub(in crate::audit) fn bytes(&self) -> &'l [u8] {
        self.marked.split_first().map_or(&[], |(_, line)| line)
    }
}

impl<R: Read> Lines<R> {
    pub(in crate::audit) fn new(from: R) -> Lines<R> {
        Lines {
            from,
            buffer: vec![0; BUFFER_BYTES],
            start: 1,
            searched: 1,
            end: 1,
            before: 1..1,
            skipping: false,
        }
    }

    /// What comes next. After an error nothing more comes.
    pub(in crate::audit) fn next(&mut self) -> io::Result<Next<'_>> {
        let (from, to, ended) = loop {
            let unsearched = self.buffer.get(self.searched..self.end);
            if let Some(at) = memchr::memchr(b'\n', unsearched.unwrap_or_default()) {
                let (from, to) = (self.start, self.searched + at);
                self.start = to + 1;
                self.searched = self.start;
                if std::mem::take(&mut self.skipping) || to - from > LINE_BYTES {
                    return Ok(Next::TooLong);
                }
                break (from, to, true);
            }
            self.searched = self.end;
            if self.skipping {
                (self.start, self.searched, self.end) = (1, 1, 1);
                self.before = 1..1;
            } else if self.end - self.start > LINE_BYTES {
                self.skipping = true;
                continue;
            }
            if self.fill()? == 0 {
                let (from, to) = (self.start, self.end);
                self.start = self.end;
                if std::mem::take(&mut self.skipping) {
                    return Ok(Next::TooLong);
                }
                if from == to {
                    return Ok(Next::End);
                }
                break (from, to, false);
            }
        };
        if let Some(mark) = self.buffer.get_mut(from - 1) {
            *mark = LEAF;
        }
        let before = std::mem::replace(&mut self.before, from..to);
        Ok(Next::Line(Line {
            marked: self.buffer.get(from - 1..to).unwrap_or_default(),
            ended,
            before: self.buffer.get(before).unwrap_or_default(),
        }))
    }

    /// The last line that was handed out.
    pub(in crate::audit) fn last(&self) -> &[u8] {
        self.buffer.get(self.before.clone()).unwrap_or_default()
    }

    /// Reads on, behind what isn't handed out yet; says how much came.
    fn fill(&mut self) -> io::Result<usize> {
        let kept = self.before.start.min(self.start);
        if kept > 1 {
            self.buffer.copy_within(kept - 1..self.end, 0);
            let moved = kept - 1;
            self.before = self.before.start - moved..self.before.end - moved;
            self.start -= moved;
            self.searched -= moved;
            self.end -= moved;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.from.read(room) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Opens a file of the log, and decompresses it where it is compressed, by its name or by its first bytes. `counted`
/// sees how many bytes of the file itself were read.
pub(in crate::audit) fn open<'c>(
    part: &Part,
    counted: impl FnMut(u64) + 'c,
) -> io::Result<Box<dyn Read + 'c>> {
    let mut file = part.file()?;
    let mut magic = [0; 2];
    let mut had = 0;
    while let Some(room) = magic.get_mut(had..).filter(|room| !room.is_empty()) {
        match file.read(room)? {
            0 => break,
            count => had += count,
        }
    }
    let first = io::Cursor::new(magic).take(had as u64);
    let whole = Counted(first.chain(file), counted);
    let named = part
        .path
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(COMPRESSED.as_bytes());
    Ok(if named || (had == 2 && magic == GZIP) {
        let buffered = BufReader::with_capacity(COMPRESSED_BYTES, whole);
        Box::new(MultiGzDecoder::new(buffered))
    } else {
        Box::new(whole)
    })
}

struct Counted<R, F>(R, F);

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(to)?;
        (self.1)(count as u64);
        Ok(count)
    }
}

/// More than the longest record: a request's head and what is told of its body are bounded far below.
pub(in crate::audit) const LINE_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 1 << 20;
const COMPRESSED_BYTES: usize = 128 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most so many bytes at once.
    struct Slow<'t>(&'t [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(to.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            to[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn all(text: &[u8], step: usize) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::new(Slow(text, step));
        let mut found = Vec::new();
        loop {
            match lines.next().unwrap() {
                Next::Line(line) => {
                    assert_eq!(line.marked[0], LEAF);
                    let before = found
                        .last()
                        .map_or(&[][..], |(line, _): &(Vec<u8>, bool)| line);
                    assert_eq!(line.before, before);
                    found.push((line.bytes().to_vec(), line.ended));
                }
                Next::TooLong => found.push((b"too long".to_vec(), false)),
                Next::End => return found,
            }
        }
    }

    #[test]
    fn lines_are_found_however_they_come() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n", &[("", true)]),
            ("a", &[("a", false)]),
            ("a\n", &[("a", true)]),
            (
                "a\n\nbc\nd",
                &[("a", true), ("", true), ("bc", true), ("d", false)],
            ),
        ] {
            for step in 1..8 {
                let found = all(text.as_bytes(), step);
                let found: Vec<_> = found
                    .iter()
                    .map(|(line, ended)| (std::str::from_utf8(line).unwrap(), *ended))
                    .collect();
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn lines_longer_than_the_buffer_and_longer_than_any() {
        let long = vec![b'x'; 3 * BUFFER_BYTES];
        let bomb = vec![b'y'; LINE_BYTES + 5 * BUFFER_BYTES];
        let text = [&b"a\n"[..], &long, b"\n", &bomb, b"\nb\n", &bomb].concat();
        for step in [1 << 16, 1 << 26] {
            let mut lines = Lines::new(Slow(&text, step));
            let mut lengths = Vec::new();
            loop {
                match lines.next().unwrap() {
                    Next::Line(line) => lengths.push(Some(line.bytes().len())),
                    Next::TooLong => lengths.push(None),
                    Next::End => break,
                }
                assert!(lines.buffer.len() <= 4 * LINE_BYTES);
            }
            assert_eq!(lengths, [Some(1), Some(long.len()), None, Some(1), None]);
        }
    }
}
