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
lint rustfmt-caller "$CARGO" fmt --manifest-path tests/bench/caller/Cargo.toml --check
lint clippy "$CARGO" clippy --quiet --workspace --exclude caisson-less --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" lint rustdoc "$CARGO" doc --quiet --workspace --exclude caisson-less --no-deps --document-private-items
lint ruff-format "$venv/ruff" format --quiet --check $python_paths
lint ruff "$venv/ruff" check --quiet $python_paths
lint mypy-caisson "$venv/mypy" python-shim/python/caisson
for sources in connectors/*/src tests/demo/thief/src tests/e2e/connectors/*/src tests/stacks/connectors/*/src tests/escape/burglar/src tests/escape/gossip/src tests/escape/squatter/src/caisson_squatter tests/bench/connectors/*/src; do
    lint "mypy-$(basename "$(dirname "$sources")")" "$venv/mypy" "$sources"
done
lint mypy-tests "$venv/mypy" tests/e2e/harness tests/e2e/servers tests/e2e/*.py tests/demo/*.py tests/bench/*.py
lint mypy-stacks "$venv/mypy" tests/stacks/stackservers tests/stacks/*.py
lint mypy-chaos "$venv/mypy" tests/chaos/*.py
lint mypy-escape "$venv/mypy" tests/escape/suite tests/escape/scenarios tests/escape/*.py tests/canaries/*.py
if command -v cargo-deny >/dev/null 2>&1; then
    lint cargo-deny "$CARGO" deny --log-level error check licenses bans sources
fi

[ -z "$failed" ] || { echo "FAILED:$failed" >&2; exit 1; }
