"""A secret shows nothing of itself, however it is looked at."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import pprint
import reprlib
import string
import traceback
from typing import Any

import pytest

from caisson import Secret

VALUE = "canary-8731"


@dataclasses.dataclass
class Holder:
    key: Secret


def test_no_way_of_showing_a_secret_shows_its_value() -> None:
    secret = Secret(VALUE, "vault:kv/shop#key")
    shown = [
        repr(secret), str(secret), ascii(secret), f"{secret}", f"{secret!r}", f"{secret!s:>20}", f"{secret:>40}",
        "%s %r %a" % (secret, secret, secret), "{} {!r} {:x}".format(secret, secret, secret), format(secret, "x"),  # noqa: UP031, UP032
        string.Template("$key").substitute(key=secret), repr({"key": [secret]}), str((secret,)),
        pprint.pformat({"key": secret}), reprlib.repr([secret]), repr(Holder(secret)), repr(dir(secret)),
    ]  # fmt: skip
    assert all(VALUE not in each for each in shown)
    assert all("[secret]" in each for each in shown[:-1])
    as_any: Any = secret
    for refused in (
        lambda: "%d" % as_any, lambda: bytes(as_any), lambda: len(as_any), lambda: list(as_any), lambda: "" + as_any,  # noqa: UP031
    ):  # fmt: skip
        with pytest.raises(TypeError) as told:
            refused()
        assert VALUE not in str(told.value)


def test_a_log_line_with_a_secret_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("shop").warning("key %s in %r", secret, {"key": secret}, extra={"key": secret})
    assert "[secret]" in caplog.text
    assert VALUE not in caplog.text


def test_a_secret_is_in_no_json_pickle_or_copy() -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError) as told:
        json.dumps({"key": secret})
    assert VALUE not in str(told.value)
    assert VALUE not in json.dumps({"key": secret}, default=str)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps({"key": secret}, protocol)
    for taken in (
        copy.copy, copy.deepcopy, vars, dataclasses.asdict, lambda each: dataclasses.asdict(Holder(each)),
        # What serialisers that know no pickle go by.
        lambda each: each.__getstate__(), lambda each: each.__reduce_ex__(2), lambda each: each.__dict__,
    ):  # fmt: skip
        with pytest.raises((TypeError, AttributeError)) as told:
            taken(secret)
        assert VALUE not in str(told.value)


def test_a_traceback_with_a_secret_in_its_message_or_locals_does_not_show_it() -> None:
    def deeper(key: Secret, holder: Holder) -> None:
        held = {"key": [key], "holder": holder}
        raise KeyError(f"bad key {key}", key, held)

    secret = Secret(VALUE)
    try:
        try:
            deeper(secret, Holder(secret))
        except KeyError as cause:
            raise ValueError(f"bad key {secret}", secret) from cause
    except ValueError as error:
        error.add_note(f"with {secret}")
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert text.count("[secret]") >= 6
    assert "deeper" in text and "held = " in text
    assert VALUE not in text


def test_reveal_gives_the_value_and_equality_compares_it() -> None:
    assert Secret(VALUE.encode()).reveal() == VALUE
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")
