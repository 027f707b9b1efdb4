"""Vectors: from whatever Python holds them in to what goes over the wire."""

from __future__ import annotations

import array
import struct
import sys
from typing import Any, Sequence, Union

#: A numpy array or anything else with the buffer protocol (float16, float32 or float64, of one
#: dimension), `bytes` of little-endian float32, `Float16Bytes`, or a sequence of numbers.
Embedding = Union[Sequence[float], bytes, bytearray, memoryview, Any]


class Float16Bytes(bytes):
    """Little-endian float16, two bytes a number."""


def wire_bytes(embedding: Embedding) -> tuple[str, bytes]:
    """The field of the contract's Episode that takes it, and its bytes. What is float16 stays so:
    half the network and half the disk."""
    if isinstance(embedding, Float16Bytes):
        return "embedding_f16", embedding
    if isinstance(embedding, (bytes, bytearray)):
        return "embedding_f32", bytes(embedding)
    view = _view(embedding)
    if view is None:
        return "embedding_f32", _float32(embedding)
    kind = view.format.lstrip("@=<")
    foreign = view.format.startswith((">", "!")) or sys.byteorder != "little"
    if view.ndim != 1 or foreign:
        raise ValueError(
            f"not one dimension in this host's order of bytes: {view.ndim}, {view.format}"
        )
    if kind == "e":
        return "embedding_f16", view.tobytes()
    if kind == "f":
        return "embedding_f32", view.tobytes()
    if kind in ("B", "b", "c"):
        return "embedding_f32", view.tobytes()
    return "embedding_f32", _float32(view.tolist())


def numbers(embedding: Embedding) -> Sequence[float]:
    """Its numbers, for the fields of the contract that have no byte form."""
    name, data = wire_bytes(embedding)
    if name == "embedding_f32":
        return _array_of(data)
    return struct.unpack(f"<{len(data) // 2}e", data)


def _view(embedding: Any) -> memoryview | None:
    try:
        return memoryview(embedding)
    except TypeError:
        return None


def _float32(values: Sequence[float]) -> bytes:
    packed = array.array("f", values)
    if sys.byteorder != "little":
        packed.byteswap()
    return packed.tobytes()


def _array_of(data: bytes) -> array.array[float]:
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are no float32 numbers")
    values = array.array("f")
    values.frombytes(data)
    if sys.byteorder != "little":
        values.byteswap()
    return values
