"""Configuration as connector.yaml declares it."""

from caisson import Secret, Settings


class Config(Settings):
    """One database and role."""

    host: str
    port: int = 5432
    sslmode: str = "verify-full"
    database: str
    user: str = ""
    secret_user: Secret | None = None
    password: Secret | None = None
    client_key: Secret | None = None
    client_certificate: str | None = None
    schema: str = "public"
    cursor: str = "updated_at"
