//! W3C Trace Context: one trace id for the record, one new span for the upstream.
//!
//! A valid `traceparent` is continued, so that the call shows up in its caller's trace. One that is absent,
//! malformed or doubled is replaced, never repaired. Sampling is the caller's: flags pass as they came, and
//! the proxy exports no spans of its own.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace that a request belongs to, with the span that the proxy opened in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: [u8; 32],
    span: [u8; 16],
    flags: [u8; 2],
    continued: bool,
}

impl Trace {
    /// Continues the caller's trace or opens one.
    pub fn of(headers: &HeaderMap) -> Trace {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        let span = hex(random());
        match parent {
            Some((id, flags)) => Trace {
                id,
                span,
                flags,
                continued: true,
            },
            None => Trace {
                id: join(hex(random()), hex(random())),
                span,
                flags: *b"00",
                continued: false,
            },
        }
    }

    /// The trace id, 32 lower-case hex digits.
    pub fn id(&self) -> &str {
        // Hex digits only, so this never falls back.
        std::str::from_utf8(&self.id).unwrap_or_default()
    }

    /// Whether the caller's trace goes on; if not, its `tracestate` means nothing.
    pub fn continued(&self) -> bool {
        self.continued
    }

    /// What the upstream gets as `traceparent`.
    pub fn header(&self) -> HeaderValue {
        let mut text = [0u8; 55];
        let parts: [&[u8]; 7] = [b"00", b"-", &self.id, b"-", &self.span, b"-", &self.flags];
        let mut bytes = parts.into_iter().flatten();
        text.fill_with(|| bytes.next().copied().unwrap_or(b'0'));
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Trace id and flags of a `traceparent`. A version above 00 is read as 00, as the specification asks; `ff` is none.
fn parse(value: &[u8]) -> Option<([u8; 32], [u8; 2])> {
    let (version, rest) = value.split_first_chunk::<2>()?;
    let rest = rest.strip_prefix(b"-")?;
    let (id, rest) = rest.split_first_chunk::<32>()?;
    let rest = rest.strip_prefix(b"-")?;
    let (span, rest) = rest.split_first_chunk::<16>()?;
    let rest = rest.strip_prefix(b"-")?;
    let (flags, rest) = rest.split_first_chunk::<2>()?;
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &[u8]| part.iter().all(|b| *b == b'0');
    let ends = if version == b"00" {
        rest.is_empty()
    } else {
        rest.is_empty() || rest.starts_with(b"-")
    };
    let good = hex(version)
        && version != b"ff"
        && hex(id)
        && !zero(id)
        && hex(span)
        && !zero(span)
        && hex(flags)
        && ends;
    good.then_some((*id, *flags))
}

thread_local! {
    // Seeded from the operating system's randomness by way of std's hash keys. Trace ids need to differ, not to be secret.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
}

/// The next number of this thread's SplitMix64; never zero, as neither id may be.
fn random() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1)
    })
}

fn hex(number: u64) -> [u8; 16] {
    let mut text = [b'0'; 16];
    for (digit, shift) in text.iter_mut().zip((0..16).rev()) {
        let nibble = (number >> (shift * 4)) & 0xf;
        *digit = char::from_digit(u32::try_from(nibble).unwrap_or(0), 16).map_or(b'0', |c| c as u8);
    }
    text
}

fn join(left: [u8; 16], right: [u8; 16]) -> [u8; 32] {
    let mut whole = [0u8; 32];
    let mut bytes = left.into_iter().chain(right);
    whole.fill_with(|| bytes.next().unwrap_or(b'0'));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(values: &[&str]) -> Trace {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        Trace::of(&headers)
    }

    #[test]
    fn a_good_parent_is_continued_under_a_new_span() {
        let trace = trace(&[GOOD]);
        assert!(trace.continued());
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let header = trace.header();
        let header = header.to_str().unwrap();
        assert!(header.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(header.ends_with("-01"));
        assert!(!header.contains("00f067aa0ba902b7"));
        assert_eq!(parse(header.as_bytes()).unwrap().0, trace.id);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        assert!(trace(&[&GOOD.replacen("00", "01", 1)]).continued());
        assert!(trace(&[&format!("{}-more", GOOD.replacen("00", "01", 1))]).continued());
    }

    #[test]
    fn what_is_not_a_parent_is_replaced() {
        let cases: &[&[&str]] = &[
            &[],
            &[""],
            &[GOOD, GOOD],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
        ];
        for values in cases {
            let trace = trace(values);
            assert!(!trace.continued(), "{values:?}");
            assert!(parse(trace.header().as_bytes()).is_some(), "{values:?}");
        }
        assert_ne!(trace(&[]).id(), trace(&[]).id());
    }
}
