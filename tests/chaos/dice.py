"""How often a daemon is killed, and by which dice: CHAOS_ROUNDS and CHAOS_SEED."""

from __future__ import annotations

import os

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "5"))
"""Kills under load, for each identity; a sample of what `make test-long` does."""

SEED = int(os.environ.get("CHAOS_SEED", "20260101"))
