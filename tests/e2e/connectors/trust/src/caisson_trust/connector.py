"""What a worker's clients trust, and whether they come through with it."""

from __future__ import annotations

import hashlib
import os
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caisson import Connector, stream

OWN = Path(__file__).parent
VARIABLES = (
    "AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NODE_EXTRA_CA_CERTS",
    "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
)  # fmt: skip
PATHS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt")


@dataclass
class Config:
    """What is asked for."""

    url: str = ""


def trusted(context: ssl.SSLContext) -> list[str]:
    """The SHA-256 of every certificate that a context trusts."""
    return [hashlib.sha256(der).hexdigest() for der in context.get_ca_certs(binary_form=True)]


class Trust(Connector[Config]):
    """Looks at trust stores, and uses them."""

    def test(self) -> None:
        """Nothing to try."""

    @stream(primary_key="where", modes=("full",))
    def stores(self) -> Iterator[dict[str, Any]]:
        """What each trusts."""
        for name in VARIABLES:
            yield {"where": name, "trusted": trusted(ssl.create_default_context(cafile=os.environ[name]))}
        for path in PATHS:
            yield {"where": path, "trusted": trusted(ssl.create_default_context(cafile=path))}
        yield {"where": "python", "trusted": trusted(ssl.create_default_context())}
        for own in sorted(OWN.glob("*.pem")):
            yield {"where": own.name, "trusted": trusted(ssl.create_default_context(cafile=own))}

    @stream(primary_key="client", modes=("full",))
    def asks(self) -> Iterator[dict[str, Any]]:
        """What each client of this worker is answered."""
        for client in (self.python, self.strictly, self.its_own, self.native):
            try:
                answer = client()
            except Exception as failed:
                answer = f"{type(failed).__name__}: {failed}"
            yield {"client": client.__name__, "answer": answer}

    def python(self) -> str:
        """Python's urllib, with what ssl trusts by default."""
        return self._ask(ssl.create_default_context())

    def strictly(self) -> str:
        """The same as Python 3.13 and later verify."""
        context = ssl.create_default_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return self._ask(context)

    def its_own(self) -> str:
        """A client that reads the roots that it brought, and nothing else."""
        return self._ask(ssl.create_default_context(cafile=str(OWN / "roots.pem")))

    def native(self) -> str:
        """The CDK's client."""
        return str(self.client(self.config.url, timeout=10).get("/").text)

    def _ask(self, context: ssl.SSLContext) -> str:
        with urllib.request.urlopen(self.config.url, timeout=10, context=context) as answer:
            return str(answer.read().decode())
