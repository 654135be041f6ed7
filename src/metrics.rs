//! Counters and times, in Prometheus' text format.
//!
//! Every label value is a name from the config or of a closed list, never something that a request brought:
//! the number of series is known once the config is. What lies on a request's way is resolved before, into
//! handles such as [`RouteMetrics`]; to count is then one atomic addition, to observe a time two, on a
//! shard that few threads share.
//!
//! Times are in seconds, sizes in bytes, and all names begin with `portcullis_`.

mod histogram;
mod ship;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::{AtomicI64, AtomicU64, GenericCounterVec, GenericGaugeVec};
use prometheus::{IntCounter, IntGauge, Opts, Registry, TextEncoder};

pub use self::histogram::Histogram;
use self::histogram::{Exponents, Histograms};
pub(crate) use self::ship::{ShipCounters, ShipMetrics};
use crate::audit::record::{Early, Stages};
use crate::policy::Reason;

/// All metrics of the process; a clone counts into the same.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: GenericCounterVec<AtomicU64>,
    routes: Mutex<HashMap<Box<str>, RouteMetrics>>,
    stages: [Histogram; Stage::ALL.len()],
    upstream_seconds: Histograms,
    upstream_ejected: GenericGaugeVec<AtomicI64>,
    upstream_connections: GenericGaugeVec<AtomicI64>,
    connections_open: GenericGaugeVec<AtomicI64>,
    connections_refused: IntCounter,
    streams_open: IntGauge,
    token_cache: GenericCounterVec<AtomicU64>,
    key_refresh: GenericCounterVec<AtomicU64>,
    audit: AuditMetrics,
    ship: ShipMetrics,
    policy_set: Mutex<Option<String>>,
    policy_set_info: GenericGaugeVec<AtomicI64>,
    policy_set_loaded: IntGauge,
    policies: IntGauge,
    reloads: GenericCounterVec<AtomicU64>,
    refused_early: Vec<IntCounter>,
}

/// A stage of a request's journey, for `stage_seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Making the canonical form.
    Normalise,
    /// Verifying who asks.
    Identify,
    /// Finding the live candidates.
    Match,
    /// Reading the judged body.
    Inspect,
    /// Deciding.
    Decide,
    /// Recording the decision.
    Record,
}

impl Stage {
    const ALL: [Stage; 6] = [
        Stage::Normalise,
        Stage::Identify,
        Stage::Match,
        Stage::Inspect,
        Stage::Decide,
        Stage::Record,
    ];

    const fn name(self) -> &'static str {
        match self {
            Stage::Normalise => "normalise",
            Stage::Identify => "identify",
            Stage::Match => "match",
            Stage::Inspect => "inspect",
            Stage::Decide => "decide",
            Stage::Record => "record",
        }
    }
}

