#!/bin/sh
# The canaries: secrets that are planted, used, and looked for everywhere; arguments go to tests/canaries.
set -eu
cd "$(dirname "$0")/../.."
PYTHONPATH=tests/e2e:tests/escape:tests/escape/burglar/src exec .venv/bin/python tests/canaries "$@"
