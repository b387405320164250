"""Authentication as connector.yaml declares it, put on requests of its own origin only.

    auth:
      key:   { type: bearer, token: api_key }                    # prefix: Bearer
      login: { type: basic, username: user, password: password }
      head:  { type: header, name: X-Api-Key, value: api_key }   # prefix: ""
      query: { type: query, name: api_key, value: api_key }
      login: { type: oauth2_refresh, refresh_token: refresh_token }
      robot: { type: oauth2_client, client_secret: client_secret }
      robot: { type: oauth2_jwt, private_key: private_key }
      tls:   { type: mtls, key: client_key, certificate: client_certificate }

With oauth2, what the property holds is a placeholder: the daemon gets access tokens with the secret, as the operator's
policy says, and the gateway puts them in. With `mtls` nothing is put on: the gateway shows the certificate in the
handshake, and its key never comes to the worker. Otherwise each value is the
name of a configuration property. One that is absent or null puts nothing on:
an upstream without authentication is reached as it is.
"""

from __future__ import annotations

from ._secret import Secret
from .errors import ConfigInvalid, ConnectorFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call

# The property that holds the secret, by kind.
TOKENS = {"oauth2_refresh": "refresh_token", "oauth2_client": "client_secret", "oauth2_jwt": "private_key"}
KINDS = ("bearer", "basic", "header", "query", "mtls", *TOKENS)


class Auth:
    """What one declaration puts on a request.

    Attributes:
        query: The name of the query parameter that holds the credential; "" if none does.
    """

    def __init__(self, call: Call, name: str) -> None:
        declared = call.manifest.get("auth") or {}
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise ConnectorFailed(f"auth {name!r} is not declared in connector.yaml; there is: {known}")
        self._call = call
        self._name = name
        self._spec: dict[str, Any] = declared[name]
        self._kind = self._spec.get("type")
        if self._kind not in KINDS:
            raise ConnectorFailed(f"auth {name!r}: type {self._kind!r} is not one of {', '.join(KINDS)}")
        self.query = str(self._spec.get("name", "")) if self._kind == "query" else ""

    def headers(self) -> list[tuple[str, str]]:
        """The headers that authenticate a request.

        Raises:
            ConfigInvalid: The key of a client certificate is revealed, and only the gateway shows certificates.
        """
        if self._kind == "mtls" and "PRIVATE KEY" in (self._value("key") or ""):
            name = self._spec["key"]
            raise ConfigInvalid(
                f"auth {self._name!r}: the policy reveals {name}, and no certificate is shown with it; "
                f"write seal with place: client_key for {name} in place of reveal"
            )
        if self._kind == "bearer":
            token = self._value("token", "value")
            return [("Authorization", f"{self._spec.get('prefix', 'Bearer')} {token}")] if token else []
        if self._kind in TOKENS:
            token = self._value(TOKENS[self._kind])
            return [("Authorization", f"Bearer {token}")] if token else []
        if self._kind == "basic":
            username = self._value("username") or "" if "username" in self._spec else ""
            password = self._value("password") or "" if "password" in self._spec else ""
            if not username and not password:
                return []
            import binascii

            pair = f"{username}:{password}".encode()
            return [("Authorization", "Basic " + binascii.b2a_base64(pair, newline=False).decode())]
        if self._kind == "header":
            value = self._value("value", "token")
            return [(str(self._spec["name"]), f"{self._spec.get('prefix', '')}{value}")] if value else []
        return []

    def parameters(self) -> list[tuple[str, str]]:
        """The query parameters that authenticate a request."""
        if self._kind != "query":
            return []
        value = self._value("value", "token")
        return [(self.query, value)] if value else []

    def _value(self, *keys: str) -> str | None:
        for key in keys:
            if key in self._spec:
                found = self._call.option(str(self._spec[key]))
                if isinstance(found, Secret):
                    return found.reveal()
                return None if found is None else str(found)
        raise ConnectorFailed(f"auth {self._name!r}: `{keys[0]}` names the configuration property to use")
