//! Resource limits, soft and hard alike.

use nix::sys::resource::{Resource, setrlimit};

use super::{Fault, Step};
use crate::Plan;

/// Since 5.14 the count of processes is per user namespace; before, it was the whole user's and would hit others.
fn counts_processes_per_namespace() -> bool {
    let Ok(name) = nix::sys::utsname::uname() else {
        return false;
    };
    let release = name.release().to_string_lossy().into_owned();
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next(), parts.next()) >= (Some(5), Some(14))
}

pub(super) fn set(plan: &Plan) -> Result<(), Fault> {
    for (name, value) in &plan.rlimits {
        let resource = match name.as_str() {
            "core" => Resource::RLIMIT_CORE,
            "data" => Resource::RLIMIT_DATA,
            "fsize" => Resource::RLIMIT_FSIZE,
            "memlock" => Resource::RLIMIT_MEMLOCK,
            "msgqueue" => Resource::RLIMIT_MSGQUEUE,
            "nice" => Resource::RLIMIT_NICE,
            "nofile" => Resource::RLIMIT_NOFILE,
            "nproc" if !counts_processes_per_namespace() => continue,
            "nproc" => Resource::RLIMIT_NPROC,
            "rtprio" => Resource::RLIMIT_RTPRIO,
            "sigpending" => Resource::RLIMIT_SIGPENDING,
            "stack" => Resource::RLIMIT_STACK,
            other => {
                return Err(Fault::new(
                    Step::Rlimits,
                    other.to_owned(),
                    std::io::Error::other("unknown limit"),
                ));
            }
        };
        // A lower limit that is inherited stays: an ordinary user may not raise it.
        let (_, hard) = nix::sys::resource::getrlimit(resource)
            .map_err(|e| Fault::new(Step::Rlimits, name, e))?;
        // Of descriptors half is left to the launcher, whose own must go through: see `hardening`.
        let bound = if name == "nofile" { hard / 2 } else { hard };
        let value = bound.min(*value);
        setrlimit(resource, value, value)
            .map_err(|e| Fault::new(Step::Rlimits, format!("{name} = {value}"), e))?;
    }
    Ok(())
}
