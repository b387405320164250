#!/bin/sh
# What takes longer than a change may wait. Each suite can be given other dice
# and counts; what it found out is in target/*.jsonl.
set -eu
cd "$(dirname "$0")/../.."
pytest=".venv/bin/python -m pytest -q -p no:cacheprovider"

echo "== chaos"
CHAOS_ROUNDS=${CHAOS_ROUNDS:-200} $pytest tests/chaos

echo "== data stacks, whose wheels the first run fetches"
$pytest tests/stacks --timeout 900

echo "== escape without each layer"
tests/setup/escape-layers.sh
