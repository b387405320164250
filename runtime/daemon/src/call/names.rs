//! Names that callers choose: stored, listed and joined, so they are bounded.

use caisson_proto::v1::ErrorCode;

use crate::error::CallError;

/// The longest name, in bytes.
const LONGEST: usize = 1024;

/// What joins the names of two connections to the name of their sync's state.
const JOINT: &str = "->";

/// Refuses a name that is too long.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), CallError> {
    if name.len() <= LONGEST {
        return Ok(());
    }
    let message = format!("{what} has {} bytes; write at most {LONGEST}", name.len());
    Err(CallError::new(ErrorCode::ConfigInvalid, message))
}

/// The state of a sync that has no name of its own, by its two connections.
pub(crate) fn joined(source: &str, destination: &str) -> Result<String, CallError> {
    let fault = if source.is_empty() || destination.is_empty() {
        // Two connections without names would share one state, and one of
        // them would skip what only the other had read.
        "nothing names the state of this sync"
    } else if source.contains(JOINT) || destination.contains(JOINT) {
        // `a->b` into `c` and `a` into `b->c` would share one.
        "the names of these connections do not name one state of their sync: one of them holds `->`"
    } else {
        return Ok(format!("{source}{JOINT}{destination}"));
    };
    Err(CallError::new(ErrorCode::ConfigInvalid, fault)
        .with_action("give state_key, or use stored connections whose names do not hold `->`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pairs_of_connections_never_share_a_state() {
        assert_eq!(joined("shop", "lake").unwrap(), "shop->lake");
        for (source, destination) in [("", "lake"), ("shop", ""), ("a->b", "c"), ("a", "b->c")] {
            assert!(joined(source, destination).is_err());
        }
    }

    #[test]
    fn a_name_is_as_long_as_lists_can_bear() {
        assert!(check_name("request_id", &"a".repeat(1024)).is_ok());
        let refused = check_name("request_id", &"a".repeat(1025)).unwrap_err();
        assert!(refused.message.contains("1025 bytes"));
    }
}
