//! Text that some upstream will split on `/`: paths, branches, object keys, URLs.
//!
//! A pattern that speaks of segments promises something about where a value leads. `a/../b` leads elsewhere
//! than its bytes say, so a pattern with a `/` gives no verdict on such a value ([`is_ambiguous`]), and a
//! pattern that leaves open where a URL's authority ends is refused when it is read. Percent-encoding is not
//! looked at: values arrive decoded, once.

/// Whether two readers could take the segments of this text differently: an empty segment (but for a leading
/// slash; a trailing one makes a last segment that is empty), `.` or `..` as a segment, a backslash or a
/// control byte. The slashes of a leading `scheme://` are no empty segment.
pub fn is_ambiguous(value: &str) -> bool {
    scan(value, true)
}

/// The same of a text that goes on after its end: its last segment isn't known.
pub(super) fn begins_ambiguous(prefix: &str) -> bool {
    scan(prefix, false)
}

/// Splits `scheme://rest`, where the scheme is one of RFC 3986, section 3.1.
pub(super) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    valid.then_some((scheme, rest))
}

/// The authority at the start of what follows `scheme://`, and whether something ends it.
pub(super) fn split_authority(rest: &str) -> (&str, bool) {
    match rest.split_once(['/', '?', '#']) {
        Some((authority, _)) => (authority, true),
        None => (rest, false),
    }
}

fn scan(value: &str, complete: bool) -> bool {
    let rest = match split_scheme(value) {
        Some(("file", rest)) => rest.strip_prefix('/').unwrap_or(rest),
        Some((_, rest)) => rest,
        None => value.strip_prefix('/').unwrap_or(value),
    };
    if rest.is_empty() {
        return false;
    }
    let (mut len, mut only_dots) = (0_usize, true);
    for byte in rest.bytes() {
        match byte {
            b'/' => {
                if only_dots && len <= 2 {
                    return true;
                }
                (len, only_dots) = (0, true);
            }
            b'\\' | 0..=0x1f | 0x7f => return true,
            _ => {
                len += 1;
                only_dots &= byte == b'.';
            }
        }
    }
    complete && only_dots && len <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_split_in_two_ways() {
        for value in [
            "/",
            "a",
            "a/b",
            "/a/b",
            "a/...",
            "a/.b",
            "a/b.",
            "",
            "https://",
            "https://h",
            "https://h/a",
            "spiffe://corp/agent/x",
            "file:///etc/passwd",
            "é/ü",
            "a b/c",
        ] {
            assert!(!is_ambiguous(value), "{value:?}");
        }
        for value in [
            "//",
            "//a",
            "a//b",
            "a/",
            "/a/",
            "a/./b",
            "a/../b",
            "..",
            ".",
            "./a",
            "../a",
            "a/..",
            "a/.",
            "a\\b",
            "a\0",
            "a\nb",
            "a\u{7f}",
            "https://h//a",
            "https:///a",
            "https://h/",
            "https://h/../a",
            "file:////a",
            "/x/https://h/a",
            "1a://b/c",
        ] {
            assert!(is_ambiguous(value), "{value:?}");
        }
    }

    #[test]
    fn the_last_segment_of_a_prefix_may_go_on() {
        for prefix in ["a/", "/", "a/.", "a/..", "https://", "https://h/", "."] {
            assert!(!begins_ambiguous(prefix), "{prefix:?}");
        }
        for prefix in ["a//", "//a", "a/../", "a/./b", "a\\b"] {
            assert!(begins_ambiguous(prefix), "{prefix:?}");
        }
    }
}
