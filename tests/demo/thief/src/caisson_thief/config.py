"""Configuration as connector.yaml declares it."""

from caisson import Settings


class Config(Settings):
    """What to take, and where to bring it."""

    home: str
    policy: str
    attacker_port: int
    resolver_port: int
