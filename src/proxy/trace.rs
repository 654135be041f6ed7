//! W3C Trace Context: one trace id for the record, one new span for the upstream.
//!
//! A valid `traceparent` is continued, so that the call shows up in its caller's trace. One that is absent,
//! malformed or doubled is replaced, never repaired. Sampling is the caller's: flags pass as they came. A trace
//! that begins here is sampled where its spans are shipped (`audit.ship`), else not: its first span would be
//! missing to all that follow.

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
    /// The caller's span, where its trace goes on.
    parent: Option<[u8; 16]>,
    flags: [u8; 2],
}

impl Trace {
    /// Continues the caller's trace, or opens one that is sampled or not.
    pub fn of(headers: &HeaderMap, sampled: bool) -> Trace {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let parent = match (values.next(), values.next()) {
            (Some(value), None) => parse(value.as_bytes()),
            _ => None,
        };
        let span = hex(random());
        match parent {
            Some((id, parent, flags)) => Trace {
                id,
                span,
                parent: Some(parent),
                flags,
            },
            None => Trace {
                id: join(hex(random()), hex(random())),
                span,
                parent: None,
                flags: if sampled { *b"01" } else { *b"00" },
            },
        }
    }

    /// The trace id, 32 lower-case hex digits.
    pub fn id(&self) -> &str {
        text(&self.id)
    }

    /// The id of the span that the proxy opened, 16 lower-case hex digits.
    pub fn span(&self) -> &str {
        text(&self.span)
    }

    /// The id of the caller's span, 16 lower-case hex digits; none where the trace began here.
    pub fn parent(&self) -> Option<&str> {
        self.parent.as_ref().map(|parent| text(parent))
    }

    /// Whether whoever makes spans in this trace keeps them (W3C Trace Context, 3.2.2.5.1).
    pub fn sampled(&self) -> bool {
        let [_, low] = self.flags;
        matches!(low, b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f')
    }

    /// Whether the caller's trace goes on; if not, its `tracestate` means nothing.
    pub fn continued(&self) -> bool {
        self.parent.is_some()
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

/// Trace id, parent's span id and flags of a `traceparent`. A version above 00 is read as 00, as the specification asks; `ff` is none.
fn parse(value: &[u8]) -> Option<([u8; 32], [u8; 16], [u8; 2])> {
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
    good.then_some((*id, *span, *flags))
}

/// Hex digits as text, so this never falls back.
fn text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
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
        Trace::of(&headers, false)
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
        assert_eq!(parse(header.as_bytes()).unwrap().1, trace.span);
        assert_eq!(trace.parent(), Some("00f067aa0ba902b7"));
    }

    #[test]
    fn sampling_is_the_caller_s_or_ours_where_the_trace_begins() {
        for (flags, sampled) in [
            ("00", false),
            ("01", true),
            ("02", false),
            ("03", true),
            ("fe", false),
            ("ff", true),
        ] {
            let trace = trace(&[&format!("{}{flags}", GOOD.trim_end_matches("01"))]);
            assert_eq!(trace.sampled(), sampled, "{flags}");
        }
        for sampled in [false, true] {
            let trace = Trace::of(&HeaderMap::new(), sampled);
            assert_eq!((trace.sampled(), trace.parent()), (sampled, None));
            let ends = if sampled { "-01" } else { "-00" };
            assert!(trace.header().to_str().unwrap().ends_with(ends));
        }
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
