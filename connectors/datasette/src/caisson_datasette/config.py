"""Configuration as connector.yaml declares it."""

from caisson import Secret, Settings


class Config(Settings):
    """One use of a Datasette server."""

    host: str
    port: int = 443
    scheme: str = "https"
    token: Secret | None = None
    database: str = ""
    cursor: str = "updated_at"
    start: str = ""
