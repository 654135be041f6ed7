//! `url`: conditions on the parts of an absolute URL.
//!
//! URL parsers disagree, most of all on where the host is, so this one reads only what RFC 3986 and the WHATWG
//! URL standard read alike: `scheme://host[:port]` and what follows, in ASCII. Userinfo, backslashes, blanks,
//! escapes in a host, numbers that some take for an IPv4 address, empty ports and the like are no reading, and
//! so indeterminate. Query and fragment are checked for stray characters, and not judged.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::segments;
use super::{Matcher, Scope};
use crate::policy::value::{Truth, Value};

/// Conditions on a URL's parts; at least one.
#[derive(Clone, Debug, Default)]
pub struct UrlMatcher {
    /// The scheme, in lower case.
    pub scheme: Option<Matcher>,
    /// The host, in lower case; an IPv6 address without its brackets.
    pub host: Option<Matcher>,
    /// The port, or the scheme's default; missing where neither is there.
    pub port: Option<Matcher>,
    /// The path as written, if that is its one canonical form, else indeterminate. `/` where a URL of the web has none.
    pub path: Option<Matcher>,
}

impl UrlMatcher {
    /// Whether each part satisfies its condition; indeterminate where the text is no URL of one reading.
    pub(super) fn test<S: Scope>(&self, text: &str, scope: &S) -> Truth {
        let Some(url) = Url::parse(text) else {
            return Truth::Indeterminate;
        };
        let port = url.port.map_or(Value::Missing, Value::Wire);
        let path = if is_canonical_path(url.path) {
            Value::Text(url.path)
        } else {
            Value::Unreadable
        };
        [
            (&self.scheme, Value::Text(url.scheme)),
            (&self.host, Value::Text(url.host.as_str())),
            (&self.port, port),
            (&self.path, path),
        ]
        .into_iter()
        .filter_map(|(condition, value)| condition.as_ref().map(|c| c.test(value, scope)))
        .fold(Truth::True, Truth::and)
    }

    /// The conditions that there are.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Matcher> {
        [&self.scheme, &self.host, &self.port, &self.path]
            .into_iter()
            .flatten()
    }
}

struct Url<'a> {
    scheme: &'a str,
    host: Host<'a>,
    port: Option<&'a str>,
    path: &'a str,
}

/// Schemes that browsers treat alike, and the port of each.
const WEB: [(&str, &str); 5] = [
    ("https", "443"),
    ("http", "80"),
    ("wss", "443"),
    ("ws", "80"),
    ("ftp", "21"),
];

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Url<'a>> {
        let (scheme, rest) = segments::split_scheme(text)?;
        let web = WEB
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(scheme));
        // The host of a file URL is a matter of taste, and no other scheme is known well enough to change its case.
        let odd = scheme == "file" || scheme.bytes().any(|b| b.is_ascii_uppercase());
        if web.is_none() && odd || !is_plain(rest) {
            return None;
        }
        let (authority, _) = segments::split_authority(rest);
        let (host, port) = split_port(authority)?;
        let after = rest.get(authority.len()..)?;
        let path = after.split(['?', '#']).next().unwrap_or_default();
        Some(Url {
            scheme: web.map_or(scheme, |(name, _)| name),
            host: Host::parse(host, web.is_some())?,
            port: port.or(web.map(|(_, port)| *port)),
            path: if path.is_empty() && web.is_some() {
                "/"
            } else {
                path
            },
        })
    }
}

/// Only RFC 3986's characters, whole escapes, one fragment.
fn is_plain(rest: &str) -> bool {
    let (before, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let after_authority = before.find(['/', '?']).unwrap_or(before.len());
    let brackets_where_allowed = |(at, byte): (usize, u8)| match byte {
        b'[' | b']' => at < after_authority,
        _ => is_url_byte(byte),
    };
    before.bytes().enumerate().all(brackets_where_allowed)
        && fragment.bytes().all(is_url_byte)
        && escapes(rest).all(|escape| escape.is_some())
}

fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(&byte)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The byte that each `%` stands for, and what follows; `None` where no two hex digits do.
fn escapes(text: &str) -> impl Iterator<Item = Option<(u8, &str)>> {
    text.split('%').skip(1).map(|after| {
        let (digits, rest) = after.split_at_checked(2)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        Some((u8::from_str_radix(digits, 16).ok()?, rest))
    })
}

/// Host and port. An empty port, a leading zero and userinfo are none.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let colon = match authority.rfind(']') {
        Some(bracket) => authority
            .get(bracket + 1..)?
            .find(':')
            .map(|at| bracket + 1 + at),
        None => authority.find(':'),
    };
    let Some(colon) = colon else {
        return Some((authority, None));
    };
    let port = authority.get(colon + 1..)?;
    let number = port.parse::<u16>().ok()?;
    let mut buffer = itoa::Buffer::new();
    (buffer.format(number) == port).then_some((authority.get(..colon)?, Some(port)))
}

