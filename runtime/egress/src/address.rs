//! What an address is, before any policy is asked: ordinary, special-purpose, or never to be reached.
//!
//! The tables are the IANA special-purpose address registries (RFC 6890 and its updates: iana-ipv4-special-registry,
//! iana-ipv6-special-registry), multicast (RFC 5771, RFC 4291) and the addresses on which clouds serve credentials. Forms
//! of IPv6 that carry an IPv4 address (mapped, compatible, translated, NAT64, 6to4) are unwrapped and judged by what they
//! carry, since the host may well deliver them there.

use crate::network::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// An ordinary global unicast address.
    Global,
    /// Set apart by a registry: reachable only where a rule's `networks` holds it. The text names the purpose.
    Special(&'static str),
    /// Reachable by no policy: unspecified, multicast, broadcast.
    Never(&'static str),
    /// Cloud metadata: reachable by no policy.
    Metadata(&'static str),
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u8) -> Network {
    Network::v4(Ipv4Addr::new(a, b, c, d), bits)
}

const fn v6(head: [u16; 4], bits: u8) -> Network {
    Network::v6(
        Ipv6Addr::new(head[0], head[1], head[2], head[3], 0, 0, 0, 0),
        bits,
    )
}

const fn v6_host(s: [u16; 8]) -> Network {
    Network::v6(
        Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]),
        128,
    )
}

/// Where clouds hand out credentials to whoever asks.
const METADATA: &[(Network, &str)] = &[
    (
        v4(169, 254, 169, 254, 32),
        "instance metadata (AWS, Azure, Google Cloud, DigitalOcean, OpenStack, Oracle)",
    ),
    (v4(169, 254, 170, 2, 32), "Amazon ECS task credentials"),
    (v4(169, 254, 170, 23, 32), "Amazon EKS pod identity"),
    (v4(169, 254, 0, 23, 32), "Tencent Cloud metadata"),
    (v4(169, 254, 42, 42, 32), "Scaleway metadata"),
    (v4(169, 254, 10, 10, 32), "Tencent Cloud metadata"),
    (v4(100, 100, 100, 200, 32), "Alibaba Cloud metadata"),
    (v4(192, 0, 0, 192, 32), "Oracle Cloud classic metadata"),
    (v4(168, 63, 129, 16, 32), "the Azure platform address"),
    (
        v6_host([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
        "instance metadata (AWS)",
    ),
    (
        v6_host([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]),
        "Amazon EKS pod identity",
    ),
    (
        v6_host([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
        "instance metadata (Google Cloud)",
    ),
    (
        v6_host([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
        "Scaleway metadata",
    ),
    (
        v6_host([0xfe80, 0, 0, 0, 0, 0xa9fe, 0xa9fe, 0]),
        "instance metadata",
    ),
    (
        v6_host([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]),
        "instance metadata (OpenStack)",
    ),
];

/// Names under which the same services answer.
const METADATA_NAMES: &[&str] = &[
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "metadata.packet.net",
    "instance-data",
    "instance-data.ec2.internal",
    "api.metadata.cloud.ibm.com",
];

const NEVER: &[(Network, &str)] = &[
    (v4(0, 0, 0, 0, 8), "\"this network\""),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (Network::v6(Ipv6Addr::UNSPECIFIED, 128), "unspecified"),
    (v6([0xff00, 0, 0, 0], 8), "multicast"),
];

const SPECIAL: &[(Network, &str)] = &[
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared by carrier NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "for protocol assignments"),
    (v4(192, 0, 2, 0, 24), "for documentation"),
    (v4(192, 31, 196, 0, 24), "an AS112 service"),
    (v4(192, 52, 193, 0, 24), "for AMT relays"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(192, 175, 48, 0, 24), "an AS112 service"),
    (v4(198, 18, 0, 0, 15), "for benchmarking"),
    (v4(198, 51, 100, 0, 24), "for documentation"),
    (v4(203, 0, 113, 0, 24), "for documentation"),
    (v4(240, 0, 0, 0, 4), "reserved"),
    (Network::v6(Ipv6Addr::LOCALHOST, 128), "loopback"),
    (LOCAL_TRANSLATION, "for local translation"),
    (v6([0x100, 0, 0, 0], 64), "discard-only"),
    (v6([0x100, 0, 0, 1], 64), "a dummy prefix"),
    (v6([0x2001, 0, 0, 0], 23), "for protocol assignments"),
    (v6([0x2001, 0xdb8, 0, 0], 32), "for documentation"),
    (v6([0x2620, 0x4f, 0x8000, 0], 48), "an AS112 service"),
    (v6([0x3fff, 0, 0, 0], 20), "for documentation"),
    (v6([0x5f00, 0, 0, 0], 16), "for segment routing"),
    (v6([0xfc00, 0, 0, 0], 7), "unique local"),
    (v6([0xfe80, 0, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0, 0], 10), "site-local"),
];

/// Prefixes of local translators between IPv6 and IPv4 (RFC 8215).
const LOCAL_TRANSLATION: Network = v6([0x64, 0xff9b, 1, 0], 48);

/// Global unicast IPv6 as far as it is handed out (RFC 4291, 2.4); the rest is reserved.
const GLOBAL_V6: Network = v6([0x2000, 0, 0, 0], 3);

fn find(table: &'static [(Network, &'static str)], address: IpAddr) -> Option<&'static str> {
    table
        .iter()
        .find(|(network, _)| network.contains(address))
        .map(|(_, what)| *what)
}

/// What `address` is.
#[must_use]
pub fn classify(address: IpAddr) -> AddressClass {
    let address = address.to_canonical();
    if let Some(what) = find(METADATA, address) {
        return AddressClass::Metadata(what);
    }
    let translated = translations(address).map(IpAddr::V4);
    if let Some(what) = translated
        .into_iter()
        .find_map(|inner| find(METADATA, inner))
    {
        return AddressClass::Metadata(what);
    }
    if let Some(what) = find(NEVER, address) {
        return AddressClass::Never(what);
    }
    if let Some(inner) = carried(address) {
        return match classify(IpAddr::V4(inner)) {
            AddressClass::Global => AddressClass::Global,
            inner => inner,
        };
    }
    if let Some(what) = find(SPECIAL, address) {
        return AddressClass::Special(what);
    }
    match address {
        IpAddr::V6(_) if !GLOBAL_V6.contains(address) => AddressClass::Special("reserved"),
        _ => AddressClass::Global,
    }
}

/// The IPv4 address that an IPv6 address carries: compatible (`::a.b.c.d`, but `::1`), translated
/// (`::ffff:0:a.b.c.d`, RFC 2765), NAT64 (`64:ff9b::a.b.c.d`, RFC 6052) and 6to4 (`2002:aabb:ccdd::`, RFC 3056).
#[must_use]
pub fn carried(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let s = v6.segments();
    let low = |hi: u16, lo: u16| Some(Ipv4Addr::from_bits(u32::from(hi) << 16 | u32::from(lo)));
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0..=1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, hi, lo]
        | [0, 0, 0, 0, 0xffff, 0, hi, lo]
        | [0x64, 0xff9b, 0, 0, 0, 0, hi, lo]
        | [0x2002, hi, lo, ..] => low(hi, lo),
        _ => None,
    }
}

