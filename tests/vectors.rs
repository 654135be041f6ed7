//! Cases that nobody here wrote, against the policy core: JSONTestSuite's documents and WHATWG's URLs.
//!
//! They lie in `../shared/vectors`, or where `PORTCULLIS_VECTORS` points; where they don't, a test says so and
//! passes over them. Each suite prints a line of figures and asserts floors, so that a gateway that refuses all
//! fails as well. The suites that need more than the core stand where that is: requests (llhttp) in
//! `tests/journey/suites.rs`, signatures (Wycheproof) and certificates (SPIFFE) in `src/proxy/identify/tests/vectors.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking and tells its figures"
)]

#[path = "vectors/json.rs"]
mod json;
#[path = "vectors/url.rs"]
mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The folder of a suite, or `None` after it was said that it isn't there.
pub fn folder(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("PORTCULLIS_VECTORS").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors"));
    let folder = named.unwrap_or_else(beside).join(name);
    if !folder.is_dir() {
        eprintln!("{name}: no vectors at {}, passed over", folder.display());
        return None;
    }
    Some(folder)
}

/// What became of a suite's cases.
#[derive(Default)]
pub struct Figures {
    /// Cases that were accepted.
    pub accepted: usize,
    /// Cases that were refused.
    pub refused: usize,
    /// Cases that the suite doesn't decide here, by reason.
    pub passed_over: BTreeMap<&'static str, usize>,
}

impl Figures {
    /// Counts a case by its outcome.
    pub fn count(&mut self, accepted: bool) {
        if accepted {
            self.accepted += 1;
        } else {
            self.refused += 1;
        }
    }

    /// Counts a case that isn't decided here.
    pub fn pass_over(&mut self, why: &'static str) {
        *self.passed_over.entry(why).or_default() += 1;
    }

    /// Prints the line, and asserts the floors.
    pub fn tell(&self, suite: &str, least_accepted: usize, least_refused: usize) {
        let over: usize = self.passed_over.values().sum();
        let all = self.accepted + self.refused + over;
        let why: Vec<String> = self
            .passed_over
            .iter()
            .map(|(why, n)| format!("{n} {why}"))
            .collect();
        let Figures {
            accepted, refused, ..
        } = self;
        eprintln!(
            "{suite}: {all} cases, {accepted} accepted, {refused} refused, {over} passed over ({})",
            why.join(", ")
        );
        assert!(*accepted >= least_accepted, "{suite}: {accepted} accepted");
        assert!(*refused >= least_refused, "{suite}: {refused} refused");
    }
}
