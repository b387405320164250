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

# caisson-less turns on what no product may have, for whatever is built with it.
# The wheel is tried in plain Python below, so its crate is only linted here.
# One test at a time: tests of the launcher look at their process's children.
suite "rust" env RUST_TEST_THREADS=1 "$CARGO" test --quiet --profile "$PROFILE" --workspace --exclude caisson-less
suite "worker library" $pytest python-shim/tests
for connector in connectors/*/; do
    suite "connector $(basename "$connector")" $pytest "$connector/tests"
done
suite "end to end" $pytest tests/e2e
suite "chaos, a sample" $pytest tests/chaos
suite "escape" tests/setup/escape.sh
suite "escape without layers, a sample" tests/setup/escape-layers.sh --sample 3
