"""What a run finds at its prefix: a state to go on from, or checkpoints that it must not overwrite."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from config.errors import CheckpointError, first_few
from config.keys import FAMILY_NAMES, HEAD_NAMES, KEYS
from config.reading import refusing
from recognition.checkpoint.network import load_params
from recognition.checkpoint.training_state import TrainingState, newest_state
from recognition.data.class_names import read_classes
from recognition.data.images import load_cv2
from recognition.data.loader import FaceLoader
from recognition.training.trainer import Trainer
from recognition.utils.run_paths import begun_only, check_vacant, classes_path, params_path, state_path

import mxnet as mx

logger = logging.getLogger(__name__)

# Keys that a run cannot change when it goes on, and the names that mean the same.
KEPT_KEYS = (
    *(name for name, key in KEYS.items() if key.group in ('network', 'loss') and name != 'loss'),
    'num_classes',
    'per_batch_size',
    'accumulate',
    'optimizer',
    'data_sampler',
    'images_per_identity',
    'seed',
    'freeze',
    'lr_mult',
    'teacher',
    'distill',
    'distill_temperature',
)
# Of the progress in a state.
PROGRESS = ('step', 'updates', 'guard', 'scale', 'batch_size', 'images', 'best', 'faults')
SYNONYMS = {'net_name': FAMILY_NAMES, 'net_output': HEAD_NAMES}


def find_state(prefix: Path, *, resume: bool, force: bool) -> Optional[Tuple[int, TrainingState]]:
    """Return the state to resume from, or None for a new run; CheckpointError where that would overwrite one."""
    if resume and begun_only(prefix):
        logger.warning(
            'the run at %s ended before its first training state; it starts from the beginning', prefix
        )
    elif resume:
        return newest_state(prefix, PROGRESS)
    elif not force:
        check_vacant(prefix)
    return None


def agrees_with_checkpoint(prefix: Path, epoch: int, state: TrainingState) -> bool:
    """Return whether the checkpoint beside a state has its values, and warn where it has not, or cannot be read.

    A run that is killed while it saves an epoch for the second time leaves the new network beside the old state.
    """
    source = state_path(prefix, epoch)
    try:
        arguments, auxiliary = load_params(prefix, epoch)
    except CheckpointError as error:
        logger.warning('%s; %s holds the weights, too, and the run resumes from them', error, source)
        return False
    other = state.differing({**arguments, **auxiliary})
    if other:
        logger.warning(
            '%s does not agree with %s in %s; the run resumes from the latter',
            *(params_path(prefix, epoch), source, first_few(other)),
        )
    return not other


def library_versions() -> Dict[str, str]:
    """Return the versions of the libraries that the bits of a training come from, by name."""
    return {'mxnet': mx.__version__, 'numpy': np.__version__, 'OpenCV': load_cv2().__version__}


def warn_of_versions(source: Path, saved: Mapping[str, str]) -> None:
    """Warn where a state was computed by other versions of these libraries; older states have none."""
    now = library_versions()
    changed = [name for name in now if saved.get(name, now[name]) != now[name]]
    if changed:
        theirs, ours = (' and '.join(f'{name} {each[name]}' for name in changed) for each in (saved, now))
        logger.warning(
            '%s was trained with %s, and this run has %s; its numbers may differ from those of a run without a break',
            *(source, theirs, ours),
        )


def check_names(prefix: Path, classes: Sequence[str]) -> None:
    """Raise CheckpointError where a run whose classes have names would resume with other ones."""
    path = classes_path(prefix)
    if classes and path.is_file() and read_classes(path) != list(classes):
        raise CheckpointError(
            f'{path} has other classes, or in another order, than the data set of this run; what was learnt is of those'
        )


def restore(trainer: Trainer, cfg: Any, loader: FaceLoader, source: Path, state: TrainingState) -> None:
    """Put the trainer where the state stands; CheckpointError when the state is another run's."""
    # a key that the state does not know is younger than it, and its default is what was done before
    defaults = {key: KEYS[key].default for key in KEPT_KEYS}
    if state.config.get('kernel_l2'):  # it was of all kernels, dense ones too
        defaults['kernel_l2_factors'] = [f'.*={state.config["kernel_l2"]}']
    ours, theirs = (json.loads(json.dumps({**defaults, **values})) for values in (cfg, state.config))
    for key in KEPT_KEYS:
        saved, now = (_same_name(key, values[key]) for values in (theirs, ours))
        if saved != now:
            raise CheckpointError(f'{source} was trained with {key}={saved!r}, and this run has {now!r}')
    for key, now in (('images', len(loader.dataset)), ('batch_size', loader.batch_size)):
        if state.progress.get(key) != now:
            words = key.replace('_', ' ')
            raise CheckpointError(
                f'{source} was trained with {words} {state.progress.get(key)}, and this run has {now}'
            )
    warn_of_versions(source, state.versions)
    with refusing(source, CheckpointError, 'is damaged: its progress is not what a run writes'):
        trainer.restore(state.progress, state.arrays, source=source)


def _same_name(key: str, value: Any) -> Any:
    return SYNONYMS.get(key, {}).get(value, value) if isinstance(value, str) else value
