//! Putting filters on: the launcher's part before exec, and the lock inside the interpreter.

use seccompiler::{BpfProgram, sock_filter};

use crate::profile::Profile;
use crate::{LockError, ProfileName};

/// Puts the final filter of a profile on every thread of this process. After it there is no exec, no listening
/// socket and no further filter. Called by the worker itself before anything of the bundle can be imported.
///
/// The process also becomes undumpable, for a core that goes to a pipe (apport, systemd-coredump) does not heed
/// RLIMIT_CORE, and other processes of an ordinary user could trace it.
///
/// # Errors
/// When the profile is unknown or the kernel refuses; the process must then end, for it is not locked.
pub fn lock_profile(name: &str) -> Result<(), LockError> {
    let filters = Profile::named(name)?.compile()?;
    nix::sys::prctl::set_dumpable(false).map_err(|e| LockError::Kernel(e.to_string()))?;
    for filter in filters.lock {
        seccompiler::apply_filter_all_threads(&filter)
            .map_err(|e| LockError::Kernel(e.to_string()))?;
    }
    Ok(())
}

/// The filters that are on before exec, compiled once by the launcher.
pub(crate) fn before_exec(profile: &ProfileName) -> Result<Vec<BpfProgram>, LockError> {
    Ok(Profile::named(&profile.0)?.compile()?.before_exec)
}

const LOAD_NR: sock_filter = sock_filter {
    code: 0x20,
    jt: 0,
    jf: 0,
    k: 0,
};
const ALLOW: sock_filter = sock_filter {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 0x7fff_0000,
};
const KILL_PROCESS: sock_filter = sock_filter {
    code: 0x06,
    jt: 0,
    jf: 0,
    k: 0x8000_0000,
};

/// Ends the process on x32 calls, which carry the architecture of x86_64 and a high bit in the number, and on
/// numbers that no table has. Foreign architectures (int 0x80) are ended by every filter of seccompiler.
pub(crate) fn foreign_abi_filter() -> BpfProgram {
    let is_high = sock_filter {
        code: 0x35,
        jt: 0,
        jf: 1,
        k: 0x4000_0000,
    };
    vec![LOAD_NR, is_high, KILL_PROCESS, ALLOW]
}

