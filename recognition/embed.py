"""Face embeddings from one object, whatever the images are in and whichever engine is the fastest here.

embedder = Embedder.load('models/r50,7')          # or 'r50.onnx', or 'r50.ncnn.param'
embeddings = embedder(['a.jpg', 'b.png', array])  # float32 (3, D), of length 1
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from config.errors import CheckpointError, ConfigError, DataError
from recognition.data.image_sources import items, resized
from recognition.embedding.batcher import OTHER_PROCESS, Batcher
from recognition.embedding.engine_choice import open_engine
from recognition.engines.base import Engine, Shape, checked_embed
from recognition.engines.model import Model, find_model
from recognition.utils.files import PathLike
from recognition.verification.lfw import FLIPS, check_flip
from recognition.verification.lfw import normalise as to_unit_length

__all__ = ['Embedder', 'Settings']

logger = logging.getLogger(__name__)

AHEAD = 2  # batches that are decoded before they are asked for
CHECKPOINT = 'params_sha256'  # in an ONNX file's metadata: the sum of the .params it was made from
STRANGER = (
    '%s does not tell how it was made: it is given RGB in 0..255, and if it wants others its embeddings are wrong; '
    'with `reference`, its checkpoint, they are compared'
)
NORMALISED_WARNING = (
    '%s gives embeddings of length 1, to which those of the mirror images are added afterwards: '
    'figures differ a little from those of its checkpoint'
)
OnFault = Callable[[str, DataError], None]


class Settings(NamedTuple):
    """How embeddings are made of what the network gives."""

    normalise: bool = True
    mirror: str = 'sum'
    resize: bool = True
    batch_size: int = 32


class Embedder:
    """Embeds face images; any number of threads may call it, and their requests are put together into batches.

    engine: name of the engine (`recognition.engines.ENGINES`). precision: what it computes in. image_shape: (H, W, 3)
    of the network's images. network: SHA-256 sum of the values, by which networks are told apart.
    """

    def __init__(self, engine: Engine, network: str, settings: Settings) -> None:
        self.engine, self.precision = engine.name, engine.precision
        self.image_shape: Shape = engine.image_shape
        self.network, self.settings = network, settings
        # the engine sees an image and its mirror image in one call
        self._rows = settings.batch_size if settings.mirror == 'none' else max(1, settings.batch_size // 2)
        self._batcher = Batcher(partial(_forward, engine, settings), self._rows)
        self._warned = False

    @classmethod
    def load(
        cls,
        path: PathLike,
        engine: str = 'auto',
        *,
        normalise: bool = True,
        mirror: str = 'sum',
        resize: bool = True,
        batch_size: int = 32,
        threads: Optional[int] = None,
        image_shape: Optional[Sequence[int]] = None,
        reference: Optional[PathLike] = None,
    ) -> Embedder:
        """Load a network: a checkpoint 'prefix,epoch', an ONNX file 'net.onnx', or ncnn's pair 'net.ncnn.param'.

        engine: mxnet, onnxruntime, openvino, ncnn, or 'auto': the fastest one installed, timed once and remembered.
        The embedding of a checkpoint by another engine than MXNet is compared with MXNet's, and the engine is refused
        where it disagrees; `reference` names a checkpoint to compare a file with.
        normalise: to length 1. mirror: 'sum' adds the mirror image's embedding, 'concat' puts it behind (N, 2 D),
        'none' leaves it out. resize: stretch images of another size, with one warning; else they are refused.
        batch_size: images that the engine sees at a time, mirror images counted. threads: of the engine; None leaves
        it to the engine. MXNet settles its number when it is imported; where that was before, a warning says so.
        image_shape: (H, W, 3) where the network's file does not fix it (None: 112, 112, 3).

        Raises CheckpointError for a network that is missing, damaged or refused, ConfigError for a wrong setting,
        MissingExtra for an engine that is not installed.
        """
        check_flip(mirror, 'mirror')
        _check_numbers(batch_size=batch_size, **({} if threads is None else {'threads': threads}))
        model = find_model(path)
        opened = open_engine(
            engine,
            model,
            batch_size=batch_size,
            image_shape=_shape(image_shape),
            threads=threads,
            reference=_reference(model, reference),
        )
        logger.info('%s by %s, %s', model, opened.name, opened.precision)
        if model.kind != 'checkpoint' and reference is None and CHECKPOINT not in opened.metadata:
            logger.warning(STRANGER, model)
        if mirror != 'none' and '"normalise": true' in opened.metadata.get('options', ''):
            logger.warning(NORMALISED_WARNING, model)
        settings = Settings(normalise, mirror, resize, batch_size)
        return cls(opened, _network(model, opened.metadata), settings)

    def __call__(self, images: Any) -> np.ndarray:
        """Embed one image or many: float32 (N, D), in their order; a folder's are in the order of their paths.

        images: uint8 RGB (H, W, 3), grey (H, W), a batch (N, H, W, 3); a file, a folder, encoded bytes; or any
        iterable of these (`data.image_sources`). Raises DataError for an image that cannot be read, and for none;
        CheckpointError where the network gives values that are not finite.
        """
        rows = [row for _, row in self.stream(images)]
        if not rows:
            raise DataError('there are no images to embed')
        return np.stack(rows)

    def stream(self, images: Any, on_fault: Optional[OnFault] = None) -> Iterator[Tuple[str, np.ndarray]]:
        """Yield name and embedding, float32 (D,), of each image, a few batches of which are in memory at a time.

        on_fault: called with the name of an image that cannot be read and its error, and the image is left out;
        None: the error is raised.
        """
        pending: Deque[Tuple[List[str], Future[np.ndarray]]] = deque()
        for names, batch in self._batches(images, on_fault):
            pending.append((names, self._batcher.submit(batch)))
            if len(pending) > AHEAD:
                yield from _result(*pending.popleft())
        while pending:
            yield from _result(*pending.popleft())

    def close(self) -> None:
        """End the thread that works; what waits for it is a ConfigError."""
        self._batcher.close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise ConfigError(OTHER_PROCESS)  # where it is pickled

    def _batches(self, images: Any, on_fault: Optional[OnFault]) -> Iterator[Tuple[List[str], np.ndarray]]:
        names: List[str] = []
        held: List[np.ndarray] = []
        for item in items(images):
            try:
                image = self._fitted(item.load(), item.name)
            except DataError as error:
                if on_fault is None:
                    raise
                on_fault(item.name, error)
                continue
            names.append(item.name)
            held.append(image)
            if len(held) == self._rows:
                yield names, np.stack(held)
                names, held = [], []
        if held:
            yield names, np.stack(held)

    def _fitted(self, image: np.ndarray, name: str) -> np.ndarray:
        size, wanted = image.shape[:2], self.image_shape[:2]
        if size == wanted:
            return image
        words = f'{name} is {size[0]}x{size[1]}, and the network takes {wanted[0]}x{wanted[1]}'
        if not self.settings.resize:
            raise DataError(f'{words}; resizing is turned off')
        if not self._warned:
            self._warned = True
            logger.warning('%s: it is stretched to that, as are all others of another size', words)
        return resized(image, wanted)


def _forward(engine: Engine, settings: Settings, images: np.ndarray) -> np.ndarray:
    """Return the embeddings, float32 (N, D) or (N, 2 D), of images (N, H, W, 3) of the network's size."""
    count = len(images)
    plain = settings.mirror == 'none'
    given = images if plain else np.concatenate([images, images[:, :, ::-1]])
    found = checked_embed(engine, given)
    if not np.isfinite(found).all():
        raise CheckpointError(
            'the network gives values that are not finite; its weights are damaged, or the training has diverged'
        )
    rows = FLIPS[settings.mirror](found[:count], lambda: found[count:])
    return (to_unit_length(rows) if settings.normalise else rows).astype(np.float32)


