"""One input tensor of the Open Inference Protocol -> images. Pure functions, no transport.

The model's one input is taken in three datatypes, all under its own name:

    FP32    the single's normalised input: [n, C, H, W] or [n, H, W, C], H and W the model's own
    UINT8   pixels of any size:            [n, H, W, C] or [n, C, H, W], C = 1 or 3, or grey [n, H, W]
    BYTES   JPEG, PNG or WebP files:       [n] or [n, 1]; in JSON each element is base64 text

The layout is read off the shape; where both fit, the input's parameter "layout" ("NCHW" or "NHWC") must say which.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collage.exceptions import InvalidInput, TooLarge
from collage.serving._inputs import Encoded, ImageInput, Pixels, Tensor
from collage.serving._oip_model import OipModel

_ITEM_BYTES = {"FP32": 4, "UINT8": 1}
_LAYOUTS = ("NCHW", "NHWC")
_MAX_RANK = 4
_MOST_AXES = 8  # of lists in JSON, before they are looked at closely
_LENGTH = struct.Struct("<I")

Data = memoryview | list[Any]  # binary extension, or JSON


def images_of(
    datatype: str, shape: Sequence[int], data: Data, *, layout: str | None, model: OipModel, max_images: int, field: str
) -> list[ImageInput]:
    """The tensor's images, in order. `field` names the tensor in errors, "inputs[0]".

    Values are not looked at here beyond what the conversion needs: NaN and unreadable files are found by the data
    plane, by the same check for every transport. Raises InvalidInput and TooLarge.
    """
    check_shape(shape, field)
    if shape[0] > max_images:
        raise TooLarge(f"{shape[0]} images; at most {max_images} a request", field=f"{field}.shape")
    if datatype == "BYTES":
        return [Encoded(item) for item in _files(shape, data, field)]
    if datatype not in _ITEM_BYTES:
        raise InvalidInput(f"{datatype!r}; FP32, UINT8 or BYTES is needed", field=f"{field}.datatype")
    channels_first = _channels_first(datatype, shape, layout, model, field)  # before any work on the data
    if isinstance(data, memoryview):
        array = _from_binary(datatype, shape, data, field)
    else:
        array = _from_json(datatype, shape, data, field)
    if datatype == "FP32":
        batch = array if channels_first else array.transpose(0, 3, 1, 2)  # (n, C, H, W)
        return [Tensor(image) for image in batch]
    if array.ndim == 3:
        array = array[..., np.newaxis]  # (n, H, W, 1)
    batch = array.transpose(0, 2, 3, 1) if channels_first else array  # (n, H, W, C)
    return [Pixels(image) for image in batch]


def check_shape(shape: Sequence[int], field: str) -> None:
    """Raises InvalidInput unless every size is a whole number from 1 and there are 1 to 4 of them."""
    good = 1 <= len(shape) <= _MAX_RANK and all(type(size) is int and size >= 1 for size in shape)
    if not good:
        shown = str(list(shape[: _MAX_RANK + 1]))[:80]
        raise InvalidInput(f"{shown}; 1 to {_MAX_RANK} whole numbers from 1 are needed", field=f"{field}.shape")


def _channels_first(datatype: str, shape: Sequence[int], layout: str | None, model: OipModel, field: str) -> bool:
    if layout is not None and layout not in _LAYOUTS:
        raise InvalidInput(f"{layout!r}; NCHW or NHWC is needed", field=f"{field}.parameters.layout")
    channels, height, width = model.input_shape
    image = tuple(shape[1:])
    if datatype == "FP32":
        first, last = image == (channels, height, width), image == (height, width, channels)
        wanted = f"[n, {channels}, {height}, {width}] or [n, {height}, {width}, {channels}]"
    elif len(shape) == 3 and layout is None:
        return False
    else:
        first, last = len(image) == 3 and image[0] in (1, 3), len(image) == 3 and image[2] in (1, 3)
        wanted = "[n, H, W, C] or [n, C, H, W] with C = 1 or 3, or [n, H, W]"
    if layout is not None:
        first, last = first and layout == "NCHW", last and layout == "NHWC"
    if not first and not last:
        wanted += f" in the layout {layout}" if layout else ""
        raise InvalidInput(f"{list(shape)}; {wanted} is needed", field=f"{field}.shape")
    if first and last:
        raise InvalidInput(
            f"{list(shape)} may be NCHW or NHWC; say which in the input's parameter 'layout'", field=f"{field}.shape"
        )
    return first


def _from_binary(datatype: str, shape: Sequence[int], data: memoryview, field: str) -> NDArray[Any]:
    expected = math.prod(shape) * _ITEM_BYTES[datatype]
    if len(data) != expected:
        raise InvalidInput(
            f"{len(data)} bytes; {datatype} of shape {list(shape)} takes {expected}",
            field=f"{field}.parameters.binary_data_size",
        )
    return np.frombuffer(data, dtype="<f4" if datatype == "FP32" else np.uint8).reshape(shape)


def _from_json(datatype: str, shape: Sequence[int], data: list[Any], field: str) -> NDArray[Any]:
    """Flat or nested lists of numbers, row by row."""
    _check_numbers(datatype, shape, data, field)
    try:
        array = np.asarray(data)
    except (ValueError, TypeError, OverflowError):  # ragged, or deeper than numpy's 64 axes
        raise InvalidInput("lists of unequal length or too deep", field=f"{field}.data") from None
    if array.dtype.kind not in "iuf":  # whole numbers beyond 64 bits
        raise InvalidInput(f"something other than numbers; {datatype} needs numbers only", field=f"{field}.data")
    if array.ndim != 1 and array.shape != tuple(shape):
        raise InvalidInput(f"nested as {list(array.shape)}, but shape is {list(shape)}", field=f"{field}.data")
    if array.size != math.prod(shape):
        raise InvalidInput(f"{array.size} numbers; shape {list(shape)} needs {math.prod(shape)}", field=f"{field}.data")
    if datatype == "UINT8":
        if array.dtype.kind == "f" or array.min() < 0 or array.max() > 255:
            raise InvalidInput("UINT8 needs whole numbers from 0 to 255", field=f"{field}.data")
        return array.astype(np.uint8).reshape(shape)
    with np.errstate(over="ignore"):  # 1e300 becomes inf, which the data plane refuses by name
        return array.astype(np.float32).reshape(shape)


def _check_numbers(datatype: str, shape: Sequence[int], data: list[Any], field: str) -> None:
    """Before numpy sees it: one long text among numbers would make every number as long."""
    level, most = data, math.prod(shape)
    for _ in range(_MOST_AXES):
        kinds = set(map(type, level))
        if not (kinds <= {int, float} or kinds == {list}):
            ragged = kinds <= {int, float, list}
            raise InvalidInput(
                "lists of unequal length or too deep"
                if ragged
                else f"something other than numbers; {datatype} needs numbers only",
                field=f"{field}.data",
            )
        if len(level) > most:  # no more of them is gone through
            raise InvalidInput(f"{len(level)} elements; shape {list(shape)} needs {most}", field=f"{field}.data")
        if kinds != {list}:
            return
        level = list(chain.from_iterable(level))
    raise InvalidInput("lists of unequal length or too deep", field=f"{field}.data")


def _files(shape: Sequence[int], data: Data, field: str) -> list[bytes]:
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
        raise InvalidInput(f"{list(shape)}; [n] or [n, 1] is needed for BYTES", field=f"{field}.shape")
    files = _split(data, shape[0], field) if isinstance(data, memoryview) else _decode_base64(data, field)
    if len(files) != shape[0]:
        raise InvalidInput(f"{len(files)} elements; shape {list(shape)} needs {shape[0]}", field=f"{field}.data")
    return files


def _split(data: memoryview, count: int, field: str) -> list[bytes]:
    """Each element is its length, 4 bytes little-endian, and then itself."""
    field = f"{field}.data"
    files, start = [], 0
    for index in range(count):
        if start + 4 > len(data):
            raise InvalidInput(f"ends before the length of element {index}", field=field)
        (size,) = _LENGTH.unpack_from(data, start)
        start += 4
        if start + size > len(data):
            raise InvalidInput(f"element {index} claims {size} bytes, but {len(data) - start} are left", field=field)
        files.append(bytes(data[start : start + size]))
        start += size
    if start != len(data):
        raise InvalidInput(f"{len(data) - start} bytes are left after {count} elements", field=field)
    return files


def _decode_base64(data: list[Any], field: str) -> list[bytes]:
    files = []
    for index, nested in enumerate(data):
        item = nested[0] if isinstance(nested, list) and len(nested) == 1 else nested  # [n, 1] may be nested
        if not isinstance(item, str):
            raise InvalidInput("not a string; BYTES in JSON are base64 text", field=f"{field}.data[{index}]")
        try:
            files.append(base64.b64decode(item, validate=True))
        except (binascii.Error, ValueError):
            raise InvalidInput("not base64; BYTES in JSON are base64 text", field=f"{field}.data[{index}]") from None
    return files
