//! Address ranges. An IPv4 address mapped into IPv6 (`::ffff:10.0.0.1`) is the IPv4 address.

use std::fmt;
use std::net::IpAddr;

use crate::policy::value::Truth;

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    length: u8,
}

impl Cidr {
    /// Parses `10.0.0.0/8`, `2001:db8::/32` or an address alone. The error says what would be right.
    pub fn parse(text: &str) -> Result<Cidr, String> {
        let no_range = || format!("`{text}` is no address range; write one like `10.0.0.0/8`");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| no_range())?;
        let most = width(written);
        let length = match length {
            None => most,
            Some(digits) => digits
                .parse::<u8>()
                .ok()
                .filter(|n| *n <= most && n.to_string() == digits)
                .ok_or_else(no_range)?,
        };
        let network = masked(written, length);
        if network != written {
            return Err(format!(
                "`{text}` has bits set outside its range; write `{network}/{length}`"
            ));
        }
        // ::ffff:0:0/96 and longer are IPv4; a shorter range is of IPv6 addresses only.
        Ok(match network.to_canonical() {
            IpAddr::V4(v4) if most == 128 && length >= 96 => Cidr {
                network: IpAddr::V4(v4),
                length: length - 96,
            },
            IpAddr::V4(_) | IpAddr::V6(_) => Cidr { network, length },
        })
    }

    /// Whether the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.length) == self.network
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

/// Whether the textual address is in one of the ranges; indeterminate where it is no address.
pub(super) fn test(ranges: &[Cidr], text: &str) -> Truth {
    // Strict: no leading zeros, no zone, no port, four parts.
    let Ok(address) = text.parse::<IpAddr>() else {
        return Truth::Indeterminate;
    };
    ranges.iter().any(|range| range.contains(address)).into()
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_addresses() {
        use Truth::{False, Indeterminate, True};
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", True),
            ("10.0.0.0/8", "11.0.0.1", False),
            ("10.0.0.0/8", "::ffff:10.0.0.1", True),
            ("::ffff:10.0.0.0/104", "10.0.0.1", True),
            ("10.0.0.0/8", "::10.0.0.1", False),
            ("0.0.0.0/0", "1.2.3.4", True),
            ("0.0.0.0/0", "::1", False),
            ("::/0", "::1", True),
            ("::/0", "1.2.3.4", False),
            ("::/0", "::ffff:1.2.3.4", False),
            ("2001:db8::/32", "2001:DB8:0::1", True),
            ("2001:db8::/32", "2001:db9::1", False),
            ("192.0.2.7", "192.0.2.7", True),
            ("192.0.2.7", "192.0.2.8", False),
            // Other programs read these as addresses, each in its own way.
            ("8.0.0.0/8", "010.0.0.1", Indeterminate),
            ("10.0.0.0/8", "10.1", Indeterminate),
            ("10.0.0.0/8", "0x0a.0.0.1", Indeterminate),
            ("10.0.0.0/8", "167772161", Indeterminate),
            ("10.0.0.0/8", "10.0.0.1:80", Indeterminate),
            ("10.0.0.0/8", " 10.0.0.1", Indeterminate),
            ("fe80::/10", "fe80::1%eth0", Indeterminate),
            ("::/0", "[::1]", Indeterminate),
            ("::/0", "", Indeterminate),
        ];
        for (range, address, expected) in cases {
            let range = Cidr::parse(range).unwrap();
            assert_eq!(test(&[range], address), expected, "{range} {address}");
        }
    }

    #[test]
    fn what_is_no_range_says_what_would_be() {
        for text in [
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0/8",
            "010.0.0.0/8",
            "host",
            "::/129",
            "10.0.0.0/255.0.0.0",
        ] {
            let error = Cidr::parse(text).unwrap_err();
            assert!(error.contains("is no address range"), "{text}: {error}");
        }
        assert_eq!(
            Cidr::parse("10.0.0.1/8").unwrap_err(),
            "`10.0.0.1/8` has bits set outside its range; write `10.0.0.0/8`"
        );
    }
}
