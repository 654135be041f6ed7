//! Who hears of keys, tokens and upstreams: the metrics, the audit record and the log.

use std::borrow::Cow;

use prometheus::IntCounter;

use crate::audit::Audit;
use crate::audit::record::Event;
use crate::metrics::Metrics;
use crate::proxy::identify::KeyObserver;
use crate::proxy::upstream::UpstreamObserver;

/// The one observer of the process.
#[derive(Debug)]
pub(crate) struct Observer {
    metrics: Metrics,
    audit: Audit,
    hits: IntCounter,
    misses: IntCounter,
}

impl Observer {
    pub(crate) fn new(metrics: Metrics, audit: Audit) -> Observer {
        let (hits, misses) = metrics.token_cache();
        Observer {
            metrics,
            audit,
            hits,
            misses,
        }
    }
}

impl KeyObserver for Observer {
    fn key_refresh(&self, provider: &str, ok: bool) {
        self.metrics.key_refresh(provider, ok);
        if !ok {
            tracing::warn!(provider, "a provider's keys could not be fetched");
        }
    }

    fn key_change(&self, provider: &str, keys: usize) {
        tracing::info!(provider, keys, "a provider's keys changed");
        let event = Event::KeyChange {
            provider: Cow::Borrowed(provider),
            keys: keys as u64,
        };
        if let Err(error) = self.audit.event(&event) {
            tracing::error!(%error, "a key change could not be recorded");
        }
    }

    fn token_cache(&self, hit: bool) {
        if hit {
            self.hits.inc();
        } else {
            self.misses.inc();
        }
    }
}

impl UpstreamObserver for Observer {
    fn ejected(&self, upstream: &str, address: &str, out: bool) {
        let metrics = self.metrics.upstream_address(upstream, address);
        if out {
            metrics.ejected.inc();
            tracing::warn!(upstream, address, "a server rests after failures");
        } else {
            metrics.ejected.dec();
            tracing::info!(upstream, address, "a server is tried again");
        }
    }

    fn connection(&self, upstream: &str, address: &str, open: bool) {
        let metrics = self.metrics.upstream_address(upstream, address);
        if open {
            metrics.connections.inc();
        } else {
            metrics.connections.dec();
        }
    }

    fn answered(&self, upstream: &str, seconds: f64) {
        self.metrics
            .upstream_seconds(upstream)
            .observe(std::time::Duration::from_secs_f64(seconds.max(0.0)));
    }
}
