//! The path: its characters, its escapes, its segments.
//!
//! One pass decides whether anything but plain characters is there; nearly always nothing is, and then the
//! path is taken as it stands and its segments are ranges into it. Otherwise the escapes are written in their
//! one form first (unreserved ones decoded, the others upper-cased) and each segment that still has a `%` is
//! decoded beside it.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::readings;
use super::{Opaque, Reading};
use crate::policy::fault::Fault;

/// A path's segments. Its text is elsewhere, so that one request's text is in one piece.
#[derive(Clone, Debug)]
pub(super) struct Path {
    segments: SmallVec<[Segment; 8]>,
    /// The decoded text of those segments that have escapes, end to end.
    decoded: String,
    pub(super) trailing_slash: bool,
    pub(super) uses: Opaque,
    pub(super) readings: Vec<Reading>,
}

/// A range of the path, or where it starts past the path's end, of `decoded` as if that followed the path.
#[derive(Clone, Copy, Debug)]
struct Segment {
    start: u32,
    end: u32,
}

impl Path {
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// A segment's decoded text, given the path's.
    pub(super) fn segment<'p>(&'p self, index: usize, path: &'p str) -> &'p str {
        let Some(segment) = self.segments.get(index) else {
            return "";
        };
        let (start, end) = (segment.start as usize, segment.end as usize);
        let text = match start.checked_sub(path.len()) {
            None => path.get(start..end),
            Some(start) => self.decoded.get(start..end - path.len()),
        };
        text.unwrap_or_default()
    }

    /// Adds the segment at this range of the path's text.
    fn push(&mut self, path: &str, start: usize, end: usize, classes: u8) -> Result<(), Fault> {
        if self.segments.len() == MOST_SEGMENTS {
            return Err(Fault::PathTooComplex);
        }
        let mut segment = Segment {
            start: offset(start)?,
            end: offset(end)?,
        };
        self.uses.empty_segments |= start == end;
        if classes & (PERCENT | DOT) != 0 {
            let text = path.get(start..end).unwrap_or_default();
            if text.contains('%') {
                let text = decode(text)?;
                check_decoded(&text)?;
                self.uses.encoded_slash |= text.contains('/');
                self.uses.semicolon |= text.contains(';');
                self.uses.encoded_percent |= decodes_further(&text)?;
                segment.start = offset(path.len() + self.decoded.len())?;
                self.decoded.push_str(&text);
                segment.end = offset(path.len() + self.decoded.len())?;
            } else if is_dot_segment(text) {
                return Err(Fault::PathDotSegment);
            }
        }
        self.segments.push(segment);
        Ok(())
    }
}

impl Path {
    /// The decoded text of several segments, joined by `/`; `None` where one of them holds a slash itself, so
    /// that the joined text could be read in two ways.
    pub(super) fn joined<'p>(&'p self, range: Range<usize>, path: &'p str) -> Option<Cow<'p, str>> {
        let segments = self.segments.get(range.clone())?;
        if let ([first, ..], [.., last]) = (segments, segments)
            && segments
                .iter()
                .all(|segment| segment.end as usize <= path.len())
        {
            return path
                .get(first.start as usize..last.end as usize)
                .map(Cow::Borrowed);
        }
        let texts: SmallVec<[&str; 8]> = range.map(|index| self.segment(index, path)).collect();
        (!texts.iter().any(|text| text.contains('/'))).then(|| Cow::Owned(texts.join("/")))
    }
}

/// Reads a raw path, and appends its one form to `out`.
pub(super) fn read(raw: &str, out: &mut String) -> Result<Path, Fault> {
    if !raw.starts_with('/') {
        return Err(Fault::TargetForm);
    }
    // so that offsets fit, and http::Uri takes no longer one either
    if raw.len() > LONGEST {
        return Err(Fault::PathTooComplex);
    }
    let classes = raw.bytes().fold(PLAIN, |found, b| found | class(b));
    if classes & (FORBIDDEN | BACKSLASH | CONTROL) != 0 {
        return Err(character_fault(raw));
    }
    let start = out.len();
    if classes & PERCENT == 0 {
        out.push_str(raw);
    } else {
        write_escapes(raw, out)?;
    }
    let mut path = split(out.get(start..).unwrap_or_default(), classes)?;
    if path.uses != Opaque::default() {
        if out.len() - start > LONGEST_OPAQUE {
            return Err(Fault::PathTooComplex);
        }
        let text = out.get(start..).unwrap_or_default();
        let segments = (0..path.segments()).map(|i| path.segment(i, text));
        path.readings = readings::of(segments, text)?;
    }
    Ok(path)
}

/// Whether upstreams read this segment as `.` or `..`. Windows drops spaces around a name, so `.. ` is one too.
pub(super) fn is_dot_segment(text: &str) -> bool {
    matches!(text.as_bytes(), [b'.' | b' ', ..]) && matches!(text.trim_matches(' '), "." | "..")
}

