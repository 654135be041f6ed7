//! The journey of a request.

pub mod identify;
