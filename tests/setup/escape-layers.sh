#!/bin/sh
# Takes each layer away and looks what escapes; arguments go to tests/escape/without.py.
set -eu
cd "$(dirname "$0")/../.."
: "${CARGO:=cargo}" "${PROFILE:=dev}"
"$CARGO" build --profile "$PROFILE" -p caisson-less --features caisson-less/taken-away
CAISSON=target/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")/caisson-less
PYTHONPATH=tests/e2e:tests/escape:tests/escape/burglar/src CAISSON=$CAISSON exec .venv/bin/python tests/escape/without.py "$@"
