//! How else an upstream might read a path.
//!
//! Parsers differ in what they do, how often and in which order: nginx decodes `%2F` and then splits, some
//! frameworks decode a second time, Tomcat and Jetty cut `;name=value` out of each segment (before or after
//! decoding, by version), Python's `urlparse` out of the last one alone, WildFly ends the path at the first `;`,
//! file servers merge slashes. So each of these is a step, and the readings are all that any order of steps leads
//! to. The steps only shorten, so the set is finite; a path for which it grows past a bound is refused. A reading
//! with a dot segment, a backslash or a control character refuses the path whatever the route lets stand.

use super::path::{self, MOST_SEGMENTS};
use super::{Piece, Reading};
use crate::policy::fault::Fault;

/// All readings but the one given, which is the canonical one: a piece to each decoded segment. The path is that
/// of the segments, its escapes in their one form.
pub(super) fn of<'s>(
    segments: impl Iterator<Item = &'s str>,
    path: &str,
) -> Result<Vec<Reading>, Fault> {
    let pieces = segments.map(|text| piece(text, true)).collect();
    let mut found = vec![Reading { pieces }];
    for pieces in cut_before_decoding(path)? {
        check(&pieces)?;
        let reading = Reading { pieces };
        if !found.contains(&reading) {
            found.push(reading);
        }
    }
    let mut next = 0;
    while let Some(reading) = found.get(next) {
        let mut reached = Vec::new();
        for step in STEPS {
            reached.extend(step(&reading.pieces)?);
        }
        for pieces in reached {
            check(&pieces)?;
            let reading = Reading { pieces };
            if found.contains(&reading) {
                continue;
            }
            if found.len() > MOST_READINGS {
                return Err(Fault::PathTooComplex);
            }
            found.push(reading);
        }
        next += 1;
    }
    found.remove(0);
    Ok(found)
}

/// The ways to cut parameters out before anything is decoded, as Tomcat and Jetty do: an encoded semicolon is
/// then a part of the name that stays. The steps, which see what is decoded, can't tell it from a plain one, so only
/// where both are there do they miss these.
fn cut_before_decoding(path: &str) -> Result<Vec<Vec<Piece>>, Fault> {
    if !path.contains(';') || !path.contains("%3B") {
        return Ok(Vec::new());
    }
    let inner = |path: &'_ str| {
        let inner = path.strip_prefix('/').unwrap_or(path);
        inner.strip_suffix('/').unwrap_or(inner).to_owned()
    };
    let decoded = |text: &str| Ok(piece(&path::decode(text)?, true));
    let cut = |path: &str| {
        let segments = inner(path);
        let segments = segments.split('/').map(before_semicolon);
        segments.map(decoded).collect::<Result<Vec<_>, Fault>>()
    };
    let whole = inner(path);
    let last = whole.rsplit('/').next().unwrap_or_default();
    let cut_last = whole.strip_suffix(last).unwrap_or_default().split('/');
    let mut cut_last: Vec<_> = cut_last.map(decoded).collect::<Result<_, Fault>>()?;
    // what stood behind the last slash is cut
    cut_last.pop();
    cut_last.push(decoded(before_semicolon(last))?);
    Ok(vec![cut(path)?, cut(before_semicolon(path))?, cut_last])
}

/// A step gives other pieces, or nothing where it changes nothing.
type Step = fn(&[Piece]) -> Result<Option<Vec<Piece>>, Fault>;

const STEPS: [Step; 6] = [
    split_slashes,
    decode_again,
    cut_parameters,
    cut_last_parameters,
    end_at_semicolon,
    drop_empty,
];

/// Reads an encoded slash as a slash.
fn split_slashes(pieces: &[Piece]) -> Result<Option<Vec<Piece>>, Fault> {
    if !pieces.iter().any(|p| p.text.contains('/')) {
        return Ok(None);
    }
    let mut split = Vec::with_capacity(pieces.len() + 1);
    for whole in pieces {
        for (i, part) in whole.text.split('/').enumerate() {
            if split.len() == MOST_SEGMENTS {
                return Err(Fault::PathTooComplex);
            }
            split.push(piece(part, whole.begins && i == 0));
        }
    }
    Ok(Some(split))
}

/// Decodes a second time. What would decode a third time is refused: no API needs it, and there is no end to it.
fn decode_again(pieces: &[Piece]) -> Result<Option<Vec<Piece>>, Fault> {
    let mut changed = false;
    let mut decoded = Vec::with_capacity(pieces.len());
    for old in pieces {
        if path::decodes_further(&old.text)? {
            let text = path::decode(&old.text)?;
            if path::decodes_further(&text)? {
                return Err(Fault::PathTooComplex);
            }
            decoded.push(piece(&text, old.begins));
            changed = true;
        } else {
            decoded.push(old.clone());
        }
    }
    Ok(changed.then_some(decoded))
}

/// Cuts `;` and what follows out of each piece.
fn cut_parameters(pieces: &[Piece]) -> Result<Option<Vec<Piece>>, Fault> {
    if !pieces.iter().any(|p| p.text.contains(';')) {
        return Ok(None);
    }
    let cut = |p: &Piece| piece(before_semicolon(&p.text), p.begins);
    Ok(Some(pieces.iter().map(cut).collect()))
}

/// Cuts `;` and what follows out of the last piece alone, as Python's `urlparse` does.
fn cut_last_parameters(pieces: &[Piece]) -> Result<Option<Vec<Piece>>, Fault> {
    let Some((last, others)) = pieces.split_last().filter(|(p, _)| p.text.contains(';')) else {
        return Ok(None);
    };
    let mut cut = others.to_vec();
    cut.push(piece(before_semicolon(&last.text), last.begins));
    Ok(Some(cut))
}

/// Ends the path at its first `;`.
fn end_at_semicolon(pieces: &[Piece]) -> Result<Option<Vec<Piece>>, Fault> {
    let Some(last) = pieces.iter().position(|p| p.text.contains(';')) else {
        return Ok(None);
    };
    let cut = |p: &Piece| piece(before_semicolon(&p.text), p.begins);
    Ok(Some(pieces.iter().take(last + 1).map(cut).collect()))
}

/// Merges slashes. Where the piece that began a segment goes, the next of that segment begins it.
fn drop_empty(pieces: &[Piece]) -> Result<Option<Vec<Piece>>, Fault> {
    if !pieces.iter().any(|p| p.text.is_empty()) {
        return Ok(None);
    }
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut begins = false;
    for old in pieces {
        begins |= old.begins;
        if !old.text.is_empty() {
            kept.push(piece(&old.text, begins));
            begins = false;
        }
    }
    Ok(Some(kept))
}

fn check(pieces: &[Piece]) -> Result<(), Fault> {
    pieces.iter().try_for_each(|p| path::check_decoded(&p.text))
}

fn before_semicolon(text: &str) -> &str {
    text.split(';').next().unwrap_or_default()
}

fn piece(text: &str, begins: bool) -> Piece {
    Piece {
        text: text.into(),
        begins,
    }
}

/// The most readings of a path. One that uses every opt-in stays below, so this refuses only what is made to.
const MOST_READINGS: usize = 48;
