"""Optimizers, learning-rate schedules and the L2 penalty on kernels."""

from __future__ import annotations

from recognition.optim.kernel_l2 import KernelL2
from recognition.optim.lr_schedule import build_schedule
from recognition.optim.optimizer import NAG, AdamW, build_optimizer

__all__ = ['NAG', 'AdamW', 'KernelL2', 'build_optimizer', 'build_schedule']
