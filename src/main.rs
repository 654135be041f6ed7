//! The program: arguments in, exit code out.

use std::process::ExitCode;

/// Requests are many small pieces that live and die on one thread, which the system's allocator takes a tenth of their
/// time for (benches/README.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::run(std::env::args_os())
}
