"""Which engine is the fastest here: timed once for a network on a machine, and remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from config.compat import physical_cores
from config.errors import CheckpointError, ConfigError, DataError, FaceSymbolsError, MissingExtra
from recognition.embedding.agreement import trial_images
from recognition.embedding.conversion_cache import cache_folder
from recognition.engines.base import Engine, checked_embed
from recognition.engines.mxnet_threads import VARIABLE as THREADS
from recognition.utils.environment import package_version, processor
from recognition.utils.files import read_json, write_whole

logger = logging.getLogger(__name__)

ROUNDS = 3
ENOUGH = 5.0  # seconds that the rounds of an engine may take, two at least
REMEMBERED = 200  # choices, the newest
CANNOT = (CheckpointError, ConfigError, MissingExtra)  # why an engine is left out
Opener = Callable[[], Engine]


def choose(openers: Dict[str, Opener], key: str, batch_size: int) -> Engine:
    """Return the fastest engine, open: the one that is remembered under `key`, or else the winner of a timing.

    openers: by name, what opens the engine. One that cannot be opened, or that disagrees with MXNet, is left out
    with a warning; ConfigError when none is left.
    """
    if len(openers) == 1:  # there is nothing to choose, and its own error says what is wrong
        return next(iter(openers.values()))()
    known = _read().get(key)
    if isinstance(known, str) and known in openers:
        try:
            return openers[known]()
        except CANNOT as error:
            _leave_out(known, error)
    logger.info('the engines are timed, once on a machine: %s', ', '.join(openers))
    best, faults, timed = _fastest(openers, batch_size)
    if best is None:
        raise ConfigError(
            f'no engine can run the network: {"; ".join(dict.fromkeys(map(str, faults.values())))}'
        )
    for name, fault in faults.items():
        _leave_out(name, fault)
    if timed:
        _remember(key, best.name)
    return best


def _fastest(
    openers: Dict[str, Opener], batch_size: int
) -> Tuple[Optional[Engine], Dict[str, FaceSymbolsError], bool]:
    """Return the fastest engine, why others cannot be had, and whether there were several, which alone are timed."""
    best: Optional[Engine] = None
    shortest: Optional[float] = None
    faults: Dict[str, FaceSymbolsError] = {}
    for name, opener in openers.items():
        try:
            engine = opener()
        except CANNOT as error:
            faults[name] = error
            continue
        if best is None:
            best = engine
            continue
        shortest = seconds(best, batch_size) if shortest is None else shortest
        taken = seconds(engine, batch_size)
        if taken < shortest:
            best, shortest = engine, taken
    return best, faults, shortest is not None


def _leave_out(name: str, fault: FaceSymbolsError) -> None:
    logger.warning('the engine %s is left out: %s', name, fault)


def seconds(engine: Engine, batch_size: int) -> float:
    """Return the shortest time, of a few, that an engine takes for a batch."""
    images = trial_images(engine.image_shape, batch_size)
    times: List[float] = []
    # the first one plans and allocates
    while len(times) < 2 or (len(times) <= ROUNDS and sum(times) < ENOUGH):
        start = time.perf_counter()
        checked_embed(engine, images)
        times.append(time.perf_counter() - start)
    shortest = min(times[1:])
    logger.info('%s: %.1f images/s', engine.name, batch_size / shortest)
    return shortest


def choice_key(network: str, packages: Iterable[str], *settings: Any) -> str:
    """Return what a choice depends on as one word: network, machine, packages and their versions, settings."""
    versions = {package: package_version(package) for package in sorted({*packages, 'facesymbols'})}
    parts = [network, processor(), physical_cores(), os.environ.get(THREADS), versions, settings]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _path() -> Path:
    return cache_folder() / 'engines.json'


def _read() -> Dict[str, Any]:
    """Return the choices that were remembered; none where the file is damaged."""
    try:
        known = read_json(_path())
    except FaceSymbolsError:  # a ConfigError, too, where there is no home folder
        return {}
    return known if isinstance(known, dict) else {}


def _remember(key: str, name: str) -> None:
    known = {**_read(), key: name}
    newest = dict(list(known.items())[-REMEMBERED:])
    try:
        write_whole(_path(), json.dumps(newest, indent=1).encode())
    except (ConfigError, DataError) as error:  # it is timed again next time
        logger.warning('the choice of the engine is not remembered: %s', error)
