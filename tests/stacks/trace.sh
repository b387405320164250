#!/bin/sh
# Makes sandbox-profiles/traces again: runs this suite as root under strace and
# writes down what its workers ask the kernel for. Takes ten minutes.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "strace of another user's workers needs root" >&2; exit 1; }
command -v strace >/dev/null || { echo "strace is not installed: apt-get install strace" >&2; exit 1; }
exec .venv/bin/python -m pytest tests/stacks -q -p no:cacheprovider --timeout 900 --strace sandbox-profiles/traces
