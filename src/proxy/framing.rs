//! Where HTTP/1.1 messages begin and end (RFC 9112), followed byte for byte beside hyper's parser.
//!
//! hyper settles what it may settle: it takes chunks before a length, merges equal lengths, reads a lone LF as the
//! end of a line, drops the `#fragment` of a target. Whoever serves the request can't see that it did, and a proxy
//! before this one may have settled it otherwise. So the connection's bytes pass through here first. A request whose
//! head leaves a choice is still handed to hyper, and refused by the journey, with an answer and a record; the bytes
//! of a body that leave a choice never reach hyper, and the body ends there as broken.
//!
//! The second parser is also a witness: a request that hyper tells of, and that isn't known here, is refused.
//!
//! Deliberately absent: whatever [`normalise`](crate::policy::normalise) judges (target, host, names, values).

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use memchr::memchr;

use crate::policy::Fault;

/// The state of one connection's reading.
#[derive(Debug)]
pub struct Framing {
    at: At,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Bytes that this head, chunk line or trailer section may still take.
    room: usize,
    most: usize,
    heads: u64,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a request line; one empty line may come before it (RFC 9112, section 2.2).
    Start { blank: bool },
    /// In the header section.
    Field,
    /// In content of which so many bytes are left.
    Content(u64),
    /// Before the line that tells a chunk's size.
    Size,
    /// In a chunk of which so many bytes are left.
    Chunk(u64),
    /// At the line end behind a chunk.
    ChunkEnd,
    /// In the trailer section.
    Trailer,
    /// After a fault: what follows is no request.
    Lost,
}

/// What was read up to some byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// All bytes may be handed on.
    All,
    /// A body is framed wrongly: only so many of these bytes may be handed on, and none after them.
    Broken(usize),
}

impl Framing {
    /// At the beginning of a connection. A head, and a trailer section, take at most `most` bytes.
    pub fn new(most: usize) -> Framing {
        Framing {
            at: At::Start { blank: false },
            line: Vec::new(),
            room: most,
            most,
            heads: 0,
            length: None,
            chunked: false,
        }
    }

    /// How many heads ended.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head has begun that has not ended, as far as can be told.
    pub fn in_head(&self) -> bool {
        match self.at {
            At::Start { .. } => !self.line.is_empty(),
            At::Field | At::Lost => true,
            At::Content(_) | At::Size | At::Chunk(_) | At::ChunkEnd | At::Trailer => false,
        }
    }

    /// Follows the next bytes of the connection, and tells of heads as they end.
    pub fn follow(&mut self, bytes: &[u8], heads: &Heads) -> Followed {
        let mut rest = bytes;
        while !rest.is_empty() {
            match &mut self.at {
                At::Lost => return Followed::All,
                At::Content(left) | At::Chunk(left) => {
                    let came = usize::try_from(*left).map_or(rest.len(), |n| n.min(rest.len()));
                    rest = rest.get(came..).unwrap_or_default();
                    *left -= came as u64;
                    if *left == 0 {
                        self.at = match self.at {
                            At::Chunk(_) => At::ChunkEnd,
                            _ => self.next(),
                        };
                    }
                }
                _ => {
                    let before = bytes.len() - rest.len();
                    let in_body = self.in_body();
                    match self.take_line(&mut rest, heads) {
                        Ok(()) => {}
                        Err(_) if in_body => {
                            self.at = At::Lost;
                            return Followed::Broken(before);
                        }
                        Err(fault) => {
                            self.at = At::Lost;
                            heads.faulty(self.heads + 1, fault);
                        }
                    }
                }
            }
        }
        Followed::All
    }

    fn in_body(&self) -> bool {
        matches!(self.at, At::Size | At::ChunkEnd | At::Trailer)
    }

