//! Portcullis.
pub mod config;
pub mod policy;
pub mod schema;
pub mod proxy;
pub mod yaml;
