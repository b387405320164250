#!/bin/sh
# Runs the suites that cgroups decide on a machine of its own, whose only cgroup
# tree is v2 with every controller: what a host with v1 controllers cannot show.
#
#   QEMU     qemu-system-x86_64 (default: from PATH)
#   KERNEL   a kernel image (default: the newest /boot/vmlinuz-*)
#   MODULES  its modules (default: /lib/modules/<version of KERNEL>)
#   BUSYBOX  a static busybox (default: from PATH)
#   SUITES   test binaries of the sandbox (default: built now)
#
# Needs as well: root (the tree is copied with its owners), mke2fs, a build.
# Without KVM it takes an hour; with it a few minutes.
set -eu
cd "$(dirname "$0")/../.."
: "${QEMU:=qemu-system-x86_64}" "${BUSYBOX:=$(command -v busybox || true)}"
: "${KERNEL:=$(ls -v /boot/vmlinuz-* 2>/dev/null | tail -1)}"
version=$(basename "$KERNEL" | sed s/vmlinuz-//)
BUSYBOX=$(readlink -f "$BUSYBOX" || true)
: "${MODULES:=/lib/modules/$version}" "${CARGO:=cargo}"
python=${WORKER_PYTHON:-/usr/bin/python3.11}

missing=
[ "$(id -u)" = 0 ] || missing="$missing root"
for program in "$QEMU" "$BUSYBOX" mke2fs; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing ${program:-busybox}"
done
[ -f "$KERNEL" ] || missing="$missing KERNEL"
[ -d "$MODULES" ] || missing="$missing MODULES"
[ -x target/debug/caisson ] || missing="$missing make-build"
[ -z "$missing" ] || { echo "missing:$missing (see the top of $0)" >&2; exit 1; }

work=target/vm
rm -rf "$work"
mkdir -p "$work/root" "$work/initial"

echo "== what runs there"
if [ -z "${SUITES:-}" ]; then
    SUITES=$("$CARGO" test -p caisson-sandbox --no-run --message-format=json |
        sed -n 's/.*"name":"\(limits\|instances\|death\|caisson_sandbox\)".*"executable":"\([^"]*\)".*/\2/p' | sort -u)
fi
[ -n "$SUITES" ] || { echo "no test binaries were built" >&2; exit 1; }
here=$(pwd)
root="$work/root"
mkdir -p "$root$here/target/debug" "$root/usr/bin" "$root/etc" "$root/usr/share" "$root/usr/lib" \
    "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root/run" "$root/var/tmp" "$root/boot" "$root/root"
chmod 1777 "$root/tmp" "$root/var/tmp"
for name in bin sbin; do ln -s usr/bin "$root/$name"; done
for name in lib lib64; do ln -s "usr/$name" "$root/$name"; done
cp -a /usr/lib/x86_64-linux-gnu "$root/usr/lib/"
cp -a "$(readlink -f /lib64)" "$root/usr/lib64"
cp -a /usr/lib/python3.11 /usr/lib/python3 "$root/usr/lib/" 2>/dev/null || cp -a /usr/lib/python3.11 "$root/usr/lib/"
cp -a "$python" /usr/bin/setpriv /usr/bin/env "$root/usr/bin/"
cp -a /usr/share/zoneinfo "$root/usr/share/" 2>/dev/null || true
cp -a /etc/passwd /etc/group /etc/ssl /etc/ld.so.cache /etc/ld.so.conf* "$root/etc/"
cp "$BUSYBOX" "$root/usr/bin/busybox"
cp -a tests python-shim connectors .venv pytest.ini "$root$here/"
cp target/debug/caisson target/debug/sandbox-try "$root$here/target/debug/"
mkdir "$root/suites"
for suite in $SUITES; do
    mkdir -p "$root$(dirname "$suite")"
    cp "$suite" "$root$suite"
    ln -s "$suite" "$root/suites/"
done
cp tests/vm/inside.sh "$root/inside.sh"
printf '%s\n' "$here" > "$root/tree"

mke2fs -q -t ext4 -d "$root" "$work/disk" 4G

echo "== its first steps"
initial="$work/initial"
mkdir -p "$initial/bin" "$initial/lib/modules" "$initial/disk" "$initial/proc" "$initial/dev"
cp "$BUSYBOX" "$initial/bin/busybox"
for module in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    file=$(find "$MODULES" -name "$module.ko*" | head -1)
    [ -z "$file" ] || cp "$file" "$initial/lib/modules/"
done
cp tests/vm/init.sh "$initial/init"
(cd "$initial" && find . | "$BUSYBOX" cpio -o -H newc) > "$work/initrd"

echo "== the machine"
accelerate=
[ -z "${VM_CPU:-}" ] || accelerate="-cpu $VM_CPU"
[ -n "$accelerate" ] || [ ! -w /dev/kvm ] || accelerate="-enable-kvm -cpu host"
# shellcheck disable=SC2086
timeout "${VM_TIMEOUT:-3600}" "$QEMU" $accelerate -m 3072 -smp 2 -nographic -no-reboot -nodefaults -serial stdio \
    -kernel "$KERNEL" -initrd "$work/initrd" -append "console=ttyS0 loglevel=4 panic=-1 cgroup_no_v1=all" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" | tee "$work/log"
rm -rf "$root" "$work/disk"
grep -q "^all suites passed" "$work/log"
