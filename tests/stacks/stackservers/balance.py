"""What Stripe's SDK asks for, beside a greeting."""

from __future__ import annotations

from servers.secure import Greeter


class Balance(Greeter):
    """What Stripe's SDK understands; a greeting for everybody else."""

    def greeting(self) -> tuple[str, bytes]:
        """JSON where that is asked for."""
        return ("application/json", b'{"object": "hello"}') if self.path == "/v1/balance" else super().greeting()
