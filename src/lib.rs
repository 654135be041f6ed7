//! Portcullis.
pub mod admin;
pub mod audit;
pub mod config;
pub mod metrics;
pub mod policy;
pub mod proxy;
pub mod schema;
pub mod yaml;
