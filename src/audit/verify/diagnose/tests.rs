//! Runs as they come, without hashing anything.

use super::*;

#[test]
fn many_breaks_are_sorted_out_in_time() {
    // every second record was removed, and each third line is none
    let mut seen = Seen {
        anchor: Some((0, [0; 32])),
        ..Seen::default()
    };
    for number in 0..10_000_u64 {
        let hash = |number: u64| {
            let mut hash = [1; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            hash
        };
        let (first, line) = (number * 2 + 2, number + 2);
        seen.runs.push(Run {
            start: Spot { file: 0, line },
            first,
            last: first,
            prev: hash(first - 1),
            head: hash(first),
            tail: hash(first),
            vouched: false,
            broken: false,
        });
    }
    let (found, last) = diagnose(&seen, &[]);
    assert_eq!(last, Some(20_000));
    assert_eq!(found.len(), 10_000);
    assert!(found.iter().all(|found| found.kind == Kind::Removed));
}