    /// Takes one line off `rest`, or keeps what there is of it.
    fn take_line(&mut self, rest: &mut &[u8], heads: &Heads) -> Result<(), Fault> {
        let Some(end) = memchr(b'\n', rest) else {
            self.room = self.room.checked_sub(rest.len()).ok_or(Fault::Framing)?;
            self.line.extend_from_slice(rest);
            *rest = &[];
            return self.promising();
        };
        let (line, after) = rest.split_at_checked(end + 1).ok_or(Fault::Framing)?;
        *rest = after;
        self.room = self.room.checked_sub(line.len()).ok_or(Fault::Framing)?;
        if self.line.is_empty() {
            return self.line(line, heads);
        }
        let mut whole = std::mem::take(&mut self.line);
        whole.extend_from_slice(line);
        self.line(&whole, heads)
    }

    /// Whether a line that has begun can still become one. After an upgrade what comes is no HTTP at all, and must
    /// not be kept until a line feed happens to be in it.
    fn promising(&self) -> Result<(), Fault> {
        let first = self.line.first().copied().unwrap_or(b'\r');
        let fine = match self.at {
            At::Start { .. } => first == b'\r' || is_token(&[first]),
            At::ChunkEnd => first == b'\r' && self.line.len() < 2,
            _ => true,
        };
        fine.then_some(()).ok_or(Fault::Framing)
    }

    fn line(&mut self, line: &[u8], heads: &Heads) -> Result<(), Fault> {
        let line = line.strip_suffix(b"\r\n").ok_or(Fault::Framing)?;
        match self.at {
            At::Start { blank: false } if line.is_empty() => self.at = At::Start { blank: true },
            At::Start { .. } => {
                request_line(line)?;
                self.length = None;
                self.chunked = false;
                self.at = At::Field;
            }
            At::Field if line.is_empty() => {
                self.at = match (self.chunked, self.length) {
                    (true, Some(_)) => return Err(Fault::Framing),
                    (true, None) => At::Size,
                    (false, Some(1..)) => At::Content(self.length.unwrap_or_default()),
                    (false, _) => At::Start { blank: false },
                };
                self.heads += 1;
                heads.ended(self.heads);
                self.room = self.most;
            }
            At::Field => self.field(line)?,
            At::Size => {
                self.at = match chunk_size(line).ok_or(Fault::Framing)? {
                    0 => At::Trailer,
                    size => At::Chunk(size),
                };
                self.room = self.most;
            }
            At::ChunkEnd if line.is_empty() => {
                self.at = At::Size;
                self.room = LONGEST_CHUNK_LINE;
            }
            At::Trailer if line.is_empty() => self.at = self.next(),
            At::Trailer => drop(field(line).ok_or(Fault::Framing)?),
            At::ChunkEnd | At::Content(_) | At::Chunk(_) | At::Lost => return Err(Fault::Framing),
        }
        Ok(())
    }

    /// The framing that a header line tells.
    fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        let (name, value) = field(line).ok_or(Fault::Framing)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Fault::Framing);
            }
            self.length = Some(length(value).ok_or(Fault::Framing)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Framing);
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// The next message begins.
    fn next(&mut self) -> At {
        self.room = self.most;
        At::Start { blank: false }
    }
}

/// What was found of the heads on a connection, for those who serve the requests.
#[derive(Debug, Default)]
pub struct Heads {
    /// Heads that ended.
    ended: AtomicU64,
    /// The first head with a fault, from 1; 0: none.
    faulty: AtomicU64,
    /// Which: whether it is the target's.
    target: AtomicU8,
    served: AtomicU64,
}

impl Heads {
    /// To be called for each request in its turn: the fault that it must be refused for.
    ///
    /// # Errors
    /// This request's head, or one before it, leaves a choice; or no such head has been seen.
    pub fn serve(&self) -> Result<(), Fault> {
        let turn = self.served.fetch_add(1, Ordering::Relaxed) + 1;
        let faulty = self.faulty.load(Ordering::Acquire);
        if faulty != 0 && turn >= faulty {
            return Err(match self.target.load(Ordering::Relaxed) {
                1 if turn == faulty => Fault::TargetForm,
                _ => Fault::Framing,
            });
        }
        if self.ended.load(Ordering::Relaxed) < turn {
            return Err(Fault::Framing);
        }
        Ok(())
    }

