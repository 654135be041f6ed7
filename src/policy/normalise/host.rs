//! The host: where it stands in a request, and what is one.
//!
//! Accepted are names of letters, digits, `-` and `_` (compose files have hosts such as `agent_gateway`), IPv4
//! addresses in dotted decimals, and IPv6 addresses in brackets as RFC 5952 writes them. Everything that some
//! resolver or URL parser reads as another host is refused: user information, percent-encoding, non-ASCII
//! names, trailing dots, empty labels, `127.1`, `0x7f.1`, ports with leading zeros or without digits.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, Version, header};

use super::headers::single;
use crate::policy::fault::Fault;

/// A valid host with its port, as the client spelled it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    /// The host; letters may be of either case.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl Authority<'_> {
    /// Writes `host[:port]`, lower-cased.
    pub(super) fn write(&self, out: &mut String) {
        let start = out.len();
        out.push_str(self.host);
        if let Some(host) = out.get_mut(start..) {
            host.make_ascii_lowercase();
        }
        if let Some(port) = self.port {
            out.push(':');
            out.push_str(itoa::Buffer::new().format(port));
        }
    }

    /// Whether both name one host, where a port that isn't there is the default one.
    fn agrees(&self, other: &Authority<'_>, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// The authority that a request's head names.
pub(super) fn of<'r>(
    uri: &'r Uri,
    version: Version,
    headers: &'r HeaderMap,
) -> Result<Authority<'r>, Fault> {
    if version != Version::HTTP_11 && version != Version::HTTP_2 {
        return Err(Fault::Framing);
    }
    let host = single(headers, &header::HOST).map_err(|_| Fault::HostInvalid)?;
    // RFC 9112, section 3.2: HTTP/1.1 always has a Host
    if host.is_none() && version == Version::HTTP_11 {
        return Err(Fault::HostInvalid);
    }
    let Some(authority) = uri.authority() else {
        return parse(host.ok_or(Fault::HostInvalid)?);
    };
    let default_port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        // authority-form, or a scheme that isn't ours
        Some(_) | None => return Err(Fault::TargetForm),
    };
    let authority = parse(authority.as_str())?;
    if let Some(host) = host
        && !parse(host)?.agrees(&authority, default_port)
    {
        return Err(Fault::HostMismatch);
    }
    Ok(authority)
}

/// Reads `host[:port]`.
pub(super) fn parse(text: &str) -> Result<Authority<'_>, Fault> {
    let (host, port) = split(text).ok_or(Fault::HostInvalid)?;
    let valid = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(is_ipv6),
        None => is_name(host),
    };
    if !valid {
        return Err(Fault::HostInvalid);
    }
    let port = port
        .map(|port| parse_port(port).ok_or(Fault::HostInvalid))
        .transpose()?;
    Ok(Authority { host, port })
}

