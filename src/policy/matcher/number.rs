//! Numbers as the decimals that they were written as.
//!
//! A gateway that compares as `f64` and an upstream that compares as decimals (or the other way round) can
//! disagree on the same text, so a comparison is made both ways, and where the two verdicts differ there is
//! none. What is longer than anyone counts with ([`MAX_DIGITS`], [`MAX_EXPONENT`]) isn't compared at all.

use std::cmp::Ordering;

use crate::policy::value::Truth;
use crate::yaml::is_json_number;

/// Most digits written before an exponent, leading and trailing zeros included.
pub const MAX_DIGITS: usize = 40;

/// Largest magnitude of an exponent as written.
pub const MAX_EXPONENT: i32 = 400;

/// Longest text of a number, so that what is beyond the limits is known without reading it: whoever compares each of
/// many elements with one of these would read it as often. A sign, the digits, a point and an exponent fit with ease.
const MAX_TEXT: usize = 64;

/// How two numbers stand to each other, as decimals and as the `f64`s nearest to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    exact: Ordering,
    nearest: Ordering,
}

impl Comparison {
    /// Whether the order is one that `accept` takes; indeterminate where the two readings disagree on that.
    pub fn is(self, accept: fn(Ordering) -> bool) -> Truth {
        let exact = accept(self.exact);
        if exact == accept(self.nearest) {
            exact.into()
        } else {
            Truth::Indeterminate
        }
    }
}

/// Compares two JSON numbers; `None` where one of them is beyond the limits.
pub fn compare(a: &str, b: &str) -> Option<Comparison> {
    // Integers of up to 15 digits are their own nearest f64.
    if let (Some(a), Some(b)) = (small_integer(a), small_integer(b)) {
        let exact = a.cmp(&b);
        return Some(Comparison {
            exact,
            nearest: exact,
        });
    }
    let exact = Decimal::parse(a)?.cmp(&Decimal::parse(b)?);
    let nearest = nearest(a)?.partial_cmp(&nearest(b)?)?;
    Some(Comparison { exact, nearest })
}

/// Whether two JSON numbers are of the same value.
pub fn equal(a: &str, b: &str) -> Truth {
    compare(a, b).map_or(Truth::Indeterminate, |c| c.is(Ordering::is_eq))
}

/// Whether a JSON number has no fraction: `3`, `3.0` and `30e-1` have none.
pub fn is_integer(text: &str) -> Truth {
    if small_integer(text).is_some() {
        return Truth::True;
    }
    let Some(decimal) = Decimal::parse(text) else {
        return Truth::Indeterminate;
    };
    let Some(nearest) = nearest(text) else {
        return Truth::Indeterminate;
    };
    let whole = decimal.is_integer();
    // An f64 past the largest is no integer to anyone who reads it as one.
    if whole == (nearest.is_finite() && nearest.fract() == 0.0) {
        whole.into()
    } else {
        Truth::Indeterminate
    }
}

/// Whether untyped text is a number in its one plain form: `42`, `-0.5`; not `042`, `42.0`, `1e2`, `-0`, `+1`.
pub fn is_canonical(text: &str) -> bool {
    if text.len() > MAX_TEXT {
        return false;
    }
    let plain = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'-' | b'.'));
    plain && is_json_number(text) && text != "-0" && !(text.contains('.') && text.ends_with('0'))
}

/// The `f64` nearest to a JSON number, infinite past the largest. Never a negative zero.
pub(super) fn nearest(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().map(|n| n + 0.0)
}

fn small_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let magnitude = digits.bytes().try_fold(0_i64, |n, b| {
        b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0'))
    })?;
    Some(if digits.len() == text.len() {
        magnitude
    } else {
        -magnitude
    })
}

/// `±0.d₁d₂… × 10^exponent` with d₁ ≠ 0 and no trailing zeros; no digits for zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    exponent: i32,
    len: usize,
    digits: [u8; MAX_DIGITS],
}

