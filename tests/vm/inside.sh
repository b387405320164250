# Inside the machine: one v2 tree, root, and an ordinary user who is handed a group.
busybox=/usr/bin/busybox
$busybox --install -s /usr/bin 2>/dev/null
export PATH=/usr/bin LANG=C.UTF-8 HOME=/root CARGO_MANIFEST_DIR=/ CI=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs tmpfs /run
ip link set lo up
mkdir -p /dev/shm && mount -t tmpfs shm /dev/shm
echo "kernel $(uname -r), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
failed=
suite() {
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}
cd "$(cat /tree)" || exit
for binary in /suites/*; do
    suite "$(basename "$binary")" env RUST_TEST_THREADS=1 "$(readlink "$binary")"
done
export CAISSON=target/debug/caisson WORKER_PYTHON=/usr/bin/python3.11
pytest=".venv/bin/python -m pytest -q -p no:cacheprovider"
suite "end to end" $pytest tests/e2e/test_delegation.py tests/e2e/test_neighbours.py tests/e2e/test_identities.py
suite "chaos" env CHAOS_ROUNDS="${CHAOS_ROUNDS:-3}" $pytest tests/chaos
[ -f target/limits.jsonl ] && cat target/limits.jsonl
[ -z "$failed" ] && echo "all suites passed" || echo "FAILED:$failed"
poweroff -f
