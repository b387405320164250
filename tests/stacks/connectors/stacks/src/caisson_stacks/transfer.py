"""paramiko: SFTP and a command on a real SSH server."""

from __future__ import annotations

import base64
import io
from typing import Any

import paramiko

Options = dict[str, Any]


def work_paramiko(options: Options) -> dict[str, Any]:
    """Sends a file, lists, fetches it, runs a command."""
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(options["key"]))
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        host = paramiko.PKey.from_type_string("ssh-ed25519", base64.b64decode(options["host_key"]))
        client.get_host_keys().add(f"[localhost]:{options['ssh']}", "ssh-ed25519", host)
        client.connect("localhost", options["ssh"], username=options["user"], pkey=key, look_for_keys=False,
                       allow_agent=False, timeout=20)  # fmt: skip
        with client.open_sftp() as files:
            files.chdir(options["folder"])
            with files.open("sent.csv", "wb") as out:
                out.write(b"id\n" * 50_000)
            names = files.listdir()
            size = files.stat("sent.csv").st_size
            files.get("sent.csv", "/tmp/fetched.csv")
        _, out, _ = client.exec_command("echo $((6 * 7))")
        said = out.read().decode().strip()
    with open("/tmp/fetched.csv", "rb") as back:
        same = back.read() == b"id\n" * 50_000
    return {"names": names, "size": size, "same": same, "said": said}
