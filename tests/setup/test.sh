#!/bin/sh
# Every test. Nothing is skipped: what is missing fails. The first suite that
# fails ends the run with its name.
set -eu
cd "$(dirname "$0")/../.."
: "${CARGO:=cargo}" "${PROFILE:=dev}"
pytest=".venv/bin/python -m pytest -q -p no:cacheprovider"

suite() {
    name=$1
    shift
    echo "== $name"
    "$@" || { echo "FAILED: $name" >&2; exit 1; }
}

# As root most tests of a daemon run twice: as root, and as an ordinary user. They wait more than they work, so the two
# halves run side by side; what the second said comes after the first.
halves() {
    [ "$(id -u)" = 0 ] || { "$@"; return; }
    said=$(mktemp)
    "$@" --identity user >"$said" 2>&1 &
    second=$!
    status=0
    "$@" --identity root || status=$?
    wait "$second" || status=$?
    cat "$said"
    rm -f "$said"
    return "$status"
}

# caisson-less turns on what no product may have, for whatever is built with it.
# The wheel is tried in plain Python below, so its crate is only linted here.
# One test at a time: tests of the launcher look at their process's children.
suite "rust" env RUST_TEST_THREADS=1 "$CARGO" test --quiet --profile "$PROFILE" --workspace --exclude caisson-less
suite "worker library" $pytest python-shim/tests
for connector in connectors/*/; do
    suite "connector $(basename "$connector")" $pytest "$connector/tests"
done
suite "end to end" halves $pytest tests/e2e
suite "chaos, a sample" $pytest tests/chaos
suite "escape" tests/setup/escape.sh
suite "canaries, a sample" tests/setup/canaries.sh --sample
suite "escape without layers, a sample" tests/setup/escape-layers.sh --sample 2
