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

#[derive(Clone, Copy, Debug)]
struct Segment {
    start: u32,
    end: u32,
    /// Whether the range is in `decoded` or in the path.
    decoded: bool,
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
        let text = if segment.decoded { &self.decoded } else { path };
        text.get(segment.start as usize..segment.end as usize)
            .unwrap_or_default()
    }
}

impl Path {
    /// The decoded text of several segments, joined by `/`; `None` where one of them holds a slash itself, so
    /// that the joined text could be read in two ways.
    pub(super) fn joined<'p>(&'p self, range: Range<usize>, path: &'p str) -> Option<Cow<'p, str>> {
        let segments = self.segments.get(range.clone())?;
        if let ([first, ..], [.., last]) = (segments, segments)
            && segments.iter().all(|segment| !segment.decoded)
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
        let text = out.get(start..).unwrap_or_default();
        let segments = (0..path.segments()).map(|i| path.segment(i, text));
        path.readings = readings::of(segments)?;
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
fn split(path: &str, classes: u8) -> Result<Path, Fault> {
    let mut segments = SmallVec::new();
    let mut decoded = String::new();
    let mut uses = Opaque {
        semicolon: classes & SEMICOLON != 0,
        ..Opaque::default()
    };
    let end = path.len();
    // a slash at the very end is the trailing one and begins no segment; `/` itself has neither
    let trailing_slash = end > 1 && path.ends_with('/');
    let mut start = 1;
    while start < end {
        let rest = path.as_bytes().get(start..).unwrap_or_default();
        let next = memchr::memchr(b'/', rest).map_or(end, |length| start + length);
        let text = path.get(start..next).unwrap_or_default();
        let mut segment = Segment {
            start: offset(start)?,
            end: offset(next)?,
            decoded: false,
        };
        if classes & PERCENT != 0 && text.contains('%') {
            let text = decode(text)?;
            check_decoded(&text)?;
            uses.encoded_slash |= text.contains('/');
            uses.semicolon |= text.contains(';');
            uses.encoded_percent |= decodes_further(&text)?;
            segment.start = offset(decoded.len())?;
            decoded.push_str(&text);
            segment.end = offset(decoded.len())?;
            segment.decoded = true;
        } else if is_dot_segment(text) {
            return Err(Fault::PathDotSegment);
        }
        uses.empty_segments |= text.is_empty();
        if segments.len() == MOST_SEGMENTS {
            return Err(Fault::PathTooComplex);
        }
        segments.push(segment);
        start = next + 1;
    }
    Ok(Path {
        segments,
        decoded,
        trailing_slash,
        uses,
        readings: Vec::new(),
    })
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

// Classes of bytes, as bits, so that a fold over the path tells which are there.
const PLAIN: u8 = 0;
const PERCENT: u8 = 1;
const SEMICOLON: u8 = 2;
const BACKSLASH: u8 = 4;
const CONTROL: u8 = 8;
const FORBIDDEN: u8 = 16;

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
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => PLAIN,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' => PLAIN,
                b':' | b'@' | b'/' => PLAIN,
                b'%' => PERCENT,
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
