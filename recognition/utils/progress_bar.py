"""One progress bar for every program: tqdm's on a terminal, nothing elsewhere."""

from __future__ import annotations

from typing import Any, Iterable, Optional


def progress_bar(items: Optional[Iterable[Any]] = None, total: Optional[int] = None, *, unit: str) -> Any:
    """Return `items` behind a bar, or a bar to `update()`; a context manager that takes it away.

    Parameters
    ----------
    items : iterable, optional
        What is counted as it is taken; None leaves counting to `update(n)`.
    total : int, optional
        How many there are, where `items` does not say it.
    unit : str
        Of one of them: 'image'.

    Without tqdm the work is done without a bar.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar(items)
    return tqdm(items, total=total, unit=f' {unit}', leave=False, disable=None, dynamic_ncols=True)


class _NoBar:
    """The part of tqdm that programs here use, without a bar."""

    def __init__(self, items: Optional[Iterable[Any]]) -> None:
        self._items = items or ()

    def __iter__(self) -> Any:
        return iter(self._items)

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""

    def update(self, count: int = 1) -> None:
        """Count nothing."""
