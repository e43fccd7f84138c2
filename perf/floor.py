"""Two models that do nothing: what a request through Triton and one Python step costs at least.

Both take HISTORY as ``recommend`` does and answer with one number. ``empty`` answers one request
an ``execute``; ``empty_batched`` lets Triton's dynamic batcher hand it many, ragged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

EMPTY: Final = "empty"
EMPTY_BATCHED: Final = "empty_batched"
_MOST: Final = 64  # requests that one execute takes

_MODEL: Final = """\
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            pb_utils.get_input_tensor_by_name(request, "HISTORY").as_numpy()
            nothing = pb_utils.Tensor("NOTHING", np.zeros((1, 1), np.float32))
            answers.append(pb_utils.InferenceResponse([nothing]))
        return answers
"""

_PLAIN: Final = """\
name: "empty"
backend: "python"
input { name: "HISTORY" data_type: TYPE_STRING dims: [1, -1] }
output { name: "NOTHING" data_type: TYPE_FP32 dims: [1, 1] }
instance_group { count: 1 kind: KIND_CPU }
"""

_BATCHED: Final = f"""\
name: "empty_batched"
backend: "python"
max_batch_size: {_MOST}
input {{ name: "HISTORY" data_type: TYPE_STRING dims: [-1] allow_ragged_batch: true }}
output {{ name: "NOTHING" data_type: TYPE_FP32 dims: [1] }}
instance_group {{ count: 1 kind: KIND_CPU }}
dynamic_batching {{ }}
"""


def write_floor(repository: Path) -> Path:
    """Write a model repository with the two."""
    for name, config in ((EMPTY, _PLAIN), (EMPTY_BATCHED, _BATCHED)):
        version = repository / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(_MODEL, "utf-8")
        (repository / name / "config.pbtxt").write_text(config, "utf-8")
    return repository
