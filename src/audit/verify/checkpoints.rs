//! The checkpoints that somebody kept of a log, as far as the key signed them.
//!
//! They are read note by note: a bent one is told with its line and the others count. What a crash left at the end of
//! the file, half a note, is no finding; anything else that is no note is one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::{Finding, Kind};
use crate::audit::note::{Checkpoint, NoteError, Verifier};
use crate::audit::tree::Hash;

/// What was signed of a log.
#[derive(Debug, Default)]
pub(in crate::audit) struct Checkpoints {
    /// The smallest first; each size and root once.
    pub(in crate::audit) signed: Vec<Signed>,
    /// Notes that don't count, and histories that can't both be.
    pub(in crate::audit) findings: Vec<Finding>,
    /// The file ends in half a note.
    pub(in crate::audit) torn: bool,
}

/// A checkpoint whose signature is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::audit) struct Signed {
    pub(in crate::audit) size: u64,
    pub(in crate::audit) root: Hash,
    /// Where its note begins.
    pub(in crate::audit) line: u64,
}

/// A note of the file: its text, its first line, and whether the empty line after it is there.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::audit) struct Note {
    pub(in crate::audit) text: Vec<u8>,
    pub(in crate::audit) line: u64,
    pub(in crate::audit) ended: bool,
}

impl Checkpoints {
    /// Reads a file of checkpoints.
    pub(in crate::audit) fn read(path: &Path, key: &Verifier) -> io::Result<Checkpoints> {
        let mut notes = Notes::new(BufReader::with_capacity(1 << 16, File::open(path)?));
        let mut found = Checkpoints::default();
        let mut told = Vec::new();
        while let Some(note) = notes.next()? {
            match open(&note, key) {
                Ok(Checkpoint { size, root, .. }) => {
                    let line = note.line;
                    found.signed.push(Signed { size, root, line });
                    found.torn |= !note.ended;
                }
                Err(None) => found.torn = true,
                Err(Some(error)) => told.push((note.line, error)),
            }
        }
        let file: Arc<Path> = path.into();
        found.bent(&file, &told);
        found.signed.sort_unstable();
        found.signed.dedup_by_key(|one| (one.size, one.root));
        found.forks(&file);
        Ok(found)
    }

    /// Tells the notes that don't count: each bent one, and those by another key together.
    fn bent(&mut self, file: &Arc<Path>, told: &[(u64, Bent)]) {
        let mut tell = |kind, line, text: String| {
            self.findings.push(Finding {
                kind,
                file: Some(Arc::clone(file)),
                line,
                records: None,
                text,
            });
        };
        for kind in [Bent::OtherKey, Bent::OtherLog] {
            let mut of_kind = told.iter().filter(|(_, bent)| *bent == kind);
            if let Some((line, _)) = of_kind.next() {
                let more = match of_kind.count() {
                    0 => String::new(),
                    more => format!(", and {more} more after it"),
                };
                let what = match kind {
                    Bent::OtherKey => "signed by another key than the one given",
                    Bent::OtherLog | Bent::Note(_) => "signed by this key, but of another log",
                };
                tell(
                    Kind::WrongKey,
                    *line,
                    format!("a checkpoint that is {what}{more}"),
                );
            }
        }
        for (line, bent) in told {
            if let Bent::Note(error) = bent {
                let text = format!("a checkpoint that doesn't count: {error}");
                tell(Kind::Checkpoint, *line, text);
            }
        }
    }

    /// Two roots for one size.
    fn forks(&mut self, file: &Arc<Path>) {
        for pair in self.signed.windows(2) {
            if let [a, b] = pair
                && a.size == b.size
            {
                let (size, first, line) = (a.size, a.line.min(b.line), a.line.max(b.line));
                self.findings.push(Finding {
                    kind: Kind::Forked,
                    file: Some(Arc::clone(file)),
                    line,
                    records: None,
                    text: format!(
                        "two different logs of {size} records were signed: here and at line {first}"
                    ),
                });
            }
        }
    }
}

