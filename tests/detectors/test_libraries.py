"""torchvision and segmentation-models-pytorch without torch's compiler."""

import json
import subprocess
import sys

import pytest


def modules(code: str) -> set[str]:
    """What a fresh interpreter has imported after `code`."""
    show = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_networks_are_built_without_the_compiler():
    names = modules(
        "import lanner\nfrom detectors.resunet import *\nfrom detectors.retinanet import *\n"
        "ResUNet(ResUNetSpec(('object',)))\nRetinaNet(RetinaNetSpec(1))"
    )
    assert "torchvision.ops.roi_align" in names
    assert not names & {"torch._dynamo", "torch._dynamo.utils", "sympy"}


@pytest.mark.parametrize(
    "use",
    [
        "import torch._dynamo.utils as utils; assert utils.is_compile_supported('cpu') in (0, 1)",
        "assert torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)) == 2",
        "assert torch.compiler.disable(len)([1]) == 1",
    ],
)
def test_the_compiler_is_there_for_who_uses_it_later(use):
    names = modules(f"import lanner, torch\nimport detectors.libraries\n{use}")
    assert {"torch._dynamo", "torch._dynamo.utils", "sympy"} <= names


def test_what_is_asked_for_meanwhile_is_the_real_module():
    code = (
        "import lanner, sys, torch\nfrom detectors.libraries import without_compiler\n"
        "with without_compiler():\n"
        "    from torch._dynamo.utils import counters\n"
        "import torch._dynamo.utils as real\n"
        "assert counters is real.counters and sys.modules['torch._dynamo.utils'] is real"
    )
    assert "torch._dynamo" in modules(code)
