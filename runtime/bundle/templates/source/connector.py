"""The connector: which streams there are and how each is read."""

from __future__ import annotations

from caisson import Connector, Cursor, pages, stream

from .config import Config
from .schemas import Customer, Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


class {{class}}(Connector[Config]):
    """Reads orders and customers of {{title}}."""

    def open(self) -> None:
        """Makes the HTTP client: one per call, with connections reused."""
        self.http = self.client(f"https://{self.config.host}/v1", auth="key")

    def test(self) -> None:
        """Fails where the key is refused."""
        self.http.get("/account")

    @stream(schema=Order, primary_key="id", cursor="updated_at", order="asc", start="start_date")
    def orders(self, since: Cursor) -> Iterator[dict[str, Any]]:
        """Orders, oldest change first; the API's filter includes `since` itself."""
        params = {"updated_since": since.value}
        yield from self.http.records("/orders", params=params, at="data", page=pages.next_link("next"))

    @stream(schema=Customer, primary_key="id")
    def customers(self) -> Iterator[dict[str, Any]]:
        """All customers, every time."""
        yield from self.http.records("/customers", at="data", page=pages.next_link("next"))
