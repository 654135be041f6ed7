//! The inside of a JSON string: to its closing quote, and without its escapes.

use crate::policy::fault::Fault;

/// Passes over a string, its opening quote taken: what follows its closing quote, and whether it has escapes.
/// Every escape is checked, so [`unescape`] can't fail on what was passed.
#[inline]
pub(super) fn skip(rest: &[u8]) -> Result<(&[u8], bool), Fault> {
    // Most keys and many values end within a word or two, which is all that is worth inlining.
    let mut start = rest;
    for _ in 0..2 {
        let Some((word, tail)) = start.split_first_chunk::<8>() else {
            break;
        };
        let marks = specials(u64::from_le_bytes(*word));
        if marks != 0 {
            start = start.get(first_byte(marks)..).unwrap_or_default();
            if let [b'"', tail @ ..] = start {
                return Ok((tail, false));
            }
            break;
        }
        start = tail;
    }
    skip_further(start)
}

#[inline(never)]
fn skip_further(mut rest: &[u8]) -> Result<(&[u8], bool), Fault> {
    let mut escaped = false;
    loop {
        rest = plain(rest);
        match rest {
            [b'"', tail @ ..] => return Ok((tail, escaped)),
            [b'\\', tail @ ..] => {
                escaped = true;
                rest = match tail {
                    [
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                        tail @ ..,
                    ] => tail,
                    _ => escape(tail)?.1,
                };
            }
            // A control character, or the end of the text.
            _ => return Err(Fault::JsonSyntax),
        }
    }
}

/// The text of a string, given as written between its quotes.
pub(super) fn unescape(raw: &str) -> Result<String, Fault> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, tail)) = rest.split_once('\\') {
        text.push_str(plain);
        let (unescaped, after) = escape(tail.as_bytes())?;
        text.push(unescaped);
        let taken = tail.len().saturating_sub(after.len());
        rest = tail.get(taken..).ok_or(Fault::JsonSyntax)?;
    }
    text.push_str(rest);
    Ok(text)
}

/// What is left from the first quote, backslash or control character on; nothing where there is none.
#[inline]
fn plain(mut rest: &[u8]) -> &[u8] {
    for _ in 0..4 {
        let Some((word, tail)) = rest.split_first_chunk::<8>() else {
            return plain_bytes(rest);
        };
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return rest.get(first_byte(special)..).unwrap_or_default();
        }
        rest = tail;
    }
    plain_blocks(rest)
}

/// The same for long strings, a block at a time: the compiler makes vector instructions of it.
fn plain_blocks(mut rest: &[u8]) -> &[u8] {
    while let Some((block, tail)) = rest.split_first_chunk::<64>() {
        if block.iter().fold(false, |any, byte| any | special(*byte)) {
            break;
        }
        rest = tail;
    }
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return rest.get(first_byte(special)..).unwrap_or_default();
        }
        rest = tail;
    }
    plain_bytes(rest)
}

fn plain_bytes(mut rest: &[u8]) -> &[u8] {
    while let [byte, tail @ ..] = rest
        && !special(*byte)
    {
        rest = tail;
    }
    rest
}

#[inline]
fn special(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Marks the high bit of each byte of the word that is special. A borrow may mark bytes above the first true
/// one, so only the lowest mark counts.
#[inline]
fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGHS
}

#[inline]
fn first_byte(marks: u64) -> usize {
    (marks.trailing_zeros() / 8) as usize
}

/// The character of an escape, its backslash taken, and what follows.
fn escape(rest: &[u8]) -> Result<(char, &[u8]), Fault> {
    let (byte, tail) = rest.split_first().ok_or(Fault::JsonSyntax)?;
    let character = match byte {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(tail),
        _ => return Err(Fault::JsonSyntax),
    };
    Ok((character, tail))
}

fn unicode_escape(rest: &[u8]) -> Result<(char, &[u8]), Fault> {
    let (unit, rest) = code_unit(rest)?;
    match unit {
        0xD800..=0xDBFF => {
            let [b'\\', b'u', rest @ ..] = rest else {
                return Err(Fault::JsonSurrogate);
            };
            let (low, rest) = code_unit(rest)?;
            let pair = char::decode_utf16([unit, low]).next();
            let character = pair.and_then(Result::ok).ok_or(Fault::JsonSurrogate)?;
            Ok((character, rest))
        }
        _ => {
            let character = char::from_u32(u32::from(unit)).ok_or(Fault::JsonSurrogate)?;
            Ok((character, rest))
        }
    }
}

fn code_unit(rest: &[u8]) -> Result<(u16, &[u8]), Fault> {
    let (hex, rest) = rest.split_first_chunk::<4>().ok_or(Fault::JsonSyntax)?;
    let mut unit = 0;
    for digit in hex {
        let value = match digit {
            b'0'..=b'9' => digit & 0x0F,
            b'a'..=b'f' | b'A'..=b'F' => (digit & 0x0F) + 9,
            _ => return Err(Fault::JsonSyntax),
        };
        unit = unit << 4 | u16::from(value);
    }
    Ok((unit, rest))
}
