//! What a record says of its place in the log: its kind, number, and the hash of the record before.
//!
//! The writer spells the beginning of a line in one way, which is read here without a JSON parser. A line that is
//! spelled otherwise is read by one, to be told for what it is: not as the writer wrote it.

use serde::Deserialize;

use crate::audit::record::{Sha256, VERSION};
use crate::audit::tree::Hash;

/// A record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Envelope {
    /// The record's number.
    pub(in crate::audit) seq: u64,
    /// The hash of the record before, as this one says.
    pub(in crate::audit) prev: Hash,
    /// What is not as the writer of this log would have it.
    pub(in crate::audit) odd: Option<Odd>,
}

/// How a record can be another's work by its looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) enum Odd {
    /// The same fields in another spelling.
    Spelling,
    /// Spelled as it should be, with another name of the node: it may have been given one.
    Node,
}

/// Why a line has no place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::audit) enum NoRecord {
    /// No JSON object with the fields that each record has.
    Garbage,
    /// A header, which belongs on a file's first line.
    Header,
    /// Of a version that this program doesn't know.
    Version(u32),
    /// A record from before records were chained.
    Unchained,
}

#[derive(Deserialize)]
struct Shape {
    v: u32,
    kind: String,
    node: String,
    seq: u64,
    prev: Option<Sha256>,
}

/// Reads the beginning of a line; `node` is the node's name as it was so far, as JSON with its quotes.
pub(in crate::audit) fn read(line: &[u8], node: &[u8]) -> Result<Envelope, NoRecord> {
    match as_written(line, node) {
        Some((seq, prev)) => Ok(Envelope {
            seq,
            prev,
            odd: None,
        }),
        None => otherwise(line, node),
    }
}

/// `{"v":1,"kind":"…","node":"…","seq":N,"prev":"…",` and what follows, up to a brace.
fn as_written(line: &[u8], node: &[u8]) -> Option<(u64, Hash)> {
    let rest = line.strip_prefix(b"{\"v\":1,\"kind\":\"")?;
    let rest = KINDS.iter().find_map(|kind| rest.strip_prefix(*kind))?;
    let rest = rest.strip_prefix(b"\",\"node\":")?.strip_prefix(node)?;
    let mut rest = rest.strip_prefix(b",\"seq\":")?;
    let mut seq: u64 = 0;
    let digits = rest;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        seq = seq.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        rest = after;
    }
    let (text, rest) = (digits, rest.strip_prefix(b",\"prev\":\"")?);
    let (hex, rest) = rest.split_first_chunk::<64>()?;
    let fits = !text.starts_with(b"0") && rest.starts_with(b"\",\"") && rest.ends_with(b"}");
    (fits && seq > 0).then_some((seq, unhex(hex)?))
}

fn otherwise(line: &[u8], node: &[u8]) -> Result<Envelope, NoRecord> {
    let shape: Shape = serde_json::from_slice(line).map_err(|_| NoRecord::Garbage)?;
    if shape.v != VERSION {
        return Err(NoRecord::Version(shape.v));
    }
    if shape.kind == "segment" {
        return Err(NoRecord::Header);
    }
    if !KINDS.contains(&shape.kind.as_bytes()) || shape.seq == 0 {
        return Err(NoRecord::Garbage);
    }
    let named = serde_json::to_vec(&shape.node).map_err(|_| NoRecord::Garbage)?;
    Ok(Envelope {
        seq: shape.seq,
        prev: shape.prev.ok_or(NoRecord::Unchained)?.0,
        odd: Some(match as_written(line, &named) {
            Some(_) if named != node => Odd::Node,
            Some(_) | None => Odd::Spelling,
        }),
    })
}

/// Lower-case hex only.
fn unhex(text: &[u8; 64]) -> Option<Hash> {
    let mut hash = [0; 32];
    let mut bad = false;
    for (byte, [high, low]) in hash.iter_mut().zip(text.as_chunks().0) {
        let (high, low) = (nibble(*high), nibble(*low));
        bad |= (high | low) > 15;
        *byte = high << 4 | (low & 15);
    }
    (!bad).then_some(hash)
}

/// More than 15 where it is no digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 16,
    }
}

const KINDS: [&[u8]; 3] = [b"decision", b"outcome", b"event"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_read_as_it_is_written_and_oddities_are_told() {
        let hex = "0a".repeat(32);
        let line =
            format!(r#"{{"v":1,"kind":"event","node":"n1","seq":12,"prev":"{hex}","at":"x"}}"#);
        let good = |odd| {
            Ok(Envelope {
                seq: 12,
                prev: [10; 32],
                odd,
            })
        };
        let (spelling, node) = (good(Some(Odd::Spelling)), good(Some(Odd::Node)));
        for (from, to, expected) in [
            ("", "", good(None)),
            ("event", "decision", good(None)),
            ("event", "segment", Err(NoRecord::Header)),
            ("event", "others", Err(NoRecord::Garbage)),
            ("n1", "n2", node),
            ("n1", "\\u006e1", spelling),
            ("n1", "\\u006e2", spelling),
            ("\"n1\",", "\"n2\", ", spelling),
            (":12", ": 12", spelling),
            ("}", "} ", spelling),
            (",\"at\":\"x\"", "", spelling),
            (":12", ":012", Err(NoRecord::Garbage)),
            (":12", ":0", Err(NoRecord::Garbage)),
            (":12", ":18446744073709551616", Err(NoRecord::Garbage)),
            ("0a0a", "0A0a", Err(NoRecord::Garbage)),
            ("0a0a", "0g0a", Err(NoRecord::Garbage)),
            ("\"v\":1", "\"v\":2", Err(NoRecord::Version(2))),
            ("\"prev\"", "\"pre\"", Err(NoRecord::Unchained)),
            ("}", "", Err(NoRecord::Garbage)),
        ] {
            let bent = line.replacen(from, to, 1);
            assert_eq!(read(bent.as_bytes(), b"\"n1\""), expected, "{bent}");
        }
    }
}
