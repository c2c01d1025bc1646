"""The training state: everything training needs to go on, in one file beside the checkpoint.

`prefix-0007.state` holds the weights too, so that it is either the old state or the new one, whenever a crash
comes. It is a numpy archive without pickles: arrays, and one JSON text for the rest.
"""

from __future__ import annotations

import json
import logging
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from config.errors import CheckpointError, first_few
from config.reading import reading
from recognition.checkpoint.matching import as_numpy
from recognition.utils.files import PathLike, replacing
from recognition.utils.restricted_pickle import shown
from recognition.utils.run_paths import epochs_of, state_path
from recognition.utils.streamed_array import SUFFIX, Rows, read_array, write_archive
from symbols.ir.shapes import reason_of

logger = logging.getLogger(__name__)

STATE_VERSION = 2
HEADER = 'header'  # its name in the archive


@dataclass
class TrainingState:
    """What training goes on from: `progress` and `config` as JSON values, `arrays` by 'kind:name'.

    Large arrays may be a `Rows`, which numpy takes for the array. versions: of the libraries that computed it, by name;
    older states have none.
    """

    progress: Dict[str, Any]
    config: Dict[str, Any]
    arrays: Dict[str, Union[np.ndarray, Rows]] = field(default_factory=dict)
    versions: Dict[str, str] = field(default_factory=dict)

    def group(self, kind: str) -> Dict[str, np.ndarray]:
        """Return the arrays of one kind by their names without the kind."""
        start = kind + ':'
        return {
            key[len(start) :]: np.asarray(value)
            for key, value in self.arrays.items()
            if key.startswith(start)
        }

    def differing(self, values: Mapping[str, Any]) -> List[str]:
        """Return which of a checkpoint's values, by name, are not those of this state."""
        own = {**self.group('param'), **self.group('ema')}
        return [
            name for name, value in values.items() if not np.array_equal(as_numpy(value), own.get(name, ()))
        ]


def save_state(prefix: PathLike, epoch: int, state: TrainingState) -> None:
    """Write `prefix-%04d.state` atomically."""
    with saving_state(prefix, epoch, state):
        pass


@contextmanager
def saving_state(prefix: PathLike, epoch: int, state: TrainingState) -> Iterator[None]:
    """Write a state to a temporary file, and let it become `prefix-%04d.state` when the block has ended well.

    The block saves the network: on a full disk neither then takes the place of an older one.
    """
    header = {
        'version': STATE_VERSION,
        'progress': state.progress,
        'config': state.config,
        'versions': state.versions,
    }
    text = np.frombuffer(json.dumps(header).encode('utf-8'), dtype=np.uint8)
    with replacing(state_path(prefix, epoch), CheckpointError) as temporary:
        write_archive(temporary, {HEADER: text, **state.arrays})
        yield


def load_state(
    prefix: PathLike, epoch: int, *, only: Union[str, Tuple[str, ...]] = '', needed: Sequence[str] = ()
) -> TrainingState:
    """Read `prefix-%04d.state`, of its arrays those whose key begins with (one of) `only`.

    needed: what its progress must have. Raises CheckpointError when it is missing, damaged, of another version or lacks
    one of these, and where a value is not finite.
    """
    path = state_path(prefix, epoch)
    if not path.exists():
        raise CheckpointError(f'{path} does not exist')
    with reading(path, CheckpointError, 'is damaged or not a training state', reason_of):
        with zipfile.ZipFile(path) as archive:
            keys = [name[: -len(SUFFIX)] for name in archive.namelist() if name != HEADER + SUFFIX]
            header = json.loads(read_array(archive, HEADER + SUFFIX).tobytes().decode('utf-8'))
            arrays = {
                key: read_array(archive, key + SUFFIX, partial(_check_finite, path, key))
                for key in keys
                if key.startswith(only)
            }
        if header['version'] != STATE_VERSION:
            raise CheckpointError(f'{path} is a state of version {header["version"]}, not {STATE_VERSION}')
        progress, versions = dict(header['progress']), dict(header.get('versions', {}))
        lacking = [key for key in needed if key not in progress]
        if lacking:
            raise CheckpointError(f'{path} is damaged: its progress lacks {first_few(map(repr, lacking))}')
        return TrainingState(progress, dict(header['config']), arrays, versions)


def _check_finite(path: Path, key: str, array: np.ndarray) -> None:
    """Raise CheckpointError for a value that training would carry on until it is all that there is."""
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
        raise CheckpointError(f'{path} holds {shown(key)} with values that are not finite')


def newest_state(prefix: PathLike, needed: Sequence[str] = ()) -> Tuple[int, TrainingState]:
    """Return (epoch, state) of the newest state that is whole; where a newer one is not, a warning says so.

    needed: as `load_state` has it.

    Raises CheckpointError when there is none, or, when all of them are damaged, with the newest one's fault.
    """
    fault: Optional[CheckpointError] = None
    for epoch in reversed(epochs_of(prefix, 'state')):
        try:
            state = load_state(prefix, epoch, needed=needed)
        except CheckpointError as error:
            fault = fault or error
            continue
        if fault:
            logger.warning('%s; going back to the state of epoch %d', fault, epoch)
        return epoch, state
    raise fault or CheckpointError(f'there is no training state {Path(prefix)}-*.state to resume from')
