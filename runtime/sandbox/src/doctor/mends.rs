//! From a missing layer to the command or the change that brings it back, by what kind of host this is.

use std::fs;

use crate::Layer;
use crate::cgroup::{self, Version};

/// What of the host decides the advice.
#[derive(Clone, Copy, Debug, Default)]
struct Surroundings {
    apparmor_restricts_userns: bool,
    userns_sysctl_off: bool,
    no_user_namespaces: bool,
    wsl1: bool,
    container: bool,
    unified: bool,
    root: bool,
}

impl Surroundings {
    fn look() -> Self {
        let says = |path: &str, value: &str| {
            fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
        };
        let version = fs::read_to_string("/proc/version").unwrap_or_default();
        Surroundings {
            apparmor_restricts_userns: says(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1",
            ),
            userns_sysctl_off: says("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            no_user_namespaces: says("/proc/sys/user/max_user_namespaces", "0"),
            wsl1: version.contains("Microsoft") && !version.contains("WSL2"),
            container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|path| fs::metadata(path).is_ok())
                || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            unified: fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok(),
            root: nix::unistd::geteuid().is_root(),
        }
    }
}

/// What to do about a missing layer.
pub(crate) fn mend(layer: Layer, errno: i32) -> String {
    advise(layer, errno, Surroundings::look()).to_owned()
}

fn advise(layer: Layer, errno: i32, host: Surroundings) -> &'static str {
    match layer {
        _ if host.wsl1 => {
            "WSL 1 has no Linux kernel; move the distribution: wsl --set-version <name> 2"
        }
        Layer::Namespaces | Layer::Identity | Layer::Filesystem if host.no_user_namespaces => {
            "user namespaces are switched off: sysctl -w user.max_user_namespaces=10000"
        }
        Layer::Namespaces | Layer::Identity | Layer::Filesystem
            if host.userns_sysctl_off && !host.root =>
        {
            "unprivileged user namespaces are switched off: sysctl -w kernel.unprivileged_userns_clone=1"
        }
        Layer::Namespaces | Layer::Identity | Layer::Filesystem | Layer::Network
            if host.apparmor_restricts_userns && !host.root =>
        {
            "AppArmor withholds user namespaces from programs without a profile: give this program a profile with \
             `userns,`, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        }
        Layer::Namespaces | Layer::Identity | Layer::Filesystem | Layer::Network
            if host.container =>
        {
            "the container's own profiles withhold it (workers bring their own): run it with \
             --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
        }
        Layer::Namespaces if errno == libc::ENOSPC => {
            "the limit on namespaces is reached: sysctl -w user.max_user_namespaces=10000"
        }
        Layer::Namespaces | Layer::Identity | Layer::Network | Layer::Death => {
            "use Linux 5.15 or newer with user, pid, mount, net, ipc, uts and cgroup namespaces enabled"
        }
        Layer::Filesystem if errno == libc::ENOSYS || errno == libc::EINVAL => {
            "use Linux 5.15 or newer, which has open_tree and mount_setattr"
        }
        Layer::Filesystem => {
            "see which path the detail names; it must be readable by the user that runs the daemon"
        }
        Layer::HostFiles => "grant a directory that exists, without symlinks on the way",
        Layer::Privilege => "use a kernel with capabilities and no_new_privs (3.5 or newer)",
        Layer::Seccomp => {
            "use a kernel with CONFIG_SECCOMP_FILTER=y, outside of a sandbox that forbids further filters"
        }
        Layer::Landlock => {
            "use Linux 5.15 or newer with Landlock in the list of security modules: add lsm=landlock,… to the kernel's command line"
        }
        Layer::Cgroup => {
            let version = if host.unified {
                Version::V2
            } else {
                Version::V1
            };
            cgroup::mend(version, host.root)
        }
        Layer::Rlimits | Layer::Descriptors => {
            "raise the limits that the daemon itself was started with (ulimit -a)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_ubuntu_the_advice_for_an_ordinary_user_names_apparmor() {
        let host = Surroundings {
            apparmor_restricts_userns: true,
            ..Surroundings::default()
        };
        assert!(
            advise(Layer::Namespaces, libc::EPERM, host)
                .contains("apparmor_restrict_unprivileged_userns=0")
        );
    }

    #[test]
    fn switched_off_user_namespaces_are_named_before_anything_else() {
        let host = Surroundings {
            no_user_namespaces: true,
            container: true,
            ..Surroundings::default()
        };
        assert!(advise(Layer::Namespaces, libc::ENOSPC, host).contains("user.max_user_namespaces"));
    }

    #[test]
    fn an_ordinary_user_without_a_group_is_told_how_to_come_by_one() {
        let advice = |unified| {
            let host = Surroundings {
                unified,
                ..Surroundings::default()
            };
            advise(Layer::Cgroup, libc::EACCES, host)
        };
        for words in [
            "systemd-run --user --scope -p Delegate=yes",
            "loginctl enable-linger",
        ] {
            assert!(advice(true).contains(words), "{words}");
        }
        assert!(advice(false).contains("chown -R"));
        for advice in [advice(true), advice(false)] {
            assert!(
                advice.ends_with("or start with --allow-missing=cgroup"),
                "{advice}"
            );
        }
    }

    #[test]
    fn every_layer_has_advice() {
        for layer in Layer::ALL {
            assert!(
                !advise(layer, 0, Surroundings::default()).is_empty(),
                "{layer}"
            );
        }
    }
}
