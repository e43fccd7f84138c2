"""Reads the tensors of one request, each [1, n], and refuses what does not fit by name."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .batch import Tensors
from .contract import YEAR_2100
from .errors import InvalidRequest

_CLIP = 60
"""Characters of a value that an error message repeats."""

_FINER_UNITS: Final = {10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}


def strings(tensors: Tensors, name: str) -> list[bytes] | None:
    """Return the values of the BYTES tensor ``name`` [1, n], or None when it was not sent."""
    values = _row(tensors, name, np.object_, "BYTES")
    return None if values is None else cast("list[bytes]", values.tolist())


def seconds(tensors: Tensors, name: str) -> NDArray[np.int64] | None:
    """Return the values of the INT64 tensor ``name`` [1, n], or None when it was not sent."""
    return _row(tensors, name, np.int64, "INT64")


def row_numbers(tensors: Tensors, name: str, rows: int) -> NDArray[np.int32]:
    """Return the values of the INT32 tensor ``name`` [1, n], each the number of one of ``rows``."""
    check_range(name, tensors[name], rows - 1)
    row: NDArray[np.int32] = tensors[name][0]
    return row


def row_of_texts(tensors: Tensors, name: str) -> list[str] | None:
    """Return the UTF-8 texts of the BYTES tensor ``name`` [1, n], or None when it was not sent."""
    values = strings(tensors, name)
    if values is None:
        return None
    return [decode(value, name, place) for place, value in enumerate(values)]


def texts(tensors: Tensors, name: str) -> list[str]:
    """Return the UTF-8 texts of the BYTES tensor ``name`` [B, 1]."""
    values = tensors[name]
    if values.ndim != 2 or values.shape[1] != 1:
        raise InvalidRequest(f"{name} must have shape [B, 1], not {list(values.shape)}")
    _check_dtype(name, values, np.object_, "BYTES")
    return [decode(value, name, position) for position, value in enumerate(values[:, 0])]


def check_length(name: str, length: int, beside: str, expected: int) -> None:
    """Raise ``InvalidRequest`` unless tensor ``name`` has one value per value of ``beside``."""
    if length != expected:
        raise InvalidRequest(
            f"{name} has {length} values and {beside} has {expected}; "
            f"send one value of {name} for each of {beside}"
        )


def check_unit(name: str, times: NDArray[np.int64]) -> None:
    """Refuse times that are no seconds: taken for some, they change the answer."""
    late = np.flatnonzero(times >= YEAR_2100)
    if not late.size:
        return
    place = int(late[0])
    time, factor = int(times[place]), 1000
    while time // factor >= YEAR_2100 and factor < 10**9:
        factor *= 1000
    raise InvalidRequest(
        f"{name}[{place}] is {time}, which is after the year 2100 as Unix seconds, and seconds are "
        f"expected; divide by {factor} if these are {_FINER_UNITS[factor]}"
    )


def check_range(name: str, values: NDArray[Any], most: int) -> None:
    """Raise ``InvalidRequest`` unless the values of tensor ``name`` [n, m] are 0 to ``most``."""
    if values.size and (values.min() < 0 or values.max() > most):
        row, place = np.argwhere((values < 0) | (values > most))[0]
        raise InvalidRequest(f"{name}[{row}, {place}] is {values[row, place]}; send 0 to {most}")


def check_texts(number: int, most: int) -> None:
    """Raise ``InvalidRequest`` if a request has more texts to encode than fit in one."""
    if number > most:
        raise InvalidRequest(
            f"the request has {number} texts to encode, and at most {most} fit in one; split it "
            "into several requests"
        )


def decode(value: bytes, name: str, position: int) -> str:
    """Return ``value``, which stands at ``position`` of tensor ``name``, as UTF-8 text."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"{name}[{position}] is not UTF-8 (byte {error.start} is "
            f"0x{value[error.start]:02x}); send texts encoded as UTF-8"
        ) from error


def show(value: bytes) -> str:
    r"""Quote an id for a message: clipped, and with whatever cannot be printed as ``\x00``."""
    text = value.decode("utf-8", "backslashreplace")
    printable = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[:_CLIP]
    )
    return f"'{printable}…'" if len(text) > _CLIP else f"'{printable}'"


def _row(tensors: Tensors, name: str, dtype: DTypeLike, wire_name: str) -> NDArray[Any] | None:
    values = tensors.get(name)
    if values is None:
        return None
    if values.ndim != 2 or values.shape[0] != 1:
        raise InvalidRequest(
            f"{name} must have shape [1, n], not {list(values.shape)}: a request is one user"
        )
    _check_dtype(name, values, dtype, wire_name)
    row: NDArray[Any] = values[0]
    return row


def _check_dtype(name: str, values: NDArray[Any], dtype: DTypeLike, wire_name: str) -> None:
    if values.dtype != dtype:
        raise InvalidRequest(f"{name} must be {wire_name}, not {values.dtype}")
