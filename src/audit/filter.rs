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
            let alternatives: Vec<_> = patterns.iter().map(|p| p.needles(*field)).collect();
            let weight = |needles: &Vec<Needle>| needles.first().map(|needle| needle.weight);
            let weight = alternatives.iter().filter_map(weight).min();
            (weight, alternatives)
        };
        let mut groups: Vec<_> = self.terms.iter().map(group).collect();
        // what tells most comes first, and is all that most lines are searched for
        groups.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        Sieve {
            since: self.since.and_then(encode::rfc3339),
            until: self.until.and_then(encode::rfc3339),
            groups: groups.into_iter().map(|(_, group)| group).collect(),
        }
    }
}

/// Passes over lines without reading them.
#[derive(Debug)]
pub struct Sieve {
    /// Rounded down to microseconds, as records are.
    since: Option<[u8; TIME_BYTES]>,
    until: Option<[u8; TIME_BYTES]>,
    /// For each condition its alternatives, each of which is all that must be in the line for it.
    groups: Vec<Vec<Vec<Needle>>>,
}

impl Sieve {
    /// Whether the line may be a record that fits. It must be one of ours: as the writer formats them.
    pub fn lets_through(&self, line: &[u8]) -> bool {
        self.in_time(line)
            && self.groups.iter().all(|alternatives| {
                alternatives
                    .iter()
                    .any(|needles| needles.iter().all(|needle| needle.is_in(line)))
            })
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
#[derive(Debug)]
struct Needle {
    /// In one of these forms.
    forms: Vec<Finder<'static>>,
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

    /// All that a line must hold for the pattern to fit, what tells most first.
    fn needles(&self, field: Field) -> Vec<Needle> {
        let parts = match self {
            Pattern::Exact(exact) => return vec![Needle::of(field, exact, true, true)],
            Pattern::Glob(parts) => parts.as_slice(),
        };
        let last = parts.len().saturating_sub(1);
        let mut needles: Vec<Needle> = parts
            .iter()
            .enumerate()
            // the first one also where it is empty: the field must be there
            .filter(|(at, part)| *at == 0 || !part.is_empty())
            .map(|(at, part)| Needle::of(field, part, at == 0, at == last))
            .collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.weight));
        needles
    }
}

impl Needle {
    /// A part of a field's text that stands at its beginning, at its end, at both, or between.
    fn of(field: Field, text: &str, first: bool, last: bool) -> Needle {
        let before: &[String] = match (first, field) {
            (false, _) => &[String::new()],
            // its place in the list isn't known
            (true, Field::Policy) => &["[\"".to_owned(), ",\"".to_owned()],
            (true, _) => &[format!("\"{}\":\"", field.key())],
        };
        let after = if last { "\"" } else { "" };
        // decisions and outcomes are written by `line`, events by serde_json alone
        let mut written: Vec<Vec<u8>> = [line::encoded(text), serde_json::to_vec(text)]
            .into_iter()
            .flatten()
            .collect();
        written.dedup();
        let form = |(before, written): (&String, &Vec<u8>)| {
            let inner = written.get(1..written.len() - 1).unwrap_or_default();
            let form = [before.as_bytes(), inner, after.as_bytes()].concat();
            Finder::new(&form).into_owned()
        };
        Needle {
            forms: before
                .iter()
                .flat_map(|before| written.iter().map(move |written| (before, written)))
                .map(form)
                .collect(),
            weight: text.len(),
        }
    }

    fn is_in(&self, line: &[u8]) -> bool {
        self.forms.iter().any(|form| form.find(line).is_some())
    }
}

#[cfg(test)]
mod tests;