    fn ended(&self, count: u64) {
        self.ended.store(count, Ordering::Relaxed);
    }

    fn faulty(&self, head: u64, fault: Fault) {
        let target = u8::from(fault == Fault::TargetForm);
        self.target.store(target, Ordering::Relaxed);
        self.faulty.store(head, Ordering::Release);
    }
}

/// `method SP request-target SP HTTP-version` (RFC 9112, section 3), and nothing else between them.
fn request_line(line: &[u8]) -> Result<(), Fault> {
    let mut parts = line.split(|b| *b == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(b"HTTP/1.1" | b"HTTP/1.0"), None) =
        (method, target, version, parts.next())
    else {
        return Err(Fault::Framing);
    };
    if !is_token(method) || target.is_empty() || target.iter().any(|b| *b < b' ' || *b == 0x7f) {
        return Err(Fault::Framing);
    }
    match memchr(b'#', target) {
        Some(_) => Err(Fault::TargetForm),
        None => Ok(()),
    }
}

/// `field-name ":" OWS field-value OWS` (RFC 9112, section 5); a folded line is none.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(memchr(b':', line)?)?;
    let value = value.strip_prefix(b":")?;
    // over all bytes, without a way out: so it is done sixteen at a time
    let fine = value.iter().fold(true, |fine, b| {
        fine & ((*b >= b' ') & (*b != 0x7f) | (*b == b'\t'))
    });
    (is_token(name) && fine).then(|| (name, trim(value)))
}

/// `1*DIGIT` (RFC 9110, section 8.6), without zeros before it, in 18 digits at most.
fn length(value: &[u8]) -> Option<u64> {
    let canonical = matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 18;
    if !canonical || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

/// `1*HEXDIG [ chunk-ext ]` (RFC 9112, section 7.1), in 15 digits at most.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (size, extensions) = line.split_at_checked(digits)?;
    if !(1..=15).contains(&digits) || !are_extensions(extensions) {
        return None;
    }
    let digit = |b: &u8| char::from(*b).to_digit(16).map(u64::from);
    size.iter().try_fold(0, |n, b| Some(n * 16 + digit(b)?))
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112, section 7.1.1).
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = trim_start(rest).strip_prefix(b";") else {
            return false;
        };
        let Some(after) = token(trim_start(after)) else {
            return false;
        };
        rest = after;
        if let Some(value) = trim_start(after).strip_prefix(b"=") {
            let value = trim_start(value);
            let Some(after) = value
                .strip_prefix(b"\"")
                .map_or_else(|| token(value), quoted)
            else {
                return false;
            };
            rest = after;
        }
    }
    true
}

/// What follows a token.
fn token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|b| is_token(&[**b])).count();
    text.get(length..).filter(|_| length > 0)
}

/// What follows a quoted string that was opened (RFC 9110, section 5.6.4).
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let (first, after) = rest.split_first()?;
        rest = match first {
            b'"' => return Some(after),
            b'\\' => after.split_first().filter(|(b, _)| is_quotable(**b))?.1,
            b if is_quotable(*b) => after,
            _ => return None,
        };
    }
}

fn is_quotable(b: u8) -> bool {
    b == b'\t' || b >= b' ' && b != 0x7f
}

/// `1*tchar` (RFC 9110, section 5.6.2).
fn is_token(text: &[u8]) -> bool {
    let tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(tchar)
}

fn trim(text: &[u8]) -> &[u8] {
    let text = trim_start(text);
    let end = text.iter().rposition(|b| !is_blank(b)).map_or(0, |n| n + 1);
    text.get(..end).unwrap_or_default()
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_blank(b));
    text.get(start.unwrap_or(text.len())..).unwrap_or_default()
}

fn is_blank(b: &u8) -> bool {
    matches!(b, b' ' | b'\t')
}

/// A chunk's size with its extensions.
const LONGEST_CHUNK_LINE: usize = 4096;

#[cfg(test)]
mod tests;
