//! No capability in any set, and no way back.

use std::io;

use caps::{CapSet, Capability};

use super::{Fault, Step};
use crate::sys;

// Values of linux/securebits.h: root is nobody special, no fixup on setuid, no keeping, no ambient; all locked.
const SECUREBITS: libc::c_ulong = 0b1110_1111;

pub(super) fn drop_capabilities() -> Result<(), Fault> {
    let fault = |what: &str, e: io::Error| Fault::new(Step::Capabilities, what, e);
    sys::prctl(libc::PR_SET_SECUREBITS, SECUREBITS)
        .map_err(|e| fault("locking the securebits", e))?;
    // The crate's list may be older than the kernel's, so the bounding set is emptied by number.
    for capability in 0..64 {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            Err(e) => return Err(fault("emptying the bounding set", e)),
        }
    }
    empty_sets().map_err(|e| fault("emptying the sets", e))
}

/// Gives up every capability that the process holds or could pass on.
pub(crate) fn empty_sets() -> io::Result<()> {
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set).map_err(|e| io::Error::other(format!("{set:?}: {e}")))?;
    }
    Ok(())
}

/// Every capability in every set, across exec: the opposite, for the build of the escape suite.
pub(super) fn keep_capabilities() -> Result<(), Fault> {
    let fault = |e: caps::errors::CapsError| {
        let cause = io::Error::other(e.to_string());
        Fault::new(Step::Capabilities, "keeping capabilities", cause)
    };
    let held = caps::read(None, CapSet::Permitted).map_err(fault)?;
    caps::set(None, CapSet::Inheritable, &held).map_err(fault)?;
    let known = |capability: &Capability| held.contains(capability);
    caps::all().into_iter().filter(known).try_for_each(|one| {
        caps::raise(None, CapSet::Ambient, one)
            .map(drop)
            .map_err(fault)
    })
}
