//! Headers: which requests are refused for them, and what is read from them.
//!
//! The HTTP parser comes first, and what it settles is never seen here: a Content-Length beside chunks, and a second
//! one that says the same. `proxy/framing.rs` refuses those from the bytes themselves.
//!
//! Which headers go on, and why: [`outbound()`] and [`is_inert`].

mod content_type;
mod outbound;
mod websocket;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};

use crate::policy::fault::Fault;

pub use self::content_type::{Charset, ContentType, content_type};
pub use self::outbound::{Forward, Outgoing, is_inert, outbound, strip_response};
pub use self::websocket::is_websocket;

/// Refuses a request whose headers can be read in two ways, whatever the policies say.
///
/// - Two of Host, Authorization, Content-Type or Content-Length.
/// - A value that begins or ends with a space or a tab. On HTTP/1.1 they are no part of it and never get here; on
///   HTTP/2 they are, and the request is malformed (RFC 9113, section 8.2.1): ` admin` would be judged, and `admin`
///   read by an upstream of HTTP/1.1.
/// - A name with `_`, which CGI and its heirs take for the same name with `-`.
/// - A header that overrides the method.
/// - A Connection that nominates more than the connection's own headers: it would make the next hop drop them.
/// - Framing: a length that is no number or has zeros before it, a transfer coding other than `chunked`, either
///   beside the other, any of the connection's own headers on HTTP/2, an expectation other than `100-continue`.
/// - An upgrade to anything but a WebSocket; [`is_websocket`] looks closer.
pub fn check(headers: &HeaderMap, version: Version) -> Result<(), Fault> {
    let http1 = version == Version::HTTP_11;
    let mut seen = Once::default();
    for (name, value) in headers {
        if has_blanks_around(value) {
            return Err(Fault::HeaderValue);
        }
        match *name {
            header::HOST => first(&mut seen.host, Fault::HostInvalid)?,
            header::AUTHORIZATION => first(&mut seen.authorization, Fault::HeaderDuplicate)?,
            header::CONTENT_TYPE => first(&mut seen.content_type, Fault::HeaderDuplicate)?,
            header::CONTENT_LENGTH => {
                first(&mut seen.content_length, Fault::HeaderDuplicate)?;
                let digits = value.as_bytes();
                // with zeros before it, it is octal to somebody
                let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
                if !canonical || !digits.iter().all(u8::is_ascii_digit) {
                    return Err(Fault::Framing);
                }
            }
            header::TRANSFER_ENCODING => {
                first(&mut seen.transfer_encoding, Fault::Framing)?;
                if !http1 || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Framing);
                }
            }
            header::EXPECT => {
                first(&mut seen.expect, Fault::Framing)?;
                if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                    return Err(Fault::Framing);
                }
            }
            header::CONNECTION if http1 => check_connection(value)?,
            header::UPGRADE if http1 => {
                if !value.as_bytes().eq_ignore_ascii_case(b"websocket") {
                    return Err(Fault::Upgrade);
                }
            }
            header::CONNECTION | header::UPGRADE => return Err(Fault::Framing),
            _ => check_name(name.as_str(), http1)?,
        }
    }
    if seen.transfer_encoding && seen.content_length {
        return Err(Fault::Framing);
    }
    Ok(())
}

/// Whether a header is the connection's own, or judged elsewhere (the host, the credential), so that a closed list of
/// headers says nothing of it.
pub fn is_the_proxys(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::AUTHORIZATION
            | header::CONNECTION
            | header::EXPECT
            | header::HOST
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || name == "keep-alive"
}

/// The value of a judged header: two are [`Fault::HeaderDuplicate`], and [`Fault::HeaderEncoding`] is one that
/// isn't UTF-8.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Fault::HeaderDuplicate);
    }
    first
        .map(|value| std::str::from_utf8(value.as_bytes()).map_err(|_| Fault::HeaderEncoding))
        .transpose()
}

/// The elements of a list header (RFC 9110, section 5.6.1), trimmed; empty ones are none.
fn elements(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value
        .as_bytes()
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

fn has_blanks_around(value: &HeaderValue) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = value.as_bytes();
    blank(bytes.first()) || blank(bytes.last())
}

/// The headers that may stand once.
#[derive(Default)]
struct Once {
    host: bool,
    authorization: bool,
    content_type: bool,
    content_length: bool,
    transfer_encoding: bool,
    expect: bool,
}

fn first(seen: &mut bool, fault: Fault) -> Result<(), Fault> {
    if std::mem::replace(seen, true) {
        Err(fault)
    } else {
        Ok(())
    }
}

/// What Connection may nominate: its own options, and headers that end at the next hop anyway. HTTP2-Settings
/// belongs to the h2c upgrade, which is refused (RFC 9113 has removed it).
fn check_connection(value: &HeaderValue) -> Result<(), Fault> {
    for option in elements(value) {
        if option.eq_ignore_ascii_case(b"http2-settings") {
            return Err(Fault::Upgrade);
        }
        let known = |name: &&str| option.eq_ignore_ascii_case(name.as_bytes());
        if !MAY_BE_NOMINATED.iter().any(known) {
            return Err(Fault::ConnectionNominates);
        }
    }
    Ok(())
}

fn check_name(name: &str, http1: bool) -> Result<(), Fault> {
    if memchr::memchr(b'_', name.as_bytes()).is_some() {
        return Err(Fault::HeaderName);
    }
    if overrides_method(name) {
        return Err(Fault::MethodOverride);
    }
    match name {
        "http2-settings" => Err(Fault::Upgrade),
        "keep-alive" | "proxy-connection" if !http1 => Err(Fault::Framing),
        _ => Ok(()),
    }
}

/// The three that frameworks read by default, `X-Method`, and whatever else says that it overrides a method.
fn overrides_method(name: &str) -> bool {
    name.contains("method")
        && (name.contains("override")
            || name.contains("tunnel")
            || name.starts_with("x-http-method")
            || name == "x-method")
}

const MAY_BE_NOMINATED: [&str; 7] = [
    "close",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests;
