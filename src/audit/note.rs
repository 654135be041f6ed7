//! Signed checkpoints: C2SP tlog-checkpoint in C2SP signed-note, with Ed25519 (RFC 8032).
//!
//! A checkpoint says how many records a log had and what the root of their tree was, and is signed under the log's
//! name. Whoever keeps one of them, anywhere, can tell later whether the log still holds those records.
//!
//! What is read is taken to the letter: numbers without zeros before them, canonical base64, no control characters.
//! Deliberately absent: other kinds of signatures, which a reader passes over (signed-note, "Signatures").

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::encode::hex_of;
use super::tree::{Hash, sha256};

/// The state of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// The root of their tree.
    pub root: Hash,
}

/// Why a text is no key, note or checkpoint that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// No signing key.
    #[error(
        "not a signing key: expected `PRIVATE+KEY+<name>+<id>+<base64>`, as `portcullis audit init` writes it"
    )]
    SigningKey,
    /// No verifier key.
    #[error(
        "not a verifier key: expected `<name>+<id>+<base64>`, as `portcullis audit init` prints it"
    )]
    VerifierKey,
    /// The key's name can't be one.
    #[error(
        "not a key name: expected 1 to 200 characters without blanks, `+` or control characters, such as example.com/portcullis/n1"
    )]
    Name,
    /// No signed note.
    #[error("not a signed note")]
    Note,
    /// A note that this key didn't sign.
    #[error("signed by another key")]
    OtherKey,
    /// A signature under this key's name and id that isn't its.
    #[error("the signature is not valid")]
    Signature,
    /// A signed text that is no checkpoint.
    #[error("not a checkpoint")]
    Checkpoint,
    /// Ours: the system gave no key.
    #[error("no key could be made")]
    Generate,
}

/// The key that signs a log's checkpoints.
pub struct Signer {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
    verifier: Verifier,
}

/// What a log's checkpoints are verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl Signer {
    /// A new key of this name.
    pub fn generate(name: &str) -> Result<Signer, NoteError> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| NoteError::Generate)?;
        Signer::from_seed(name, seed)
    }

    /// Reads what [`to_text`](Self::to_text) gave.
    pub fn parse(text: &str) -> Result<Signer, NoteError> {
        let parts = text.trim_end_matches('\n').strip_prefix(PRIVATE);
        let (name, id, seed) = parts.and_then(key_parts).ok_or(NoteError::SigningKey)?;
        let signer = Signer::from_seed(name, seed)?;
        (signer.verifier.id == id)
            .then_some(signer)
            .ok_or(NoteError::SigningKey)
    }

    fn from_seed(name: &str, seed: [u8; 32]) -> Result<Signer, NoteError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoteError::SigningKey)?;
        let public = pair.public_key().as_ref().try_into();
        let verifier = Verifier::new(name, public.map_err(|_| NoteError::SigningKey)?)?;
        Ok(Signer {
            seed,
            pair,
            verifier,
        })
    }

    /// The key as text, secret, with its line feed.
    pub fn to_text(&self) -> String {
        let Verifier { name, id, .. } = &self.verifier;
        format!(
            "{PRIVATE}{name}+{}+{}\n",
            hex_of(id),
            key_base64(&self.seed)
        )
    }

    /// What verifies its signatures.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The checkpoint of a log of this key's name, signed.
    pub fn sign(&self, size: u64, root: Hash) -> String {
        let Verifier { name, id, .. } = &self.verifier;
        let mut note = Checkpoint {
            origin: name.clone(),
            size,
            root,
        }
        .to_string();
        let mut signature = id.to_vec();
        signature.extend_from_slice(self.pair.sign(note.as_bytes()).as_ref());
        note.push_str(&format!("\n{DASH}{name} {}\n", STANDARD.encode(signature)));
        note
    }
}

