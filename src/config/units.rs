//! Durations and sizes as people write them: `500ms`, `5s`, `10m`, `1h`; `64KiB`, `1MiB`, `2GiB` or plain bytes.
//!
//! One number and one unit. Decimal units (`MB`) are absent: they are read as either 10^6 or 2^20 bytes.

use std::time::Duration;

/// Reads a duration; the error says what would be right.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = split(text).ok_or(DURATION)?;
    let millis = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = number.checked_mul(millis.ok_or(DURATION)?);
    Ok(Duration::from_millis(millis.ok_or(DURATION)?))
}

/// Reads a number of bytes; the error says what would be right.
pub fn size(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = split(text).ok_or(SIZE)?;
    let shift = match unit {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    let factor = 1u64 << shift.ok_or(SIZE)?;
    number.checked_mul(factor).ok_or(SIZE)
}

/// A duration in the largest unit that fits, as it would be written.
pub fn show_duration(value: Duration) -> String {
    let millis = value.as_millis();
    for (unit, name) in [(3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis >= unit && millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    format!("{millis}ms")
}

/// A size in the largest unit that fits, as it would be written.
pub fn show_size(value: u64) -> String {
    for (shift, name) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let unit = 1u64 << shift;
        if value >= unit && value.is_multiple_of(unit) {
            return format!("{}{name}", value / unit);
        }
    }
    value.to_string()
}

/// The digits and what follows them; no sign, no blanks, no leading zero (octal to some readers).
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    Some((number.parse().ok()?, unit))
}

const DURATION: &str = "expected a duration such as 500ms, 5s, 10m or 1h";
const SIZE: &str = "expected a size such as 64KiB, 1MiB, 2GiB or a plain number of bytes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("5s", 5_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "+5s",
            "1.5s",
            "5S",
            "05s",
            "1h30m",
            "1d",
            "∞s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(duration(text), Err(DURATION), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("7", 7),
            ("7B", 7),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "KiB",
            "1MB",
            "1mib",
            "1 MiB",
            "1.5MiB",
            "-1",
            "010",
            "18446744073709551615KiB",
        ] {
            assert_eq!(size(text), Err(SIZE), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["1h", "90m", "30s", "1500ms", "0ms"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["1GiB", "1536MiB", "3KiB", "1025"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }
}
