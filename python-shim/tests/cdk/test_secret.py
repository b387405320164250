"""A secret shows nothing of itself, however it is looked at."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from caisson import Secret

VALUE = "canary-8731"


def test_no_way_of_showing_a_secret_shows_its_value() -> None:
    secret = Secret(VALUE, "vault:kv/shop#key")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!s:>20}", "%s %r" % (secret, secret), format(secret, "x")]  # noqa: UP031
    assert all(VALUE not in each for each in shown)
    assert "[secret]" in shown[0]


def test_a_secret_is_in_no_json_pickle_or_copy() -> None:
    secret = Secret(VALUE)
    with pytest.raises(TypeError) as told:
        json.dumps({"key": secret})
    assert VALUE not in str(told.value)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_a_traceback_with_a_secret_in_its_message_or_locals_does_not_show_it() -> None:
    secret = Secret(VALUE)
    try:
        raise ValueError(f"bad key {secret}", secret)
    except ValueError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert VALUE not in text.replace(f'VALUE = "{VALUE}"', "")


def test_reveal_gives_the_value_and_equality_compares_it() -> None:
    assert Secret(VALUE.encode()).reveal() == VALUE
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert not Secret("")