impl Metrics {
    /// All metrics at zero, in a registry of their own.
    ///
    /// The error is a bug in the table of names below, which every test would show.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let on = Register(&registry);
        let stage_seconds = Histograms::new(
            "portcullis_stage_seconds",
            "Time in each stage of a request.",
            "stage",
            Exponents::STAGE,
        )?;
        registry.register(Box::new(stage_seconds.clone()))?;
        let upstream_seconds = Histograms::new(
            "portcullis_upstream_seconds",
            "Time from sending a request's head to the upstream until its response's head.",
            "upstream",
            Exponents::UPSTREAM,
        )?;
        registry.register(Box::new(upstream_seconds.clone()))?;
        let records = on.counters("audit_records_total", "Audit records.", &["kind"])?;
        let ship = ShipMetrics::new(&on)?;
        let refused_early = on.counters(
            "refused_early_total",
            "Refusals before identity that have no audit record of their own.",
            &["reason"],
        )?;
        Ok(Metrics(Arc::new(Inner {
            requests: on.counters(
                "requests_total",
                "Requests judged.",
                &["route", "verdict", "reason"],
            )?,
            routes: Mutex::default(),
            stages: Stage::ALL.map(|stage| stage_seconds.with(stage.name())),
            upstream_seconds,
            upstream_ejected: on.gauges(
                "upstream_ejected",
                "Workers for which the server rests after failures.",
                &["upstream", "address"],
            )?,
            upstream_connections: on.gauges(
                "upstream_connections",
                "Connections open to the server.",
                &["upstream", "address"],
            )?,
            connections_open: on.gauges(
                "connections_open",
                "Client connections open.",
                &["listener"],
            )?,
            connections_refused: on.counter(
                "connections_refused",
                "Client connections closed at once, because there were too many.",
            )?,
            streams_open: on.gauge("streams_open", "Requests under way.")?,
            token_cache: on.counters(
                "token_cache_total",
                "Look-ups of verified tokens.",
                &["result"],
            )?,
            key_refresh: on.counters(
                "key_refresh_total",
                "Fetches of a provider's keys.",
                &["provider", "result"],
            )?,
            audit: AuditMetrics {
                decisions: records.with_label_values(&["decision"]),
                outcomes: records.with_label_values(&["outcome"]),
                events: records.with_label_values(&["event"]),
                failures: on.counter(
                    "audit_failures_total",
                    "Writes to the audit sink, or rotations of it, that failed.",
                )?,
                queue: on.gauge("audit_queue", "Audit records not yet written.")?,
            },
            ship,
            policy_set: Mutex::default(),
            policy_set_info: on.gauges(
                "policy_set_info",
                "The policy set in force, by its digest.",
                &["digest"],
            )?,
            policy_set_loaded: on.gauge(
                "policy_set_loaded_timestamp_seconds",
                "When the policy set in force was loaded.",
            )?,
            policies: on.gauge("policies", "Policies in force.")?,
            reloads: on.counters(
                "reloads_total",
                "Reloads of the configuration.",
                &["result"],
            )?,
            refused_early: Early::all()
                .map(|cause| refused_early.with_label_values(&[cause.code()]))
                .collect(),
            registry,
        })))
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        // only an invalid registry fails to encode, and `new` refused that
        TextEncoder::new()
            .encode_to_string(&self.0.registry.gather())
            .unwrap_or_default()
    }

    /// The counters of a route; `""` where no route matched.
    pub fn route(&self, name: &str) -> RouteMetrics {
        let mut routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = routes.get(name) {
            return route.clone();
        }
        let route = RouteMetrics(Arc::new(RouteCounters {
            name: name.into(),
            requests: self.0.requests.clone(),
            permitted: Default::default(),
            denied: Default::default(),
        }));
        routes.insert(name.into(), route.clone());
        route
    }

    /// Observes the time of one stage.
    pub fn stage(&self, stage: Stage, time: Duration) {
        if let Some(histogram) = self.0.stages.get(stage as usize) {
            histogram.observe(time);
        }
    }

    /// Observes the stages of a decision. One that took no time was passed over.
    pub fn stages(&self, stages: &Stages) {
        for (stage, time) in [
            (Stage::Normalise, stages.normalise),
            (Stage::Identify, stages.identify),
            (Stage::Match, stages.r#match),
            (Stage::Inspect, stages.inspect),
            (Stage::Decide, stages.decide),
        ] {
            if !time.is_zero() {
                self.stage(stage, time);
            }
        }
    }

    /// The time that an upstream takes to the head of its response.
    pub fn upstream_seconds(&self, upstream: &str) -> Histogram {
        self.0.upstream_seconds.with(upstream)
    }

    /// The gauges of one server of an upstream.
    pub fn upstream_address(&self, upstream: &str, address: &str) -> AddressMetrics {
        let labels = [upstream, address];
        AddressMetrics {
            ejected: self.0.upstream_ejected.with_label_values(&labels),
            connections: self.0.upstream_connections.with_label_values(&labels),
        }
    }

    /// Connections open on a listener.
    pub fn connections_open(&self, listener: &str) -> IntGauge {
        self.0.connections_open.with_label_values(&[listener])
    }

    /// Connections closed at once, because there were too many.
    pub fn connections_refused(&self) -> &IntCounter {
        &self.0.connections_refused
    }

    /// Requests under way.
    pub fn streams_open(&self) -> &IntGauge {
        &self.0.streams_open
    }

    /// Look-ups of verified tokens: (found, not found).
    pub fn token_cache(&self) -> (IntCounter, IntCounter) {
        let of = |result| self.0.token_cache.with_label_values(&[result]);
        (of("hit"), of("miss"))
    }

    /// Counts a fetch of a provider's keys.
    pub fn key_refresh(&self, provider: &str, ok: bool) {
        self.0
            .key_refresh
            .with_label_values(&[provider, result(ok)])
            .inc();
    }

    /// The policy set that is in force from now on.
    pub fn policy_set_loaded(&self, digest: &str, policies: usize, at: Timestamp) {
        let info = &self.0.policy_set_info;
        let mut current = self
            .0
            .policy_set
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        info.with_label_values(&[digest]).set(1);
        if let Some(old) = current.replace(digest.to_owned())
            && old != digest
        {
            // it was there, or it wasn't: either is what is wanted
            let _ = info.remove_label_values(&[old.as_str()]);
        }
        self.0.policy_set_loaded.set(at.as_second());
        self.0
            .policies
            .set(i64::try_from(policies).unwrap_or(i64::MAX));
    }

    /// Counts a reload.
    pub fn reload(&self, ok: bool) {
        self.0.reloads.with_label_values(&[result(ok)]).inc();
    }

    /// Counts a refusal that has no record of its own.
    pub fn refused_early(&self, cause: Early) {
        if let Some(counter) = self.0.refused_early.get(cause.index()) {
            counter.inc();
        }
    }

    /// What the audit writer counts.
    pub(crate) fn audit(&self) -> &AuditMetrics {
        &self.0.audit
    }

    /// What the shipping thread counts.
    pub(crate) fn ship(&self) -> &ShipMetrics {
        &self.0.ship
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(…)")
    }
}

