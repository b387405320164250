"""Fields and values that fit them, for property tests.

Each field comes with a strategy of values that it takes and two functions:
what pyarrow must read for such a value, and what JSON must hold.
"""

import base64
import datetime as dt
import json
import string
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Sample:
    type: Any
    values: st.SearchStrategy[Any]
    arrow: Callable[[Any], Any] = lambda value: value
    json: Callable[[Any], Any] = lambda value: value


def _micros(moment: dt.datetime) -> str:
    moment = moment.astimezone(dt.UTC) if moment.tzinfo else moment
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    return text + ("Z" if moment.tzinfo else "")


def _seconds(span: dt.timedelta) -> str:
    micros = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    return f"{sign}PT{micros // 1_000_000}.{micros % 1_000_000:06}S"


def _single(value: float) -> float:
    """The shortest decimal that names this float32, which is what JSON holds."""
    shortest = (float(f"{value:.{digits}g}") for digits in range(1, 18))
    return next(each for each in shortest if struct.unpack("f", struct.pack("f", each))[0] == value)


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_zones = st.one_of(
    st.just(dt.UTC),
    st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))),
)
_moments = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1))
_cents = st.integers(-(10**17), 10**17).map(lambda n: Decimal(n).scaleb(-2))
_finite = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _finite | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)

PLAIN = {
    "bool": Sample("bool", st.booleans()),
    "int8": Sample("int8", st.integers(-128, 127)),
    "uint16": Sample("uint16", st.integers(0, 2**16 - 1)),
    "int32": Sample("int32", st.integers(-(2**31), 2**31 - 1)),
    "int64": Sample("int64", st.integers(-(2**63), 2**63 - 1)),
    "uint64": Sample("uint64", st.integers(0, 2**64 - 1)),
    "float32": Sample("float32", st.floats(width=32, allow_nan=False, allow_infinity=False), json=_single),
    "float64": Sample("float64", _finite),
    "decimal": Sample("decimal(20,2)", _cents, arrow=lambda d: d.quantize(Decimal("0.01")), json=lambda d: f"{d:.2f}"),
    "wide": Sample("decimal(60,0)", st.integers(-(10**59), 10**59), arrow=Decimal, json=str),
    "string": Sample("string", _text),
    "binary": Sample("binary", st.binary(max_size=20), json=lambda value: base64.b64encode(value).decode()),
    "date": Sample("date", st.dates(), json=dt.date.isoformat),
    "time": Sample("time", st.times(), json=lambda value: value.isoformat(timespec="microseconds")),
    "timestamp": Sample(
        "timestamp",
        st.builds(lambda moment, zone: moment.replace(tzinfo=zone), _moments, _zones),
        arrow=lambda value: value.astimezone(dt.UTC),
        json=_micros,
    ),
    "timestamp_text": Sample(
        "timestamp",
        st.builds(
            lambda moment, zone: moment.replace(tzinfo=zone, microsecond=0).isoformat(),
            _moments,
            st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))]),
        ),
        arrow=lambda value: dt.datetime.fromisoformat(value).astimezone(dt.UTC),
        json=lambda value: _micros(dt.datetime.fromisoformat(value)),
    ),
    "timestamp_naive": Sample("timestamp_naive", _moments, json=_micros),
    "duration": Sample(
        "duration", st.timedeltas(dt.timedelta(days=-100_000), dt.timedelta(days=100_000)), json=_seconds
    ),
    "json": Sample("json", _json.filter(lambda value: value is not None), arrow=lambda value: ("json", value)),
}


def optional(sample: Sample) -> Sample:
    return Sample(
        sample.type,
        st.none() | sample.values,
        lambda value: None if value is None else sample.arrow(value),
        lambda value: None if value is None else sample.json(value),
    )


def _list(item: Sample) -> Sample:
    item = optional(item)
    return Sample(
        {"list": item.type},
        st.lists(item.values, max_size=4) | st.lists(item.values, max_size=3).map(tuple),
        lambda value: [item.arrow(each) for each in value],
        lambda value: [item.json(each) for each in value],
    )


def _struct(items: dict[str, Sample]) -> Sample:
    items = {name: optional(item) for name, item in items.items()}
    return Sample(
        {"struct": [{"name": name, "type": item.type, "nullable": True} for name, item in items.items()]},
        st.fixed_dictionaries({}, optional={name: item.values for name, item in items.items()}),
        lambda value: {name: item.arrow(value.get(name)) for name, item in items.items()},
        lambda value: {name: item.json(value.get(name)) for name, item in items.items()},
    )


def _map(item: Sample) -> Sample:
    item = optional(item)
    return Sample(
        {"map": item.type},
        st.dictionaries(_text, item.values, max_size=4),
        lambda value: [(name, item.arrow(each)) for name, each in value.items()],
        lambda value: {name: item.json(each) for name, each in value.items()},
    )


_names = st.text(string.ascii_letters + '_ é"\\', min_size=1, max_size=6)
any_sample = st.recursive(
    st.sampled_from(list(PLAIN.values())),
    lambda inner: st.one_of(
        inner.map(_list),
        inner.map(_map),
        st.dictionaries(_names, inner, min_size=1, max_size=3).map(_struct),
    ),
    max_leaves=4,
)


@dataclass(frozen=True)
class Case:
    fields: list[dict[str, Any]]
    samples: dict[str, Sample]
    records: list[dict[str, Any]]

    def arrow(self) -> list[dict[str, Any]]:
        return [{n: s.arrow(r.get(n)) for n, s in self.samples.items()} for r in self.records]

    def json(self) -> list[dict[str, Any]]:
        return [{n: s.json(r.get(n)) for n, s in self.samples.items()} for r in self.records]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A schema, and records of it: keys in any order, null or missing where they may be."""
    chosen = draw(st.dictionaries(_names, st.tuples(any_sample, st.booleans()), min_size=1, max_size=5))
    samples = {name: optional(sample) if nullable else sample for name, (sample, nullable) in chosen.items()}
    fields = [{"name": name, "type": sample.type, "nullable": nullable} for name, (sample, nullable) in chosen.items()]
    required = {name: samples[name].values for name, (_, nullable) in chosen.items() if not nullable}
    others = {name: samples[name].values for name, (_, nullable) in chosen.items() if nullable}
    record = st.fixed_dictionaries(required, optional=others)
    shuffled = record.flatmap(lambda each: st.permutations(list(each.items()))).map(dict)
    return Case(fields, samples, draw(st.lists(shuffled, min_size=1, max_size=8)))


def comparable(value: Any) -> Any:
    """JSON cells as data, and floats by their bits, so that -0.0 and 0.0 differ."""
    if isinstance(value, tuple) and value and value[0] == "json":
        return ("json", comparable(value[1]))
    if isinstance(value, dict):
        return {name: comparable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if isinstance(value, tuple):
        return tuple(comparable(each) for each in value)
    if isinstance(value, float):
        return ("float", value.hex())
    return value


def with_json(value: Any, of: Any) -> Any:
    """Cells as a reader gives them, JSON text taken for data where `of` has it."""
    if isinstance(of, tuple) and of and of[0] == "json":
        return ("json", json.loads(value))
    if isinstance(of, dict):
        return {name: with_json(value[name], each) for name, each in of.items()} if value is not None else None
    if isinstance(of, list) and value is not None:
        return [with_json(mine, theirs) for mine, theirs in zip(value, of, strict=True)]
    if isinstance(of, tuple) and value is not None:
        return tuple(with_json(mine, theirs) for mine, theirs in zip(value, of, strict=True))
    return value
