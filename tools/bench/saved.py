"""A network in files, by which the processes of its contenders get it: PREFIX.json and PREFIX.npz.

Reading them takes numpy alone, so that a contender's process imports nothing that it does not measure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Mapping

import numpy as np


def save(prefix: Path, symbol: Any, values: Mapping[str, np.ndarray]) -> None:
    """Write an MXNet symbol and the values of its parameters and auxiliary states by name."""
    symbol.save(f'{prefix}.json')
    arrays: Any = values  # numpy's types take them for its keywords
    np.savez(f'{prefix}.npz', **arrays)


def load_values(prefix: Path) -> Dict[str, np.ndarray]:
    """Return the values by name."""
    with np.load(f'{prefix}.npz') as file:
        return dict(file)


def load_graph(prefix: Path) -> Dict[str, Any]:
    """Return the symbol as MXNet's JSON describes it."""
    graph: Dict[str, Any] = json.loads(Path(f'{prefix}.json').read_text())
    return graph