/// Requests of one route, by verdict and reason. A series exists once it has counted something.
#[derive(Clone)]
pub struct RouteMetrics(Arc<RouteCounters>);

struct RouteCounters {
    name: Box<str>,
    requests: GenericCounterVec<AtomicU64>,
    permitted: [OnceLock<IntCounter>; 1 + Reason::ALL.len()],
    denied: [OnceLock<IntCounter>; Reason::ALL.len()],
}

impl RouteMetrics {
    /// A request was permitted and answered by the upstream.
    pub fn permitted(&self) {
        self.count(self.0.permitted.first(), "permit", "");
    }

    /// A request was permitted, and failed for this reason all the same (`upstream_failed`, say).
    pub fn failed(&self, reason: Reason) {
        self.count(
            self.0.permitted.get(1 + reason as usize),
            "permit",
            reason.code(),
        );
    }

    /// A request was denied.
    pub fn denied(&self, reason: Reason) {
        self.count(self.0.denied.get(reason as usize), "deny", reason.code());
    }

    fn count(&self, counter: Option<&OnceLock<IntCounter>>, verdict: &str, reason: &str) {
        if let Some(counter) = counter {
            counter
                .get_or_init(|| {
                    let labels = [&*self.0.name, verdict, reason];
                    self.0.requests.with_label_values(&labels)
                })
                .inc();
        }
    }
}

impl fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouteMetrics").field(&self.0.name).finish()
    }
}

/// The gauges of one server of an upstream.
#[derive(Clone, Debug)]
pub struct AddressMetrics {
    /// 1 while it rests after failures.
    pub ejected: IntGauge,
    /// Connections open to it.
    pub connections: IntGauge,
}

/// What the audit writer counts.
#[derive(Clone, Debug)]
pub(crate) struct AuditMetrics {
    pub(crate) decisions: IntCounter,
    pub(crate) outcomes: IntCounter,
    pub(crate) events: IntCounter,
    pub(crate) failures: IntCounter,
    pub(crate) queue: IntGauge,
}

fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

/// Makes metrics and registers them.
struct Register<'r>(&'r Registry);

impl Register<'_> {
    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GenericCounterVec<AtomicU64>, prometheus::Error> {
        self.add(GenericCounterVec::new(opts(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(opts(name, help))?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GenericGaugeVec<AtomicI64>, prometheus::Error> {
        self.add(GenericGaugeVec::new(opts(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(opts(name, help))?)
    }

    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        collector: C,
    ) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("portcullis")
}

#[cfg(test)]
mod tests;
