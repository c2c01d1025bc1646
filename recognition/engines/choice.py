"""Which engine is the fastest here: timed once for a network on a machine, and remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from recognition.engines.agreement import trial_images
from recognition.engines.base import Engine
from recognition.engines.convert import cache_folder
from recognition.environment import processor, usable_cores
from recognition.files import write_whole

logger = logging.getLogger(__name__)

ROUNDS = 3
ENOUGH = 5.0  # seconds that the rounds of an engine may take, two at least
REMEMBERED = 200  # choices, the newest
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
        remembered, _ = _opened(known, openers[known])
        if remembered is not None:
            return remembered
    best: Optional[Engine] = None
    shortest: Optional[float] = None
    faults = []
    for name, opener in openers.items():
        engine, fault = _opened(name, opener)
        if engine is None:
            faults.append(fault)
        elif best is None:
            best = engine  # timed once there is another one
        else:
            shortest = seconds(best, batch_size) if shortest is None else shortest
            taken = seconds(engine, batch_size)
            if taken < shortest:
                best, shortest = engine, taken
    if best is None:
        raise ConfigError(f'no engine can run the network: {"; ".join(faults)}')
    if shortest is not None:
        _remember(key, best.name)
    return best


def _opened(name: str, opener: Opener) -> Tuple[Optional[Engine], str]:
    """Return an engine, or None and why it cannot be had."""
    try:
        return opener(), ''
    except (CheckpointError, ConfigError, MissingExtra) as error:
        logger.warning('the engine %s is left out: %s', name, error)
        return None, str(error)


def seconds(engine: Engine, batch_size: int) -> float:
    """Return the shortest time, of a few, that an engine takes for a batch."""
    images = trial_images(engine.image_shape, batch_size)
    times: List[float] = []
    # the first one plans and allocates
    while len(times) < 2 or (len(times) <= ROUNDS and sum(times) < ENOUGH):
        start = time.perf_counter()
        engine.embed(images)
        times.append(time.perf_counter() - start)
    shortest = min(times[1:])
    logger.info('%s: %.1f images/s', engine.name, batch_size / shortest)
    return shortest


def choice_key(fingerprint: str, packages: Sequence[str], *settings: Any) -> str:
    """Return what a choice depends on as one word: network, machine, versions of the packages, settings."""
    versions = [f'{package} {metadata.version(package)}' for package in sorted(packages)]
    parts = [fingerprint, processor(), usable_cores(), versions, settings]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _path() -> Path:
    return cache_folder() / 'engines.json'


def _read() -> Dict[str, Any]:
    """Return the choices that were remembered; none where the file is damaged."""
    try:
        known = json.loads(_path().read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(key: str, name: str) -> None:
    known = {**_read(), key: name}
    newest = dict(list(known.items())[-REMEMBERED:])
    try:
        write_whole(_path(), json.dumps(newest, indent=1).encode())
    except DataError as error:  # it is timed again next time
        logger.warning('the choice of the engine is not remembered: %s', error)