/// Whether a request can have this host; the error says what would be right.
pub(crate) fn check(text: &str) -> Result<(), String> {
    match parse(text) {
        Ok(Authority { port: Some(_), .. }) => return Err(NO_PORT.to_owned()),
        Ok(Authority { host, port: None }) if host.bytes().any(|b| b.is_ascii_uppercase()) => {
            return Err(format!(
                "a host is always in lower case; write `{}`",
                text.to_ascii_lowercase()
            ));
        }
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    let inside = text.strip_prefix('[').unwrap_or(text);
    let inside = inside.strip_suffix(']').unwrap_or(inside);
    if let Ok(address) = inside.parse::<Ipv6Addr>() {
        return Err(format!("a request's host is written `[{address}]`"));
    }
    if let Some(name) = text.strip_suffix('.')
        && parse(name).is_ok()
    {
        return Err(format!("a host has no trailing dot; write `{name}`"));
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    Err(if text.contains('/') {
        "a host has no `/`".to_owned()
    } else if text.contains(':') {
        NO_PORT.to_owned()
    } else if !text.is_ascii() {
        format!("no request has the host `{text}`; write its `xn--` form")
    } else if !last.is_empty() && reads_as_number(last.as_bytes()) {
        format!("no request has the host `{text}`; an address is written like `127.0.0.1`")
    } else {
        format!("no request has the host `{text}`; write one like `api.example.com`")
    })
}

/// Whether a host can hold this text, in which `*` is none of its characters; the error says what would be right.
pub(crate) fn check_part(text: &str) -> Result<(), String> {
    let of_a_host =
        |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.:[]*".contains(*c);
    match text.chars().find(|c| !of_a_host(c)) {
        Some('/') => Err("a host has no `/`".to_owned()),
        Some(c) if !c.is_ascii() => Err(format!("a host has no `{c}`; write its `xn--` form")),
        Some(c) => Err(format!("a host has no `{}`", c.escape_default())),
        None if text.contains("..") => Err("a host has no `..`".to_owned()),
        None => Ok(()),
    }
}

/// Whether a host can end with this text.
pub(crate) fn check_end(text: &str) -> Result<(), String> {
    match text.strip_suffix('.') {
        Some(rest) => Err(format!("a host has no trailing dot; write `{rest}`")),
        None => Ok(()),
    }
}

const NO_PORT: &str = "a host stands without its port";

fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if text.starts_with('[') {
        let (address, rest) = text.split_at_checked(text.find(']')? + 1)?;
        return match rest {
            "" => Some((address, None)),
            _ => Some((address, Some(rest.strip_prefix(':')?))),
        };
    }
    let Some(colon) = text.bytes().position(|b| b == b':') else {
        return Some((text, None));
    };
    let (host, port) = text.split_at_checked(colon)?;
    Some((host, port.strip_prefix(':')))
}

fn parse_port(text: &str) -> Option<u16> {
    // no sign and no leading zero: `080` is octal to somebody
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>()
        .is_ok_and(|address| address.to_string().eq_ignore_ascii_case(text))
}

fn is_name(host: &str) -> bool {
    if host.len() > LONGEST_NAME {
        return false;
    }
    let mut length = 0;
    for byte in host.bytes() {
        length = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'A'..=b'Z' | b'_' => length + 1,
            b'.' if length != 0 => 0,
            _ => return false,
        };
        if length > LONGEST_LABEL {
            return false;
        }
    }
    // a last label of no length is the empty host, or a trailing dot
    let last = host
        .len()
        .checked_sub(length)
        .map(|at| host.as_bytes().split_at(at).1);
    match last {
        None | Some([]) => false,
        Some(last) => !reads_as_number(last) || host.parse::<Ipv4Addr>().is_ok(),
    }
}

/// Whether URL parsers take a host that ends in this label for an IPv4 address (WHATWG URL, "ends in a number").
fn reads_as_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

/// RFC 1035, section 2.3.4, without the root's dot.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (text, written) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com:8443", "example.com:8443"),
            ("localhost", "localhost"),
            ("agent_gateway:80", "agent_gateway:80"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("1.2.3.4.example", "1.2.3.4.example"),
            ("0xg", "0xg"),
            ("[::1]", "[::1]"),
            ("[2001:DB8::1]:65535", "[2001:db8::1]:65535"),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
        ] {
            let mut out = String::new();
            parse(text)
                .unwrap_or_else(|fault| panic!("{text}: {fault}"))
                .write(&mut out);
            assert_eq!(out, written, "{text}");
        }
    }

    #[test]
    fn what_would_be_right_is_said() {
        for (text, why) in [
            ("API.example", "always in lower case; write `api.example`"),
            ("a.example:80", "without its port"),
            ("[::1]:80", "without its port"),
            ("a/b", "no `/`"),
            ("[2001:db8:0:0::1]", "written `[2001:db8::1]`"),
            ("2001:db8:0::1", "written `[2001:db8::1]`"),
            ("::1", "written `[::1]`"),
            ("example.com.", "no trailing dot; write `example.com`"),
            ("127.1", "an address is written like `127.0.0.1`"),
            ("0x7f.0x1", "an address is written like `127.0.0.1`"),
            ("a..b", "no request has the host `a..b`"),
            ("", "no request has the host ``"),
            ("user@a", "no request has the host `user@a`"),
            ("b\u{fc}cher.example", "write its `xn--` form"),
        ] {
            let told = check(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
        for text in ["a_b.c", "-a", "127.0.0.1", "[::1]", "xn--bcher-kva.example"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn no_hosts() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = ["a".repeat(50).as_str(); 5].join(".");
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:+80",
            "a:65536",
            "a:80:80",
            "a:b",
            "user@a",
            "user:pass@a",
            "a%2eb",
            "a b",
            "a,b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "bücher.example",
            "1.2.3",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "1.2.3.04",
            "1.2.3.4.5",
            "1.2.3.256",
            "a.0x",
            "[]",
            "[::1",
            "::1",
            "[::1]80",
            "[::1]:",
            "[::1%25eth0]",
            "[0:0:0:0:0:0:0:1]",
            "[2001:db8:0::1]",
            "[127.0.0.1]",
            "[v1.a]",
            &long_label,
            &long_name,
        ] {
            assert_eq!(parse(text).err(), Some(Fault::HostInvalid), "{text}");
        }
    }
}
