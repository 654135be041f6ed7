//! A decision of the pure core, against the number of policies and the size of the body.
//!
//! `cargo bench --bench decide` measures each case with criterion, and at the end prints the ratios that DESIGN
//! 10 bounds. For these the two sides of a ratio take turns in short batches, and the median of the pairs'
//! ratios is printed: on a machine that others use, both sides get the same share of the noise.
//!
//! `same` asks for one call again and again, with everything it touches in the cache. `spread` asks for
//! 1,024 calls over the whole set in turn, which shows what memory costs when a set no longer fits into the cache.

#![expect(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and prints what it found; criterion's macro makes a function without documentation"
)]

#[path = "support/policies.rs"]
mod policies;

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group};
use policies::{Call, SHAPES, Shape};
use portcullis::policy::{Body, BodyFields, BodyPlan, PolicySet, Verdict};
use serde::de::IgnoredAny;

const COUNTS: [usize; 4] = [10, 1_000, 10_000, 100_000];
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// A set and the calls that are made of it in turn.
struct Case {
    set: PolicySet,
    calls: Vec<Call>,
    next: usize,
}

impl Case {
    fn new(shape: Shape, count: usize, body: bool, spread: bool) -> Case {
        let set = policies::load(shape.policies(count, body));
        let calls = if spread { 1_024 } else { 1 };
        let calls = (0..calls).map(|at| shape.call((at * 7_919 + count / 2) % count, body));
        Case {
            set,
            calls: calls.collect(),
            next: 0,
        }
    }

    fn call(&mut self) -> usize {
        self.next = if self.next + 1 < self.calls.len() {
            self.next + 1
        } else {
            0
        };
        self.next
    }

    fn decide(&mut self) {
        let at = self.call();
        let decision = self
            .set
            .decide(&black_box(&self.calls[at]).facts(), Body::Absent);
        assert!(matches!(decision.verdict, Verdict::Permit(_)));
    }

    /// As the proxy does it: candidates, then what they judge of the body, then the verdict.
    fn decide_body(&mut self, bytes: &[u8]) {
        let at = self.call();
        let considered = self.set.consider(&black_box(&self.calls[at]).facts());
        let BodyPlan::Json(projection) = considered.body_plan() else {
            panic!("the body is judged")
        };
        let fields = BodyFields::json(black_box(bytes), projection, 64).expect("a good body");
        let decision = considered.decide(Body::Fields(&fields));
        assert!(matches!(decision.verdict, Verdict::Permit(_)));
    }
}

fn ignore(bytes: &[u8]) {
    assert!(serde_json::from_slice::<IgnoredAny>(black_box(bytes)).is_ok());
}

fn counts(c: &mut Criterion) {
    for shape in SHAPES {
        for (name, spread) in [("same", false), ("spread", true)] {
            let mut group = c.benchmark_group(format!("decide/{}/{name}", shape.name()));
            for count in COUNTS {
                let mut case = Case::new(shape, count, false, spread);
                group.bench_function(count.to_string(), |b| b.iter(|| case.decide()));
            }
            group.finish();
        }
    }
}

fn bodies(c: &mut Criterion) {
    for size in SIZES {
        let bytes = policies::body(size);
        let mut group = c.benchmark_group(format!("body/{} bytes", bytes.len()));
        group.bench_function("ignored", |b| b.iter(|| ignore(&bytes)));
        for shape in SHAPES {
            for count in [10, 100_000] {
                let mut case = Case::new(shape, count, true, false);
                let name = format!("{}/{count}", shape.name());
                group.bench_function(name, |b| b.iter(|| case.decide_body(&bytes)));
            }
        }
        group.finish();
    }
}

/// The figures that DESIGN 10 bounds, each a ratio of two that were measured in turn.
fn ratios() {
    println!(
        "\nratio, median of pairs                          ns      baseline ns   ratio   budget"
    );
    for shape in SHAPES {
        for (name, spread) in [("same", false), ("spread", true)] {
            let mut few = Case::new(shape, 10, false, spread);
            let mut many = Case::new(shape, 100_000, false, spread);
            let what = format!("{} {name}, 100,000 policies to 10", shape.name());
            print(&what, pairs(|| many.decide(), || few.decide()), 1.2);
        }
    }
    for size in SIZES {
        let bytes = policies::body(size);
        for shape in SHAPES {
            let mut case = Case::new(shape, 100_000, true, false);
            let what = format!("{} body of {} to IgnoredAny", shape.name(), bytes.len());
            print(
                &what,
                pairs(|| case.decide_body(&bytes), || ignore(&bytes)),
                1.5,
            );
        }
    }
}

fn print(what: &str, (ours, base, ratio): (f64, f64, f64), budget: f64) {
    println!("{what:<44} {ours:>8.0} {base:>14.0} {ratio:>8.2} {budget:>8.1}");
}

/// Medians of both, and of the pairs' ratios.
fn pairs(mut ours: impl FnMut(), mut base: impl FnMut()) -> (f64, f64, f64) {
    let batch = |run: &mut dyn FnMut(), times: u32| {
        let started = Instant::now();
        (0..times).for_each(|_| run());
        started.elapsed().as_secs_f64() * 1e9 / f64::from(times)
    };
    let times = |run: &mut dyn FnMut()| ((2e6 / batch(run, 50)) as u32).clamp(20, 20_000);
    let (many, few) = (times(&mut ours), times(&mut base));
    let found: Vec<_> = (0..PAIRS)
        .map(|_| (batch(&mut ours, many), batch(&mut base, few)))
        .collect();
    let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = found.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    (median(&|p| p.0), median(&|p| p.1), median(&|p| p.0 / p.1))
}

/// Each pair takes about 4 ms.
const PAIRS: usize = 201;

criterion_group!(benches, counts, bodies);

fn main() {
    // Cargo passes `--bench`; `cargo test --benches` passes nothing, and wants a quick look only.
    if std::env::args().any(|argument| argument == "--ratios") {
        return ratios();
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
    if std::env::args().any(|argument| argument == "--bench") {
        ratios();
    }
}
