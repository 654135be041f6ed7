//! Shipping over OTLP/HTTP, against a receiver of its own: over real sockets, from real files.

mod files;
mod log;
mod messages;
mod receiver;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use portcullis::config::{Audit, AuditTarget, Durability, Ship};
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
    let audit = Audit {
        to: AuditTarget::File(log.path.clone()),
        durability: Durability::Written,
        rotate_at: None,
        keep: 8,
        queue: 64,
        refusals_per_second: 100,
        node: Arc::from("n1"),
        ship: Some(ship),
    };
    let metrics = Metrics::new().unwrap();
    let shipper = Shipper::start(&audit, &metrics).unwrap();
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
