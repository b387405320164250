"""The list operation: describes every stream."""

from __future__ import annotations

import json

from ._read import discover
from ._schema import arrow_schema
from ._streams import describe, modes_of, parameters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call


def list_streams(call: Call, connector: Any) -> None:
    """Sends one Object for each stream."""
    capabilities = call.manifest.get("capabilities") or []
    write_modes = [each.removeprefix("write.") for each in capabilities if each.startswith("write.")]
    for stream, method in discover(call, connector).values():
        schema = arrow_schema(stream.schema, stream.primary_key, stream.beside)
        described = describe(stream, schema, modes_of(stream, parameters(method)), write_modes)
        call.send("object", {"json": json.dumps(described)}, schema.to_ipc() if schema is not None else b"")
        call.check()
