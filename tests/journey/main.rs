//! The journey over real sockets: each test starts a whole gateway on port 0, with its own policies, upstream,
//! keys and audit log, and asserts what the client got, what the upstream saw, and what is on record.

mod answers;
mod bodies;
mod connections;
mod harness;
mod lifecycle;
