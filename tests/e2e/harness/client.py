"""A gRPC client that knows nothing but the address: messages come by reflection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

Message = dict[str, Any]
SERVICES = {
    name: f"caisson.v1.{service}"
    for service, names in {
        "Runtime": ("Spec", "Test", "List", "Read", "Write", "Sync", "Commit"),
        "Connections": ("Put", "Get", "Delete"),
        "Registry": ("Publish", "Install", "Resolve", "ListConnectors", "Validate", "Promote", "Yank"),
        "Operations": (
            "ListCalls",
            "GetCall",
            "Cancel",
            "ReloadPolicies",
            "ExplainEgress",
            "CheckSecrets",
            "WatchAudit",
            "Drain",
        ),
    }.items()
    for name in names
}
# What JSON would write as text.
EXACT = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


class CallFailed(Exception):
    """A gRPC status that is not OK.

    Attributes:
        status: The gRPC code's name.
        code: The stable code of ErrorInfo; empty where there is none.
        message: The status message.
        details: The other details, by type name.
    """

    def __init__(self, error: grpc.RpcError) -> None:
        self.status: str = error.code().name
        self.message: str = error.details() or ""
        self.code = ""
        self.details: dict[str, Any] = {}
        trailers: Any = error.trailing_metadata() or ()
        for name, content in trailers:
            if name == "grpc-status-details-bin":
                status = status_pb2.Status.FromString(content)
                for any_message in status.details:
                    kind = any_message.type_url.rsplit(".", 1)[-1]
                    message = getattr(error_details_pb2, kind)()
                    any_message.Unpack(message)
                    self.details[kind] = message
        if "ErrorInfo" in self.details:
            self.code = self.details["ErrorInfo"].reason
        super().__init__(f"{self.status} {self.code}: {self.message}")


@dataclass
class Stream:
    """The events of one call; iterate over it, or `drain` it."""

    rpc: Any
    seen: list[Message] = field(default_factory=list)

    def __iter__(self) -> Iterator[Message]:
        try:
            for message in self.rpc:
                event = as_dict(message)
                self.seen.append(event)
                yield event
        except grpc.RpcError as error:
            raise CallFailed(error) from None

    def until(self, kind: str) -> Any:
        """Reads on until an event of a kind comes; returns its body.

        Raises:
            AssertionError: The stream ended before.
        """
        for event in self:
            if kind in event:
                return event[kind]
        raise AssertionError(f"no {kind} came, but {[kind_of(event) for event in self.seen]}")

    def drain(self) -> Stream:
        """Reads to the end."""
        for _ in self:
            pass
        return self

    def all(self, kind: str) -> list[Any]:
        """Bodies of all events of a kind that came so far."""
        return [event[kind] for event in self.seen if kind in event]

    @property
    def failure(self) -> Any:
        """The failure at the end; the test fails if there was none."""
        failures = self.all("failure")
        assert failures, f"no failure came, but {[kind_of(event) for event in self.seen]}"
        return failures[-1]

    @property
    def summary(self) -> Any:
        """The summary at the end; the test fails with the failure if there was none."""
        summaries = self.all("summary")
        assert summaries, f"no summary, but {self.all('failure') or self.seen[-3:]}"
        return summaries[-1]

    @property
    def call_id(self) -> str:
        """The call's identifier, from its first event."""
        return str(self.seen[0]["header"]["call_id"])

    def cancel(self) -> None:
        """Cancels the RPC."""
        self.rpc.cancel()


def as_dict(message: Any) -> Message:
    """A message as plain values, unset fields left out; bytes are bytes and integers integers."""
    found: Message = json_format.MessageToDict(message, preserving_proto_field_name=True)
    _restore(message, found)
    return found


def _restore(message: Any, found: Message) -> None:
    for descriptor, value in message.ListFields():
        name = descriptor.name
        if (descriptor.cpp_type in EXACT or descriptor.type == FieldDescriptor.TYPE_BYTES) and not isinstance(
            found[name], list
        ):
            found[name] = value
        elif descriptor.message_type is not None and isinstance(found.get(name), dict):
            if not descriptor.message_type.GetOptions().map_entry and not _well_known(descriptor.message_type):
                _restore(value, found[name])
        elif descriptor.message_type is not None and isinstance(found.get(name), list):
            for one, plain in zip(value, found[name], strict=True):
                if isinstance(plain, dict):
                    _restore(one, plain)


def _well_known(descriptor: Any) -> bool:
    return bool(descriptor.full_name.startswith("google.protobuf."))


def kind_of(event: Message) -> str:
    """The arm of an event's oneof."""
    return next((name for name in event if name != "header"), "empty")


