"""The protocol's messages and methods, made as this is imported from the compiled description beside it.

Not of generated Python: that works with a few versions of protobuf only, and registers its names with the whole
process, where other clients of the protocol (tritonclient) register the same ones. Here they have a pool of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FILE = Path(__file__).parent / "open_inference.binpb"  # scripts/generate-oip.sh makes it
_PACKAGE = "inference"
_SERVICE = "GRPCInferenceService"


class Method(NamedTuple):
    """path: as HTTP/2 has it. request, response: message classes."""

    path: str
    request: Any
    response: Any


_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(_FILE.read_bytes()).file:
    _pool.Add(_file)


def message(name: str) -> Any:
    """A message's class, by its name in the protocol. Raises KeyError."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


SERVICE = f"{_PACKAGE}.{_SERVICE}"
METHODS = {
    method.name: Method(
        f"/{SERVICE}/{method.name}",
        message_factory.GetMessageClass(method.input_type),
        message_factory.GetMessageClass(method.output_type),
    )
    for method in _pool.FindServiceByName(SERVICE).methods
}