/// What a local translator (`64:ff9b:1::/48`, RFC 8215) may make of an address: where the IPv4 bits stand depends on the
/// length of its prefix (RFC 6052, 2.2), which only its operator knows. Elsewhere, nothing.
fn translations(address: IpAddr) -> [Ipv4Addr; 4] {
    let IpAddr::V6(v6) = address else {
        return [Ipv4Addr::UNSPECIFIED; 4];
    };
    if !LOCAL_TRANSLATION.contains(address) {
        return [Ipv4Addr::UNSPECIFIED; 4];
    }
    let bits = v6.to_bits();
    // Bits 64 to 71 are zero and belong to no address.
    let around = |before: u32| {
        let high = bits >> 64 << (32 - before);
        let low = bits << 72 >> (96 + before);
        Ipv4Addr::from_bits((high | low) as u32)
    };
    [
        around(16),
        around(8),
        around(0),
        Ipv4Addr::from_bits(bits as u32),
    ]
}

/// Whether a name is one under which a cloud serves metadata.
#[must_use]
pub fn is_metadata_name(name: &crate::name::Name) -> bool {
    METADATA_NAMES.contains(&name.as_str())
}

/// Whether `networks` holds `address`, or the IPv4 address that it carries.
#[must_use]
pub fn within(networks: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    let inner = carried(address).map(IpAddr::V4);
    networks.iter().any(|network| {
        network.contains(address) || inner.is_some_and(|inner| network.contains(inner))
    })
}

/// The network that a rule would have to name so that `address`, or what it carries, may be reached.
#[must_use]
pub fn network_of(address: IpAddr) -> Network {
    Network::single(carried(address.to_canonical()).map_or(address.to_canonical(), IpAddr::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().unwrap())
    }

    #[test]
    fn ordinary_addresses_are_global() {
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "93.184.215.14",
            "2606:4700::1111",
            "2002:808:808::1",
            "64:ff9b::808:808",
        ] {
            assert_eq!(class(text), AddressClass::Global, "{text}");
        }
    }

    #[test]
    fn every_special_purpose_range_is_special_at_both_ends() {
        let ranges = [
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("240.0.0.0", "255.255.255.254"),
            ("::1", "::1"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("4000::", "4000::"),
        ];
        for (first, last) in ranges {
            assert!(matches!(class(first), AddressClass::Special(_)), "{first}");
            assert!(matches!(class(last), AddressClass::Special(_)), "{last}");
        }
    }

    #[test]
    fn an_ipv4_address_wrapped_in_ipv6_is_judged_by_what_it_carries() {
        for text in [
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::",
        ] {
            assert!(
                matches!(class(text), AddressClass::Special("private")),
                "{text}"
            );
        }
        for text in [
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::",
            "::169.254.169.254",
            // Local translators, by the length of their prefix: 48, 56, 64 and 96.
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:12a9:fe:a9fe::",
            "64:ff9b:1:1234:a9:fea9:fe00:0",
            "64:ff9b:1:1:2:3:169.254.169.254",
        ] {
            assert!(matches!(class(text), AddressClass::Metadata(_)), "{text}");
        }
    }

    #[test]
    fn metadata_and_the_unreachable_are_no_matter_of_policy() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "fd00:ec2::254",
        ] {
            assert!(matches!(class(text), AddressClass::Metadata(_)), "{text}");
        }
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(matches!(class(text), AddressClass::Never(_)), "{text}");
        }
    }

    #[test]
    fn networks_hold_what_an_address_carries() {
        let networks = ["10.0.0.0/8".parse().unwrap()];
        assert!(within(&networks, "64:ff9b::10.1.2.3".parse().unwrap()));
        assert!(within(&networks, "::ffff:10.1.2.3".parse().unwrap()));
        assert!(!within(&networks, "64:ff9b::11.1.2.3".parse().unwrap()));
    }
}
