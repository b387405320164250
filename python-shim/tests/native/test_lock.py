"""The lock, in processes of their own: it does not come off."""

import subprocess
import sys

LOCKED = """
import errno, os, subprocess, threading
from caisson import _native

started, go, found = threading.Event(), threading.Event(), []
def early():
    started.set()
    go.wait()
    try:
        os.execv("/bin/true", ["true"])
    except OSError as error:
        found.append(error.errno)

thread = threading.Thread(target=early)
thread.start()
started.wait()
_native.lock("strict")
try:
    os.execv("/bin/true", ["true"])
except OSError as error:
    assert error.errno == errno.EPERM, error
go.set()
thread.join()
assert found == [errno.EPERM], found
print("locked")
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_after_the_lock_no_thread_can_execute_anything() -> None:
    done = python(LOCKED)
    assert done.stdout == "locked\n", done.stderr


def test_an_unknown_profile_is_a_value_error_and_locks_nothing() -> None:
    done = python(
        "import os\nfrom caisson import _native\n"
        "try: _native.lock('nope')\n"
        "except ValueError as error: print(error, flush=True)\n"
        "os.execv('/bin/echo', ['echo', 'free'])"
    )
    assert "nope" in done.stdout
    assert done.stdout.endswith("free\n"), done.stderr


def test_records_flow_after_the_lock() -> None:
    done = python(
        "import socket\nfrom caisson import _native\n"
        "a, b = socket.socketpair()\n"
        "channel = _native.Channel(a.detach())\n"
        "_native.lock('strict')\n"
        "emitter = _native.Emitter(channel, 's', '', encoding='arrow_ipc', schema=None, flush_seconds=0.01)\n"
        "emitter.record({'a': 1})\n"
        "size = len(b.recv(100000))\n"  # only the flusher's thread can have sent it
        "emitter.close()\n"
        "print('sent', size > 0)"
    )
    assert done.stdout == "sent True\n", done.stderr
