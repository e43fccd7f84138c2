"""A copy of the embedded tritonserver without two faults that callers who leave bring about.

Triton 2.51 counts what happens to a call that its caller has left, or whose deadline has passed,
and twice it counts wrong. Later releases are mended. The wheel ``nvidia-pytriton`` has none of
them. `python -m perf late` shows both faults, and that the copy has neither.

- A call whose answer is ready just as its caller leaves is released twice, and the server ends with
  signal 11 (https://github.com/triton-inference-server/server/pull/7840). In the copy
  ``ModelInferHandler::InferResponseComplete`` does not look whether the caller has left: it hands
  every answer to gRPC, which drops those that nobody waits for.
- A call whose answer was sent before its caller left is never released. It takes memory, and the
  server ends only when its exit timeout has passed
  (https://github.com/triton-inference-server/server/pull/8078). In the copy
  ``Context::HandleCancellation`` releases what is in step FINISH, as it did with CANCELLED, which
  no call reaches any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path
from typing import Final

_logger = logging.getLogger(__name__)

_SHA256: Final = "01f1d4a777fea48f8e62a3df0403bcbd858c7a0be203e032a795032555f3e3f4"
"""Of the tritonserver in ``nvidia-pytriton`` 0.7.0 for x86-64."""
_CHANGES: Final = (
    # JE becomes JMP: as if no notice had come that the caller has left.
    (0x1F346F, "0f 84", "90 e9"),
    # step - 8 <= 1, so 8 or 9, becomes: step + 1 has an even number of bits, so 2 or 8, of the
    # steps that there are (0 START, 1 COMPLETE, 2 FINISH, 3 ISSUED, 8 CANCELLATION_ISSUED).
    (0x1F4DF3, "8d 50 f8  83 fa 01  0f 86", "8d 50 01  83 e2 0f  0f 8a"),
)
"""Places in the file, the bytes that are there, and those that come instead."""

_AS_IT_IS: Final = "tritonserver is started as it is, callers who leave may end it"


def mended(binary: Path, scratch: Path) -> Path:
    """Return what to start: a mended copy of the flawed tritonserver, any other as it is.

    The copy lies under the directory ``scratch``, unless programs may not be started there, or it
    cannot be written.
    """
    content = bytearray(binary.read_bytes())
    if hashlib.sha256(content).hexdigest() != _SHA256:
        return binary
    if os.statvfs(scratch).f_flag & os.ST_NOEXEC:
        _logger.warning(
            "%s: no program may be started in %s; set TMPDIR to a directory where one may",
            _AS_IT_IS,
            scratch.parent,
        )
        return binary
    for place, old, new in _CHANGES:
        after = place + len(bytes.fromhex(old))
        assert content[place:after] == bytes.fromhex(old)
        content[place:after] = bytes.fromhex(new)
    # It looks for libraries three directories up, which must not lie outside of scratch.
    copy = scratch / "program" / "tritonserver" / "bin" / binary.name
    try:
        copy.parent.mkdir(parents=True)
        copy.write_bytes(content)
        copy.chmod(0o700)
    except OSError as error:  # a full disk: better served with the faults than not at all
        with contextlib.suppress(OSError):  # a part of it would fill the disk
            copy.unlink()
        _logger.warning("%s: %s", _AS_IT_IS, error)
        return binary
    return copy
