//! Faults around the gateway, over real sockets and against the real process: upstreams, issuers, disks, clocks, files and
//! signals that misbehave. Whatever happened, each test ends in [`world::World::holds`]: the process serves, nothing
//! has leaked, and the records are whole.
//!
//! What takes root, `unshare` or libfaketime is passed over where that isn't there, and says so. The long run is
//! `tests/endurance/run soak`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test that can't go on should say where, and a test binary has no API"
)]

#[path = "faults/auditor.rs"]
mod auditor;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/ends.rs"]
mod ends;
#[path = "faults/files.rs"]
mod files;
#[path = "support/folder.rs"]
mod folder;
#[path = "faults/keys.rs"]
mod keys;
#[path = "faults/names.rs"]
mod names;
#[path = "faults/program.rs"]
mod program;
#[path = "faults/server.rs"]
mod server;
#[path = "faults/upstreams.rs"]
mod upstreams;
#[path = "faults/world.rs"]
mod world;
