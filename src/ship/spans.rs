//! Permits whose outcome isn't there yet: their spans wait for it, and their trace's ids for the outcome's record.
//!
//! Bounded in number, bytes and age. Past a bound the oldest goes, without its end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::trace::v1::Span;
use uuid::Uuid;

/// The open permits.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// By the number of the decision, so the first is the oldest.
    open: BTreeMap<u64, OpenSpan>,
    numbers: HashMap<Uuid, u64>,
    bytes: usize,
}

/// A permit without its outcome.
#[derive(Clone, Debug)]
pub(super) struct OpenSpan {
    pub(super) id: Uuid,
    pub(super) at: Timestamp,
    /// The node's name in its record.
    pub(super) node: Arc<str>,
    /// The trace that it belongs to.
    pub(super) context: Context,
    /// Its span, where one is sent, and about how much memory that takes.
    pub(super) span: Option<(Box<Span>, usize)>,
}

/// Trace id, span id and flags, as OTLP has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: Vec<u8>,
    pub(super) span: Vec<u8>,
    pub(super) flags: u32,
}

impl Spans {
    /// A permit was given.
    pub(super) fn begin(&mut self, seq: u64, span: OpenSpan) {
        self.bytes += span.bytes();
        self.numbers.insert(span.id, seq);
        if let Some(old) = self.open.insert(seq, span) {
            self.bytes -= old.bytes();
        }
    }

    /// Its outcome is there.
    pub(super) fn end(&mut self, id: Uuid) -> Option<OpenSpan> {
        let seq = self.numbers.remove(&id)?;
        self.take(seq)
    }

    /// The oldest, where it is over a bound; called until there is none.
    pub(super) fn over(&mut self, now: Timestamp) -> Option<OpenSpan> {
        let (seq, oldest) = self.open.first_key_value()?;
        let full = self.open.len() > MOST || self.bytes > MOST_BYTES;
        if !full && now.duration_since(oldest.at) < OLDEST {
            return None;
        }
        let (seq, id) = (*seq, oldest.id);
        self.numbers.remove(&id);
        self.take(seq)
    }

    /// The number of the oldest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.open.first_key_value().map(|(seq, _)| *seq)
    }

    fn take(&mut self, seq: u64) -> Option<OpenSpan> {
        let span = self.open.remove(&seq)?;
        self.bytes -= span.bytes();
        Some(span)
    }
}

impl OpenSpan {
    fn bytes(&self) -> usize {
        OPEN_BYTES + self.span.as_ref().map_or(0, |(_, bytes)| *bytes)
    }
}

const MOST: usize = 16_384;
const MOST_BYTES: usize = 32 << 20;
/// What an open permit takes without its span.
const OPEN_BYTES: usize = 256;
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    fn span(number: u64, at: Timestamp, bytes: usize) -> OpenSpan {
        OpenSpan {
            id: Uuid::from_u128(number.into()),
            at,
            node: "n1".into(),
            context: Context::default(),
            span: Some((Box::default(), bytes)),
        }
    }

    #[test]
    fn the_oldest_goes_past_a_bound() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(48);
        let hours = |hours| now - SignedDuration::from_hours(hours);
        let mut spans = Spans::default();
        for number in 0..=MOST as u64 {
            spans.begin(number, span(number, now, 0));
        }
        assert_eq!(spans.over(now).map(|span| span.id), Some(Uuid::nil()));
        assert!(spans.over(now).is_none());
        assert_eq!(spans.oldest(), Some(1));
        assert!(spans.end(Uuid::nil()).is_none());
        assert!(spans.end(Uuid::from_u128(7)).is_some());
        assert!(spans.end(Uuid::from_u128(7)).is_none());

        let mut spans = Spans::default();
        spans.begin(1, span(1, hours(24), 0));
        spans.begin(2, span(2, hours(23), MOST_BYTES / 2));
        spans.begin(3, span(3, now, MOST_BYTES / 2));
        let gone: Vec<_> = std::iter::from_fn(|| spans.over(now)).collect();
        let gone: Vec<_> = gone.iter().map(|span| span.id.as_u128()).collect();
        assert_eq!(gone, [1, 2]);
        assert_eq!(spans.end(Uuid::from_u128(3)).map(|span| span.at), Some(now));
        assert_eq!(spans.bytes, 0);
        assert_eq!(spans.oldest(), None);
    }
}
