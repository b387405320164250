//! Addresses that stand for names inside one worker.
//!
//! A name keeps its address for the worker's life, and an address is never given to a second name. The true addresses are
//! kept beside, so that the dial uses what DNS checked and no second lookup lies between.

use crate::name::Name;
use crate::network::Network;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names that one worker may look up.
pub const MAX_NAMES: usize = 4_096;

/// The first /24 of the range stays free, and in each /24 the addresses 0 and 255, which some software refuses.
const PER_BLOCK: usize = 254;

/// The range out of which addresses are given: 198.18.0.0/15, set apart for benchmarks (RFC 2544) and so never met outside.
pub(crate) const RANGE: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);

/// The whole range that begins at `base`.
pub(crate) const fn range(base: Ipv4Addr) -> Network {
    Network::v4(base, RANGE.1)
}

/// One worker's table.
#[derive(Debug)]
pub(crate) struct StandIns {
    base: u32,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Name, usize>,
    entries: Vec<(Name, Arc<[IpAddr]>)>,
}

/// The table is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl StandIns {
    pub(crate) fn new(base: Ipv4Addr) -> Self {
        Self {
            base: base.to_bits(),
            table: Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere leaves the table whole: each change is one push or one replacement.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address that stands for `name`, given now where it had none; keeps what the name resolved to.
    pub(crate) fn give(&self, name: &Name, addresses: Vec<IpAddr>) -> Result<Ipv4Addr, Full> {
        let mut table = self.table();
        let addresses: Arc<[IpAddr]> = addresses.into();
        if let Some(&index) = table.by_name.get(name) {
            table.entries[index].1 = addresses;
            return Ok(self.address(index));
        }
        let index = table.entries.len();
        if index >= MAX_NAMES {
            return Err(Full);
        }
        table.entries.push((name.clone(), addresses));
        table.by_name.insert(name.clone(), index);
        Ok(self.address(index))
    }

    /// The name for which `address` stands, and what it last resolved to.
    pub(crate) fn name_of(&self, address: IpAddr) -> Option<(Name, Arc<[IpAddr]>)> {
        let IpAddr::V4(v4) = address else { return None };
        let offset = v4.to_bits().checked_sub(self.base)? as usize;
        let (block, place) = (offset / 256, offset % 256);
        if block == 0 || place == 0 || place > PER_BLOCK {
            return None;
        }
        let index = (block - 1) * PER_BLOCK + (place - 1);
        self.table().entries.get(index).cloned()
    }

    fn address(&self, index: usize) -> Ipv4Addr {
        let offset = (index / PER_BLOCK + 1) * 256 + index % PER_BLOCK + 1;
        Ipv4Addr::from_bits(self.base + u32::try_from(offset).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address_and_an_address_its_name() {
        let stand_ins = StandIns::new(RANGE.0);
        let mut seen = HashMap::new();
        for number in 0..MAX_NAMES {
            let name = Name::parse(&format!("n{number}.example")).unwrap();
            let address = stand_ins.give(&name, vec![]).unwrap();
            assert!(range(RANGE.0).contains(address.into()));
            assert!(!matches!(address.octets()[3], 0 | 255));
            assert_eq!(seen.insert(address, name.clone()), None, "never reused");
            assert_eq!(stand_ins.name_of(address.into()).unwrap().0, name);
            assert_eq!(stand_ins.give(&name, vec![]).unwrap(), address, "stable");
        }
        assert_eq!(
            stand_ins.give(&Name::parse("one.more").unwrap(), vec![]),
            Err(Full)
        );
        for stranger in [
            "198.18.0.1",
            "198.18.1.0",
            "198.18.1.255",
            "198.19.255.1",
            "198.17.1.1",
            "198.18.18.1",
        ] {
            assert_eq!(
                stand_ins.name_of(stranger.parse().unwrap()),
                None,
                "{stranger}"
            );
        }
    }

    #[test]
    fn a_new_answer_replaces_the_old_one() {
        let stand_ins = StandIns::new(RANGE.0);
        let name = Name::parse("api.example").unwrap();
        let address = stand_ins
            .give(&name, vec!["192.0.2.1".parse().unwrap()])
            .unwrap();
        stand_ins
            .give(&name, vec!["192.0.2.2".parse().unwrap()])
            .unwrap();
        assert_eq!(
            &*stand_ins.name_of(address.into()).unwrap().1,
            ["192.0.2.2".parse::<IpAddr>().unwrap()]
        );
    }
}
