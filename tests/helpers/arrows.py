"""The arrows of a picture, as (source, target)."""

from __future__ import annotations


def cycles(arrows):
    """Return the arrows that are left when boxes without an arrow into them are taken away again and again."""
    while arrows:
        free = {source for source, _ in arrows} - {target for _, target in arrows}
        if not free:
            return arrows
        arrows = {(source, target) for source, target in arrows if source not in free}
    return arrows
