"""torchvision and segmentation-models-pytorch, imported without torch's compiler.

Two lines of them import the whole compiler, which nothing here uses, in two seconds of processor
time of every fresh process (`benchmarks/start.py`): `torchvision.ops.roi_align` takes one function
of `torch._dynamo.utils`, and timm marks one method with `torch.compiler.disable`. So networks take
both libraries from here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch

_UTILS = "torch._dynamo.utils"


def _is_compile_supported(device_type: str) -> bool:
    """The function that torchvision imports, from the real module once it is called."""
    answer: bool = importlib.import_module(_UTILS).is_compile_supported(device_type)
    return answer


def _unmarked(
    fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str | None = None
) -> Callable[..., Any]:
    """`torch.compiler.disable` for code that is not compiled: the function as it is."""
    return fn if fn is not None else lambda function: function


def _deferred_utils() -> ModuleType:
    """A module for the place of `torch._dynamo.utils`, which gives way when it is used."""
    deferred = ModuleType(_UTILS)

    def real(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_UTILS) is deferred:
            del sys.modules[_UTILS]
        return getattr(importlib.import_module(_UTILS), name)

    vars(deferred).update(is_compile_supported=_is_compile_supported, __getattr__=real)
    return deferred


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let libraries be imported that name torch's compiler and do not use it at once.

    What is imported within works as it would otherwise, but for one thing: methods that it marks
    as not to be compiled are not marked.
    """
    if _UTILS in sys.modules:
        yield
        return
    deferred = sys.modules[_UTILS] = _deferred_utils()
    try:
        with patch.object(torch.compiler, "disable", _unmarked):
            yield
    finally:
        if sys.modules.get(_UTILS) is deferred:
            del sys.modules[_UTILS]


with without_compiler():
    import segmentation_models_pytorch as smp
    import torchvision
    import torchvision.models.detection.retinanet

__all__ = ["smp", "torchvision"]
