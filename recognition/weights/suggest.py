"""Which other network given weights are of, where they do not fit the one that was named."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, Tuple

from config import resolve
from config.errors import ConfigError
from config.keys import FAMILY_NAMES
from config.presets import FAMILIES
from recognition.checkpoint.matching import Values, compare, head_names, without_classifier
from symbols import get_block

PRESET_NAMES = ('network', 'dataset', 'loss')
# Settings that change which parameters a network has, and are easily forgotten.
ALTERNATIVES: Dict[str, Tuple[Any, ...]] = {
    'net_se': (True, False),
    'net_act': ('prelu', 'relu'),
    'net_unit': (1, 2, 3, 4),
    'net_input': (0, 1, 2),
}


def hint(values: Values, cfg: Mapping[str, Any]) -> str:
    """Return the end of a sentence that names a preset of the family, or a setting, whose backbone the values fit.

    '' where there is none. It builds one network after another, which takes seconds.
    """
    held = {name: value for name, value in without_classifier(values).items() if name not in head_names()}
    for words, other in _others(cfg):
        wanted = {name: each.shape for name, each in other.items() if name not in head_names()}
        if compare(wanted, held).ok:
            return f'; it is of a network with {words}'
    return ''


def _others(cfg: Mapping[str, Any]) -> Iterator[Tuple[str, Any]]:
    """Give the backbones' parameters with one setting changed, and of the other presets of the family."""
    changes = {f'{key}={value!r}': {key: value} for key, values in ALTERNATIVES.items() for value in values}
    presets = FAMILIES[FAMILY_NAMES[cfg['net_name']]].presets
    changes.update({f'the preset {name}': dict(row) for name, row in presets.items()})
    for words, change in changes.items():
        try:
            other = resolve(**{**{key: cfg[key] for key in cfg if key not in PRESET_NAMES}, **change})
            yield words, get_block(other).backbone.collect_params()
        except ConfigError:  # there is no such network
            continue
