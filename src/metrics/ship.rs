//! What shipping counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::GenericCounterVec;
use prometheus::{IntCounter, IntGauge};

use super::Register;

/// What the shipping thread counts.
#[derive(Clone, Debug)]
pub(crate) struct ShipMetrics {
    /// Log records.
    pub(crate) records: ShipCounters,
    /// Spans.
    pub(crate) spans: ShipCounters,
    /// Records that were gone before they were shipped.
    pub(crate) lost: IntCounter,
    /// Lines that are no records.
    pub(crate) unreadable: IntCounter,
    failures: GenericCounterVec<AtomicU64Counter>,
    lag: IntGauge,
    seen: Arc<Seen>,
}

type AtomicU64Counter = prometheus::core::AtomicU64;

/// What became of messages that were sent.
#[derive(Clone, Debug)]
pub(crate) struct ShipCounters {
    /// The receiver has them.
    pub(crate) accepted: IntCounter,
    /// It took them and says that it didn't keep them.
    pub(crate) rejected: IntCounter,
    /// It refused them by themselves.
    pub(crate) passed_over: IntCounter,
}

/// Numbers of records: the last that was acknowledged, and the newest there is.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: AtomicU64,
    newest: AtomicU64,
}

impl ShipMetrics {
    pub(super) fn new(on: &Register<'_>) -> Result<ShipMetrics, prometheus::Error> {
        let records = on.counters(
            "ship_records_total",
            "Audit records shipped, by what became of them.",
            &["result"],
        )?;
        let spans = on.counters(
            "ship_spans_total",
            "Spans shipped, by what became of them.",
            &["result"],
        )?;
        let counters = |of: &GenericCounterVec<AtomicU64Counter>| ShipCounters {
            accepted: of.with_label_values(&["accepted"]),
            rejected: of.with_label_values(&["rejected"]),
            passed_over: of.with_label_values(&["passed_over"]),
        };
        Ok(ShipMetrics {
            spans: counters(&spans),
            lost: records.with_label_values(&["lost"]),
            unreadable: records.with_label_values(&["unreadable"]),
            records: counters(&records),
            failures: on.counters(
                "ship_failures_total",
                "Tries to ship that failed and are made again.",
                &["cause"],
            )?,
            lag: on.gauge("ship_lag_records", "Audit records not yet shipped.")?,
            seen: Arc::default(),
        })
    }

    /// Counts a try that failed.
    pub(crate) fn failure(&self, cause: &str) {
        self.failures.with_label_values(&[cause]).inc();
    }

    /// All up to this record was shipped.
    pub(crate) fn acknowledged(&self, seq: u64) {
        self.seen.acknowledged.store(seq, Ordering::Relaxed);
        self.show_lag();
    }

    /// This record is the newest.
    pub(crate) fn newest(&self, seq: u64) {
        self.seen.newest.store(seq, Ordering::Relaxed);
        self.show_lag();
    }

    fn show_lag(&self) {
        let newest = self.seen.newest.load(Ordering::Relaxed);
        let behind = newest.saturating_sub(self.seen.acknowledged.load(Ordering::Relaxed));
        self.lag.set(i64::try_from(behind).unwrap_or(i64::MAX));
    }
}
