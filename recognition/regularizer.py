"""Deprecated alias of `recognition.optim.KernelL2` and its helpers, for one release."""

from recognition.optim.kernel_l2 import KernelL2, kernel_factors, with_penalty

__all__ = ['KernelL2', 'kernel_factors', 'with_penalty']
