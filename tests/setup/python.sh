#!/bin/sh
# Prints the Python 3.11 or later to use. The system's comes first: workers of
# an ordinary user must be able to read it, and one in somebody's home is not
# readable. Prints nothing when there is none; preflight.sh says so.
for candidate in /usr/bin/python3.11 /usr/bin/python3 /usr/local/bin/python3 python3.11 python3; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    if "$path" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        # A shim of a version switcher is resolved to what it would run.
        "$path" -I -S -c 'import sys; print(sys.executable)'
        exit 0
    fi
done
