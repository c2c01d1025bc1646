"""Whether an engine gives the embeddings that MXNet gives."""

from __future__ import annotations

import numpy as np

from config.errors import CheckpointError
from recognition.engines.base import INT8_LIMIT, Engine, Shape, checked_embed
from recognition.tracing import explain
from recognition.verification.lfw import normalise

COUNT = 4  # images to compare


def trial_images(image_shape: Shape, count: int, seed: int = 0) -> np.ndarray:
    """Return uint8 images (count, H, W, C): every other one noise, the others smooth, as a face is."""
    rng = np.random.default_rng(seed)
    height, width, channels = image_shape
    images = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    for image in images[1::2]:
        waves = rng.uniform(0.2, 1, (2, 3)) * 2 * np.pi
        angle = (
            y[..., None] * waves[0, :channels]
            + x[..., None] * waves[1, :channels]
            + rng.uniform(0, 6, channels)
        )
        image[...] = 127.5 + 127 * np.sin(angle)
    return images


def cosine_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 1 - cosine of the rows of two (N, D); rows of zeros are at 0 from one another and at 1 from others."""
    one, other = normalise(first), normalise(second)
    # from the difference, since 1 - cosine of two vectors that are almost equal loses its digits
    distance = np.sum(np.square(one - other), axis=1) / 2
    return np.where(one.any(axis=1) == other.any(axis=1), distance, 1.0)


def check_agreement(engine: Engine, reference: Engine, source: object) -> float:
    """Return the largest cosine distance of an engine's embeddings from a reference's, on a few images.

    `source` names the network in the CheckpointError that is raised where it is above the engine's limit.
    """
    images = trial_images(engine.image_shape, COUNT)
    if engine.limit == INT8_LIMIT:
        images = images[1::2]  # its scales were chosen on faces, and noise is beyond them
    wanted, found = checked_embed(reference, images), checked_embed(engine, images)
    if wanted.shape != found.shape:
        raise CheckpointError(
            f'the engine {engine.name} gives shape {found.shape} where {reference.name} gives {wanted.shape} '
            f'for {source}; they hold two networks'
        )
    worst = float(np.max(cosine_distances(wanted, found)))
    if not worst <= engine.limit:  # a NaN is refused, too
        names = reference.name, engine.name
        # an embedding at the limit is about this share of its length off
        bound = (2 * engine.limit) ** 0.5
        first = explain(lambda: reference.trace(images), lambda: engine.trace(images), names, bound)
        raise CheckpointError(
            f'the engine {engine.name} ({engine.precision}) disagrees with {reference.name} on {source}: the cosine '
            f'distance of their embeddings is {worst:.2g}, above {engine.limit:g}{first}'
        )
    return worst