impl Decimal {
    /// Reads a JSON number; `None` where it is none, or beyond the limits.
    pub(super) fn parse(text: &str) -> Option<Decimal> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, written_exponent) = match text.find(['e', 'E']) {
            Some(at) => {
                let exponent: i32 = text.get(at + 1..)?.parse().ok()?;
                if !(-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent) {
                    return None;
                }
                (text.get(..at)?, exponent)
            }
            None => (text, 0),
        };
        let mut digits = [0; MAX_DIGITS];
        let (mut written, mut len, mut exponent, mut fraction) = (0, 0, written_exponent, false);
        for byte in mantissa.bytes() {
            match byte {
                b'.' if !fraction => fraction = true,
                b'0'..=b'9' => {
                    written += 1;
                    if written > MAX_DIGITS {
                        return None;
                    }
                    let leading_zero = len == 0 && byte == b'0';
                    if !leading_zero {
                        *digits.get_mut(len)? = byte - b'0';
                        len += 1;
                    }
                    exponent += match (fraction, leading_zero) {
                        (false, false) => 1,
                        (true, true) => -1,
                        (false, true) | (true, false) => 0,
                    };
                }
                _ => return None,
            }
        }
        if written == 0 {
            return None;
        }
        while len > 0 && digits.get(len - 1) == Some(&0) {
            len -= 1;
        }
        let zero = len == 0;
        Some(Decimal {
            negative: negative && !zero,
            exponent: if zero { 0 } else { exponent },
            len,
            digits,
        })
    }

    fn significant(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }

    fn is_integer(&self) -> bool {
        self.len == 0 || i32::try_from(self.len).is_ok_and(|len| len <= self.exponent)
    }

    fn cmp_magnitude(&self, other: &Decimal) -> Ordering {
        // Zero has no exponent of its own.
        (self.len > 0)
            .cmp(&(other.len > 0))
            .then(self.exponent.cmp(&other.exponent))
            .then_with(|| self.significant().cmp(other.significant()))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.cmp_magnitude(other),
            (true, true) => other.cmp_magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The value written out: a sign, 500 digits before the point and 500 after it.
    fn written_out(text: &str) -> (bool, String) {
        let (negative, text) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent: i64 = exponent.parse().unwrap();
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut line = vec![b'0'; 1000];
        for (i, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
            let place = 500 - whole.len() as i64 + i as i64 - exponent;
            // A digit falls off the line only where it is zero.
            match usize::try_from(place).ok().and_then(|p| line.get_mut(p)) {
                Some(slot) => *slot = digit,
                None => assert_eq!(digit, b'0'),
            }
        }
        let line = String::from_utf8(line).unwrap();
        let zero = line.bytes().all(|b| b == b'0');
        (negative && !zero, line)
    }

    fn reference(a: &str, b: &str) -> Ordering {
        match (written_out(a), written_out(b)) {
            ((false, a), (false, b)) => a.cmp(&b),
            ((true, a), (true, b)) => b.cmp(&a),
            ((true, _), (false, _)) => Ordering::Less,
            ((false, _), (true, _)) => Ordering::Greater,
        }
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?",
            "-?(0|[1-9])(\\.0{0,3}[0-9]{1,2})?([eE][+-]?[0-3])?",
            "-?9007199254740(99[0-9])(\\.[05])?",
            "-?[1-9]e[+-]?(3[0-9]{2}|400)",
        ]
    }

    proptest! {
        #[test]
        fn decimals_compare_as_when_written_out(a in number(), b in number()) {
            let expected = reference(&a, &b);
            let found = compare(&a, &b).unwrap();
            prop_assert_eq!(found.exact, expected, "{} against {}", a, b);
            let as_floats = a.parse::<f64>().unwrap().partial_cmp(&b.parse().unwrap()).unwrap();
            prop_assert_eq!(found.nearest, as_floats, "{} against {}", a, b);
        }

        #[test]
        fn any_text_is_compared_or_left(a in "[-0-9.eE+]{0,50}", b in number()) {
            if compare(&a, &b).is_some() {
                prop_assert!(a.parse::<f64>().is_ok());
            }
        }
    }

    #[test]
    fn equality() {
        use Truth::{False, Indeterminate, True};
        let forty = "1".repeat(40);
        let forty_one = "1".repeat(41);
        let cases = [
            ("1", "1.0", True),
            ("1", "1e0", True),
            ("100", "1E+2", True),
            ("0.5", "5e-1", True),
            ("0", "-0", True),
            ("0", "0e400", True),
            ("-0.0", "0e-400", True),
            ("1", "2", False),
            ("1", "-1", False),
            ("0.1", "0.10", True),
            // The same f64, other decimals.
            ("9007199254740992", "9007199254740993", Indeterminate),
            ("0.1", "0.1000000000000000055511151231257827", Indeterminate),
            ("1e400", "1e399", Indeterminate),
            ("1e-400", "0", Indeterminate),
            ("1e400", "-1e400", False),
            // Beyond what is compared.
            ("1e401", "1e401", Indeterminate),
            ("1e-401", "0", Indeterminate),
            ("1e99999999999999999999", "1", Indeterminate),
            (&forty, &forty, True),
            (&forty_one, &forty_one, Indeterminate),
        ];
        for (a, b, expected) in cases {
            assert_eq!(equal(a, b), expected, "{a} {b}");
            assert_eq!(equal(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn where_the_nearest_f64_says_otherwise_an_order_is_indeterminate() {
        let close = compare("9007199254740992", "9007199254740993").unwrap();
        assert_eq!(close.is(Ordering::is_lt), Truth::Indeterminate);
        assert_eq!(close.is(Ordering::is_le), Truth::True);
        assert_eq!(close.is(Ordering::is_gt), Truth::False);
        assert_eq!(close.is(Ordering::is_ge), Truth::Indeterminate);
    }

    #[test]
    fn integers() {
        use Truth::{False, Indeterminate, True};
        for (text, expected) in [
            ("1", True),
            ("-1.0", True),
            ("30e-1", True),
            ("1e300", True),
            ("0.0", True),
            ("1.5", False),
            ("1e-1", False),
            ("1e400", Indeterminate),
            ("1.00000000000000000000001", Indeterminate),
            ("123456789012345678.5", Indeterminate),
            ("1e500", Indeterminate),
        ] {
            assert_eq!(is_integer(text), expected, "{text}");
        }
    }

    #[test]
    fn canonical_decimals() {
        for text in ["0", "42", "-7", "0.5", "-0.25", "10.01"] {
            assert!(is_canonical(text), "{text}");
        }
        for text in [
            "", "-", "042", "42.0", "1e2", "-0", "-0.0", "+1", " 1", "1 ", ".5", "5.", "1_000",
            "0x1", "1,5", "١", "NaN", "inf", "--1",
        ] {
            assert!(!is_canonical(text), "{text}");
        }
    }
}
