//! The journey of a request, and back.

pub mod forward;
pub mod relay;
pub mod streams;
#[cfg(test)]
mod testing;
pub mod tunnel;
pub mod upstream;
