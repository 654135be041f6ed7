//! Everything that a client controls is bounded: time, memory, file descriptors, records. Each test starts the program
//! itself, attacks it over real sockets, and ends with the same questions (`World::close`): does it still serve, are
//! its file descriptors and its memory back, is no connection left, is every record whole.
//!
//! Timing never decides: timeouts are configured small, and a test waits for what must come. `PORTCULLIS_BIN` names
//! another binary to attack than the one that was built with the tests.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test that can't go on should say where, a test binary has no API, and figures are shown by --nocapture"
)]

#[path = "bounds/aborts.rs"]
mod aborts;
#[path = "bounds/bodies.rs"]
mod bodies;
#[path = "bounds/connections.rs"]
mod connections;
#[path = "bounds/cost.rs"]
mod cost;
#[path = "bounds/descriptors.rs"]
mod descriptors;
#[path = "bounds/floods.rs"]
mod floods;
#[path = "support/folder.rs"]
mod folder;
#[path = "bounds/frames.rs"]
mod frames;
#[path = "bounds/heads.rs"]
mod heads;
#[path = "bounds/identity.rs"]
mod identity;
#[path = "bounds/readers.rs"]
mod readers;
#[path = "bounds/slow.rs"]
mod slow;
#[path = "bounds/upstream.rs"]
mod upstream;
#[path = "bounds/world.rs"]
mod world;