class Client:
    """Calls by name: `client.call("Spec", connector="a@1.0.0")`, `client.stream("Read", …)`.

    Args:
        target: What grpcio takes, for example `unix:/run/caisson.sock`.
        metadata: Sent with every call, for example a key.
        credentials: For TLS.
    """

    def __init__(
        self,
        target: str,
        metadata: Iterable[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        # The path of a Unix socket is no valid HTTP authority, so one is given. Connections are
        # not shared with other clients of this process: who connects is who calls.
        options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        if credentials is None:
            self.channel = grpc.insecure_channel(target, options=options)
        else:
            self.channel = grpc.secure_channel(target, credentials, options=options)
        self.metadata = tuple(metadata)
        # Without the metadata, the reflection calls would be anonymous.
        intercepted = grpc.intercept_channel(self.channel, *([_Keyed(self.metadata)] if self.metadata else []))
        self._pool = DescriptorPool(ProtoReflectionDescriptorDatabase(intercepted))

    def learn(self) -> None:
        """Asks for every description at once, for threads, which must not do so side by side."""
        for name in SERVICES:
            self._method(name)

    def call(self, name: str, /, *, timeout: Any = 60, **fields: Any) -> Message:
        """A unary call.

        Raises:
            CallFailed: Any status but OK.
        """
        method, path = self._method(name)
        rpc = self.channel.unary_unary(path, _bytes, GetMessageClass(method.output_type).FromString)
        try:
            return as_dict(rpc(self.message(method, fields), timeout=timeout, metadata=self.metadata))
        except grpc.RpcError as error:
            raise CallFailed(error) from None

    def stream(self, name: str, /, *, timeout: Any = 120, **fields: Any) -> Stream:
        """A call whose answer is a stream of events."""
        method, path = self._method(name)
        rpc = self.channel.unary_stream(path, _bytes, GetMessageClass(method.output_type).FromString)
        return Stream(rpc(self.message(method, fields), timeout=timeout, metadata=self.metadata))

    def write(self, messages: Iterable[Message], timeout: float | None = 120) -> Stream:
        """Runtime.Write with these messages."""
        method, path = self._method("Write")
        rpc = self.channel.stream_stream(path, _bytes, GetMessageClass(method.output_type).FromString)
        requests = (self.message(method, message) for message in messages)
        return Stream(rpc(requests, timeout=timeout, metadata=self.metadata))

    def send(self, name: str, messages: Iterable[Message], timeout: float | None = 60) -> Message:
        """A call whose request is a stream.

        Raises:
            CallFailed: Any status but OK.
        """
        method, path = self._method(name)
        rpc = self.channel.stream_unary(path, _bytes, GetMessageClass(method.output_type).FromString)
        requests = (self.message(method, message) for message in messages)
        try:
            return as_dict(rpc(requests, timeout=timeout, metadata=self.metadata))
        except grpc.RpcError as error:
            raise CallFailed(error) from None

    def message(self, method: Any, fields: Message) -> Any:
        """A request out of plain values; bytes stay bytes."""
        return fill(GetMessageClass(method.input_type)(), fields)

    def close(self) -> None:
        """Closes the connection."""
        self.channel.close()

    def methods(self) -> dict[str, Any]:
        """Descriptors of every method of Caisson, by `Service.Method`."""
        services = set(SERVICES.values())
        found = (self._pool.FindServiceByName(service) for service in sorted(services))
        return {f"{service.name}.{method.name}": method for service in found for method in service.methods}

    def push(self, name: str, /, messages: Iterable[Message], timeout: float | None = 60) -> Message:
        """A call that takes a stream and answers once.

        Raises:
            CallFailed: Any status but OK.
        """
        method, path = self._method(name)
        rpc = self.channel.stream_unary(path, _bytes, GetMessageClass(method.output_type).FromString)
        requests = (self.message(method, message) for message in messages)
        try:
            return as_dict(rpc(requests, timeout=timeout, metadata=self.metadata))
        except grpc.RpcError as error:
            raise CallFailed(error) from None

    def _method(self, name: str) -> tuple[Any, str]:
        # `List` is Runtime's; `Connections.List` is another.
        service, _, short = name.rpartition(".")
        service = f"caisson.v1.{service}" if service else SERVICES[name]
        return self._pool.FindServiceByName(service).FindMethodByName(short), f"/{service}/{short}"


class _Keyed(grpc.StreamStreamClientInterceptor):
    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.metadata = metadata

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(details._replace(metadata=self.metadata), requests)


def fill(message: Any, fields: Message) -> Any:
    """Puts plain values into a message."""
    for name, value in fields.items():
        if value is None:
            continue
        name = name.rstrip("_")  # `from_` is how Python writes `from`
        descriptor = message.DESCRIPTOR.fields_by_name[name]
        if isinstance(value, dict):
            target = getattr(message, name)
            if descriptor.message_type is not None and descriptor.message_type.GetOptions().map_entry:
                for key, entry in value.items():
                    fill(target[key], entry)
            else:
                target.SetInParent()
                fill(target, value)
        elif isinstance(value, list | tuple):
            repeated = getattr(message, name)
            for entry in value:
                if isinstance(entry, dict):
                    fill(repeated.add(), entry)
                else:
                    repeated.append(_enum(descriptor, entry))
        else:
            setattr(message, name, _enum(descriptor, value))
    return message


def _enum(descriptor: Any, value: Any) -> Any:
    if descriptor.enum_type is not None and isinstance(value, str):
        return descriptor.enum_type.values_by_name[value].number
    return value


def _bytes(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content
