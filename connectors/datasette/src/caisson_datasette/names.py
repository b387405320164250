"""Names in Datasette's paths."""

SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def tilde(name: str) -> str:
    """Datasette's tilde encoding: like percent encoding, with `~`, and `+` for a space."""
    return "".join(chr(byte) if byte in SAFE else "+" if byte == 0x20 else f"~{byte:02X}" for byte in name.encode())
