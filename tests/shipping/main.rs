//! Shipping over OTLP/HTTP, against a receiver of its own: over real sockets, from real files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on should say where, and a test binary has no API"
)]

mod files;
mod gateway;
mod log;
mod messages;
mod receiver;
mod tls;
mod trouble;

use std::time::Duration;

use portcullis::config::{Audit, Config, Ship};
use portcullis::metrics::Metrics;
use portcullis::ship::Shipper;

use log::Log;
use receiver::{PATIENCE, Receiver};

/// The section that ships to this receiver, in no time.
fn section(receiver: &Receiver) -> Ship {
    Ship {
        endpoint: format!("http://{}/", receiver.address).parse().unwrap(),
        headers: Vec::new(),
        tls: None,
        logs: true,
        traces: true,
        every: Duration::from_millis(10),
        batch: 512,
        timeout: PATIENCE,
        gzip: true,
    }
}

/// A shipper, and what it counts.
struct Running {
    shipper: Option<Shipper>,
    metrics: Metrics,
}

fn ship(log: &Log, receiver: &Receiver) -> Running {
    ship_by(log, section(receiver))
}

fn ship_by(log: &Log, ship: Ship) -> Running {
    let mut audit = audit(log, "off");
    audit.ship = Some(ship);
    start(&audit)
}

/// The section that a configuration makes of this.
fn audit(log: &Log, ship: &str) -> Audit {
    let text = "
        version: 1
        listeners: [{ address: 127.0.0.1:0 }]
        routes: [{ upstream: api }]
        upstreams: { api: { addresses: http://127.0.0.1:9 } }
        policies: policy.yaml
        audit: { to: audit.jsonl, node: n1, ship: SHIP }
    ";
    let folder = log.path.parent().unwrap();
    std::fs::write(folder.join("policy.yaml"), "").unwrap();
    let no_variables = |_: &str| None;
    let text = text.replace("SHIP", ship);
    let config = Config::from_text("c.yaml", &text, folder, &no_variables);
    config.unwrap().audit
}

fn start(audit: &Audit) -> Running {
    let metrics = Metrics::new().unwrap();
    let shipper = Shipper::start(audit, &metrics).unwrap();
    assert!(shipper.is_some());
    Running { shipper, metrics }
}

impl Running {
    /// Stops in order.
    fn finish(mut self) -> Metrics {
        self.shipper.take().unwrap().finish();
        self.metrics
    }

    /// Stops as a crash would.
    fn kill(mut self) -> Metrics {
        drop(self.shipper.take());
        self.metrics
    }

    fn counts(&self, line: &str) {
        let end = std::time::Instant::now() + PATIENCE;
        while !self.metrics.text().lines().any(|l| l == line) {
            assert!(
                std::time::Instant::now() < end,
                "{line} is not in\n{}",
                self.metrics.text()
            );
            std::thread::yield_now();
        }
    }
}

fn counted(metrics: &Metrics, lines: &[&str]) {
    let text = metrics.text();
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "{line} is not in\n{text}");
    }
}
