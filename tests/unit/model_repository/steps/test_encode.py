from __future__ import annotations

import subprocess
import sys


def test_encode_imports_no_engine_but_the_one_that_its_settings_name() -> None:
    # An export with --engine openvino names no other package: a server need not have it.
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = sys.modules['openvino'] = None\n"
        "import model_repository.steps.encode"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
