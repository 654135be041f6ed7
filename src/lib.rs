//! Portcullis.
pub mod config;
pub mod policy;
pub mod proxy;
pub mod yaml;
