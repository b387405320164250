//! A network in CIDR notation, as policies write it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address prefix; host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// Why a text is no network; each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No `/`.
    #[error("a network needs a prefix length; write {0}")]
    NoPrefix(String),
    /// Not an address, or a prefix longer than the address.
    #[error(
        "not a network; write an address and a prefix length, as in 10.20.0.0/16 or fd00:20::/32"
    )]
    Malformed,
    /// Bits behind the prefix are set.
    #[error("the address has bits behind its prefix; write {0}")]
    HostBits(Network),
    /// `::ffff:0:0/96` and longer: never seen, since such addresses are turned into IPv4 first.
    #[error("IPv4-mapped networks are never matched; write the IPv4 network itself")]
    Mapped,
}

impl Network {
    /// The network of `bits` leading bits around `address`.
    #[must_use]
    pub const fn v4(address: Ipv4Addr, bits: u8) -> Self {
        let mask = if bits == 0 {
            0
        } else {
            u32::MAX << (32 - bits)
        };
        Self {
            base: IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask)),
            bits,
        }
    }

    /// The network of `bits` leading bits around `address`.
    #[must_use]
    pub const fn v6(address: Ipv6Addr, bits: u8) -> Self {
        let mask = if bits == 0 {
            0
        } else {
            u128::MAX << (128 - bits)
        };
        Self {
            base: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)),
            bits,
        }
    }

    /// The network that holds `address` alone.
    #[must_use]
    pub const fn single(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4, 32),
            IpAddr::V6(v6) => Self::v6(v6, 128),
        }
    }

    /// Whether `address` lies inside. Families never mix.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(_), IpAddr::V4(v4)) => Self::v4(v4, self.bits).base == self.base,
            (IpAddr::V6(_), IpAddr::V6(v6)) => Self::v6(v6, self.bits).base == self.base,
            _ => false,
        }
    }

    /// First address.
    #[must_use]
    pub const fn base(&self) -> IpAddr {
        self.base
    }

    /// Number of addresses, saturating.
    #[must_use]
    pub fn size(&self) -> u128 {
        let width = if self.base.is_ipv4() { 32 } else { 128 };
        1u128
            .checked_shl(u32::from(width - self.bits))
            .unwrap_or(u128::MAX)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((address, bits)) = text.split_once('/') else {
            return Err(match text.parse() {
                Ok(address) => NetworkError::NoPrefix(Self::single(address).to_string()),
                Err(_) => NetworkError::Malformed,
            });
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let plain = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit());
        let bits: u8 = bits
            .parse()
            .ok()
            .filter(|_| plain)
            .ok_or(NetworkError::Malformed)?;
        let network = match address {
            IpAddr::V4(v4) if bits <= 32 => Self::v4(v4, bits),
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() && bits >= 96 => {
                return Err(NetworkError::Mapped);
            }
            IpAddr::V6(v6) if bits <= 128 => Self::v6(v6, bits),
            _ => return Err(NetworkError::Malformed),
        };
        if network.base == address {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_family_and_prefix_only() {
        let network: Network = "10.20.0.0/16".parse().unwrap();
        assert!(network.contains("10.20.255.255".parse().unwrap()));
        assert!(!network.contains("10.21.0.0".parse().unwrap()));
        assert!(!network.contains("::ffff:10.20.0.1".parse().unwrap()));
        assert!(
            "0.0.0.0/0"
                .parse::<Network>()
                .unwrap()
                .contains("203.0.113.1".parse().unwrap())
        );
        assert!(
            "::/0"
                .parse::<Network>()
                .unwrap()
                .contains("2001:db8::1".parse().unwrap())
        );
    }

    #[test]
    fn a_malformed_network_says_what_to_write() {
        let say = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        assert!(say("10.20.1.1/16").ends_with("write 10.20.0.0/16"));
        assert!(say("10.20.1.1").ends_with("write 10.20.1.1/32"));
        assert!(say("10.20.0.0/33").starts_with("not a network"));
        assert!(say("10.20.0.0/+8").starts_with("not a network"));
        assert!(say("010.20.0.0/16").starts_with("not a network"));
        assert!(say("::ffff:10.0.0.0/104").starts_with("IPv4-mapped"));
    }
}
