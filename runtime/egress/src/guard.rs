//! What of the daemon's own no worker reaches whatever a policy says: its sockets, and the addresses that stand for names.

use crate::network::Network;
use crate::stand_in;
use caisson_without::{Part, without};
use std::net::{IpAddr, SocketAddr};

/// Where the daemon listens, which addresses are this host's, and which ones the gateway gives out.
#[derive(Debug, Clone)]
pub struct Guard {
    own: Vec<SocketAddr>,
    local: Vec<IpAddr>,
    stand_ins: Network,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new(Vec::new(), Vec::new())
    }
}

impl Guard {
    /// Plain data; `local` are the addresses of this host's interfaces.
    #[must_use]
    pub fn new(own: Vec<SocketAddr>, local: Vec<IpAddr>) -> Self {
        let own = own
            .into_iter()
            .map(|own| SocketAddr::new(own.ip().to_canonical(), own.port()))
            .collect();
        let local = local
            .into_iter()
            .map(|address| address.to_canonical())
            .collect();
        Self {
            own,
            local,
            stand_ins: stand_in::range(stand_in::RANGE.0),
        }
    }

    /// The same with another range of addresses that stand for names.
    #[must_use]
    pub fn with_stand_ins(self, stand_ins: Network) -> Self {
        Self { stand_ins, ..self }
    }

    /// Whether a worker that dials `address` can only mean one that stands for a name.
    #[must_use]
    pub fn stands_in(&self, address: IpAddr) -> bool {
        self.stand_ins.contains(address.to_canonical())
    }

    /// Whether a connection to `address` and `port` would reach the daemon. A socket on a wildcard address is reached
    /// through every address of the host, and one on `::` through those of IPv4 too.
    #[must_use]
    pub fn is_own(&self, address: IpAddr, port: u16) -> bool {
        if without(Part::OwnSockets) {
            return false;
        }
        let address = address.to_canonical();
        let carried = crate::address::carried(address).map(IpAddr::V4);
        let here = |address: IpAddr| {
            address.is_loopback() || address.is_unspecified() || self.local.contains(&address)
        };
        self.own.iter().filter(|own| own.port() == port).any(|own| {
            let exact = |address: IpAddr| {
                own.ip() == address || (own.ip().is_unspecified() && here(address))
            };
            exact(address) || carried.is_some_and(exact)
        })
    }

    /// The addresses of this host's interfaces, asked of the kernel.
    ///
    /// # Errors
    /// The system's error.
    pub fn local_addresses() -> Result<Vec<IpAddr>, nix::Error> {
        let addresses = nix::ifaddrs::getifaddrs()?.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        Ok(addresses.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_socket_is_reached_through_every_address_of_the_host() {
        let guard = Guard::new(
            vec![
                "127.0.0.1:7070".parse().unwrap(),
                "[::]:9090".parse().unwrap(),
            ],
            vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        );
        let own = |address: &str, port| guard.is_own(address.parse().unwrap(), port);
        assert!(own("127.0.0.1", 7070) && own("::ffff:127.0.0.1", 7070));
        assert!(!own("127.0.0.2", 7070) && !own("127.0.0.1", 7071) && !own("192.0.2.7", 7070));
        for address in [
            "127.0.0.9",
            "::1",
            "192.0.2.7",
            "2001:db8::7",
            "64:ff9b::c000:207",
        ] {
            assert!(own(address, 9090), "{address}");
        }
        assert!(!own("192.0.2.8", 9090));
    }
}
