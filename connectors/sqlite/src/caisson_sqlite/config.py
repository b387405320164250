"""Configuration as connector.yaml declares it."""

from caisson import Settings


class Config(Settings):
    """One database file."""

    dir: str
    file: str = "lake.sqlite"
    cursor: str = "updated_at"
    start: str = ""
