//! A host has one spelling: it is made once, and making it again changes nothing.

use crate::generate::{NETWORKS, host_text};
use crate::oracle::{Meaning, meaning};
use caisson_egress::{Fence, Network, Pattern, Target, question};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What stands for a host, and for which, is what a second reading says; and its spelling stays as it is.
    #[test]
    fn a_text_means_one_host_or_none(text in host_text()) {
        let target = Target::parse(&text);
        let read = target.as_ref().ok().map(|target| match target {
            Target::Name(name) => Meaning::Name(name.to_string()),
            Target::Address(address) => Meaning::Address(*address),
        });
        prop_assert_eq!(&read, &meaning(&text));
        if let Ok(target) = target {
            let spelled = target.to_string();
            prop_assert_eq!(Target::parse(&spelled).unwrap(), target.clone());
            prop_assert!(spelled.is_ascii() && !spelled.ends_with('.'));
            if let Target::Name(name) = &target {
                prop_assert!(spelled.parse::<std::net::IpAddr>().is_err());
                prop_assert_eq!(name.as_str(), spelled.to_ascii_lowercase());
            }
        }
    }

    /// Patterns and fences are spelled once too, and a pattern is for its own name whatever the spelling.
    #[test]
    fn a_pattern_has_one_spelling(text in host_text(), star in any::<bool>()) {
        let written = if star { format!("*.{text}") } else { text.clone() };
        if let Ok(pattern) = Pattern::parse(&written) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()).unwrap(), pattern.clone());
            if let Ok(Target::Name(name)) = Target::parse(&text) {
                prop_assert_eq!(pattern.matches(&name), !star);
                let child = caisson_egress::Name::parse(&format!("child.{name}"));
                prop_assert_eq!(child.is_ok_and(|child| pattern.matches(&child)), star && name.as_str().len() < 248);
            }
        }
        if let Ok(Fence::Names(pattern)) = Fence::parse(&text) {
            prop_assert_eq!(Fence::parse(&pattern.to_string()).unwrap(), Fence::Names(pattern));
        }
    }

    /// A question is asked of the host that it names, with the port that it names.
    #[test]
    fn a_question_is_read_as_it_was_written(text in host_text(), port in 1u16..) {
        match question(&format!("{text}:{port}")) {
            Ok((target, read)) => {
                prop_assert_eq!(target, Target::parse(&text).unwrap());
                prop_assert_eq!(read, port);
            }
            Err(_) => prop_assert!(Target::parse(&text).is_err()),
        }
        for bad in [format!("{text}:+{port}"), format!("{text}:0"), format!("{text}:{port} "), format!("{text}:")] {
            prop_assert!(question(&bad).is_err(), "{}", bad);
        }
    }
}

#[test]
fn a_network_is_written_in_one_way() {
    for text in NETWORKS {
        let network: Network = text.parse().unwrap();
        assert_eq!(network.to_string(), text);
        assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
    }
}
