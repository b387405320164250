"""The source: every visible table of every database is a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from caisson import Connector, Cursor, Stream, errors, pages

from .config import Config
from .names import tilde
from .types import Fields, decode, fields_of

# Rows only: counts, facets and suggestions cost the server a query each.
PLAIN = {"_shape": "objects", "_size": "max", "_nocount": "1", "_nofacet": "1", "_nosuggest": "1"}

# One row, however many columns: the server cuts answers at a number of rows.
COLUMNS = """select json_group_array(json_object('name', name, 'type', type, 'notnull', "notnull", 'pk', pk)) as columns
 from pragma_table_info('{table}')"""


class Datasette(Connector[Config]):
    """Tables of a Datasette server, in full or by a cursor column."""

    def open(self) -> None:
        base = f"{self.config.scheme}://{self.config.host}:{self.config.port}"
        self.http = self.client(base, auth="token")

    def read(self, stream: Stream, since: Cursor) -> Iterator[dict[str, Any]]:
        path, fields = stream.extra
        params = dict(PLAIN)
        if stream.cursor:
            params["_sort"] = stream.cursor
            if since.value:
                params["_filter_column"] = stream.cursor
                params["_filter_op"] = "gte"
                params["_filter_value"] = str(since.value)
        page = pages.cursor("_next", at="next")
        yield from self.http.records(path, params=params, at="rows", page=page, map=decode(fields))

    def test(self) -> Iterator[tuple[str, str]]:
        # A wrong token is no error to Datasette: it makes the caller nobody.
        actor = self.http.get("/-/actor.json").json()["actor"]
        if self.config.token is not None and actor is None:
            raise errors.CredentialsInvalid("the server does not know this API token")
        yield "authentication", f"acting as {actor['id'] if actor else 'everybody'}"
        yield "permissions", f"{sum(1 for _ in self._tables())} tables can be read"

    def list(self) -> Iterator[Stream]:
        for database, table in self._tables():
            fields = self._fields(database, table)
            # Ties are ordered by primary key, so only tables with one have a safe cursor.
            moves = bool(table["primary_keys"]) and self.config.cursor in table["columns"]
            yield Stream(
                table["name"] if self.config.database else f"{database}.{table['name']}",
                title=table["name"],
                schema=fields,
                primary_key=table["primary_keys"],
                cursor=self.config.cursor if moves else "",
                order="asc" if moves else None,
                start="start" if moves else "",
                extra=(f"/{tilde(database)}/{tilde(table['name'])}.json", fields),
            )

    def _tables(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(database, table as the API describes it), hidden ones left out."""
        for database in self.http.get("/-/databases.json").json():
            name = database["name"]
            if self.config.database not in ("", name):
                continue
            for table in self.http.get(f"/{tilde(name)}.json").json()["tables"]:
                if not table["hidden"]:
                    yield name, table

    def _fields(self, database: str, table: dict[str, Any]) -> Fields | None:
        """Declared types; None (records are sampled) where SQL is not allowed."""
        name = table["name"].replace("'", "''")
        answer = self.http.get(
            f"/{tilde(database)}.json",
            params={"sql": COLUMNS.format(table=name), "_shape": "objects"},
            ok=(400, 403),
        )
        if answer.status != 200:
            return None
        (row,) = answer.json()["rows"]
        return fields_of(json.loads(row["columns"]), rowid=not table["primary_keys"])