/// The longest host name of DNS.
const MAX_HOST: usize = 253;

#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for the length of one test; a box would allocate"
)]
enum Host<'a> {
    Written(&'a str),
    Changed(Text),
}

impl<'a> Host<'a> {
    fn parse(text: &'a str, web: bool) -> Option<Host<'a>> {
        if let Some(address) = text.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            let mut changed = Text::default();
            write!(changed, "{address}").ok()?;
            return Some(Host::Changed(changed));
        }
        let upper = text.bytes().any(|b| b.is_ascii_uppercase());
        // Hosts of other schemes keep their case, to some.
        if text.is_empty() || text.len() > MAX_HOST || upper && !web {
            return None;
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !text.split('.').all(label) || ends_in_number(text) && text.parse::<Ipv4Addr>().is_err()
        {
            return None;
        }
        if !upper {
            return Some(Host::Written(text));
        }
        let mut changed = Text::default();
        text.bytes()
            .try_for_each(|b| changed.push(b.to_ascii_lowercase()))?;
        Some(Host::Changed(changed))
    }

    fn as_str(&self) -> &str {
        match self {
            Host::Written(text) => text,
            Host::Changed(text) => text.as_str(),
        }
    }
}

/// Whether the WHATWG standard (section 3.5) takes the host for an IPv4 address: `1.2.3.4`, but also `127.1` and `0x7f`.
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a path is written in the one form that no server reads as another path.
fn is_canonical_path(path: &str) -> bool {
    let segments = path.strip_prefix('/').unwrap_or(path);
    let segments = segments.strip_suffix('/').unwrap_or(segments);
    let kept = |escape: Option<(u8, &str)>| {
        let Some((byte, rest)) = escape else {
            return false;
        };
        let encodes_twice = byte == b'%'
            && rest
                .get(..2)
                .is_some_and(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        !(encodes_twice
            || is_unreserved(byte)
            || byte.is_ascii_control()
            || matches!(byte, b'/' | b'\\' | b';'))
    };
    let upper = |two: &str| !two.bytes().take(2).any(|b| b.is_ascii_lowercase());
    let splits_in_two = path.contains(';')
        || path.contains("//")
        || segments.split('/').any(|s| matches!(s, "." | ".."));
    !splits_in_two && escapes(path).all(kept) && path.split('%').skip(1).all(upper)
}

/// Text of a host's length on the stack.
struct Text {
    bytes: [u8; MAX_HOST],
    len: usize,
}

impl Default for Text {
    fn default() -> Text {
        Text {
            bytes: [0; MAX_HOST],
            len: 0,
        }
    }
}

impl Text {
    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len += 1;
        Some(())
    }

    /// The text; empty, which is no host, where it isn't UTF-8.
    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        text.bytes()
            .try_for_each(|b| self.push(b))
            .ok_or(std::fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<String> {
        let url = Url::parse(text)?;
        let path = if is_canonical_path(url.path) {
            url.path
        } else {
            "?"
        };
        let (host, port) = (url.host.as_str(), url.port.unwrap_or("-"));
        Some(format!("{} {host} {port} {path}", url.scheme))
    }

    proptest! {
        /// Whatever is read has the host that its bytes show: lower-cased, between `//` and what ends an authority.
        #[test]
        fn a_host_is_what_stands_there(text in "(https?|WS|spiffe|x)://[a-zA-Z0-9.:@\\\\\\[\\]%#?/ -]{0,24}") {
            if let Some(url) = Url::parse(&text) {
                let shown = text.split("//").nth(1).unwrap().split(['/', '?', '#']).next().unwrap();
                let host = url.host.as_str();
                let port = url.port.map_or(String::new(), |port| format!(":{port}"));
                let shown = shown.to_lowercase();
                let v6 = shown.starts_with('[');
                prop_assert!(v6 || shown == host || shown == format!("{host}{port}"), "{} has {}", text, host);
            }
        }
    }

    #[test]
    fn what_has_one_reading() {
        let cases = [
            ("https://api.example.com", "https api.example.com 443 /"),
            (
                "HTTPS://API.Example.com/v1",
                "https api.example.com 443 /v1",
            ),
            ("http://h:8080/a/b?x=//../#/../", "http h 8080 /a/b"),
            ("wss://h?x", "wss h 443 /"),
            ("https://h#@evil", "https h 443 /"),
            ("spiffe://corp/agent/7", "spiffe corp - /agent/7"),
            ("ssh://h:22", "ssh h 22 "),
            ("http://127.0.0.1/", "http 127.0.0.1 80 /"),
            ("http://[::1]:80/", "http ::1 80 /"),
            ("http://[::FFFF:10.0.0.1]/", "http ::ffff:10.0.0.1 80 /"),
            ("https://h/a/%C3%A9/b%2Cc/", "https h 443 /a/%C3%A9/b%2Cc/"),
            // The host is clear, the path isn't.
            ("https://h/a/../b", "https h 443 ?"),
            ("https://h/a/./b", "https h 443 ?"),
            ("https://h/a//b", "https h 443 ?"),
            ("https://h//", "https h 443 ?"),
            ("https://h/%61", "https h 443 ?"),
            ("https://h/%2e%2e/b", "https h 443 ?"),
            ("https://h/a%2Fb", "https h 443 ?"),
            ("https://h/a%5Cb", "https h 443 ?"),
            ("https://h/a%00", "https h 443 ?"),
            ("https://h/a%c3%a9", "https h 443 ?"),
            ("https://h/a%252e", "https h 443 ?"),
            ("https://h/..;/b", "https h 443 ?"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_has_two_readings_or_none() {
        for text in [
            "",
            "h",
            "//h/x",
            "/x",
            "https:/h",
            "https:h",
            "https:///h",
            "https://",
            "https://:80/",
            "https://user@h/",
            "https://good.com@evil.com/",
            "https://good.com:x@evil.com/",
            "https://good.com\\@evil.com",
            "https://evil.com\\.good.com/",
            "https:\\\\h/",
            " https://h/",
            "https://h/ ",
            "https://h/\n",
            "ht\ttps://h/",
            "https://h\0/",
            "https://exämple.com/",
            "https://h/ä",
            "https://good%2ecom/",
            "https://h:/",
            "https://h:080/",
            "https://h:65536/",
            "https://h:+80/",
            "https://h:8a/",
            "https://h./",
            "https://a..b/",
            "https://.h/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.0.0.1/",
            "https://0177.0.0.1/",
            "https://0x/",
            "https://1.2.3.4.5/",
            "https://[::1/",
            "https://::1/",
            "https://[::1]x/",
            "https://[fe80::1%25eth0]/",
            "https://h/%",
            "https://h/%4",
            "https://h/%zz",
            "https://h/[",
            "https://h/a|b",
            "https://h/#a#b",
            "file:///etc/passwd",
            "file://h/x",
            "mailto:a@b",
            "javascript:x",
            "blob:https://h/x",
            "Spiffe://h/",
            "spiffe://Corp/x",
            "1s://h/",
            "https://h{}/",
            "https://a,b/",
            "https://h!/",
            &format!("https://{}/", "a".repeat(64)),
            &format!("https://{}a/", "a.".repeat(127)),
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    /// What the WHATWG standard reads with another scheme, host, port or path than ours (or not at all) must be none to us.
    #[test]
    #[expect(
        clippy::print_stdout,
        reason = "a test tells its figures, and where it passes over its data"
    )]
    fn no_part_differs_from_the_one_that_whatwg_reads() {
        let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
            PathBuf::from,
        );
        let Ok(bytes) = std::fs::read(folder.join("url/urltestdata.json")) else {
            println!("no vectors at {}; passed over", folder.display());
            return;
        };
        let cases: Vec<serde_json::Value> = serde_json::from_slice(&bytes).unwrap();
        let (mut read, mut paths, mut total) = (0, 0, 0);
        for case in &cases {
            let Some(input) = case["input"].as_str() else {
                continue;
            };
            total += 1;
            let Some(url) = Url::parse(input) else {
                continue;
            };
            read += 1;
            let host = case["hostname"].as_str();
            let host = host.map(|host| match host.strip_prefix('[') {
                Some(v6) => {
                    let v6: Ipv6Addr = v6.trim_end_matches(']').parse().unwrap();
                    v6.to_string()
                }
                None => host.to_owned(),
            });
            // Whether Punycode is sound isn't looked at: unsound, it is nobody's host.
            if host.is_none() && url.host.as_str().contains("xn--") {
                continue;
            }
            assert_eq!(host.as_deref(), Some(url.host.as_str()), "{input}");
            assert_eq!(case["protocol"], format!("{}:", url.scheme), "{input}");
            // The standard says nothing where the port is the scheme's own, or there is none.
            let own = WEB.iter().find(|(name, _)| *name == url.scheme);
            let port = match case["port"].as_str() {
                None | Some("") => own.map(|(_, port)| *port),
                port => port,
            };
            assert_eq!(port, url.port, "{input}");
            if is_canonical_path(url.path) {
                assert_eq!(case["pathname"], url.path, "{input}");
                paths += 1;
            }
        }
        println!(
            "WHATWG URLs, in the url matcher: {total} cases, {read} accepted ({paths} with their path), {} refused, 0 passed over",
            total - read
        );
        assert!(
            read > 50 && paths > 40 && total > 800,
            "{read} of {total} read, {paths} paths"
        );
    }
}
