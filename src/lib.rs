//! Portcullis: a reverse proxy that lets an AI agent, or any other non-human identity, do exactly what was
//! approved, and records every decision before a request leaves.
//!
//! A request's journey is [`proxy::handle`], and its steps are listed in [`proxy`]. What it is judged by is
//! [`policy`], a pure core without I/O. Around them:
//!
//! - [`app`] composes the whole from a [`config::Config`] and hands back its addresses; [`reload`] and
//!   [`shutdown`] are the rest of its life.
//! - [`audit`] keeps the record, [`ship`] sends it on, [`metrics`] counts, [`admin`] shows.
//! - [`cli`] is the command line, [`sources`] finds the policy files, [`schema`] describes them to editors, and
//!   [`yaml`] reads them.

// Tests share code that names the library from outside.
#[cfg(test)]
extern crate self as portcullis;

pub mod admin;
pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod metrics;
pub mod policy;
pub mod proxy;
pub mod reload;
pub mod schema;
pub mod ship;
pub mod shutdown;
pub mod sources;
pub mod yaml;
