"""Batches by number: the k-th one is the same whoever makes it, and whenever."""

from __future__ import annotations

import multiprocessing

import cv2
import numpy as np
from torch.utils.data import DataLoader, Dataset

from detectors.training.tasks import Batch, Task

# Before any process is forked: a child that inherits OpenCV's pool of threads waits for threads
# that it does not have. One thread a process is also what suits several processes.
cv2.setNumThreads(1)

AHEAD = 4
"""Batches that each process makes ahead of their use."""


class Batches(Dataset[Batch]):
    """Batch k is a function of the seed and k alone."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task, self.seed = task, seed

    def __getitem__(self, k: int) -> Batch:
        return self.task.batch(np.random.default_rng([self.seed, k]))


def loader(
    task: Task, seed: int, numbers: range, workers: int, pin: bool = False
) -> DataLoader[Batch]:
    """Batches of the given numbers, in order, made by `workers` processes (0: by this one).

    Args:
        task: makes them; its album is shared with the processes, not copied.
        seed: of the run.
        numbers: which batches.
        workers: processes.
        pin: page-locked memory, for a GPU.
    """
    fork = workers > 0 and "fork" in multiprocessing.get_all_start_methods()
    return DataLoader(
        Batches(task, seed),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context="fork" if fork else None,
        pin_memory=pin,
    )
