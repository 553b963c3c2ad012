"""Layers that the networks are made of, in plain torch.

They are what torchvision and segmentation-models-pytorch build, to the bit: the same names of
weights, the same random start for a seed, the same results (`tests/detectors/layers/`). Both
libraries take seconds to import, most of it for torch's compiler, which no detection needs. What
is not here, such as other backbones, still comes from them.
"""
