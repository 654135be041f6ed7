//! `portcullis audit init`: the key that signs a log's checkpoints.
//!
//! The key goes to a file that only its owner may read, and is never shown. What is shown, the verifier key, belongs
//! with whoever checks the log: not on the machine that writes it.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::audit::note::Signer;
use crate::cli::{Exit, complain};

/// Make the key that signs a log's checkpoints.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log's name in its checkpoints, one for each node, such as example.com/portcullis/n1.
    name: String,
    /// The file to make. It must not be there yet.
    #[arg(long, default_value = "audit.key")]
    key: PathBuf,
}

/// Makes the key.
pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let signer = match Signer::generate(&args.name) {
        Ok(signer) => signer,
        Err(error) => {
            complain(&error.to_string());
            return Ok(Exit::Usage);
        }
    };
    let shown = args.key.display();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true) // a key that is overwritten leaves checkpoints that nobody can continue
        .mode(0o600)
        .open(&args.key);
    let kept = file.and_then(|mut file| {
        file.write_all(signer.to_text().as_bytes())?;
        file.sync_all()
    });
    if let Err(error) = kept {
        complain(&match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("{shown} is there already; a log goes on with the key that it has")
            }
            _ => format!("{shown}: {error}"),
        });
        return Ok(Exit::Usage);
    }
    writeln!(
        out,
        "The signing key is in {shown}. In the configuration:\n"
    )?;
    writeln!(out, "  audit:\n    checkpoints: {{ key: {shown} }}\n")?;
    writeln!(
        out,
        "Whoever checks the log needs the verifier key, kept elsewhere:\n"
    )?;
    writeln!(out, "  {}", signer.verifier())?;
    Ok(Exit::Fine)
}
