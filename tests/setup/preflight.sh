#!/bin/sh
# What this machine lacks for `make demo`, `make test`, `make test-long`, `make escape`,
# `make bench` or `make lint`: all of it at once, within seconds, before anything is compiled. Root on Debian or
# Ubuntu gets missing packages installed by name; anybody else is told which.
set -u
goal=${1:-demo}
here=$(cd "$(dirname "$0")" && pwd)
packages=
faults=

need() { packages="$packages $1"; }
fault() { faults="$faults
  - $1"; }

[ "$(uname -s)" = Linux ] || fault "Linux: workers are made of its namespaces; on macOS or Windows use a Linux machine, VM or WSL 2"

command -v "${CARGO:-cargo}" >/dev/null 2>&1 || fault "cargo 1.88 or later: https://rustup.rs"
if command -v "${CARGO:-cargo}" >/dev/null 2>&1; then
    version=$("${CARGO:-cargo}" --version | awk '{print $2}')
    oldest=$(printf '1.88.0\n%s\n' "$version" | sort -V | head -n 1)
    [ "$oldest" = 1.88.0 ] || fault "cargo 1.88 or later (this is $version): rustup update"
fi
command -v cc >/dev/null 2>&1 || need gcc
[ -e /usr/include/stdlib.h ] || need libc6-dev

python=$("$here/python.sh")
if [ -z "$python" ]; then
    need python3.11
    need python3.11-venv
elif [ ! -x .venv/bin/python ] && ! "$python" -I -c 'import ensurepip, venv' 2>/dev/null; then
    need "python$("$python" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
fi

wants() { case " $1 " in *" $goal "*) return 0 ;; *) return 1 ;; esac; }

if wants "bench bench-quick"; then
    command -v bwrap >/dev/null 2>&1 || need bubblewrap
fi
if wants bench; then
    [ -n "$(PATH="$PATH:/usr/sbin" command -v haproxy)" ] || need haproxy
    [ -n "$(PATH="$PATH:/usr/sbin" command -v nginx)" ] || need nginx
fi
if wants "test escape test-long bench"; then
    postgres=$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | tail -n 1)
    [ -n "$postgres" ] || command -v initdb >/dev/null 2>&1 || need postgresql
    command -v openssl >/dev/null 2>&1 || need openssl
    command -v setpriv >/dev/null 2>&1 || need util-linux
fi
# The OAuth server of the tests; npm installs it from its lock file.
if wants "test escape test-long"; then
    if command -v node >/dev/null 2>&1; then
        node --eval 'process.exit(process.versions.node.split(".")[0] >= 18 ? 0 : 1)' ||
            fault "Node.js 18 or later (this is $(node --version)): https://nodejs.org"
    else
        need nodejs
    fi
    command -v npm >/dev/null 2>&1 || need npm
fi
# Under the GPL, so only who asks for the data stacks gets it.
if wants test-long; then
    [ -n "$(PATH="$PATH:/usr/sbin" command -v mariadbd)" ] || need mariadb-server-core
    command -v curl >/dev/null 2>&1 || need curl
fi
if wants "test escape test-long"; then
    { command -v setpriv && command -v unshare; } >/dev/null 2>&1 || need util-linux
    [ "$(uname -m)" = x86_64 ] || fault "x86_64: the suite makes system calls by their numbers there"
fi

# `-net` before the loop: every one of these is needed to make a worker.
for namespace in user pid mnt net ipc uts cgroup; do
    [ -e "/proc/self/ns/$namespace" ] || fault "kernel: no $namespace namespace (CONFIG_NAMESPACES)"
done
max=$(cat /proc/sys/user/max_user_namespaces 2>/dev/null || echo 0)
[ "$max" -gt 0 ] || fault "user namespaces are switched off: sysctl -w user.max_user_namespaces=65536"
if [ "$(id -u)" != 0 ]; then
    [ "$(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null || echo 0)" = 0 ] ||
        fault "AppArmor restricts user namespaces: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    [ "$(cat /proc/sys/kernel/unprivileged_userns_clone 2>/dev/null || echo 1)" = 1 ] ||
        fault "unprivileged user namespaces are off: sudo sysctl -w kernel.unprivileged_userns_clone=1"
fi
if command -v unshare >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then unshare -Unmpf true 2>/dev/null; else unshare -Urnmpf true 2>/dev/null; fi ||
        fault "this host (or its container) refuses new namespaces; 'caisson doctor' names the layer once it is built"
fi
grep -q '^Seccomp:' /proc/self/status 2>/dev/null || fault "kernel: no seccomp (CONFIG_SECCOMP_FILTER)"

free=$(df -Pk . | awk 'NR == 2 {print $4}')
if [ ! -d target ] && [ "$free" -lt 6000000 ]; then
    fault "disk: $((free / 1000000)) GB free here, a build needs 6 GB"
fi

if [ -n "$packages" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing:$packages"
        # The server that Debian would start is not wanted: tests make their own.
        if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
            mkdir -p /etc/postgresql-common
            echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
        fi
        # shellcheck disable=SC2086
        { apt-get install -y -qq --no-install-recommends $packages >/dev/null 2>&1 ||
            { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null; }; } ||
            fault "packages that apt-get could not install:$packages"
        [ -n "$("$here/python.sh")" ] || fault "Python 3.11 or later"
    else
        fault "packages: sudo apt-get install$packages (or what your distribution calls them)"
    fi
fi

if [ -n "$faults" ]; then
    echo "make $goal needs what this machine lacks:$faults" >&2
    exit 1
fi
