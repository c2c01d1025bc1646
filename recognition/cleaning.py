"""Clean a training set by the centres of a sub-centre training, and keep one centre for each identity.

Trained with several centres (loss preset 'subcenter_arcface'), an identity's clean images gather at one of them, and
those with a wrong label at the others. The centre that is nearest to most of its images is its dominant one; images far
from that are left out, and training goes on with it alone.
Source: Deng et al. 2020, 'Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces', section 3.3.
"""

from __future__ import annotations

import csv
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence, Tuple

import numpy as np

from config.errors import CheckpointError, ConfigError, DataError
from recognition.checkpoint.matching import as_numpy
from recognition.checkpoint.network import Saved, save_network
from recognition.data.dataset import FaceDataset
from recognition.data.writer import write_records
from recognition.utils.output_paths import check_output_folder
from recognition.verification.lfw import embed, normalise

import mxnet as mx

MODEL, EPOCH = 'model', 1  # of the checkpoint; the epoch that training starts from where none is named
DROPPED, IDENTITIES = 'dropped.csv', 'identities.csv'
# What a cleaned set holds, as patterns.
CONTENT = (DROPPED, IDENTITIES, 'train.rec', 'train.idx', 'property', '*.bin', f'{MODEL}-*')
WEIGHT = 'fc7_weight'
DEGREES = 75.0  # the paper's


@dataclass(frozen=True)
class Cleaning:
    """What is known of each image and identity.

    angles: float64 (images,), degrees to the dominant centre of its own identity; kept: bool (images,). dominant: int64
    (identities,), which centre that is; labels: int64 (images,).
    """

    angles: np.ndarray
    kept: np.ndarray
    dominant: np.ndarray
    labels: np.ndarray

    @property
    def identities(self) -> np.ndarray:
        """The identities that keep an image, in ascending order: their places are the new labels."""
        return np.unique(self.labels[self.kept])

    def counts(self) -> Tuple[np.ndarray, np.ndarray]:
        """Return how many images each identity keeps and loses, int64 (identities,) each."""
        number = len(self.dominant)
        return tuple(np.bincount(self.labels[which], minlength=number) for which in (self.kept, ~self.kept))  # type: ignore


def centres_of(values: Mapping[str, Any], identities: int, source: object) -> np.ndarray:
    """Return the centres (C, K, D) in a classifier's values; CheckpointError where there are not several of each.

    values: by name, with fc7_weight (C * K, D), the centres of an identity side by side.
    """
    if WEIGHT not in values:
        raise CheckpointError(
            f'{source} has no {WEIGHT}, which holds the centres: it is in the .state of a training, or in a checkpoint '
            'with its classifier'
        )
    rows = as_numpy(values[WEIGHT])
    if len(rows) % identities:
        raise CheckpointError(
            f'{source} has {len(rows)} centres, which are not as many for each of the {identities} identities of the '
            'data: was it trained on another data set?'
        )
    number = len(rows) // identities
    if number == 1:
        raise CheckpointError(
            f'{source} has one centre for each of {identities} identities; a training with several, '
            "'--loss subcenter_arcface' say, tells clean images from others"
        )
    return rows.reshape(identities, number, -1)


def clean(
    dataset: FaceDataset,
    net: Callable[..., Any],
    centres: np.ndarray,
    *,
    degrees: float = DEGREES,
    batch_size: int = 64,
    ctx: Any = None,
    show: Callable[[Iterable[Any], int], Iterable[Any]] = lambda items, count: items,
) -> Cleaning:
    """Embed every image as it is, and find how far it is from the dominant centre of its identity.

    net: as `recognition.verification.embed` takes it. centres: (C, K, D). degrees: images farther than that are not
    kept, in (0, 180]. show: wraps the numbers of the batches, for a progress bar. Raises ConfigError for degrees out of
    range, DataError for an image that cannot be read, CheckpointError for embeddings of another size.
    """
    if not 0 < degrees <= 180:
        raise ConfigError(f'degrees={degrees:g} must be above 0 and at most 180')
    unit = normalise(centres.reshape(-1, centres.shape[-1])).reshape(centres.shape)
    cosines = np.empty((len(dataset), centres.shape[1]))
    starts = range(0, len(dataset), batch_size)
    for start in show(starts, len(starts)):
        indices = range(start, min(start + batch_size, len(dataset)))
        images = np.stack([dataset.read(index)[0].transpose(2, 0, 1) for index in indices])
        embedded = embed(net, images, ctx, batch_size, flip='none')
        if embedded.shape[1] != centres.shape[2]:
            raise CheckpointError(
                f'the network gives embeddings of {embedded.shape[1]} values, and the centres have {centres.shape[2]}'
            )
        own = unit[dataset.labels[indices.start : indices.stop]]
        cosines[indices.start : indices.stop] = np.einsum('nd,nkd->nk', embedded, own)
    dominant = _dominant(cosines, dataset.labels, len(centres))
    nearest = cosines[np.arange(len(cosines)), dominant[dataset.labels]]
    angles = np.degrees(np.arccos(np.clip(nearest, -1.0, 1.0)))
    return Cleaning(angles, angles <= degrees, dominant, dataset.labels)


