//! What the admin listener shows of the running proxy.

use std::sync::Arc;

use crate::admin::AdminView;
use crate::proxy::worker::{Phase, Shared};

pub(super) struct View(pub(super) Arc<Shared>);

impl AdminView for View {
    fn ready(&self) -> Vec<String> {
        let snapshot = self.0.snapshot();
        let checks = [
            ("keys", snapshot.identifier.ready()),
            ("audit", self.0.audit.healthy()),
            ("policies", !snapshot.policies.is_empty()),
            ("draining", *self.0.phase.borrow() == Phase::Serving),
        ];
        let missing = checks.into_iter().filter(|(_, fine)| !fine);
        missing.map(|(name, _)| name.to_owned()).collect()
    }

    fn policies(&self) -> serde_json::Value {
        let snapshot = self.0.snapshot();
        let policies = snapshot.policies.summaries().map(|policy| {
            serde_json::json!({
                "id": policy.id,
                "effect": policy.effect.name(),
                "mode": policy.mode.name(),
                "about": policy.about,
            })
        });
        serde_json::json!({
            "digest": snapshot.policies.digest(),
            "count": snapshot.policies.len(),
            "loaded_at": snapshot.loaded_at.to_string(),
            "policies": policies.collect::<Vec<_>>(),
        })
    }

    fn metrics(&self) -> String {
        self.0.metrics.text()
    }
}
