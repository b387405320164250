#!/bin/sh
# The escape suite; arguments go to tests/escape/run.py.
set -eu
cd "$(dirname "$0")/../.."
PYTHONPATH=tests/e2e:tests/escape:tests/escape/burglar/src exec .venv/bin/python tests/escape/run.py "$@"
