"""The connector: how a batch becomes durable."""

from __future__ import annotations

import json
import os

from caisson import Batch, Connector, Reject, Stream, errors

from .config import Config
from .schemas import required

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class {{class}}(Connector[Config]):
    """Appends each stream to a file of JSON lines.

    A batch goes into `STREAM.jsonl.new`. A commit moves what has gathered there to
    `STREAM.jsonl`, so that what a killed call leaves behind is never counted.
    """

    def test(self) -> None:
        """Fails where the directory cannot be written."""
        if not os.access(self.config.dir, os.W_OK):
            raise errors.PermissionMissing(
                f"cannot write {self.config.dir}", action="Grant it under `files` in the policy."
            )

    def open(self) -> None:
        """Nothing has been written in this call yet."""
        self.begun: set[str] = set()

    def write(self, stream: Stream, batch: Batch) -> Iterator[Reject]:
        """Takes one batch; records without their primary key are rejected, one by one."""
        mode = "a" if stream.name in self.begun else "w"
        self.begun.add(stream.name)
        with open(self.path(stream) + ".new", mode, encoding="utf-8") as file:
            for index, record in enumerate(batch.records()):
                missing = [key for key in required(stream) if record.get(key) is None]
                if missing:
                    yield Reject(index, f"{', '.join(missing)} is missing")
                    continue
                file.write(json.dumps(record, default=str) + "\n")

    def commit(self, stream: Stream) -> None:
        """When this returns, all that was written before it is durable."""
        if stream.name not in self.begun:
            return
        self.begun.remove(stream.name)
        gathered = self.path(stream) + ".new"
        with open(gathered, "rb") as new, open(self.path(stream), "ab") as file:
            while block := new.read(1 << 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        os.remove(gathered)

    def path(self, stream: Stream) -> str:
        """The stream's file. Its name comes from outside, so only its safe characters are used."""
        name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in stream.name)
        return os.path.join(self.config.dir, name.lstrip(".") + ".jsonl")
