//! The journey over real sockets: each test starts a whole gateway on port 0, with its own policies, upstream,
//! keys and audit log, and asserts what the client got, what the upstream saw, and what is on record.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    unreachable_pub,
    reason = "a test that can't go on should say where, and a test binary has no API"
)]

mod answers;
mod bodies;
mod connections;
mod credentials;
#[path = "../support/folder.rs"]
mod folder;
mod framing;
mod harness;
mod hostile;
mod hostile_identity;
mod lifecycle;
mod pki;
mod process;
mod records;
mod secrets;
mod streams;
mod suites;
mod tls;
mod tunnels;
mod upstreams;