def _result(names: List[str], future: Future[np.ndarray]) -> Iterator[Tuple[str, np.ndarray]]:
    try:
        rows = future.result()
    except CancelledError:
        raise ConfigError('the embedder is closed') from None
    return zip(names, rows)


def _reference(model: Model, path: Optional[PathLike]) -> Optional[Model]:
    """Return the checkpoint that engines are compared with: the one that is named, or else the network itself."""
    found = model if path is None else find_model(path)
    if found.kind == 'checkpoint':
        return found
    if path is not None:
        raise ConfigError(f'reference={str(path)!r} is no checkpoint PREFIX,EPOCH')
    return None


def _network(model: Model, metadata: Dict[str, str]) -> str:
    return metadata.get(CHECKPOINT) or model.fingerprint()


def _check_numbers(**numbers: Any) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise ConfigError(f'{name}={number!r} must be a whole number, 1 at least')


def _shape(image_shape: Optional[Sequence[int]]) -> Optional[Shape]:
    if image_shape is None:
        return None
    sides = list(image_shape) if isinstance(image_shape, Iterable) else []
    if len(sides) != 3 or sides[2] != 3:
        raise ConfigError(f'image_shape={image_shape!r} is not (height, width, 3)')
    _check_numbers(**{'image_shape, height': sides[0], 'image_shape, width': sides[1]})
    return int(sides[0]), int(sides[1]), 3
