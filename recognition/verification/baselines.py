"""What needs no network: the accuracy that raw pixels and whitened PCA reach on a verification set.

Both are judged by the protocol of the networks: each photograph is taken with its mirror image, and the
squared L2 distance of unit vectors, 2 - 2 cosine, is compared with a threshold over ten folds. A network has
learnt something only where it stands above them.
"""

from __future__ import annotations

import numpy as np

from config.errors import ConfigError, DataError
from recognition.verification.lfw import Answers, Verification, normalise, verify

RELATIVE_RANK = 1e-6  # of the largest variance; below it a direction is noise that whitening would blow up


def raw_pixels(images: np.ndarray, issame: Answers, folds: int = 10) -> Verification:
    """Verify pairs (uint8, (2P, 3, H, W)) by the cosine of their pixels about each image's own mean."""
    pixels = _with_mirror(images)
    return verify(normalise(pixels - pixels.mean(axis=1, keepdims=True)), issame, folds)


def whitened_pca(
    train_images: np.ndarray,
    images: np.ndarray,
    issame: Answers,
    components: int = 60,
    folds: int = 10,
) -> Verification:
    """Verify pairs by the cosine of whitened principal components (eigenfaces) of the training images.

    `train_images` is uint8 (N, 3, H, W), `images` (2P, 3, H, W). `components` of the at most N - 1 are kept,
    fewer where the training images span fewer directions; 60 was best on ORL's thirty training people, six of
    them held back in turn. Source: Turk and Pentland, "Eigenfaces for Recognition", 1991.

    Raises DataError when the sizes differ, ConfigError when `components` is not 1 .. N - 1.
    """
    if train_images.shape[1:] != images.shape[1:]:
        raise DataError(
            f'training images of shape {train_images.shape[1:]} '
            f'and pairs of shape {images.shape[1:]} must agree'
        )
    if not 1 <= components < len(train_images):
        raise ConfigError(
            f'components={components!r} must be 1 .. {len(train_images) - 1}, '
            'less than the number of training images'
        )
    train = _flat(train_images)
    mean = train.mean(axis=0)
    train -= mean
    # the small Gram matrix (N, N) has the eigenvectors that the covariance of 37,632 pixels would need
    variance, vectors = np.linalg.eigh(train @ train.T)
    kept = np.argsort(variance)[::-1][:components]
    kept = kept[variance[kept] > RELATIVE_RANK * variance.max()]
    if not len(kept):
        raise DataError('the training images are all equal; they have no principal components')
    # project on the unit direction train.T v / sqrt(variance), then divide by its deviation: v / variance
    projection = train.T @ (vectors[:, kept] / variance[kept])
    return verify(normalise((_with_mirror(images) - 2 * mean) @ projection), issame, folds)


def _with_mirror(images: np.ndarray) -> np.ndarray:
    return _flat(images) + _flat(images[:, :, :, ::-1])


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float64)
