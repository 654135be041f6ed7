//! HTTP/1.1 messages (RFC 9112) in a whole connection's bytes, read strictly and without a thought of speed.

use portcullis::policy::Fault;

/// A message whose head is whole and leaves no choice.
#[derive(Debug)]
pub(crate) struct Message<'b> {
    /// Where its first line begins, or the one empty line before it.
    pub(crate) start: usize,
    pub(crate) body_start: usize,
    pub(crate) method: &'b [u8],
    pub(crate) target: &'b [u8],
    pub(crate) fields: Vec<(&'b [u8], &'b [u8])>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// It has no end, or what comes instead of it is wrong.
    Partial(Vec<u8>),
}

/// The messages, and what each request is to be told, to the first refusal.
pub(crate) fn read(bytes: &[u8]) -> (Vec<Message<'_>>, Vec<Result<(), Fault>>) {
    let (mut messages, mut verdicts) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        match head(bytes, at) {
            Ok((mut message, framed)) => {
                verdicts.push(Ok(()));
                let content = &bytes[message.body_start..];
                let end = match framed {
                    Framed::Length(length) => match content.get(..length) {
                        Some(whole) => {
                            message.body = Body::Whole(whole.to_vec());
                            Some(length)
                        }
                        None => {
                            message.body = Body::Partial(content.to_vec());
                            None
                        }
                    },
                    Framed::Chunked => {
                        let (body, end) = chunks(content);
                        message.body = body;
                        end
                    }
                };
                let start = message.body_start;
                messages.push(message);
                let Some(end) = end else {
                    verdicts.push(Err(Fault::Framing));
                    return (messages, verdicts);
                };
                at = start + end;
            }
            Err(fault) => {
                verdicts.push(Err(fault));
                return (messages, verdicts);
            }
        }
    }
}

enum Framed {
    Length(usize),
    Chunked,
}

fn head(bytes: &[u8], start: usize) -> Result<(Message<'_>, Framed), Fault> {
    let mut rest = &bytes[start..];
    rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    let line = take_line(&mut rest).ok_or(Fault::Framing)?;
    let parts: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, target, b"HTTP/1.1" | b"HTTP/1.0"] = parts[..] else {
        return Err(Fault::Framing);
    };
    let visible = |b: &u8| *b > b' ' && *b != 0x7f;
    if method.is_empty()
        || !method.iter().all(tchar)
        || target.is_empty()
        || !target.iter().all(visible)
    {
        return Err(Fault::Framing);
    }
    if target.contains(&b'#') {
        return Err(Fault::TargetForm);
    }
    let mut fields = Vec::new();
    loop {
        let line = take_line(&mut rest).ok_or(Fault::Framing)?;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|b| *b == b':').ok_or(Fault::Framing)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let text = |b: &u8| *b == b'\t' || *b >= b' ' && *b != 0x7f;
        if name.is_empty() || !name.iter().all(tchar) || !value.iter().all(text) {
            return Err(Fault::Framing);
        }
        fields.push((name, blank_trimmed(value)));
    }
    let body_start = bytes.len() - rest.len();
    if body_start - start > super::MOST {
        return Err(Fault::Framing);
    }
    let named = |wanted: &str| -> Vec<&[u8]> {
        let fields = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        fields.map(|(_, value)| *value).collect()
    };
    let framed = match (
        &named("content-length")[..],
        &named("transfer-encoding")[..],
    ) {
        ([], []) => Framed::Length(0),
        ([length], []) => {
            let text = std::str::from_utf8(length).map_err(|_| Fault::Framing)?;
            let value: u64 = text.parse().map_err(|_| Fault::Framing)?;
            if value.to_string() != text || text.len() > 18 {
                return Err(Fault::Framing);
            }
            Framed::Length(usize::try_from(value).map_err(|_| Fault::Framing)?)
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Framed::Chunked,
        _ => return Err(Fault::Framing),
    };
    let message = Message {
        start,
        body_start,
        method,
        target,
        fields,
        body: Body::Partial(Vec::new()),
    };
    Ok((message, framed))
}

/// Chunks to their end, and where that is.
fn chunks(bytes: &[u8]) -> (Body, Option<usize>) {
    let (mut content, mut rest) = (Vec::new(), bytes);
    loop {
        let Some(size) = take_line(&mut rest).and_then(size) else {
            return (Body::Partial(content), None);
        };
        if size == 0 {
            break;
        }
        let chunk = &rest[..size.min(rest.len())];
        content.extend_from_slice(chunk);
        rest = &rest[chunk.len()..];
        match rest.strip_prefix(b"\r\n") {
            Some(after) if chunk.len() == size => rest = after,
            _ => return (Body::Partial(content), None),
        }
    }
    loop {
        match take_line(&mut rest) {
            Some(b"") => return (Body::Whole(content), Some(bytes.len() - rest.len())),
            Some(line) => {
                let colon = line.iter().position(|b| *b == b':');
                let fine = colon.is_some_and(|at| {
                    let text = |b: &u8| *b == b'\t' || *b >= b' ' && *b != 0x7f;
                    at > 0 && line[..at].iter().all(tchar) && line[at..].iter().all(text)
                });
                if !fine {
                    return (Body::Partial(content), None);
                }
            }
            None => return (Body::Partial(content), None),
        }
    }
}

/// The size that a chunk's line tells; `None` where extensions aren't RFC 9112's.
fn size(line: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(line).ok();
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if !(1..=15).contains(&digits) {
        return None;
    }
    let size = std::str::from_utf8(&line[..digits]).ok()?;
    let size = usize::from_str_radix(size, 16).ok()?;
    let _ = text;
    extensions(&line[digits..]).then_some(size)
}

/// By a machine of states, a byte at a time.
fn extensions(text: &[u8]) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        /// After the size or a whole extension that can't go on.
        Done,
        /// After `;`.
        Begun,
        Name,
        /// Blanks after a name: `=` or `;` may follow.
        NameEnd,
        /// After `=`.
        Equals,
        Token,
        Quoted,
        Escaped,
    }
    let mut state = State::Done;
    for byte in text {
        let blank = matches!(byte, b' ' | b'\t');
        let text = *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
        state = match (state, byte) {
            (State::Done | State::NameEnd | State::Name | State::Token, b';') => State::Begun,
            (State::Done, _) if blank => State::Done,
            (State::Begun, _) if blank => State::Begun,
            (State::Begun | State::Name, byte) if tchar(byte) => State::Name,
            (State::Name | State::NameEnd, b'=') => State::Equals,
            (State::Name | State::NameEnd, _) if blank => State::NameEnd,
            (State::Equals, _) if blank => State::Equals,
            (State::Equals, b'"') => State::Quoted,
            (State::Equals | State::Token, byte) if tchar(byte) => State::Token,
            (State::Token, _) if blank => State::Done,
            (State::Quoted, b'"') => State::Done,
            (State::Quoted, b'\\') => State::Escaped,
            (State::Quoted, _) | (State::Escaped, _) if text => State::Quoted,
            _ => return false,
        };
    }
    // Blanks stand only before something.
    let bare = !matches!(text.last(), Some(b' ' | b'\t'));
    bare && matches!(state, State::Done | State::Name | State::Token)
}

/// A line and its end taken off; `None` where there is no CRLF, or a lone LF before it.
fn take_line<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let end = rest.iter().position(|b| *b == b'\n')?;
    let (line, after) = rest.split_at(end + 1);
    *rest = after;
    line.strip_suffix(b"\r\n")
}

fn blank_trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn tchar(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