def _dominant(cosines: np.ndarray, labels: np.ndarray, identities: int) -> np.ndarray:
    """Return for each identity the centre (identities,) that is nearest to most of its images; the first of equals."""
    number = cosines.shape[1]
    votes = np.bincount(labels * number + cosines.argmax(axis=1), minlength=identities * number)
    return votes.reshape(identities, number).argmax(axis=1)


def samples(dataset: FaceDataset, cleaning: Cleaning) -> Iterator[Tuple[bytes, int]]:
    """Give the images that are kept, encoded as they are, with their new labels in ascending order."""
    identities = cleaning.identities
    if not len(identities):
        raise DataError(
            'no image is kept: all are farther from their centres than allowed. Was the network trained on this data, '
            'to the end?'
        )
    kept = np.flatnonzero(cleaning.kept)
    for index in kept[np.argsort(cleaning.labels[kept], kind='stable')]:
        encoded, label = dataset.encoded(int(index))
        yield encoded, int(np.searchsorted(identities, label))


def merged(centres: np.ndarray, cleaning: Cleaning) -> np.ndarray:
    """Return the dominant centres (identities that stay, D) of centres (C, K, D), in the order of the new labels."""
    identities = cleaning.identities
    return np.ascontiguousarray(centres[identities, cleaning.dominant[identities]])


def write_cleaned(
    folder: Path,
    dataset: FaceDataset,
    cleaning: Cleaning,
    centres: np.ndarray,
    saved: Saved,
    *,
    overwrite: bool = False,
) -> int:
    """Write a new data folder, whole or not at all, and return its number of images; overwrite: a cleaned set.

    It holds train.rec, train.idx, property and the .bin sets of the old one; dropped.csv (record, old label, degrees)
    and identities.csv (new and old label, images kept and dropped, dominant centre); and the network with one centre
    for each identity as model-symbol.json and model-0001.params. Raises ConfigError where `folder` exists and may
    not be replaced, DataError where it cannot be written to, or no image is kept.
    """
    check_output_folder(folder, overwrite=overwrite, content=CONTENT, sources=[dataset.folder])
    with _new_folder(folder) as made:
        count = write_records(made, samples(dataset, cleaning), None, dataset.image_shape)
        for pairs in sorted(dataset.folder.glob('*.bin')):
            shutil.copyfile(pairs, made / pairs.name)
        _write_table(made / DROPPED, ('record', 'label', 'degrees'), _dropped(dataset, cleaning))
        head = ('new_label', 'label', 'kept', 'dropped', 'dominant_centre')
        _write_table(made / IDENTITIES, head, _identities(cleaning))
        _write_model(made / MODEL, saved, merged(centres, cleaning))
    return count


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes the place of `folder` when all is in it, and is removed on a fault."""
    folder = Path(os.path.abspath(folder))
    made, old = (folder.with_name(f'.{folder.name}.{os.getpid()}.{kind}') for kind in ('tmp', 'old'))
    try:
        made.mkdir(parents=True)
        yield made
        if folder.exists():
            os.rename(folder, old)
        os.rename(made, folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise DataError(f'{folder} cannot be written: {error.strerror}') from error
    finally:
        for left in (made, old) if folder.exists() else (made,):
            shutil.rmtree(left, ignore_errors=True)


def _write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(path, 'w', newline='') as out:
        writer = csv.writer(out)
        writer.writerow(head)
        writer.writerows(rows)


def _dropped(dataset: FaceDataset, cleaning: Cleaning) -> Iterator[Sequence[Any]]:
    for index in np.flatnonzero(~cleaning.kept).tolist():
        yield dataset.where(index), int(cleaning.labels[index]), f'{cleaning.angles[index]:.1f}'


def _identities(cleaning: Cleaning) -> Iterator[Sequence[Any]]:
    kept, dropped = cleaning.counts()
    new = {int(label): place for place, label in enumerate(cleaning.identities)}
    for label, centre in enumerate(cleaning.dominant):
        yield new.get(label, ''), label, kept[label], dropped[label], centre


def _write_model(prefix: Path, saved: Saved, rows: np.ndarray) -> None:
    """Save the network with the classifier fc7 on its embedding, as InsightFace's checkpoints have it."""
    symbol = mx.sym.FullyConnected(
        saved.symbol,
        mx.sym.var(WEIGHT, shape=rows.shape),
        num_hidden=len(rows),
        no_bias=True,
        name='fc7',
    )
    states = set(saved.symbol.list_auxiliary_states())
    args = {name: value for name, value in saved.values.items() if name not in states}
    auxs = {name: value for name, value in saved.values.items() if name in states}
    save_network(prefix, EPOCH, symbol, {**args, WEIGHT: mx.nd.array(rows)}, auxs)
