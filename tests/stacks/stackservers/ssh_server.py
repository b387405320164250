"""An SSH server with SFTP and commands, for one key. Run as a program of its own, under the wheels of the suite.

Prints its port and its host key, and serves until its input ends.
"""

from __future__ import annotations

import base64
import io
import os
import socket
import subprocess
import sys
import threading
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from paramiko import SFTPAttributes, SFTPHandle


class Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """The files that this user has."""

    def list_folder(self, path: str) -> Any:
        return [SFTPAttributes.from_stat(os.stat(os.path.join(path, name)), name) for name in sorted(os.listdir(path))]

    def stat(self, path: str) -> Any:
        try:
            return SFTPAttributes.from_stat(os.stat(path))
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def open(self, path: str, flags: int, _attr: Any) -> Any:
        try:
            number = os.open(path, flags, 0o600)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = SFTPHandle(flags)
        handle.readfile = handle.writefile = os.fdopen(number, "wb" if flags & os.O_WRONLY else "rb", buffering=0)
        return handle


class Server(paramiko.ServerInterface):  # type: ignore[misc]
    """Whoever has the key may run commands."""

    def __init__(self, key: paramiko.PKey) -> None:
        self.key = key

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, _username: str, key: paramiko.PKey) -> int:
        return int(paramiko.AUTH_SUCCESSFUL if key == self.key else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, _number: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def run() -> None:
            done = subprocess.run(command.decode(), shell=True, capture_output=True, check=False)
            channel.sendall(done.stdout)
            channel.send_exit_status(done.returncode)
            channel.close()

        threading.Thread(target=run, daemon=True).start()
        return True


def made(path: str) -> paramiko.PKey:
    """A new key, and its private half in a file."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    text = ed25519.Ed25519PrivateKey.generate().private_bytes(*form).decode()
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
        out.write(text)
    return paramiko.Ed25519Key.from_private_key(io.StringIO(text))


def main() -> None:
    """One thread a connection."""
    allowed, host = made(sys.argv[1]), made(sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            way, _ = listener.accept()
            transport = paramiko.Transport(way)
            transport.add_server_key(host)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files)
            transport.start_server(server=Server(allowed))

    threading.Thread(target=serve, daemon=True).start()
    print(listener.getsockname()[1], base64.b64encode(host.asbytes()).decode(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
