//! Histograms of durations that cost two atomic additions to observe.
//!
//! Bucket bounds are powers of two nanoseconds, so the bucket is found by counting leading zeros. Each
//! thread adds to one of a few shards, each on cache lines of its own; a scrape adds them up. Between the
//! two additions a scrape may see one without the other: counts come from the buckets alone and are always
//! consistent, a sum may be one observation behind.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto;

/// One histogram; a clone observes into the same.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: Exponents,
    shards: [Shard; SHARDS],
}

/// Two cache lines apart, because processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    /// Observations up to each bound and above the one before; the last: above all bounds.
    buckets: [AtomicU64; MAX_BUCKETS + 1],
    nanos: AtomicU64,
}

/// Bounds of 2^first, 2^(first+1) … 2^last nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exponents {
    first: u32,
    last: u32,
}

impl Exponents {
    /// 256 ns to 1.07 s.
    pub(super) const STAGE: Exponents = Exponents { first: 8, last: 30 };
    /// 131 µs to 137 s.
    pub(super) const UPSTREAM: Exponents = Exponents {
        first: 17,
        last: 37,
    };

    /// How many bounds there are.
    fn count(self) -> usize {
        (self.last - self.first + 1) as usize
    }

    /// The first bucket whose bound is no less.
    fn bucket(self, nanos: u64) -> usize {
        let exponent = u64::BITS - nanos.saturating_sub(1).leading_zeros();
        let bucket = exponent.saturating_sub(self.first) as usize;
        bucket.min(self.count())
    }

    /// The bounds in seconds.
    fn seconds(self) -> impl Iterator<Item = f64> {
        (self.first..=self.last).map(|exponent| (1u64 << exponent) as f64 / 1e9)
    }
}

impl Histogram {
    fn new(bounds: Exponents) -> Histogram {
        Histogram(Arc::new(Inner {
            bounds,
            shards: Default::default(),
        }))
    }

    /// Observes a duration.
    pub fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let Some(shard) = self.0.shards.get(shard()) else {
            return;
        };
        if let Some(bucket) = shard.buckets.get(self.0.bounds.bucket(nanos)) {
            bucket.fetch_add(1, Relaxed);
            shard.nanos.fetch_add(nanos, Relaxed);
        }
    }

    /// What was observed so far.
    fn collect(&self) -> proto::Histogram {
        let total = |of: &dyn Fn(&Shard) -> u64| {
            let sums = self.0.shards.iter().map(of);
            sums.fold(0, u64::wrapping_add)
        };
        let in_bucket = |bucket: usize| {
            total(&|shard| {
                shard
                    .buckets
                    .get(bucket)
                    .map_or(0, |count| count.load(Relaxed))
            })
        };
        let nanos = total(&|shard| shard.nanos.load(Relaxed));
        let mut below = 0;
        let mut buckets = Vec::with_capacity(self.0.bounds.count());
        for (index, bound) in self.0.bounds.seconds().enumerate() {
            below += in_bucket(index);
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(below);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(below + in_bucket(self.0.bounds.count()));
        histogram.set_sample_sum(nanos as f64 / 1e9);
        histogram
    }
}

/// Histograms of one name, told apart by one label.
#[derive(Clone, Debug)]
pub(super) struct Histograms(Arc<Family>);

#[derive(Debug)]
struct Family {
    desc: Desc,
    label: &'static str,
    bounds: Exponents,
    members: Mutex<BTreeMap<Box<str>, Histogram>>,
}

impl Histograms {
    pub(super) fn new(
        name: &str,
        help: &str,
        label: &'static str,
        bounds: Exponents,
    ) -> Result<Histograms, prometheus::Error> {
        let labels = vec![label.to_owned()];
        Ok(Histograms(Arc::new(Family {
            desc: Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())?,
            label,
            bounds,
            members: Mutex::default(),
        })))
    }

    /// The histogram with this label value.
    pub(super) fn with(&self, value: &str) -> Histogram {
        let family = &*self.0;
        let mut members = family
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        members
            .entry(value.into())
            .or_insert_with(|| Histogram::new(family.bounds))
            .clone()
    }
}

impl Collector for Histograms {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let members = self
            .0
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let metrics = members.iter().map(|(value, histogram)| {
            let mut label = proto::LabelPair::default();
            label.set_name(self.0.label.to_owned());
            label.set_value(value.to_string());
            let mut metric = proto::Metric::from_label(vec![label]);
            metric.set_histogram(histogram.collect());
            metric
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

/// The shard of this thread: threads take turns.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Relaxed) % SHARDS);
        }
        mine.get()
    })
}

const SHARDS: usize = 8;
/// The most bounds of any [`Exponents`].
const MAX_BUCKETS: usize = 23;
const _: () = assert!(Exponents::STAGE.last - Exponents::STAGE.first < MAX_BUCKETS as u32);
const _: () = assert!(Exponents::UPSTREAM.last - Exponents::UPSTREAM.first < MAX_BUCKETS as u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_is_no_more_than_their_bound() {
        let bounds = Exponents::STAGE;
        for (nanos, bucket) in [
            (0, 0),
            (1, 0),
            (256, 0),
            (257, 1),
            (512, 1),
            (513, 2),
            (1 << 30, 22),
            ((1 << 30) + 1, 23),
            (u64::MAX, 23),
        ] {
            assert_eq!(bounds.bucket(nanos), bucket, "{nanos} ns");
        }
    }

    #[test]
    fn threads_add_up() {
        let histogram = Histogram::new(Exponents::STAGE);
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        histogram.observe(Duration::from_nanos(300));
                    }
                });
            }
        });
        let collected = histogram.collect();
        assert_eq!(collected.get_sample_count(), 16_000);
        assert!((collected.get_sample_sum() - 0.0048).abs() < 1e-9);
        let counts: Vec<u64> = collected
            .get_bucket()
            .iter()
            .map(|b| b.cumulative_count())
            .collect();
        assert_eq!(counts.first(), Some(&0));
        assert!(counts[1..].iter().all(|count| *count == 16_000));
    }
}
