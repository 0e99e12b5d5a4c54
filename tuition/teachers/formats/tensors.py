"""Tensors of the Open Inference Protocol V2 over HTTP: in JSON, and as the bytes that follow it (the binary tensor data extension).

With the extension a body is a JSON object, whose length the header `Inference-Header-Content-Length` gives, and behind it the tensors
in their order: row-major, little-endian, without padding, each of the size that its `binary_data_size` says. A server that does not
know the extension answers in JSON alone, so each tensor is read as it comes.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tuition.teachers.formats.bodies import Malformed, json_object, shown

LENGTH = "Inference-Header-Content-Length"
TYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def encode_tensor(name: str, values: np.ndarray, datatype: str, binary: bool) -> tuple[dict[str, Any], bytes]:
    """The JSON entry of the tensor `name`, and its bytes (none where it is sent as JSON). BYTES are of texts: UTF-8, behind its length."""
    entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": datatype}
    if datatype == "BYTES":
        if not binary:
            return {**entry, "data": values.ravel().tolist()}, b""
        texts = [text.encode() for text in values.ravel()]
        content = b"".join(len(one).to_bytes(4, "little") + one for one in texts)
        return {**entry, "parameters": {"binary_data_size": len(content)}}, content
    values = np.ascontiguousarray(values, dtype=TYPES[datatype])
    if not binary:
        return {**entry, "data": values.ravel().tolist()}, b""
    return {**entry, "parameters": {"binary_data_size": values.nbytes}}, values.tobytes()


def split_body(body: bytes, headers: Mapping[str, str]) -> tuple[dict[str, Any], bytes]:
    """The JSON object of a body, and the bytes behind it."""
    given = {str(name).lower(): value for name, value in headers.items()}.get(LENGTH.lower())
    if given is None:
        return json_object(body), b""
    if not str(given).isascii() or not str(given).isdigit() or int(given) > len(body):
        raise Malformed(f"{LENGTH}: found {given!r} for a body of {len(body)} bytes")
    return json_object(body[: int(given)]), body[int(given) :]


def read_outputs(answer: dict[str, Any], rest: bytes) -> dict[str, np.ndarray]:
    """The tensors of numbers of an answer, by name, in its order; Malformed where sizes and shapes contradict each other."""
    listed, found = answer.get("outputs"), {}
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise Malformed(f"no list of outputs: {shown(answer)}")
    for one in listed:
        size = (one.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            if not _whole(size) or size > len(rest):
                raise Malformed(
                    f"output {one.get('name')!r}: binary_data_size {size!r}, but {len(rest)} bytes are left"
                )
            data, rest = rest[:size], rest[size:]
        else:
            data = one.get("data")
        if one.get("datatype") in (*TYPES, "BF16"):
            if str(one.get("name")) in found:
                raise Malformed(f"two outputs are named {one.get('name')!r}")
            found[str(one.get("name"))] = _values(one, data)
    if rest:
        raise Malformed(f"{len(rest)} bytes behind the last output")
    return found


def _values(one: dict[str, Any], data: object) -> np.ndarray:
    """The array of an output whose values are `data`: bytes, or a list, flat or nested."""
    name, shape, datatype = one.get("name"), one.get("shape"), one["datatype"]
    if not isinstance(shape, list) or not all(_whole(size) for size in shape):
        raise Malformed(f"output {name!r}: shape {shape!r}")
    if isinstance(data, bytes):
        values = _from_bytes(data, datatype, f"output {name!r}")
    elif isinstance(data, list):
        values = _from_list(data, f"output {name!r}")
    else:
        raise Malformed(f"output {name!r}: no data")
    if values.size != math.prod(shape):
        raise Malformed(f"output {name!r}: {values.size} values for shape {shape}")
    return values.reshape(shape)


def _from_bytes(data: bytes, datatype: str, where: str) -> np.ndarray:
    kind = np.dtype("<u2" if datatype == "BF16" else TYPES[datatype])
    if len(data) % kind.itemsize:
        raise Malformed(f"{where}: {len(data)} bytes of {datatype}")
    values = np.frombuffer(data, dtype=kind)
    return (values.astype("<u4") << 16).view("<f4") if datatype == "BF16" else values


def _from_list(data: list[Any], where: str) -> np.ndarray:
    """Numbers as they are; null, which is how some servers write a number that is none, as NaN."""
    try:
        values = np.asarray(data)
        if values.dtype == object and all(v is None or isinstance(v, int | float) for v in values.ravel()):
            values = values.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        values = np.asarray(None)
    if values.dtype.kind not in "fiub":
        raise Malformed(f"{where}: not numbers in rows of one length: {shown(data)}")
    return values.ravel()


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
