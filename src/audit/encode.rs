//! How ids, times, digests and codes are written into a record, and read back.
//!
//! Each goes over a small buffer on the stack: `Display` would allocate, or cost more than the rest of the
//! line. What is read back is checked as strictly as it is written.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

/// RFC 3339 in UTC with six decimals; `None` before 1970 and after 9999.
///
/// The civil date of days since 1970 by counting in 400-year cycles that begin on 1 March, so that the leap
/// day is a year's last.
pub(super) fn rfc3339(at: Timestamp) -> Option<[u8; 27]> {
    let micros = u64::try_from(at.as_microsecond()).ok()?;
    let (seconds, fraction) = (micros / 1_000_000, (micros % 1_000_000) as u32);
    let (days, second) = ((seconds / 86_400) as u32, (seconds % 86_400) as u32);
    let (cycle, day_of_cycle) = ((days + 719_468) / 146_097, (days + 719_468) % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) = match month_from_march {
        0..10 => (month_from_march + 3, 0),
        _ => (month_from_march - 9, 1),
    };
    let year = 400 * cycle + year_of_cycle + next_year;
    if year > 9999 {
        return None;
    }
    let two = |number: u32| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
    let ([y1, y2], [y3, y4]) = (two(year / 100), two(year % 100));
    let ([m1, m2], [d1, d2]) = (two(month), two(day));
    let ([h1, h2], [i1, i2], [s1, s2]) =
        (two(second / 3_600), two(second / 60 % 60), two(second % 60));
    let ([f1, f2], [f3, f4], [f5, f6]) = (
        two(fraction / 10_000),
        two(fraction / 100 % 100),
        two(fraction % 100),
    );
    Some([
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2, b'.',
        f1, f2, f3, f4, f5, f6, b'Z',
    ])
}

/// Lower-case hex.
pub(super) fn hex_digits(bytes: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = hex_pair(*byte);
    }
    text
}

/// Lower-case hex of any length.
pub(super) fn hex_of(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| hex_pair(*byte));
    digits.map(char::from).collect()
}

fn hex_pair(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    [digit(byte >> 4), digit(byte & 15)]
}

/// `ip:port` of an IPv4 address, also of one that came mapped into IPv6.
pub(super) fn ip_v4(client: &SocketAddr) -> Option<Ascii<21>> {
    let IpAddr::V4(ip) = client.ip().to_canonical() else {
        return None;
    };
    let mut text = Ascii {
        bytes: [0; 21],
        len: 0,
    };
    let [a, b, c, d] = ip.octets();
    for (octet, after) in [(a, b"."), (b, b"."), (c, b"."), (d, b":")] {
        text.push(itoa::Buffer::new().format(octet).as_bytes());
        text.push(after);
    }
    text.push(itoa::Buffer::new().format(client.port()).as_bytes());
    Some(text)
}

/// Whole microseconds.
pub(super) fn whole_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Text of at most `N` ASCII bytes, on the stack.
pub(super) struct Ascii<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Ascii<N> {
    /// Appends; what doesn't fit is left out, so `N` is what fits all.
    fn push(&mut self, text: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + text.len()) {
            room.copy_from_slice(text);
            self.len += text.len();
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn as_str(&self) -> &str {
        ascii(self.as_bytes())
    }
}

/// Bytes that are ASCII, as text.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Reads text through a function that gives back the value, or `None` where the text is none.
struct Text<T>(fn(&str) -> Option<T>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// A UUID, hyphenated and in lower case.
pub(super) mod uuid {
    use super::*;
    use ::uuid::Uuid;

    pub(crate) fn serialize<S: Serializer>(id: &Uuid, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
        from.deserialize_str(Text(|text| Uuid::try_parse(text).ok(), "a UUID"))
    }
}

/// A moment: RFC 3339 in UTC with six decimals.
pub(super) mod time {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        match rfc3339(*at) {
            Some(text) => to.serialize_str(ascii(&text)),
            // what no clock shows
            None => to.collect_str(&format_args!("{at:.6}")),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        from.deserialize_str(Text(|text| text.parse().ok(), "an RFC 3339 timestamp"))
    }

    /// A moment that may be absent.
    pub(crate) mod option {
        use super::*;

        pub(crate) fn serialize<S: Serializer>(
            at: &Option<Timestamp>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, to),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            super::deserialize(from).map(Some)
        }
    }
}

/// A duration in whole microseconds.
pub(super) mod micros {
    use super::*;
    use serde::Deserialize as _;

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(whole_micros(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }

    /// A duration that may be absent.
    pub(crate) mod option {
        use super::*;

        pub(crate) fn serialize<S: Serializer>(
            time: &Option<Duration>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, to),
                None => to.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::deserialize(from).map(Some)
        }
    }
}

/// `ip:port`; an IPv4 address that came mapped into IPv6 is written as IPv4.
pub(super) mod client {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(client: &SocketAddr, to: S) -> Result<S::Ok, S::Error> {
        match ip_v4(client) {
            Some(text) => to.serialize_str(text.as_str()),
            None => to.collect_str(client),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
        from.deserialize_str(Text(|text| text.parse().ok(), "an address with its port"))
    }
}

/// 32 bytes as lower-case hex.
pub(super) mod hex {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(ascii(&hex_digits(bytes)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        from.deserialize_str(Text(parse, "64 hex digits"))
    }

    fn parse(text: &str) -> Option<[u8; 32]> {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?))
            .collect();
        bytes?.try_into().ok()
    }
}

/// An optional reason of a denial, by its code.
pub(super) mod reason {
    use super::*;
    use crate::policy::Reason;

    pub(crate) fn serialize<S: Serializer>(
        reason: &Option<Reason>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match reason {
            Some(reason) => to.serialize_str(reason.code()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Reason>, D::Error> {
        from.deserialize_str(Text(Reason::from_code, "a reason of a denial"))
            .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Moment(#[serde(with = "time")] Timestamp);

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Client(#[serde(with = "client")] SocketAddr);

    #[test]
    fn times_are_rfc_3339_with_microseconds() {
        for (given, written) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z"),
            ("2000-02-29T12:00:00.000001Z", "2000-02-29T12:00:00.000001Z"),
            (
                "2026-11-21T09:00:00.123456789Z",
                "2026-11-21T09:00:00.123456Z",
            ),
            ("2100-03-01T00:00:00Z", "2100-03-01T00:00:00.000000Z"),
            ("9999-01-31T23:59:59Z", "9999-01-31T23:59:59.000000Z"),
        ] {
            let moment = Moment(given.parse().unwrap());
            assert_eq!(
                serde_json::to_string(&moment).unwrap(),
                format!("\"{written}\"")
            );
        }
    }

    #[test]
    fn every_day_of_two_centuries_agrees_with_the_calendar() {
        let first: Timestamp = "1900-01-01T00:00:00Z".parse().unwrap();
        for day in 0..73_500 {
            let at = first + jiff::SignedDuration::from_hours(24 * day);
            assert_eq!(
                serde_json::to_string(&Moment(at)).unwrap(),
                format!("\"{at:.6}\"")
            );
        }
    }

    #[test]
    fn addresses() {
        for (given, written) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("255.255.255.255:65535", "255.255.255.255:65535"),
            ("[::ffff:10.0.0.1]:443", "10.0.0.1:443"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ] {
            let client = Client(given.parse().unwrap());
            assert_eq!(
                serde_json::to_string(&client).unwrap(),
                format!("\"{written}\"")
            );
        }
    }
}
