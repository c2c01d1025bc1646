"""Deprecated alias of `symbols.passes.optimize`, for one release."""

from symbols.passes.optimize import optimize

__all__ = ['optimize']
