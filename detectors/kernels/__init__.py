"""Operations that are worth a kernel of their own, one folder each.

`<op>/reference.py` is plain torch or numpy, slow and true. `<op>/kernel.py` is the same in Triton
for CUDA. `<op>/__init__.py` is what is called: it sends CUDA tensors to the kernel, everything
else to the reference or, where that would be too slow, to a faster path with the same results.
Triton is imported by `kernel.py` alone, so that a machine without it lacks nothing.
"""