/// The two hex digits after the `%` at this index, as a byte.
pub(super) fn escaped_byte(bytes: &[u8], percent: usize) -> Option<u8> {
    let high = hex_value(*bytes.get(percent + 1)?)?;
    let low = hex_value(*bytes.get(percent + 2)?)?;
    Some(high << 4 | low)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes every escape of a text that has only good ones, or leaves those that are none as they stand.
pub(super) fn decode(text: &str) -> Result<String, Fault> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        match escaped_byte(bytes, i).filter(|_| byte == b'%') {
            Some(escaped) => {
                decoded.push(escaped);
                i += 3;
            }
            None => {
                decoded.push(byte);
                i += 1;
            }
        }
    }
    // overlong forms and surrogates are no UTF-8 to Rust
    String::from_utf8(decoded).map_err(|_| Fault::PathUtf8)
}

/// Refuses what no decoded text of a path may hold in any reading.
pub(super) fn check_decoded(text: &str) -> Result<(), Fault> {
    if is_dot_segment(text) {
        return Err(Fault::PathDotSegment);
    }
    for c in text.chars() {
        match c {
            '\\' => return Err(Fault::PathBackslash),
            c if c.is_control() => return Err(Fault::PathControl),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the text, decoded once more, would be another: a `%` before two hex digits. IIS also decodes
/// `%uHHHH`; no API needs that in a path, so it can't be let stand.
pub(super) fn decodes_further(text: &str) -> Result<bool, Fault> {
    let bytes = text.as_bytes();
    let mut further = false;
    for percent in memchr::memchr_iter(b'%', bytes) {
        further |= escaped_byte(bytes, percent).is_some();
        if matches!(bytes.get(percent + 1), Some(b'u' | b'U'))
            && escaped_byte(bytes, percent + 1).is_some()
            && escaped_byte(bytes, percent + 3).is_some()
        {
            return Err(Fault::PathDoubleEncoding);
        }
    }
    Ok(further)
}

/// Writes the path with unreserved escapes decoded and the others' digits upper-cased (RFC 3986, 6.2.2).
fn write_escapes(raw: &str, out: &mut String) -> Result<(), Fault> {
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('%') {
        out.push_str(plain);
        let byte = escaped_byte(rest.as_bytes(), plain.len()).ok_or(Fault::PathEscape)?;
        match byte {
            0..=0x1f | 0x7f => return Err(Fault::PathControl),
            b'\\' => return Err(Fault::PathBackslash),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                out.push('%');
                for digit in escape.bytes().take(2) {
                    out.push(char::from(digit.to_ascii_uppercase()));
                }
            }
        }
        rest = escape.get(2..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(())
}

/// Splits a path whose escapes are in their one form.
fn split(text: &str, classes: u8) -> Result<Path, Fault> {
    let mut path = Path {
        segments: SmallVec::new(),
        decoded: String::new(),
        // a slash at the very end is the trailing one and begins no segment; `/` itself has neither
        trailing_slash: text.len() > 1 && text.ends_with('/'),
        uses: Opaque {
            semicolon: classes & SEMICOLON != 0,
            ..Opaque::default()
        },
        readings: Vec::new(),
    };
    let mut start = 1;
    // segments are short: a plain loop beats the setting up of memchr
    for (at, byte) in text.bytes().enumerate().skip(1) {
        if byte == b'/' {
            path.push(text, start, at, classes)?;
            start = at + 1;
        }
    }
    if start < text.len() {
        path.push(text, start, text.len(), classes)?;
    }
    Ok(path)
}

fn offset(at: usize) -> Result<u32, Fault> {
    u32::try_from(at).map_err(|_| Fault::PathTooComplex)
}

/// The fault of the first byte that may not stand in a path.
fn character_fault(raw: &str) -> Fault {
    raw.bytes()
        .find_map(|b| match class(b) {
            FORBIDDEN => Some(Fault::PathCharacter),
            BACKSLASH => Some(Fault::PathBackslash),
            CONTROL => Some(Fault::PathControl),
            _ => None,
        })
        .unwrap_or(Fault::PathCharacter)
}

/// Segments of a path, and pieces of a reading.
pub(super) const MOST_SEGMENTS: usize = 256;
const LONGEST: usize = 65_535;
/// Bytes of a path that has readings, each of which is a copy. An S3 key, encoded twice, is 5 KiB at most.
const LONGEST_OPAQUE: usize = 8_192;

// Classes of bytes, as bits, so that a fold over the path tells which are there.
const PLAIN: u8 = 0;
const PERCENT: u8 = 1;
const DOT: u8 = 2;
const SEMICOLON: u8 = 4;
const BACKSLASH: u8 = 8;
const CONTROL: u8 = 16;
const FORBIDDEN: u8 = 32;

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(FORBIDDEN)
}

/// RFC 3986, section 3.3: `/` and pchar, which is unreserved, sub-delims, `:`, `@` and escapes.
static CLASSES: [u8; 256] = {
    let mut classes = [FORBIDDEN; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(
            clippy::indexing_slicing,
            clippy::cast_possible_truncation,
            reason = "evaluated while compiling, below 256"
        )]
        {
            classes[byte] = match byte as u8 {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => PLAIN,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' => PLAIN,
                b':' | b'@' | b'/' => PLAIN,
                b'%' => PERCENT,
                b'.' => DOT,
                b';' => SEMICOLON,
                b'\\' => BACKSLASH,
                0..=0x1f | 0x7f => CONTROL,
                _ => FORBIDDEN,
            };
        }
        byte += 1;
    }
    classes
};
