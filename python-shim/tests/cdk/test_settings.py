"""The configuration becomes the class that the author wrote."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from caisson import Secret, Settings, errors
from caisson._settings import build, resolve


class Address(Settings):
    host: str
    port: int = 443


class Config(Settings):
    shop: str
    api_key: Secret
    start_date: str = "2020-01-01"
    address: Address | None = None
    more: list[Address] = []


@dataclass(frozen=True)
class Plain:
    shop: str
    api_key: Secret
    pages: int = 3


def test_properties_secrets_and_defaults_are_there() -> None:
    values = resolve({"shop": "acme", "api_key": {"$secret": 0}}, [Secret("k")])
    config = build(Config, values)
    assert (config.shop, config.api_key.reveal(), config.start_date) == ("acme", "k", "2020-01-01")
    assert "k" not in repr(config).replace("api_key", "")
    plain = build(Plain, values)
    assert (plain.shop, plain.pages) == ("acme", 3)


def test_nested_objects_become_their_classes() -> None:
    config = build(Config, {"shop": "a", "api_key": Secret("k"), "address": {"host": "h"}, "more": [{"host": "i"}]})
    assert config.address == Address(host="h", port=443)
    assert config.more[0].host == "i"


def test_a_missing_and_an_unknown_property_are_both_named() -> None:
    with pytest.raises(errors.ConfigInvalid, match=r"unknown property 'shopp'; missing property 'shop'; .*'api_key'"):
        build(Config, {"shopp": "acme"})
    with pytest.raises(errors.ConfigInvalid, match="does not fit Plain"):
        build(Plain, {"shopp": "acme"})


def test_a_connector_without_a_class_gets_attributes_all_the_same() -> None:
    config = build(None, {"shop": "acme", "inner": {"x": 1}})
    assert (config.shop, config.inner.x) == ("acme", 1)
    with pytest.raises(AttributeError, match="no property 'shopp' in this configuration; there is: shop, inner"):
        _ = config.shopp


def test_a_configuration_cannot_be_changed() -> None:
    config = build(Config, {"shop": "acme", "api_key": Secret("k")})
    with pytest.raises(AttributeError, match="cannot be changed"):
        config.shop = "other"


@pytest.mark.parametrize("index", [1, -1, "0", True, None])
def test_a_secret_that_was_not_delivered_is_refused(index: object) -> None:
    with pytest.raises(errors.ConfigInvalid, match="not delivered"):
        resolve({"key": {"$secret": index}}, [Secret("k")])
