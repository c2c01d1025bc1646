"""Paths of the files of a run, by the prefix of its checkpoints; free of mxnet."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Callable, List, Tuple

from config.errors import CheckpointError, ConfigError, FaceSymbolsError
from recognition.utils.checksums import checksum_path
from recognition.utils.files import PathLike, read_json

# Suffixes of weights that are not a checkpoint: the format of `import-weights` that reads them.
IMPORTED = {
    '.h5': 'keras',
    '.keras': 'keras',
    '.onnx': 'onnx',
    '.pt': 'arcface_torch',
    '.pth': 'arcface_torch',
    '.safetensors': 'safetensors',
}


def _beside(ending: str) -> Callable[[PathLike], Path]:
    """Return what gives the file of a run with this ending, by the prefix."""
    return lambda prefix: Path(f'{os.fspath(prefix)}{ending}')


symbol_path = _beside('-symbol.json')
config_path = _beside('-config.json')
classes_path = _beside('-classes.txt')  # the names of the classes of a classifier
origin_path = _beside('-origin.json')  # the license and the origin of the weights
environment_path = _beside('-environment.json')
history_path = _beside('-history.jsonl')
report_path = _beside('-report.html')
curves_path = _beside('-curves.png')
best_prefix = _beside('-best')  # under which a run keeps the best network that it had, as epoch 0


def params_path(prefix: PathLike, epoch: int) -> Path:
    """Return `prefix-%04d.params`."""
    return Path(f'{os.fspath(prefix)}-{epoch:04d}.params')


def epochs_of(prefix: PathLike, suffix: str = 'params') -> List[int]:
    """Return the epochs that have a `prefix-%04d.suffix`, in ascending order."""
    prefix = Path(prefix)
    pattern = re.compile(re.escape(prefix.name) + r'-(\d{4,})\.' + re.escape(suffix))
    if not prefix.parent.is_dir():
        return []
    found = (pattern.fullmatch(path.name) for path in prefix.parent.iterdir())
    return sorted(int(match.group(1)) for match in found if match)


def remove_params(prefix: PathLike, epoch: int) -> None:
    """Remove `prefix-%04d.params` and its sum, where they are there."""
    path = params_path(prefix, epoch)
    for each in (path, checksum_path(path)):
        each.unlink(missing_ok=True)


def state_path(prefix: PathLike, epoch: int) -> Path:
    """Return `prefix-%04d.state`."""
    return Path(f'{os.fspath(prefix)}-{epoch:04d}.state')


def files_of(prefix: PathLike, epoch: int) -> List[Path]:
    """Return the files that a checkpoint with its training state may have."""
    params = params_path(prefix, epoch)
    return [
        symbol_path(prefix),
        params,
        checksum_path(params),
        state_path(prefix, epoch),
        classes_path(prefix),
        origin_path(prefix),
    ]


def checkpoint_files(prefix: PathLike) -> List[Path]:
    """Return the files of the checkpoints and training states that exist, and of the best network."""
    epochs = sorted({*epochs_of(prefix), *epochs_of(prefix, 'state')})
    checkpoints = [(prefix, epoch) for epoch in (*epochs, 0)] + [(best_prefix(prefix), 0)]
    files = dict.fromkeys(path for each in checkpoints for path in files_of(*each))
    return [path for path in (*files, config_path(best_prefix(prefix))) if path.exists()]


def existing_files(prefix: PathLike) -> List[Path]:
    """Return all files of a run that exist: checkpoints and states, and what it leaves beside them."""
    beside = (
        name(prefix) for name in (config_path, environment_path, history_path, report_path, curves_path)
    )
    return [*checkpoint_files(prefix), *(path for path in beside if path.exists())]


def check_vacant(prefix: PathLike) -> None:
    """Raise CheckpointError where a run has left files at the prefix."""
    existing = existing_files(prefix)
    if existing:
        resumable = epochs_of(prefix, 'state') or begun_only(prefix)
        raise CheckpointError(
            f'{existing[0]} already exists; {"resume with --resume, " if resumable else ""}replace it with '
            '--overwrite, or choose another --output'
        )


def begun_only(prefix: PathLike) -> bool:
    """Return whether a run was killed at the prefix before it had saved what it can resume from.

    One that was killed while it saved for the first time has left the network of its last step's epoch without a state.
    """
    saved = [epochs_of(prefix, 'state'), epochs_of(best_prefix(prefix))]
    if not config_path(prefix).exists() or any(saved):
        return False
    networks = epochs_of(prefix)
    try:
        starts = environment_path(prefix)
        ended = any('ended' in start for start in (read_json(starts) if starts.exists() else ()))
        last = history_path(prefix).read_text('utf-8').splitlines()[-1] if networks else '{}'
        return not ended and all(epoch == json.loads(last)['epoch'] for epoch in networks)
    except (FaceSymbolsError, OSError, LookupError, TypeError, ValueError):
        return False


def parse_checkpoint(option: str, text: str) -> Tuple[str, int]:
    """Split 'prefix,epoch', the value of `option`; CheckpointError when it is something else."""
    prefix, _, epoch = text.rpartition(',')
    if prefix and epoch.strip().isdecimal():
        return prefix, int(epoch)
    file = re.fullmatch(r'(.+)-(\d{4,})\.params', text)
    hint = 'model,7 stands for model-symbol.json, model-0007.params'
    weights = IMPORTED.get(Path(text).suffix)
    if file:
        hint = f'that file is {file.group(1)},{int(file.group(2))}'
    elif weights:
        hint = f'`facesymbols import-weights {weights}` makes a checkpoint of such a file'
    raise CheckpointError(f'{option} {text!r} is not PREFIX,EPOCH: {hint}')


def check_prefix(prefix: PathLike) -> None:
    """Raise ConfigError for a prefix without a last part, whose files would be hidden or beside its folder."""
    text = os.fspath(prefix)
    if text.endswith(os.sep) or Path(text).name in ('', '..'):
        raise ConfigError(
            f'prefix={text!r} must end with what the names of the checkpoints begin with, as '
            f'{os.path.join(text, "model")!r} does'
        )
