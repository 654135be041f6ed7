//! The scanner: JSON text (RFC 8259), token by token, strictly.
//!
//! Whoever reads a document drives it: the tree builder, the walk of judged bodies, or [`Scanner::skip`] for
//! what nobody judges. The text was checked to be UTF-8 once, so strings are slices of it. There is no
//! recursion, and no repair: the first byte that doesn't fit ends the reading.

use std::borrow::Cow;

use super::strings;
use crate::policy::fault::Fault;

/// The deepest nesting that is read, whatever the caller's limit.
pub(in crate::policy) const MAX_DEPTH: usize = 512;

/// A place in a document.
#[derive(Clone, Debug)]
pub(in crate::policy) struct Scanner<'b> {
    text: &'b str,
    rest: &'b [u8],
    depth: usize,
    max_depth: usize,
}

/// A value that is no container. Text is borrowed where nothing had to be unescaped.
#[derive(Clone, Debug)]
pub(in crate::policy) enum Scalar<'b> {
    Null,
    Bool(bool),
    Number(&'b str),
    Text(Cow<'b, str>),
}

impl<'b> Scanner<'b> {
    /// Stands before the document's first byte.
    pub(in crate::policy) fn new(bytes: &'b [u8], max_depth: usize) -> Result<Self, Fault> {
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            return Err(Fault::JsonBom);
        }
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Fault::JsonUtf8)?;
        Ok(Scanner {
            text,
            rest: bytes,
            depth: 0,
            max_depth: max_depth.min(MAX_DEPTH),
        })
    }

    /// Takes the next byte that isn't whitespace. At the end it is NUL, which fits nowhere in JSON.
    #[inline]
    pub(in crate::policy) fn next(&mut self) -> u8 {
        match self.rest {
            [byte, tail @ ..] if *byte > b' ' => {
                self.rest = tail;
                *byte
            }
            // As after most colons and commas.
            [b' ', byte, tail @ ..] if *byte > b' ' => {
                self.rest = tail;
                *byte
            }
            _ => self.next_after_space(),
        }
    }

    /// Opens a container.
    pub(in crate::policy) fn enter(&mut self) -> Result<(), Fault> {
        if self.depth >= self.max_depth {
            return Err(Fault::JsonDepth);
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// Closes a container.
    pub(in crate::policy) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Reads a key and its colon, after the key's opening quote.
    #[inline]
    pub(in crate::policy) fn key(&mut self) -> Result<Cow<'b, str>, Fault> {
        let key = self.string()?;
        self.colon()?;
        Ok(key)
    }

    /// Reads the scalar that starts with this byte, which was taken.
    pub(in crate::policy) fn scalar(&mut self, first: u8) -> Result<Scalar<'b>, Fault> {
        match first {
            b'"' => Ok(Scalar::Text(self.string()?)),
            b't' => self.literal(b"rue").map(|()| Scalar::Bool(true)),
            b'f' => self.literal(b"alse").map(|()| Scalar::Bool(false)),
            b'n' => self.literal(b"ull").map(|()| Scalar::Null),
            _ => {
                let start = self.position().saturating_sub(1);
                self.number(first)?;
                let number = self.text.get(start..self.position());
                number.map(Scalar::Number).ok_or(Fault::JsonSyntax)
            }
        }
    }

    /// Passes over the value that starts with this byte, which was taken. Only its syntax is looked at.
    pub(in crate::policy) fn skip(&mut self, first: u8) -> Result<(), Fault> {
        let mut nest = Nest::default();
        let mut byte = first;
        loop {
            match byte {
                b'"' => self.skip_string()?,
                b'{' => {
                    nest.open(true, self.room())?;
                    match self.next() {
                        b'"' => {
                            byte = self.skip_key()?;
                            continue;
                        }
                        b'}' => nest.close(),
                        _ => return Err(Fault::JsonSyntax),
                    }
                }
                b'[' => {
                    nest.open(false, self.room())?;
                    byte = self.next();
                    if byte != b']' {
                        continue;
                    }
                    nest.close();
                }
                _ => self.skip_scalar(byte)?,
            }
            // A value has ended; so may the containers around it.
            loop {
                if nest.is_empty() {
                    return Ok(());
                }
                match (self.next(), nest.in_object()) {
                    (b',', false) => {
                        byte = self.next();
                        break;
                    }
                    (b',', true) => {
                        if self.next() != b'"' {
                            return Err(Fault::JsonSyntax);
                        }
                        byte = self.skip_key()?;
                        break;
                    }
                    (b'}', true) | (b']', false) => nest.close(),
                    _ => return Err(Fault::JsonSyntax),
                }
            }
        }
    }

    /// Makes sure that nothing but whitespace is left.
    pub(in crate::policy) fn end(&mut self) -> Result<(), Fault> {
        let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if self.rest.iter().all(space) {
            Ok(())
        } else {
            Err(Fault::JsonTrailing)
        }
    }

    #[inline(never)]
    fn next_after_space(&mut self) -> u8 {
        let mut rest = self.rest;
        loop {
            match rest {
                // A line break, then an indent.
                [b'\n' | b'\r' | b'\t' | b' ', tail @ ..] => rest = after_spaces(tail),
                [byte, tail @ ..] => {
                    self.rest = tail;
                    return *byte;
                }
                [] => {
                    self.rest = rest;
                    return 0;
                }
            }
        }
    }

    fn room(&self) -> usize {
        self.max_depth.saturating_sub(self.depth)
    }

    fn position(&self) -> usize {
        self.text.len().saturating_sub(self.rest.len())
    }

    fn string(&mut self) -> Result<Cow<'b, str>, Fault> {
        let start = self.position();
        let (tail, escaped) = strings::skip(self.rest)?;
        self.rest = tail;
        let end = self.position().saturating_sub(1);
        let raw = self.text.get(start..end).ok_or(Fault::JsonSyntax)?;
        if escaped {
            strings::unescape(raw).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(raw))
        }
    }

    #[inline]
    fn skip_string(&mut self) -> Result<(), Fault> {
        let (tail, _) = strings::skip(self.rest)?;
        self.rest = tail;
        Ok(())
    }

    /// Passes over a key and its colon, and takes the first byte of its value.
    #[inline]
    fn skip_key(&mut self) -> Result<u8, Fault> {
        self.skip_string()?;
        self.colon()?;
        Ok(self.next())
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Fault> {
        if self.next() == b':' {
            Ok(())
        } else {
            Err(Fault::JsonSyntax)
        }
    }

    #[inline]
    fn skip_scalar(&mut self, first: u8) -> Result<(), Fault> {
        match first {
            b't' => self.literal(b"rue"),
            b'f' => self.literal(b"alse"),
            b'n' => self.literal(b"ull"),
            _ => self.number(first),
        }
    }

    #[inline]
    fn literal<const N: usize>(&mut self, tail: &[u8; N]) -> Result<(), Fault> {
        match self.rest.split_first_chunk::<N>() {
            Some((found, rest)) if found == tail => {
                self.rest = rest;
                Ok(())
            }
            _ => Err(Fault::JsonSyntax),
        }
    }

    fn number(&mut self, first: u8) -> Result<(), Fault> {
        let (first, mut rest) = match (first, self.rest) {
            (b'-', [digit, tail @ ..]) => (*digit, tail),
            (_, rest) => (first, rest),
        };
        match (first, rest) {
            (b'0', [b'0'..=b'9', ..]) => return Err(Fault::JsonSyntax),
            (b'0', _) => {}
            (b'1'..=b'9', _) => rest = digits(rest),
            _ => return Err(Fault::JsonSyntax),
        }
        if let [b'.', tail @ ..] = rest {
            rest = some_digits(tail)?;
        }
        if let [b'e' | b'E', tail @ ..] = rest {
            rest = match tail {
                [b'+' | b'-', tail @ ..] => some_digits(tail)?,
                _ => some_digits(tail)?,
            };
        }
        self.rest = rest;
        Ok(())
    }
}