/// Says nothing of the secret.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    fn new(name: &str, public: [u8; 32]) -> Result<Verifier, NoteError> {
        let long = name.is_empty() || name.len() > NAME_BYTES;
        if long
            || name
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || c == '+')
        {
            return Err(NoteError::Name);
        }
        let text = [name.as_bytes(), b"\n", &[KIND_ED25519], &public].concat();
        let [a, b, c, d, ..] = sha256(&text);
        Ok(Verifier {
            name: name.to_owned(),
            id: [a, b, c, d],
            public,
        })
    }

    /// Reads a verifier key as [`Display`](fmt::Display) writes it.
    pub fn parse(text: &str) -> Result<Verifier, NoteError> {
        let (name, id, public) =
            key_parts(text.trim_end_matches('\n')).ok_or(NoteError::VerifierKey)?;
        let verifier = Verifier::new(name, public)?;
        (verifier.id == id)
            .then_some(verifier)
            .ok_or(NoteError::VerifierKey)
    }

    /// The name of key and log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this may be the beginning of a checkpoint under this key's name.
    pub(super) fn begins(&self, half: &str) -> bool {
        let line = format!("{}\n", self.name);
        half.len() <= HALF_BYTES && (half.starts_with(&line) || line.starts_with(half))
    }

    /// The checkpoint of a note, if this key signed it.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(NoteError::Note);
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Note)?;
        let text = note.get(..=text.len()).ok_or(NoteError::Note)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Note)?;
        let mut ours = false;
        for line in signatures.split('\n').take(MAX_SIGNATURES) {
            let signature = line
                .strip_prefix(DASH)
                .and_then(|line| line.split_once(' '));
            let (name, signature) = signature.ok_or(NoteError::Note)?;
            let signature = STANDARD.decode(signature).map_err(|_| NoteError::Note)?;
            let (id, signature) = signature.split_first_chunk::<4>().ok_or(NoteError::Note)?;
            if name == self.name && *id == self.id {
                UnparsedPublicKey::new(&ED25519, &self.public)
                    .verify(text.as_bytes(), signature)
                    .map_err(|_| NoteError::Signature)?;
                ours = true;
            }
        }
        if !ours {
            return Err(NoteError::OtherKey);
        }
        text.parse()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex_of(&self.id),
            key_base64(&self.public)
        )
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )
    }
}

impl std::str::FromStr for Checkpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Checkpoint, NoteError> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            // further lines are extensions
            if origin.is_empty() || lines.any(str::is_empty) {
                return None;
            }
            let number: u64 = size.parse().ok()?;
            Some(Checkpoint {
                origin: origin.to_owned(),
                size: (number.to_string() == size).then_some(number)?,
                root: STANDARD.decode(root).ok()?.try_into().ok()?,
            })
        };
        read().ok_or(NoteError::Checkpoint)
    }
}

/// The notes of a file to which one after another was appended, each followed by an empty line. What follows the last
/// whole note is half of one that a crash left, and no note.
pub fn notes(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // the line feed that ends a note, and the empty line after it
        let signature = rest.find("\n\n\u{2014} ")? + 2;
        let end = signature + rest.get(signature..)?.find("\n\n")?;
        let note = rest.get(..=end)?;
        rest = rest.get(end + 2..)?;
        Some(note)
    })
}

/// Name, id and the 32 bytes of an Ed25519 key.
fn key_parts(text: &str) -> Option<(&str, [u8; 4], [u8; 32])> {
    let mut parts = text.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let number = u32::from_str_radix(id, 16).ok()?;
    let key = STANDARD.decode(key).ok()?;
    let (kind, key) = key.split_first()?;
    let fits = *kind == KIND_ED25519 && hex_of(&number.to_be_bytes()) == id;
    fits.then_some((name, number.to_be_bytes(), key.try_into().ok()?))
}

fn key_base64(key: &[u8; 32]) -> String {
    STANDARD.encode([&[KIND_ED25519][..], key].concat())
}

const PRIVATE: &str = "PRIVATE+KEY+";
/// The signature type of Ed25519.
const KIND_ED25519: u8 = 1;
const DASH: &str = "\u{2014} ";
const NAME_BYTES: usize = 200;
const MAX_SIGNATURES: usize = 64;
/// Longer than any checkpoint that is written here.
const HALF_BYTES: usize = 1024;

#[cfg(test)]
mod tests;
