"""The sizes of every preset with every head, as a table."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Tuple

from config import resolve
from config.errors import ConfigError
from config.presets import FAMILIES, HEADS
from recognition.reports.tables import Cell, Report, Table
from symbols import get_symbol
from symbols.audit.core import audit

HEAD = ('preset', 'head', 'parameters', 'trainable', 'fixed', 'auxiliary', 'MACs', 'bytes')


def network_table(settings: Mapping[str, Any]) -> Report:
    """Return a row for each preset and head, with `settings` of the config on top; one that cannot be built says so."""
    rows, refused = [], []
    for preset, head in _combinations():
        try:
            cfg = resolve(preset, net_output=head, **settings)
            height, width, channels = cfg.image_shape
            total = audit(get_symbol(cfg), {'data': (1, channels, height, width)}).total
        except ConfigError as error:
            refused.append(f'{preset} with {head}: {error}')
            continue
        sizes: Tuple[Cell, ...] = (total.parameters, total.trainable, total.fixed, total.auxiliary)
        rows.append((preset, head, *sizes, total.flops, total.bytes))
    about = 'for one image of the size of the preset; MACs are multiply-accumulates'
    table = Table(HEAD, tuple(rows), names=2, title='Networks')
    return Report('all presets and heads', [table], refused, about)


def _combinations() -> Iterator[Tuple[str, str]]:
    for family in FAMILIES.values():
        for preset in family.presets:
            for head in HEADS:
                yield preset, head
