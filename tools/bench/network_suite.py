"""Suites that take network after network: every contender is a process, held against plain, and gives turns."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from config.compat import physical_cores
from tools.bench.contenders import AS_IT_COMES, PLAIN, check_counts, choose
from tools.bench.networks import Drawn, draw_network
from tools.bench.rounds import Row, interleaved
from tools.bench.turns import Turns

BATCH = 8
SECONDS = 2.0  # that a turn takes at least
FIGURE = 'images/s'

Figures = Dict[str, float]


@dataclass(frozen=True)
class Measured:
    """A network that is measured: its preset's name, and the settings on top of it; images at a time; the contenders.

    folder: where the contenders' processes find their files, and leave their first results.
    """

    name: str
    settings: Mapping[str, Any]
    network: Drawn
    batch: int
    contenders: Sequence[str]
    folder: Path


@dataclass(frozen=True)
class NetworkSuite:
    """What is a suite's own.

    process: the module of a contender's process, with the words NAME FOLDER THREADS; before its first turn it writes
    FOLDER/NAME.npy, which `check(name, found, wanted)` compares with plain's, raising FaceSymbolsError.
    rows: what may be named in `against` -> its rows. ours: rows that are always there, in the environment this project
    sets, after plain with as many threads as all others and plain as it comes. last: rows at the end, which are not
    compared; each has its entry in `turns`.
    write_files: writes what the contenders read. finish: the rows of a network with what else is told of them.
    turns: how a turn is taken where it is not `batch` images for SECONDS. opening: what starting the contenders means.
    dropout, warm: as `draw_network` and `interleaved` have them.
    """

    process: str
    opening: str
    rows: Mapping[str, Tuple[str, ...]]
    ours: Tuple[str, ...]
    write_files: Callable[[Measured], None]
    check: Callable[[str, np.ndarray, np.ndarray], None]
    finish: Callable[[Measured, Sequence[Row]], List[Row]]
    last: Tuple[str, ...] = ()
    turns: Mapping[str, Callable[[Turns, Measured], Figures]] = field(default_factory=dict)
    dropout: bool = True
    warm: bool = True


def measure_networks(
    suite: NetworkSuite,
    rounds: int,
    *,
    networks: Sequence[str],
    batch: int = BATCH,
    threads: Optional[int] = None,
    against: Optional[Sequence[str]] = None,
    settings: Optional[Mapping[str, Any]] = None,
    told: Callable[[str], None] = print,
) -> List[Row]:
    """Give each contender a turn in every round, with `batch` images at a time, network after network.

    threads: None, one for each core. against: of the suite's `rows`; None, all that are installed.
    settings: of the networks, on top of their presets. A row's ratio is to its own network's plain. Raises ConfigError
    for what is not known, FaceSymbolsError where a contender fails or disagrees.
    """
    check_counts(rounds=rounds, batch=batch, threads=threads)
    chosen = [row for name in choose(tuple(suite.rows), against, told) for row in suite.rows[name]]
    names, settings = [PLAIN, AS_IT_COMES, *suite.ours, *chosen, *suite.last], settings or {}
    # all are drawn first, so that a wrong name is told at once
    drawn = {name: draw_network(name, settings, dropout=suite.dropout) for name in networks}
    rows: List[Row] = []
    for name, network in drawn.items():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            told(f'{name}: {suite.opening} {", ".join(names)}')
            measured = Measured(name, settings, network, batch, names, Path(folder))
            suite.write_files(measured)
            opened = {
                each: _open(each, suite, measured, threads or physical_cores(), stack) for each in names
            }
            rows += suite.finish(measured, interleaved(opened, rounds, told=told, warm=suite.warm))
    return rows


def _open(
    name: str, suite: NetworkSuite, measured: Measured, threads: int, stack: ExitStack
) -> Callable[[], Figures]:
    """Start a contender's process and compare its first results with plain's, which is the first to be opened."""
    folder = measured.folder
    words, log = [name, str(folder), str(threads)], folder / f'{name}.log'
    own = None if name == AS_IT_COMES else threads
    turns = Turns(name, suite.process, words, threads=own, ours=name in suite.ours, log=log)
    stack.callback(turns.close)
    if name not in suite.last:
        suite.check(name, np.load(folder / f'{name}.npy'), np.load(folder / f'{PLAIN}.npy'))
    return partial(suite.turns.get(name, _images), turns, measured)


def _images(turns: Turns, measured: Measured) -> Figures:
    return {FIGURE: measured.batch / turns.seconds(SECONDS)}
