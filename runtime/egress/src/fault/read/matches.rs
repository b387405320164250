//! `match` of an entry.

use super::Reader;
use crate::fault::count::{Counter, When};
use crate::fault::entry::Match;
use crate::fault::wire::WireMatch;
use crate::host::Pattern;
use crate::http::path;
use caisson_document::join;
use std::num::NonZeroU64;

impl Reader<'_> {
    pub(super) fn matches(
        &mut self,
        at: &str,
        key: Option<&str>,
        wire: &WireMatch,
    ) -> Option<Match> {
        let what = match key {
            Some("dns") => Some("a look-up"),
            Some("refuse" | "certificate") => Some("a connection"),
            _ => None,
        };
        for part in ["method", "path"] {
            let pointer = join(at, part);
            if let Some(what) = what
                && self.has(&pointer)
            {
                self.key_fault(
                    &pointer,
                    format!("{what} has no {part} yet"),
                    format!("leave {part} out"),
                );
            }
        }
        let when = self.when(at, key, wire);
        let host = wire
            .host
            .as_deref()
            .and_then(|text| match Pattern::parse(text) {
                Ok(pattern) => Some(pattern),
                Err(error) => {
                    self.error(&join(at, "host"), &error);
                    None
                }
            });
        let path = wire
            .path
            .as_deref()
            .and_then(|text| match path::Pattern::parse(text) {
                Ok(pattern) => Some(pattern),
                Err(error) => {
                    self.error(&join(at, "path"), &error);
                    None
                }
            });
        Some(Match {
            host: host?,
            method: wire.method.clone(),
            path,
            when,
            seen: Counter::default(),
        })
    }

    fn when(&mut self, at: &str, key: Option<&str>, wire: &WireMatch) -> When {
        type Make = fn(NonZeroU64) -> When;
        let ways: [(&str, Option<u64>, Make); 4] = [
            ("nth", wire.nth, When::Nth),
            ("every", wire.every, When::Every),
            ("after", wire.after, When::After),
            ("times", wire.times, When::Times),
        ];
        let written: Vec<&str> = ways
            .iter()
            .map(|way| way.0)
            .filter(|way| self.has(&join(at, way)))
            .collect();
        if let [first, others @ ..] = &written[..] {
            for other in others {
                let message =
                    format!("{other} stands beside {first}, and a match counts in one way");
                self.key_fault(&join(at, other), message, "keep one of them");
            }
        }
        for way in ["every", "times"] {
            if key == Some("expire_token") && written.contains(&way) {
                let help = "write the request that finds it expired, as in nth: 5, or those before it, as in after: 4";
                self.key_fault(&join(at, way), "a token that has expired stays so", help);
            }
        }
        let mut made = ways
            .into_iter()
            .filter_map(|(_, number, make)| Some(make(NonZeroU64::new(number?)?)));
        made.next().unwrap_or(When::Always)
    }
}
