"""pydantic and orjson: records checked and written."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

Options = dict[str, Any]


def work_pydantic(_options: Options) -> dict[str, Any]:
    """Validates many records, names every fault, writes a schema."""
    from pydantic import BaseModel, Field, TypeAdapter, ValidationError

    class Line(BaseModel):  # type: ignore[misc,unused-ignore]
        sku: str = Field(min_length=1)
        amount: Decimal

    class Order(BaseModel):  # type: ignore[misc,unused-ignore]
        id: uuid.UUID
        at: datetime.datetime
        lines: list[Line]

    raw = {"id": str(uuid.UUID(int=1)), "at": "2024-01-01T00:00:00Z", "lines": [{"sku": "a", "amount": "1.50"}]}
    orders = TypeAdapter(list[Order]).validate_python([raw] * 20_000)
    try:
        Order.model_validate({**raw, "lines": [{"sku": "", "amount": "x"}]})
        faults = 0
    except ValidationError as error:
        faults = error.error_count()
    total = sum((order.lines[0].amount for order in orders), Decimal())
    text = orders[0].model_dump_json()
    return {
        "total": str(total),
        "faults": faults,
        "text": "1.50" in text,
        "schema": "properties" in Order.model_json_schema(),
    }


def work_orjson(_options: Options) -> dict[str, Any]:
    """Writes and reads a large document with dates and identifiers."""
    import orjson

    rows = [
        {"id": uuid.UUID(int=n), "at": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), "n": n}
        for n in range(50_000)
    ]
    text = orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    back = orjson.loads(text)
    try:
        orjson.loads(b"{")
        broken = False
    except orjson.JSONDecodeError:
        broken = True
    return {"rows": len(back), "at": back[0]["at"], "broken": broken}
