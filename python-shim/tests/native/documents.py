"""JSON values and layouts of text, for property tests, and when two values are the same."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

quietly = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))

texts = st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
layouts = st.sampled_from([
    {}, {"separators": (",", ":")}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (" , ", "\t:\r\n")},
])  # fmt: skip


def same(one: Any, other: Any) -> bool:
    """Equal, of equal types, in equal order, floats by their bits."""
    return repr(one) == repr(other)
