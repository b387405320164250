"""cryptography: keys, certificates, authenticated encryption."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.x509.oid import NameOID

Options = dict[str, Any]


def work_cryptography(_options: Options) -> dict[str, Any]:
    """Signs, encrypts, derives, and issues a certificate."""
    key = rsa.generate_private_key(65537, 2048)
    signed = key.sign(b"data", padding.PKCS1v15(), hashes.SHA256())
    key.public_key().verify(signed, b"data", padding.PKCS1v15(), hashes.SHA256())
    other = ed25519.Ed25519PrivateKey.generate()
    try:
        other.public_key().verify(other.sign(b"data"), b"changed")
        forged = True
    except InvalidSignature:
        forged = False
    box = AESGCM(AESGCM.generate_key(256))
    try:
        box.decrypt(b"0" * 12, box.encrypt(b"0" * 12, b"text", b"a"), b"b")
        tampered = True
    except InvalidTag:
        tampered = False
    fernet = Fernet(Fernet.generate_key())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stack")])
    now = datetime.datetime.now(datetime.UTC)
    issuer = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(issuer.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(1)).sign(issuer, hashes.SHA256())
    )  # fmt: skip
    derived = Scrypt(salt=b"0" * 16, length=32, n=2**14, r=8, p=1).derive(b"password")
    return {
        "forged": forged, "tampered": tampered, "text": fernet.decrypt(fernet.encrypt(b"text")).decode(),
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).startswith(b"-----BEGIN"),
        "derived": len(derived),
    }  # fmt: skip