/// The smallest checkpoint of this key that covers a leaf: its size, and its note as it stands.
pub(in crate::audit) fn smallest_over(
    path: &Path,
    key: &Verifier,
    index: u64,
) -> io::Result<Option<(u64, String)>> {
    let mut notes = Notes::new(BufReader::with_capacity(1 << 16, File::open(path)?));
    let mut best: Option<(u64, String)> = None;
    while let Some(note) = notes.next()? {
        let Ok(checkpoint) = open(&note, key) else {
            continue;
        };
        let better = best
            .as_ref()
            .is_none_or(|(size, _)| checkpoint.size < *size);
        if checkpoint.size > index && better {
            let mut text = String::from_utf8(note.text).unwrap_or_default();
            if !text.ends_with('\n') {
                text.push('\n');
            }
            best = Some((checkpoint.size, text));
        }
    }
    Ok(best)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bent {
    OtherKey,
    OtherLog,
    Note(NoteError),
}

/// The checkpoint of a note; `Err(None)` for half a note at the file's end.
fn open(note: &Note, key: &Verifier) -> Result<Checkpoint, Option<Bent>> {
    let verified = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Note)?;
        key.open(text)
    };
    let opened = match verified(&note.text) {
        Err(_) if !note.ended && !note.text.ends_with(b"\n") => {
            verified(&[&note.text[..], b"\n"].concat()).map_err(|_| None)
        }
        opened => opened.map_err(Some),
    };
    match opened {
        Ok(checkpoint) if checkpoint.origin == key.name() => Ok(checkpoint),
        Ok(_) => Err(Some(Bent::OtherLog)),
        Err(_) if !note.ended && !signature_ended(&note.text) => Err(None),
        Err(Some(NoteError::OtherKey)) => Err(Some(Bent::OtherKey)),
        Err(Some(error)) => Err(Some(Bent::Note(error))),
        Err(None) => Err(Some(Bent::Note(NoteError::Note))),
    }
}

/// Whether a whole line of a signature is there: then what follows was not torn off.
fn signature_ended(text: &[u8]) -> bool {
    let at = memchr::memmem::find(text, DASH);
    at.and_then(|at| text.get(at..))
        .is_some_and(|signatures| signatures.contains(&b'\n'))
}

/// The notes of a file, one after another: a text and its signatures, an empty line after each.
pub(in crate::audit) struct Notes<R> {
    from: R,
    line: u64,
    /// A block that begins the next note.
    ahead: Option<Block>,
}

struct Block {
    text: Vec<u8>,
    line: u64,
    /// An empty line came after it.
    ended: bool,
}

impl<R: BufRead> Notes<R> {
    pub(in crate::audit) fn new(from: R) -> Notes<R> {
        Notes {
            from,
            line: 1,
            ahead: None,
        }
    }

    pub(in crate::audit) fn next(&mut self) -> io::Result<Option<Note>> {
        let first = match self.ahead.take() {
            Some(block) => Some(block),
            None => self.block()?,
        };
        let Some(Block {
            mut text,
            line,
            mut ended,
        }) = first
        else {
            return Ok(None);
        };
        if ended && !text.starts_with(DASH) {
            match self.block()? {
                Some(block) if block.text.starts_with(DASH) || block.is_torn_dash() => {
                    text.push(b'\n');
                    text.extend_from_slice(&block.text);
                    ended = block.ended;
                }
                // two texts without a signature between them: the second may be a note's
                Some(block) => self.ahead = Some(block),
                None => {
                    text.push(b'\n');
                    ended = false;
                }
            }
        }
        Ok(Some(Note { text, line, ended }))
    }

    /// Lines up to an empty one, which is not part of it.
    fn block(&mut self) -> io::Result<Option<Block>> {
        let mut text = Vec::new();
        let first = self.line;
        loop {
            let before = text.len();
            let room = NOTE_BYTES.saturating_sub(before as u64);
            let read = (&mut self.from).take(room).read_until(b'\n', &mut text)?;
            let ended = text.ends_with(b"\n") && read > 0;
            self.line += u64::from(ended);
            match read {
                0 if text.is_empty() => return Ok(None),
                1 if ended => {
                    text.truncate(before);
                    return Ok(Some(Block {
                        text,
                        line: first,
                        ended: true,
                    }));
                }
                // at the end of the file, or of what a note can be
                0 => {
                    return Ok(Some(Block {
                        text,
                        line: first,
                        ended: room == 0,
                    }));
                }
                _ => {}
            }
        }
    }
}

impl Block {
    fn is_torn_dash(&self) -> bool {
        !self.ended && DASH.starts_with(&self.text)
    }
}

const DASH: &[u8] = "\u{2014} ".as_bytes();
/// No note is longer.
const NOTE_BYTES: u64 = 64 << 10;
