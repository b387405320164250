#!/bin/sh
# All lints; each is an error. Runs them all and names those that failed.
set -u
cd "$(dirname "$0")/../.."
: "${CARGO:=cargo}"
venv=.venv/bin
failed=

lint() {
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}

python_paths="python-shim/python python-shim/tests connectors tests"

lint rustfmt "$CARGO" fmt --all --check
lint clippy "$CARGO" clippy --quiet --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" lint rustdoc "$CARGO" doc --quiet --workspace --no-deps --document-private-items
lint ruff-format "$venv/ruff" format --quiet --check $python_paths
lint ruff "$venv/ruff" check --quiet $python_paths
lint mypy-caisson "$venv/mypy" --strict python-shim/python/caisson
for connector in connectors/*/; do
    lint "mypy-$(basename "$connector")" "$venv/mypy" --strict "$connector/src"
done
lint mypy-tests "$venv/mypy" --strict tests/e2e tests/demo tests/bench
if command -v cargo-deny >/dev/null 2>&1; then
    lint cargo-deny "$CARGO" deny --log-level error check licenses bans sources
fi

[ -z "$failed" ] || { echo "FAILED:$failed" >&2; exit 1; }
