"""The central config: what network, which data, which loss, as InsightFace users know it, but without leftovers.

    from config import config, generate_config, resolve
    generate_config('d121', 'orl', 'arcface')   # resets the central config, then fills it
    cfg = resolve('r100', emb_size=256)         # pure: a config of its own, no global touched

`network`, `dataset` and `loss` are the tables of presets; a script may add rows of its own to them.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Mapping, NoReturn, Optional

from easydict import EasyDict

from config.errors import CheckpointError, ConfigError, DataError, FaceSymbolsError, MissingExtra, nearest
from config.insightface import NAMES_HERE, as_here, renamed
from config.keys import DEFAULT_KEYS, DEFAULT_PRESETS, KEYS
from config.presets import DATASETS, LOSSES, NETWORKS, NOT_BUILT, SYNONYMS
from config.schema import check_explicit, check_name, check_together, check_value, parse_value

__all__ = [
    'CheckpointError',
    'Config',
    'ConfigError',
    'DataError',
    'FaceSymbolsError',
    'MissingExtra',
    'complete',
    'config',
    'dataset',
    'default',
    'generate_config',
    'loss',
    'network',
    'resolve',
]


class Config(EasyDict):
    """An EasyDict of keys of the schema: a misspelt key, a bad value or taking a key out raises ConfigError at once.

    `clear` alone empties it, for the moment before it is filled again.
    """

    # EasyDict copies every public class attribute but its own methods' names into the dict.
    def __setattr__(self, name: str, value: Any) -> None:
        name = NAMES_HERE.get(name, name)
        super().__setattr__(name, check_value(name, value))

    __setitem__ = __setattr__

    def __ior__(self, other: Any) -> Config:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __delattr__(self, name: str) -> NoReturn:
        check_name(name)
        raise ConfigError(
            f'{name!r} cannot be taken out of the config; set it, to {KEYS[name].default!r} say'
        )

    __delitem__ = __delattr__

    def pop(self, name: str, *default: Any) -> Any:
        """Refuse to take out a key; of one that is not there, return the default as a dict does."""
        if name not in self and default:
            return default[0]
        self.__delattr__(name)

    def __missing__(self, name: str) -> Any:
        if name in NAMES_HERE:
            return self[NAMES_HERE[name]]
        raise KeyError(name)

    def __getattr__(self, name: str) -> Any:
        if name in NAMES_HERE:
            return self[name]
        raise AttributeError(f'{name!r} is not a key of the config{nearest(name, KEYS)}')


network = EasyDict(NETWORKS)
dataset = EasyDict(DATASETS)
loss = EasyDict(LOSSES)

default = Config({**{name: KEYS[name].default for name in DEFAULT_KEYS}, **DEFAULT_PRESETS})
config = Config({name: key.default for name, key in KEYS.items() if name not in DEFAULT_KEYS})
config.update(network[default.network])  # a network from the start: InsightFace's default


def _preset(table: Mapping[str, Mapping[str, Any]], kind: str, name: Optional[str]) -> Mapping[str, Any]:
    if name is None:
        return {}
    if not isinstance(name, str) or name not in table:
        known = f'(known: {", ".join(sorted(table))})'
        if name in NOT_BUILT.get(kind, ()):
            raise ConfigError(f"the {kind} preset {name!r} is InsightFace's, and not built here {known}")
        synonym = SYNONYMS.get(name) if isinstance(name, str) else None
        near = f'; did you mean {synonym!r}?' if synonym else nearest(name, table)
        raise ConfigError(f'{name!r} is not a {kind} preset {known}{near}')
    row = table[name]
    if not isinstance(row, Mapping):
        raise ConfigError(f'the {kind} preset {name!r} is {row!r} where a dict of config keys is wanted')
    return row


def complete(settings: Mapping[str, Any]) -> Config:
    """Return `settings` (InsightFace's EasyDict, say, or a plain dict) as a whole, checked config of its own.

    InsightFace's means here what it means there: see `config.insightface.as_here`.

    Raises ConfigError for a misspelt key, a bad value, or values that do not go together.
    """
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{settings!r} is no config; one is made by resolve('r18'), of a preset's name")
    return _whole(as_here(renamed(settings)))


def _whole(settings: Mapping[str, Any]) -> Config:
    for name in settings:
        check_name(name)
    values = {name: settings.get(name, key.default) for name, key in KEYS.items()}
    checked = Config(values)
    check_together(checked)
    return checked


def resolve(
    network_name: Optional[str] = None,
    dataset_name: Optional[str] = None,
    loss_name: Optional[str] = None,
    /,
    **overrides: Any,
) -> Config:
    """Return the config of a network, data set and loss preset, with `overrides` on top; no global is touched.

    The presets are given by position, since `loss_name` is a key, too.

    All keys are there; those that no preset sets have their default. Names: `sorted(config.network)` and so on.
    Raises ConfigError for an unknown preset or key (with the nearest name), a bad value, or values from which no
    network can be built.
    """
    losses = _preset(loss, 'loss', loss_name)
    networks = _preset(network, 'network', network_name)
    settings: Dict[str, Any] = {**losses, **networks, **_preset(dataset, 'dataset', dataset_name)}
    # the objective chooses the head, and the network the images, whatever the presets after them hold
    settings.update(
        {key: row[key] for row, key in ((losses, 'net_output'), (networks, 'image_shape')) if key in row}
    )
    chosen = {'network': network_name, 'dataset': dataset_name, 'loss': loss_name}
    settings.update({key: name for key, name in chosen.items() if name is not None})
    overrides = renamed(overrides)
    settings.update(overrides)
    resolved = _whole(settings)
    check_explicit(resolved, overrides)
    return resolved


def generate_config(network_name: str, dataset_name: str, loss_name: str) -> None:
    """Reset the central `config` and `default` and fill them from three presets, as InsightFace's function does.

    Nothing set before stays, by an earlier call or by hand. Raises ConfigError for an unknown preset, and then
    leaves both as they were.
    """
    if None in (network_name, dataset_name, loss_name):
        raise ConfigError('generate_config needs three presets: of a network, a data set and a loss')
    resolved = resolve(network_name, dataset_name, loss_name)
    workers = os.environ.get('DMLC_NUM_WORKER')  # set by MXNet's launcher on each of several machines
    if workers is not None:
        resolved.num_workers = parse_value('num_workers', workers)
    config.clear()
    config.update({name: value for name, value in resolved.items() if name not in DEFAULT_KEYS})
    config.network = network_name
    default.clear()
    default.update({name: resolved[name] for name in (*DEFAULT_KEYS, *DEFAULT_PRESETS)})