/// The kinds of the open containers, a bit each: the innermost lowest, set for an object.
#[derive(Default)]
struct Nest {
    kinds: u64,
    len: usize,
    // Each full word of kinds, from the outermost on. No allocation before the 65th level.
    outer: Vec<u64>,
}

impl Nest {
    #[inline]
    fn open(&mut self, object: bool, room: usize) -> Result<(), Fault> {
        if self.len >= room {
            return Err(Fault::JsonDepth);
        }
        if self.len.is_multiple_of(64) && self.len > 0 {
            self.outer.push(self.kinds);
        }
        self.len = self.len.wrapping_add(1);
        self.kinds = self.kinds << 1 | u64::from(object);
        Ok(())
    }

    #[inline]
    fn close(&mut self) {
        self.len = self.len.wrapping_sub(1);
        self.kinds >>= 1;
        if self.len.is_multiple_of(64)
            && let Some(kinds) = self.outer.pop()
        {
            self.kinds = kinds;
        }
    }

    #[inline]
    fn in_object(&self) -> bool {
        self.kinds & 1 == 1
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[inline]
fn after_spaces(mut rest: &[u8]) -> &[u8] {
    const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
    while let Some((word, tail)) = rest.split_first_chunk::<8>() {
        let others = u64::from_le_bytes(*word) ^ SPACES;
        if others != 0 {
            let spaces = (others.trailing_zeros() / 8) as usize;
            return rest.get(spaces..).unwrap_or_default();
        }
        rest = tail;
    }
    rest
}

#[inline]
fn digits(mut rest: &[u8]) -> &[u8] {
    while let [b'0'..=b'9', tail @ ..] = rest {
        rest = tail;
    }
    rest
}

#[inline]
fn some_digits(rest: &[u8]) -> Result<&[u8], Fault> {
    match rest {
        [b'0'..=b'9', tail @ ..] => Ok(digits(tail)),
        _ => Err(Fault::JsonSyntax),
    }
}
