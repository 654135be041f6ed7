//! Which records a search is for, and how lines that can't be any of them are passed over unread.
//!
//! A [`Filter`] judges a record that was read. Its [`Sieve`] judges the bytes of a line: for each condition it looks
//! for the text that a record which fits must hold, written as `line.rs` writes it, and compares times as text.
//! A sieve may let too much through, never too little, so that only what it lets through is read.
//!
//! Deliberately absent: anything but equality and `*`. Who needs more takes `--json` to a tool made for it.

use jiff::Timestamp;
use memchr::memmem::Finder;

use super::view::{Field, View};
use super::{encode, line};

/// A conjunction of conditions; without any it fits every record.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    terms: Vec<(Field, Vec<Pattern>)>,
}

impl Filter {
    /// Records from a moment on, and before another.
    pub fn between(since: Option<Timestamp>, until: Option<Timestamp>) -> Filter {
        Filter {
            since,
            until,
            terms: Vec::new(),
        }
    }

    /// And those of which the field fits one of these texts; a `*` in one stands for any text, the empty one and
    /// slashes included. No texts: no condition.
    #[must_use]
    pub fn with(mut self, field: Field, texts: &[String]) -> Filter {
        if !texts.is_empty() {
            let patterns = texts.iter().map(|text| Pattern::of(text)).collect();
            self.terms.push((field, patterns));
        }
        self
    }

    /// Whether the record fits.
    pub fn fits(&self, record: &View<'_>) -> bool {
        self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
            && self.terms.iter().all(|(field, patterns)| {
                record
                    .texts(*field)
                    .any(|text| patterns.iter().any(|pattern| pattern.fits(text)))
            })
    }

    /// The same for lines that nobody has read.
    pub fn sieve(&self) -> Sieve {
        let group = |(field, patterns): &(Field, Vec<Pattern>)| {
            let needles: Vec<Needle> = patterns.iter().map(|p| p.needle(*field)).collect();
            let weight = needles.iter().map(|needle| needle.weight).min();
            let finders = needles.iter().flat_map(|needle| &needle.texts);
            let finders: Vec<_> = finders.map(|text| Finder::new(text).into_owned()).collect();
            (weight, finders)
        };
        let mut groups: Vec<_> = self.terms.iter().map(group).collect();
        // what tells most comes first, and is all that most lines are searched for
        groups.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        Sieve {
            since: self.since.and_then(encode::rfc3339),
            until: self.until.and_then(encode::rfc3339),
            groups: groups.into_iter().map(|(_, finders)| finders).collect(),
        }
    }
}

/// Passes over lines without reading them.
#[derive(Debug)]
pub struct Sieve {
    /// Rounded down to microseconds, as records are.
    since: Option<[u8; TIME_BYTES]>,
    until: Option<[u8; TIME_BYTES]>,
    /// Of each group one must be in the line.
    groups: Vec<Vec<Finder<'static>>>,
}

impl Sieve {
    /// Whether the line may be a record that fits. It must be one of ours: as the writer formats them.
    pub fn lets_through(&self, line: &[u8]) -> bool {
        self.in_time(line)
            && self
                .groups
                .iter()
                .all(|group| group.iter().any(|finder| finder.find(line).is_some()))
    }

    /// A record of the same microsecond is left to the filter.
    fn in_time(&self, line: &[u8]) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(at) = time(line) else {
            return true; // not as we write it: to be read
        };
        self.since.is_none_or(|since| *at >= since) && self.until.is_none_or(|until| *at <= until)
    }
}

/// The time of a line where it is written as records write it. The first key `at` is the record's own: what stands
/// before it is the envelope and the id, and within a JSON text no quote is bare.
fn time(line: &[u8]) -> Option<&[u8; TIME_BYTES]> {
    const KEY: &[u8] = b"\"at\":\"";
    let start = memchr::memmem::find(line, KEY)? + KEY.len();
    let (time, rest) = line.get(start..)?.split_first_chunk::<TIME_BYTES>()?;
    let shaped = time
        .iter()
        .zip(TIME_SHAPE)
        .all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            shape => byte == shape,
        });
    (shaped && rest.first() == Some(&b'"')).then_some(time)
}

const TIME_BYTES: usize = 27;
const TIME_SHAPE: &[u8; TIME_BYTES] = b"0000-00-00T00:00:00.000000Z";

/// A text, or texts with anything between them.
#[derive(Clone, Debug)]
enum Pattern {
    Exact(String),
    /// What stands around the `*`: at least two parts, each perhaps empty.
    Glob(Vec<String>),
}

/// What must be in a line for a pattern to fit.
struct Needle {
    /// In one of these forms.
    texts: Vec<Vec<u8>>,
    /// How much of it is the searched text: the more, the fewer lines have it.
    weight: usize,
}

impl Pattern {
    fn of(text: &str) -> Pattern {
        if text.contains('*') {
            Pattern::Glob(text.split('*').map(str::to_owned).collect())
        } else {
            Pattern::Exact(text.to_owned())
        }
    }

    fn fits(&self, text: &str) -> bool {
        let parts = match self {
            Pattern::Exact(exact) => return exact == text,
            Pattern::Glob(parts) => parts.as_slice(),
        };
        let [first, between @ .., last] = parts else {
            return false;
        };
        let Some(mut rest) = text.strip_prefix(&**first) else {
            return false;
        };
        // the leftmost place leaves most for those after it
        for part in between {
            match rest.split_once(&**part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(&**last)
    }

    fn needle(&self, field: Field) -> Needle {
        let parts = match self {
            Pattern::Exact(exact) => return Needle::of(field, exact, Ends::Both),
            Pattern::Glob(parts) => parts.as_slice(),
        };
        let longest = parts.iter().enumerate().max_by_key(|(_, part)| part.len());
        match longest {
            Some((0, part)) => Needle::of(field, part, Ends::First),
            Some((index, part)) if !part.is_empty() => {
                let ends = if index + 1 == parts.len() {
                    Ends::Last
                } else {
                    Ends::None
                };
                Needle::of(field, part, ends)
            }
            // nothing but `*`: whatever has the field
            Some(_) | None => Needle::of(field, "", Ends::First),
        }
    }
}

/// Which ends of the value the text stands at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Both,
    First,
    Last,
    None,
}

impl Needle {
    fn of(field: Field, text: &str, ends: Ends) -> Needle {
        let before = match (ends, field) {
            (Ends::Last | Ends::None, _) => String::new(),
            // its place in the list isn't known
            (Ends::Both | Ends::First, Field::Policy) => "\"".to_owned(),
            (Ends::Both | Ends::First, _) => format!("\"{}\":\"", field.key()),
        };
        let after = match ends {
            Ends::Both | Ends::Last => "\"",
            Ends::First | Ends::None => "",
        };
        // decisions and outcomes are written by `line`, events by serde_json alone
        let mut texts: Vec<Vec<u8>> = [line::encoded(text), serde_json::to_vec(text)]
            .into_iter()
            .flatten()
            .map(|quoted| {
                let quoted = quoted.get(1..quoted.len() - 1).unwrap_or_default();
                [before.as_bytes(), quoted, after.as_bytes()].concat()
            })
            .collect();
        texts.dedup();
        Needle {
            texts,
            weight: text.len(),
        }
    }
}

#[cfg(test)]
mod tests;
