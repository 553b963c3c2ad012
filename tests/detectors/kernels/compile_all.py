"""Compiles every kernel for sm_90 (H100, H200); a GPU is not needed. Run as a script.

The interpreter runs what the compiler refuses: names that are no globals of a kernel, loop
variables that change their shape.
"""

from __future__ import annotations

import sys

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from detectors.kernels.blend import kernel as blend
from detectors.kernels.decode import kernel as decode
from detectors.kernels.fuse import kernel as fuse
from detectors.kernels.label import kernel as label
from detectors.kernels.nms import kernel as nms
from detectors.kernels.normalise import kernel as normalise

HOPPER = GPUTarget("cuda", 90, 32)
EXACT = {"enable_fp_fusion": False}
I64, I32, F32, U8, I1 = "*i64", "*i32", "*fp32", "*u8", "*i1"


def built(function, types, constants, **options):
    """PTX of one kernel.

    Args:
        function: the kernel.
        types: of its arguments that are no constants, by name.
        constants: values by name.
    """
    names = function.arg_names
    missing = set(names) - set(types) - set(constants)
    assert not missing, f"{function.__name__}: no type of {missing}"
    signature = {n: "constexpr" if n in constants else types[n] for n in names}
    values = {(names.index(n),): v for n, v in constants.items()}
    aligned = {
        (i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n].startswith("*")
    }
    source = ASTSource(function, signature, values, aligned)
    return compile(source, target=HOPPER, options=options).asm["ptx"]


def exact(function, types, constants):
    """The same without fused multiply-add, which would round otherwise than the reference."""
    assert "fma.rn" not in built(function, types, constants, **EXACT), function.__name__


def main() -> None:
    pixels = dict.fromkeys(("valid",), I1) | {"table": F32, "pixels": "i32", "bands": "i32"}
    for raw in ("*u8", "*u16", "*i16", "*fp32"):
        for out in ("*bf16", "*fp32", "*fp16"):
            constants = {"WIDE": 4, "BLOCK": 1024, "MEAN": 0.45, "STD": 0.225}
            built(normalise._normalise, {**pixels, "raw": raw, "out": out}, constants, **EXACT)
    for heads in ("*bf16", "*fp32", "*fp16"):
        counted = {"logits": heads, "counts": I64, "per": "i32", "threshold": "fp32"}
        built(decode._count, counted, {"BLOCK": 1024})
        named = {"logits": heads, "offsets": heads, "anchors": F32, "boxes": F32, "scores": F32}
        named |= dict.fromkeys(("counts", "ends", "labels", "images", "sources"), I64)
        named |= {"a": "i32", "classes": "i32"}
        named |= dict.fromkeys(("height", "width", "threshold"), "fp32")
        built(decode._write, named, {"BLOCK": 1024, "CLAMP": 4.135}, **EXACT)
    pairs = {"boxes": F32, "blocks": I64, "words": I32, "n": "i32", "bar": "fp32"}
    exact(nms._overlaps, pairs, {"BLOCK": 32, "PER": 8})
    swept = {"words": I32, "blocks": I64, "spans": I64, "gone": I32, "keep": I32}
    for many in (1, 32, 256):
        warps = 4 if many <= 32 else 16
        built(nms._sweep, swept, {"BLOCK": 32, "MANY": many}, num_warps=warps)
    sides = ["*fp32", "*fp32", "*i64", "*fp32", "*fp32", "*fp32", "*i64", "*i64", "i32", "fp32"]
    exact(fuse._clusters, dict(zip(fuse._clusters.arg_names, sides, strict=False)), {"BLOCK": 512})
    for function, types, flags in (
        (label._runs, [I1, I32, "i32", "i32"], {}),
        (label._merge, [I1, I32, "i32", "i32"], {"CORNERS": True, "PARTS": True}),
        (label._merge, [I1, I32, "i32", "i32"], {"CORNERS": False, "PARTS": False}),
        (label._flatten, [I1, I32, I1, "i32", "i32"], {}),
        (label._number, [I1, I32, I32, I32, "i32", "i32"], {}),
    ):
        named = dict(zip(function.arg_names, types, strict=False))
        built(function, named, {"BLOCK": 1024, **flags})
    for tiles in ("*fp32", "*bf16"):
        types = [F32, F32, tiles, I1, F32, I32, *["i32"] * 6]
        named = dict(zip(blend._add.arg_names, types, strict=False))
        exact(blend._add, named, {"WIDE": 4, "BLOCK": 256})
    exact(blend._quantise, {"mean": F32, "total": F32, "out": U8, "pixels": "i32"}, {"BLOCK": 1024})
    named = dict(zip(blend._argmax.arg_names, [F32, F32, U8, "i32", "i32"], strict=False))
    built(blend._argmax, named, {"BLOCK": 256})


if __name__ == "__main__":
    sys.exit(main())
