//! `portcullis audit prove`: one record with the proof that it is in the signed log, and the check of such a file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::verify::read_key;
use crate::audit::note::{Checkpoint, Verifier};
use crate::audit::proof::{Proof, ProofError, Wanted, prove, prove_log};
use crate::audit::read::{Record, describe};
use crate::audit::verify::Trusted;
use crate::cli::{Exit, Paint, colours, complain};

/// Prove that a record is in a signed log, in a file that can be checked alone (C2SP tlog-proof).
///
/// The proof goes to standard output; keep it as `.tlog-proof`. `--check` reads such a file and needs nothing else but
/// the key. Exit code 0: proven; 1: not; 2: it can't be read.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["id", "seq", "check"])))]
pub(super) struct Args {
    /// The log: one file stands for itself and its closed ones beside it, several for exactly these.
    #[arg(default_value = "audit.jsonl", conflicts_with = "check")]
    files: Vec<PathBuf>,
    /// The record by its decision's id.
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// Which record of that id.
    #[arg(long, value_enum, default_value = "decision", requires = "id")]
    kind: Kind,
    /// The record by its number.
    #[arg(long, value_name = "N")]
    seq: Option<u64>,
    /// Check this proof.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// The verifier key as `portcullis audit init` showed it, or @ and a file that holds it.
    #[arg(long, value_name = "VKEY|@FILE")]
    key: String,
    /// The signed checkpoints that were kept of the log.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "audit.checkpoints",
        conflicts_with = "check"
    )]
    checkpoints: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Decision,
    Outcome,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let key = match read_key(&args.key) {
        Ok(key) => key,
        Err(why) => {
            complain(&why);
            return Ok(Exit::Usage);
        }
    };
    match &args.check {
        Some(file) => check(file, &key, out),
        None => make(args, &key, out),
    }
}

fn make(args: &Args, key: &Verifier, out: &mut impl Write) -> io::Result<Exit> {
    let wanted = match (args.id, args.kind, args.seq) {
        (Some(id), Kind::Decision, _) => Wanted::Decision(id),
        (Some(id), Kind::Outcome, _) => Wanted::Outcome(id),
        (None, _, seq) => Wanted::Seq(seq.unwrap_or_default()),
    };
    let trusted = Trusted {
        key,
        checkpoints: &args.checkpoints,
    };
    let proven = match args.files.as_slice() {
        [log] => prove_log(log, wanted, trusted),
        files => prove(files, wanted, trusted),
    };
    match proven {
        Ok(proof) => {
            write!(out, "{proof}")?;
            Ok(Exit::Fine)
        }
        Err(error) => Ok(refuse(&error)),
    }
}

fn check(file: &Path, key: &Verifier, out: &mut impl Write) -> io::Result<Exit> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(PROOF_BYTES).read_to_string(&mut text));
    if let Err(error) = read {
        complain(&format!("{}: {error}", file.display()));
        return Ok(match error.kind() {
            // a byte that can't be in a proof
            io::ErrorKind::InvalidData => Exit::Found,
            _ => Exit::Usage,
        });
    }
    let proof = Proof::parse(&text);
    match proof.and_then(|proof| proof.verify(key).map(|checkpoint| (proof, checkpoint))) {
        Ok((proof, checkpoint)) => {
            tell(&proof, &checkpoint, out)?;
            Ok(Exit::Fine)
        }
        Err(error) => Ok(refuse(&error)),
    }
}

fn tell(proof: &Proof, checkpoint: &Checkpoint, out: &mut impl Write) -> io::Result<()> {
    let record = std::str::from_utf8(&proof.line)
        .ok()
        .and_then(|line| Record::parse(line).ok());
    let paint = Paint(colours());
    match record {
        Some(record) => {
            let envelope = record.envelope();
            writeln!(out, "{}", describe(&record))?;
            let node = envelope.node.escape_debug();
            write!(
                out,
                "{} record {} of node {node}",
                paint.green("proven"),
                envelope.seq
            )?;
        }
        None => write!(
            out,
            "{} a record that this program can't read",
            paint.green("proven")
        )?,
    }
    let place = proof.index + 1;
    let Checkpoint { origin, size, .. } = checkpoint;
    writeln!(
        out,
        " is the {place}. of the {size} records that a checkpoint of {origin} signs"
    )
}

fn refuse(error: &ProofError) -> Exit {
    complain(&error.to_string());
    match error {
        ProofError::Read(_) => Exit::Usage,
        ProofError::NoRecord
        | ProofError::NotSigned(_)
        | ProofError::OtherLog
        | ProofError::Malformed(_)
        | ProofError::Checkpoint(_)
        | ProofError::OtherOrigin
        | ProofError::NotIncluded => Exit::Found,
    }
}

/// No proof is longer.
const PROOF_BYTES: u64 = 64 << 20;
