"""A teacher's outputs for all images of a data set, computed once by an engine and kept in the user's cache.

The teacher sees an image as it is in the data set, and mirrored where training mirrors, without any other augmentation:
so a step costs no more than without a teacher.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Callable

import numpy as np

from config.checks import CLASS_SCORES, output_kind
from config.errors import CheckpointError, ConfigError
from config.reading import no_reason, reading
from recognition.data.augment import Augmentation
from recognition.data.batch_worker import Filler
from recognition.data.dataset import FaceLoader, TrainingFaces, class_names, record_files
from recognition.distributed import heartbeat
from recognition.embedding.conversion_cache import kept
from recognition.embedding.engine_choice import AUTO
from recognition.embedding.runner import Opened, open_network
from recognition.engines import ENGINES
from recognition.engines.base import checked_embed
from recognition.engines.model import Model, find_model
from recognition.utils.checksums import sum_of
from recognition.utils.files import replacing
from recognition.utils.processes import StopRequest
from recognition.utils.progress_bar import progress_bar
from recognition.verification.classification import are_probabilities, logarithms

logger = logging.getLogger(__name__)

BATCH = 64  # images


def open_teacher(cfg: Any, loader: FaceLoader, stop: StopRequest) -> Callable[[int], np.ndarray]:
    """Return the function from a step to the outputs (N, D) of the teacher of `cfg` for the images of that step.

    cfg: with num_classes settled. What is not in the cache is computed first; `stop` ends that by KeyboardInterrupt.
    Raises ConfigError for a teacher of another kind of output than the student's, of another width or other classes.
    """
    augmentation = Augmentation.from_config(cfg)
    dataset: Any = loader.dataset
    opened = _open(cfg, find_model(cfg.teacher))
    model = opened.model
    _check_names(cfg, opened)
    parts = (model.content_key(), _content(dataset), augmentation.mirror, cfg.data_faults > 0)
    key = hashlib.sha256(' '.join(map(str, parts)).encode()).hexdigest()
    heartbeat.now(heartbeat.WITH_THE_OTHERS)  # of whom one computes what is not there yet
    path = kept('teacher', key, '.npy', lambda to: _write(to, cfg, opened, dataset, stop))
    with reading(path, CheckpointError, 'is damaged; remove it, and the teacher is asked again', no_reason):
        outputs = np.load(path, mmap_mode='r')  # (1 or 2, images, D): as they are, and mirrored
    _check_width(outputs.shape[-1], cfg, model)
    ends_in_softmax = output_kind(cfg) == CLASS_SCORES and are_probabilities(outputs[0, :BATCH])

    def of(step: int) -> np.ndarray:
        indices, draws = loader.drawn(*divmod(step, loader.batches_per_epoch))
        rows = np.asarray(outputs[[int(augmentation.mirrors(rng)) for rng in draws], indices])
        return logarithms(rows) if ends_in_softmax else rows

    return of


def _write(path: Path, cfg: Any, opened: Opened, dataset: Any, stop: StopRequest) -> None:
    model, engine = opened.model, opened.engine
    height, width, channels = cfg.image_shape
    mirrors = (False, True) if cfg.data_rand_mirror else (False,)
    filler = Filler(dataset, None, 0, replaces=cfg.data_faults > 0)
    logger.info('the teacher %s sees %d images%s', model, len(dataset), ', and mirrored' * (len(mirrors) - 1))
    with replacing(path, CheckpointError) as temporary, progress_bar(total=len(dataset), unit='image') as bar:
        outputs = None
        for start in range(0, len(dataset), BATCH):
            if stop:
                raise KeyboardInterrupt
            heartbeat.now("computing the teacher's outputs")
            indices = np.arange(start, min(start + BATCH, len(dataset)))
            images = np.empty((len(indices), channels, height, width), np.uint8)
            filler.fill(images, 0, start, indices)
            for number, mirrored in enumerate(mirrors):
                seen = images[..., ::-1] if mirrored else images
                found = checked_embed(engine, np.ascontiguousarray(seen.transpose(0, 2, 3, 1)))
                if not np.isfinite(found).all():
                    raise CheckpointError(f'the teacher {model} gives values that are not finite')
                if outputs is None:
                    _check_width(found.shape[1], cfg, model)
                    shape = (len(mirrors), len(dataset), found.shape[1])
                    outputs = np.lib.format.open_memmap(temporary, 'w+', np.float32, shape)
                outputs[number, indices] = found
            bar.update(len(indices))


def _open(cfg: Any, model: Model) -> Opened:
    """Open the teacher in the first engine that reads its file as it is, so that its outputs are always the same."""
    able = (each for each in ENGINES.values() if each.reads == model.kind and each.exact and each.present())
    name = next((each.name for each in able), AUTO)
    shape = tuple(cfg.image_shape)
    return open_network(cfg.teacher, name, output_kind(cfg), batch_size=BATCH, image_shape=shape)


def _content(dataset: TrainingFaces) -> str:
    """Return a sum of the records of a data set, and of which of them are its images."""
    digest = hashlib.sha256()
    for each in getattr(dataset, 'sets', [dataset]):
        digest.update(''.join(map(sum_of, record_files(each.folder))).encode())
        digest.update(each.keys.tobytes() + each.labels.tobytes() + str(each.image_shape).encode())
    return digest.hexdigest()


def _check_width(width: int, cfg: Any, model: Model) -> None:
    key = 'num_classes' if output_kind(cfg) == CLASS_SCORES else 'emb_size'
    if width != cfg[key]:
        raise ConfigError(
            f'the teacher {model} gives {width} values for an image, and this run has {key}={cfg[key]}'
        )


def _check_names(cfg: Any, opened: Opened) -> None:
    """Raise ConfigError for a teacher whose classes have other names, where both are known."""
    theirs = opened.record.classes
    ours = class_names(cfg.dataset_path) if output_kind(cfg) == CLASS_SCORES and theirs else ()
    if ours and list(theirs) != list(ours):
        raise ConfigError(
            f'the classes of the teacher {opened.model} are not those of {cfg.dataset_path}; both need the same '
            'classes in the same order'
        )
