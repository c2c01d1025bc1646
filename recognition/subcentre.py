"""Clean a training set by the centres of a sub-centre training, and keep one centre for each identity.

Trained with several centres (loss preset 'subcenter_arcface'), an identity's clean images gather at one of them, and
those with a wrong label at the others. The centre that is nearest to most of its images is its dominant one; images far
from that are left out, and training goes on with it alone.
Source: Deng et al. 2020, 'Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces', section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Mapping, Tuple

import numpy as np

from config.errors import CheckpointError, ConfigError, DataError
from recognition.data import FaceDataset
from recognition.verification import embed, normalise
from recognition.weights import as_numpy

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
