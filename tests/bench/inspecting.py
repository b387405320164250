"""Part 9: what inspecting HTTPS costs, against nginx as a proxy that ends TLS, and mitmproxy.

All three end TLS towards the client, verify the upstream (another nginx) over TLS, and pass the same requests.
Counted is the process that stands between; clients and upstream are the same on every way.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers.attacker import free_port
from servers.secure import Signer

from . import peers
from .caisson import HERE, Caisson
from .contest import say
from .egress import used
from .measure import TICKS, environment, pipeline

BULK = 512 << 20
HELD = 1_000
AMOUNTS = {"requests": 20_000, "latency": 3_000, "bulk": BULK}
SLOW = {"requests": 2_000, "latency": 500}
"""What mitmproxy is asked, which would take minutes otherwise."""

UPSTREAM = """
daemon off; pid {folder}/up.pid; error_log {folder}/up.log; worker_processes 1;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; sendfile on;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    location = /bulk {{ alias {folder}/bulk; }}
    location / {{ return 200 "{payload}"; }}
  }}
}}
"""
PROXY = """
daemon off; pid {folder}/proxy.pid; error_log {folder}/proxy.log; worker_processes 1;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 2000; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    location / {{
      proxy_pass https://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_ssl_verify on; proxy_ssl_trusted_certificate {folder}/ca.pem; proxy_ssl_name localhost;
      proxy_ssl_server_name on; proxy_ssl_session_reuse on;
    }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path, name: str, text: str, port: int) -> Iterator[int]:
    """The process id of the one that works."""
    (folder / f"{name}.conf").write_text(text)
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    with subprocess.Popen([program, "-c", str(folder / f"{name}.conf"), "-p", str(folder)]) as process:
        try:
            listening(port)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            yield int(children[0])
        finally:
            process.terminate()


@contextmanager
def mitmproxy(folder: Path, upstream: int) -> Iterator[tuple[int, int, str]]:
    """Port, process id, and the file of its authority."""
    port = free_port()
    program = peers.python("mitmproxy").parent / "mitmdump"
    options = ["--set", f"confdir={folder}/mitm", "--set", f"ssl_verify_upstream_trusted_ca={folder}/ca.pem", "-q"]
    mode = ["--mode", f"reverse:https://localhost:{upstream}", "--listen-host", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen([str(program), *mode, *options], env=environment()) as process:
        try:
            listening(port)
            yield port, process.pid, f"{folder}/mitm/mitmproxy-ca-cert.pem"
        finally:
            process.terminate()


def listening(port: int) -> None:
    """Waits until somebody listens."""
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody listens on {port}")


def resident(pid: int) -> int:
    """Anonymous memory of a process, KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def held(pid: int, run: Callable[[], int]) -> float:
    """KiB that each of the connections takes which `run` holds open."""
    before, most, over = resident(pid), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.05):
            most = max(most, resident(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        count = run()
    finally:
        over.set()
        watching.join()
    return (most - before) / count


def metrics(rounds: int = 5, others: bool = True) -> dict[str, float]:
    """The keys of this part."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        signer = Signer(folder)
        signer.issue("server", "DNS:localhost")
        (folder / "server.key").chmod(0o644)
        with (folder / "bulk").open("wb") as file:
            file.truncate(BULK)
        upstream, proxy = free_port(), free_port()
        payload = "x" * 1024
        stack.enter_context(
            nginx(folder, "up", UPSTREAM.format(folder=folder, port=upstream, payload=payload), upstream)
        )
        proxy_text = PROXY.format(folder=folder, port=proxy, upstream=upstream)
        proxy_pid = stack.enter_context(nginx(folder, "proxy", proxy_text, proxy))
        running = stack.enter_context(Caisson(egress={"ca": f"{folder}/ca.pem"}))
        rule = {"host": "localhost", "networks": ["127.0.0.0/8"], "ports": [upstream], "protocol": "https"}
        running.daemon.policy("plumb", egress=[{**rule, "http": {"methods": ["GET"], "paths": ["/**"]}}])

        def ours(what: str, amount: int) -> int:
            config = {"port": upstream, "what": what, "amount": amount}
            return int(running.ask("read", "plumb", stream="figure", config=config).told["sum"])

        def by(port: int, cafile: str) -> Callable[[str, int], int]:
            script = [str(peers.worker_python()), str(HERE / "programs/requesting.py"), str(port)]
            return lambda what, amount: int(pipeline([*script, what, str(amount), cafile], cwd=folder).told["sum"])

        authority = str(folder / "ca.pem")
        ways = {
            "caisson": (running.tree.pid, ours, AMOUNTS),
            "nginx": (proxy_pid, by(proxy, authority), AMOUNTS),
            "direct": (os.getpid(), by(upstream, authority), AMOUNTS),
        }
        if others:
            port, pid, own = stack.enter_context(mitmproxy(folder, upstream))
            ways["mitmproxy"] = (pid, by(port, own), SLOW)
        for number in range(rounds):
            for what in AMOUNTS:
                for name, (pid, run, amounts) in ways.items():
                    if (amount := amounts.get(what)) is None:
                        continue
                    before = used(pid)
                    nanoseconds = run(what, amount)
                    cpu = used(pid) - before
                    say(f"  round {number + 1} {name} {what}: {nanoseconds / 1e6:.3f} ms, {cpu:.2f} CPU s")
                    found.setdefault((name, what), []).append((cpu / amount, nanoseconds / 1e6))
        kib = held(running.tree.pid, lambda: ours("hold", HELD))
        kib_nginx = held(proxy_pid, lambda: by(proxy, authority)("hold", HELD))
    cpu_of = {key: statistics.median(cpu for cpu, _ in values) for key, values in found.items()}
    time_of = {key: statistics.median(taken for _, taken in values) for key, values in found.items()}
    latency = {name: time_of[name, "latency"] for name in ("caisson", "nginx", "direct")}
    rates = {name: amounts["requests"] / time_of[name, "requests"] * 1e3 for name, (_, _, amounts) in ways.items()}
    compared = {"inspect_rps_vs_mitmproxy": rates["caisson"] / rates["mitmproxy"]} if others else {}
    return {
        **compared,
        "inspect_rps_per_cpu_s_vs_nginx": cpu_of["nginx", "requests"] / cpu_of["caisson", "requests"],
        "inspect_bytes_per_cpu_s_vs_nginx": cpu_of["nginx", "bulk"] / max(cpu_of["caisson", "bulk"], 1 / TICKS / BULK),
        "inspect_rps": rates["caisson"],
        "inspect_cpu_us_per_request": cpu_of["caisson", "requests"] * 1e6,
        "inspect_cpu_s_per_gib": cpu_of["caisson", "bulk"] * (1 << 30),
        "inspect_added_latency_p50_ms": latency["caisson"] - latency["direct"],
        "inspect_nginx_added_latency_p50_ms": latency["nginx"] - latency["direct"],
        "inspect_kib_per_connection": kib,
        "inspect_nginx_kib_per_connection": kib_nginx,
    }
