#!/bin/sh
# Makes the virtual environment of tests and demo from hashed, pinned wheels.
# The package `caisson` comes from the tree, so that an edit needs no install.
set -eu
venv=${1:-.venv}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

echo "python: $PYTHON, tools into $venv"
[ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --only-binary :all: --require-hashes -r "$here/requirements.txt"
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
echo "$root/python-shim/python" >"$site/caisson.pth"
touch "$venv/.ready"
