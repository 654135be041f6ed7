//! Makes a key and a token for benches and endurance runs.
//!
//! `cargo run --release --example issuer -- FOLDER` writes `jwks.json` and `token` there. The token is good for an
//! hour, and its key is gone when this ends.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a tool for benches fails by panicking"
)]

#[path = "../benches/support/issuer.rs"]
mod issuer;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or(".".to_owned());
    let folder = std::path::Path::new(&folder);
    let issued = issuer::issue();
    std::fs::write(folder.join("jwks.json"), issued.jwks)?;
    std::fs::write(folder.join("token"), issued.token)
}
