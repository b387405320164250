"""A network, mounts and a host name of the suite's own, so that no attempt and no control can touch the host's.

The suite executes itself again through unshare(1). Everything that it starts, daemons too, lives in that network: it
has nothing but `lo`, and the addresses that attempts aim at are local there.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

INSIDE = "CAISSON_ESCAPE_INSIDE"
HOSTNAME = "burgled-host"
# What attackers aim at: cloud metadata, public DNS, private networks, a public site.
ADDRESSES_V4 = (
    "169.254.169.254", "169.254.170.2", "169.254.1.1", "100.100.100.200", "8.8.8.8", "1.1.1.1", "93.184.215.14",
    "10.1.2.3", "172.16.5.6", "192.168.7.8",
    # What a worker's gateway gives out for names.
    "198.18.0.1", "198.18.1.1", "198.18.1.2", "198.18.1.3", "198.18.1.254", "198.19.255.254",
)  # fmt: skip
ADDRESSES_V6 = (
    "fd00:ec2::254", "fd00:1::1", "2001:4860:4860::8888", "2606:2800:21f::14", "fe80::5",
    # Forms that carry an IPv4 address.
    "64:ff9b::a01:203", "64:ff9b::a9fe:a9fe", "2002:a01:203::1",
)  # fmt: skip

_SIOCSIFADDR, _SIOCSIFFLAGS = 0x8916, 0x8914
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def enter() -> None:
    """Returns inside; outside it does not return."""
    if os.environ.pop(INSIDE, None) is None:
        command = ["unshare", "--net", "--mount", "--uts"]
        if os.geteuid() != 0:
            command += ["--user", "--map-current-user", "--keep-caps"]
        command += ["--", sys.executable, *sys.argv]
        os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})
    if {name for _, name in socket.if_nameindex()} != {"lo"}:
        raise SystemExit("the suite is not in a network of its own")
    socket.sethostname(HOSTNAME)
    _make_local()
    # What an ordinary user needed for that must not reach the daemon.
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def resolve_at(address: str, folder: Path) -> None:
    """Makes this mount namespace ask a name server of the suite's own.

    Args:
        address: Where it listens, on port 53.
        folder: Keeps the file that covers /etc/resolv.conf.
    """
    written = folder / "resolv.conf"
    written.write_text(f"nameserver {address}\noptions timeout:2 attempts:1\n")
    bind = 4096
    if ctypes.CDLL(None, use_errno=True).mount(str(written).encode(), b"/etc/resolv.conf", None, bind, None) != 0:
        raise OSError(ctypes.get_errno(), "covering /etc/resolv.conf")


def _make_local() -> None:
    # Echo requests are everybody's here, as on most hosts.
    Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        fcntl.ioctl(way, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP | _IFF_RUNNING))
        for number, address in enumerate(ADDRESSES_V4):
            where = struct.pack("H2x4s8x", socket.AF_INET, socket.inet_aton(address))
            fcntl.ioctl(way, _SIOCSIFADDR, struct.pack("16s16s8x", f"lo:{number}".encode(), where))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as way:
        for address in ADDRESSES_V6:
            request = struct.pack("16sIi", socket.inet_pton(socket.AF_INET6, address), 128, socket.if_nametoindex("lo"))
            fcntl.ioctl(way, _SIOCSIFADDR, request)
