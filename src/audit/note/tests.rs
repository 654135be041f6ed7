//! Keys, notes and checkpoints, good and bent.

use super::*;

/// The example of signed-note's specification.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn signer() -> Signer {
    Signer::from_seed("example.com/log", [7; 32]).unwrap()
}

#[test]
fn the_specification_s_example_is_verified() {
    let verifier = Verifier::parse(VKEY).unwrap();
    assert_eq!(verifier.to_string(), VKEY);
    // its signature counts, and then it is no checkpoint
    assert_eq!(verifier.open(NOTE), Err(NoteError::Checkpoint));
    let changed = NOTE.replace("example m", "Example m");
    assert_eq!(verifier.open(&changed), Err(NoteError::Signature));
}

#[test]
fn what_is_signed_is_read_back() {
    let (signer, root) = (signer(), [9; 32]);
    let note = signer.sign(42, root);
    let verifier = Verifier::parse(&signer.verifier().to_string()).unwrap();
    let checkpoint = verifier.open(&note).unwrap();
    assert_eq!((checkpoint.size, checkpoint.root), (42, root));
    assert_eq!(checkpoint.origin, "example.com/log");
    let again = Signer::parse(&signer.to_text()).unwrap();
    assert_eq!(again.sign(42, root), note);
    assert_eq!(format!("{signer:?}").find(&key_base64(&[7; 32])), None);
}

#[test]
fn a_note_that_was_bent_anywhere_does_not_count() {
    let note = signer().sign(42, [9; 32]);
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(bent) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(signer().verifier().open(&bent).is_err(), "{bent}");
        }
    }
}

#[test]
fn notes_of_others_and_texts_that_are_none() {
    let ours = signer();
    let other = Signer::from_seed("example.com/log", [8; 32]).unwrap();
    let renamed = Signer::from_seed("example.com/other", [7; 32]).unwrap();
    let good = ours.sign(1, [0; 32]);
    let by_other = other.sign(1, [0; 32]);
    let (_, other_line) = by_other.rsplit_once("\n\n").unwrap();
    let unsigned = good.split_once("\n\n").unwrap().0.to_owned() + "\n";
    for (note, expected) in [
        (by_other.clone(), Some(NoteError::OtherKey)),
        (renamed.sign(1, [0; 32]), Some(NoteError::OtherKey)),
        (good.clone() + other_line, None),
        (unsigned.clone(), Some(NoteError::Note)),
        (unsigned + "\n", Some(NoteError::Note)),
        (String::new(), Some(NoteError::Note)),
        (good.replace('\n', "\r\n"), Some(NoteError::Note)),
        (good.trim_end().to_owned(), Some(NoteError::Note)),
    ] {
        assert_eq!(ours.verifier().open(&note).err(), expected, "{note}");
    }
}

#[test]
fn checkpoints_are_taken_to_the_letter() {
    let root = STANDARD.encode([1; 32]);
    for (text, good) in [
        (format!("a\n0\n{root}\n"), true),
        (format!("a\n18446744073709551615\n{root}\n"), true),
        (format!("a\n1\n{root}\nan extension\n"), true),
        (format!("a\n1\n{root}\n\n"), false),
        (format!("a\n01\n{root}\n"), false),
        (format!("a\n+1\n{root}\n"), false),
        (format!("a\n-1\n{root}\n"), false),
        (format!("a\n1 \n{root}\n"), false),
        (format!("a\n18446744073709551616\n{root}\n"), false),
        (format!("\n1\n{root}\n"), false),
        (format!("a\n1\n{root}"), false),
        (format!("a\n1\n{}\n", STANDARD.encode([1; 31])), false),
        (format!("a\n1\n{}\n", root.trim_end_matches('=')), false),
    ] {
        assert_eq!(text.parse::<Checkpoint>().is_ok(), good, "{text}");
    }
}

#[test]
fn keys_are_taken_to_the_letter() {
    let signer = signer();
    let (private, public) = (signer.to_text(), signer.verifier().to_string());
    let wrong_id = |text: &str| {
        let id = hex_of(&signer.verifier.id);
        text.replace(&id, "00000000")
    };
    for text in [
        "",
        "PRIVATE+KEY+",
        &public,
        &wrong_id(&private),
        &private.to_uppercase(),
        private.get(..private.len() - 4).unwrap(),
    ] {
        let error = Signer::parse(text).unwrap_err();
        assert_eq!(error, NoteError::SigningKey, "{text}");
    }
    for text in [
        "",
        "a+b+c",
        &wrong_id(&public),
        public.get(..60).unwrap(),
        VKEY.get(1..).unwrap(),
    ] {
        let error = Verifier::parse(text).unwrap_err();
        assert_eq!(error, NoteError::VerifierKey, "{text}");
    }
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", &"n".repeat(201)] {
        assert_eq!(
            Signer::generate(name).unwrap_err(),
            NoteError::Name,
            "{name}"
        );
    }
}

#[test]
fn a_file_of_notes_gives_each_whole_one() {
    let signer = signer();
    let all: Vec<String> = (0..3).map(|size| signer.sign(size, [1; 32])).collect();
    let file: String = all.iter().map(|note| format!("{note}\n")).collect();
    assert_eq!(notes(&file).collect::<Vec<_>>(), all);
    for torn in 0..file.len() {
        let Some(half) = file.get(..torn) else {
            continue;
        };
        let whole = all.iter().scan(0, |end, note| {
            *end += note.len() + 1;
            Some(*end)
        });
        let expected = whole.filter(|end| *end <= torn).count();
        assert_eq!(notes(half).count(), expected, "{torn}");
    }
}