/// The value of a kernel constant that profiles name.
pub(crate) fn constant(name: &str) -> Option<u64> {
    let value: i64 = match name {
        "SOCK_TYPE_BITS" => i64::from(!(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u32),
        "PERSONALITY_ASK" => 0xffff_ffff,
        "S_ISUID" => libc::S_ISUID.into(),
        "S_ISGID" => libc::S_ISGID.into(),
        "F_DUPFD" => libc::F_DUPFD.into(),
        "F_DUPFD_CLOEXEC" => libc::F_DUPFD_CLOEXEC.into(),
        "F_GETFD" => libc::F_GETFD.into(),
        "F_SETFD" => libc::F_SETFD.into(),
        "F_GETFL" => libc::F_GETFL.into(),
        "F_SETFL" => libc::F_SETFL.into(),
        "F_GETLK" => libc::F_GETLK.into(),
        "F_SETLK" => libc::F_SETLK.into(),
        "F_SETLKW" => libc::F_SETLKW.into(),
        "F_OFD_GETLK" => libc::F_OFD_GETLK.into(),
        "F_OFD_SETLK" => libc::F_OFD_SETLK.into(),
        "F_OFD_SETLKW" => libc::F_OFD_SETLKW.into(),
        "F_GETPIPE_SZ" => libc::F_GETPIPE_SZ.into(),
        "TCGETS" => libc::TCGETS as i64,
        "TIOCGWINSZ" => libc::TIOCGWINSZ as i64,
        "FIONREAD" => libc::FIONREAD as i64,
        "FIONBIO" => libc::FIONBIO as i64,
        "FIOCLEX" => libc::FIOCLEX as i64,
        "FIONCLEX" => libc::FIONCLEX as i64,
        "AF_INET" => libc::AF_INET.into(),
        "AF_INET6" => libc::AF_INET6.into(),
        "AF_UNIX" => libc::AF_UNIX.into(),
        "SOCK_STREAM" => libc::SOCK_STREAM.into(),
        "SOCK_DGRAM" => libc::SOCK_DGRAM.into(),
        "IPPROTO_IP" => libc::IPPROTO_IP.into(),
        "IPPROTO_TCP" => libc::IPPROTO_TCP.into(),
        "IPPROTO_UDP" => libc::IPPROTO_UDP.into(),
        "IPPROTO_IPV6" => libc::IPPROTO_IPV6.into(),
        "MSG_FASTOPEN" => libc::MSG_FASTOPEN.into(),
        "SOL_SOCKET" => libc::SOL_SOCKET.into(),
        "SO_REUSEADDR" => libc::SO_REUSEADDR.into(),
        "SO_REUSEPORT" => libc::SO_REUSEPORT.into(),
        "SO_SNDBUF" => libc::SO_SNDBUF.into(),
        "SO_RCVBUF" => libc::SO_RCVBUF.into(),
        "SO_KEEPALIVE" => libc::SO_KEEPALIVE.into(),
        "SO_OOBINLINE" => libc::SO_OOBINLINE.into(),
        "SO_LINGER" => libc::SO_LINGER.into(),
        "SO_RCVTIMEO" => libc::SO_RCVTIMEO.into(),
        "SO_SNDTIMEO" => libc::SO_SNDTIMEO.into(),
        "TCP_NODELAY" => libc::TCP_NODELAY.into(),
        "TCP_CORK" => libc::TCP_CORK.into(),
        "TCP_KEEPIDLE" => libc::TCP_KEEPIDLE.into(),
        "TCP_KEEPINTVL" => libc::TCP_KEEPINTVL.into(),
        "TCP_KEEPCNT" => libc::TCP_KEEPCNT.into(),
        "TCP_QUICKACK" => libc::TCP_QUICKACK.into(),
        "TCP_USER_TIMEOUT" => libc::TCP_USER_TIMEOUT.into(),
        "TCP_MAXSEG" => libc::TCP_MAXSEG.into(),
        "TCP_NOTSENT_LOWAT" => 25,
        "IP_TOS" => libc::IP_TOS.into(),
        "IP_TTL" => libc::IP_TTL.into(),
        "IP_RECVERR" => libc::IP_RECVERR.into(),
        "IP_MTU_DISCOVER" => libc::IP_MTU_DISCOVER.into(),
        "IP_PKTINFO" => libc::IP_PKTINFO.into(),
        "IP_BIND_ADDRESS_NO_PORT" => libc::IP_BIND_ADDRESS_NO_PORT.into(),
        "IPV6_V6ONLY" => libc::IPV6_V6ONLY.into(),
        "IPV6_RECVERR" => libc::IPV6_RECVERR.into(),
        "IPV6_MTU_DISCOVER" => libc::IPV6_MTU_DISCOVER.into(),
        "IPV6_TCLASS" => libc::IPV6_TCLASS.into(),
        "IPV6_UNICAST_HOPS" => libc::IPV6_UNICAST_HOPS.into(),
        "IPV6_ADDR_PREFERENCES" => libc::IPV6_ADDR_PREFERENCES.into(),
        "CLONE_NEWNS" => libc::CLONE_NEWNS.into(),
        "CLONE_NEWCGROUP" => libc::CLONE_NEWCGROUP.into(),
        "CLONE_NEWUTS" => libc::CLONE_NEWUTS.into(),
        "CLONE_NEWIPC" => libc::CLONE_NEWIPC.into(),
        "CLONE_NEWUSER" => libc::CLONE_NEWUSER.into(),
        "CLONE_NEWPID" => libc::CLONE_NEWPID.into(),
        "CLONE_NEWNET" => libc::CLONE_NEWNET.into(),
        "CLONE_PARENT" => libc::CLONE_PARENT.into(),
        "CLONE_PTRACE" => libc::CLONE_PTRACE.into(),
        "PR_SET_NAME" => libc::PR_SET_NAME.into(),
        "PR_GET_NAME" => libc::PR_GET_NAME.into(),
        "PR_SET_VMA" => libc::PR_SET_VMA.into(),
        "PR_GET_DUMPABLE" => libc::PR_GET_DUMPABLE.into(),
        "PR_GET_PDEATHSIG" => libc::PR_GET_PDEATHSIG.into(),
        "PR_CAPBSET_READ" => libc::PR_CAPBSET_READ.into(),
        "PR_GET_NO_NEW_PRIVS" => libc::PR_GET_NO_NEW_PRIVS.into(),
        "PR_GET_SECCOMP" => libc::PR_GET_SECCOMP.into(),
        "PR_GET_KEEPCAPS" => libc::PR_GET_KEEPCAPS.into(),
        _ => return None,
    };
    Some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_and_call_of_the_strict_profile_is_known() {
        let profile = Profile::named("strict").expect("strict");
        let filters = profile.compile().expect("filters");
        assert_eq!((filters.before_exec.len(), filters.lock.len()), (2, 2));
        assert!(!profile.exec);
    }

    #[test]
    fn no_call_is_named_twice_and_each_says_why() {
        let profile = Profile::named("strict").expect("strict");
        let mut calls = std::collections::BTreeSet::new();
        for rule in profile
            .allow
            .iter()
            .chain(&profile.absent)
            .chain(&profile.kill)
        {
            assert!(calls.insert(&rule.call), "{} is named twice", rule.call);
            assert!(rule.why.len() > 4, "{} says nothing", rule.call);
        }
    }

    #[test]
    fn a_profile_that_does_not_exist_is_refused() {
        assert!(
            matches!(lock_profile("lax"), Err(LockError::UnknownProfile(name)) if name == "lax")
        );
    }
}
