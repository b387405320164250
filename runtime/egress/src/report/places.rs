//! How often each place was refused: a worker that goes on asking for what it may not have is to be ended.

use crate::event::Endpoint;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};

/// Places that are counted; those that come later are only refused.
const PLACES: usize = 1_024;

/// A host or address with its port.
type Place = (String, Option<u16>);

#[derive(Debug)]
pub(super) struct Places {
    most: NonZeroU32,
    refused: Mutex<HashMap<Place, u32>>,
}

impl Places {
    /// So many refusals of one place are too many.
    pub(super) fn new(most: NonZeroU32) -> Self {
        Self {
            most,
            refused: Mutex::default(),
        }
    }

    /// Counts a refusal, and says whether it is the one that is too many. Later ones of the same place are not.
    ///
    /// Names and connections count, and requests. A packet that nobody waits for an answer to (UDP, ICMP) never keeps a
    /// connector from its work.
    pub(super) fn refused(&self, to: &Endpoint) -> bool {
        if !matches!(&*to.protocol, "dns" | "tcp" | "tls" | "https" | "postgres") {
            return false;
        }
        let host = match (&to.host, to.address) {
            (Some(host), _) => host.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => return false,
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (host, to.port);
        if refused.len() >= PLACES && !refused.contains_key(&place) {
            return false;
        }
        let times = refused.entry(place).or_default();
        *times = times.saturating_add(1);
        *times == self.most.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_that_is_too_many_is_told_once_for_each_place() {
        let places = Places::new(NonZeroU32::new(3).unwrap());
        let at = |port| Endpoint {
            host: Some("evil.example".into()),
            address: None,
            port: Some(port),
            // As the watch over packets has it, and not a literal.
            protocol: String::from("tcp").into(),
        };
        let told: Vec<bool> = (0..6).map(|_| places.refused(&at(443))).collect();
        assert_eq!(told, [false, false, true, false, false, false]);
        assert!(!places.refused(&at(80)), "another place");
        let packet = Endpoint {
            protocol: "udp".into(),
            ..at(53)
        };
        assert!((0..9).all(|_| !places.refused(&packet)));
    }

    #[test]
    fn a_worker_that_walks_through_names_takes_no_memory() {
        let places = Places::new(NonZeroU32::new(2).unwrap());
        for number in 0..2 * PLACES {
            places.refused(&Endpoint::dns(Some(format!("n{number}.example"))));
        }
        assert_eq!(places.refused.lock().unwrap().len(), PLACES);
    }
}
