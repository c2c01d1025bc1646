"""A network run on images of any kind, which are decoded, fitted and batched in front of an engine."""

from __future__ import annotations

import logging
from collections import deque
from typing import (
    Any,
    Callable,
    Deque,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import numpy as np

from config.checks import EMBEDDING
from config.errors import CheckpointError, ConfigError, DataError
from recognition.data.image_sources import items
from recognition.embedding.batcher import FORK_MESSAGE, Batcher, BatchFunction, BatchResult
from recognition.embedding.engine_choice import open_engine
from recognition.engines.base import CHANNELS, Engine, Shape, Wanted, checked_embed
from recognition.engines.model import OUTPUT_LAYER, Model, find_model
from recognition.engines.pixel_rules import CHECKPOINT, settle
from recognition.engines.record import Record, checkpoint_record, metadata_record
from recognition.utils.checksums import check_checksum
from recognition.utils.files import PathLike
from recognition.utils.pixels import Pixels

logger = logging.getLogger(__name__)

AHEAD = 2  # batches that are decoded before they are asked for
OnFault = Callable[[str, DataError], None]
Resize = Callable[[np.ndarray, Tuple[int, int]], np.ndarray]
R = TypeVar('R', bound='Runner')


class Opened(NamedTuple):
    """A network that is open in an engine, and what its files record of it.

    said: the pixels that it is given, in words, where its files do not record them.
    """

    model: Model
    engine: Engine
    record: Record
    said: str

    @property
    def network(self) -> str:
        """Return the SHA-256 sum of the values, and the output where one is named, by which networks are told apart."""
        values = self.engine.metadata.get(CHECKPOINT) or self.model.fingerprint()
        output = self.model.output or self.engine.metadata.get(OUTPUT_LAYER)
        return f'{values} {output.removesuffix("_output")}' if output else values


def open_network(
    path: PathLike,
    engine: str,
    kind: str,
    *,
    assumed: bool = True,
    batch_size: int,
    threads: Optional[int] = None,
    image_shape: Optional[Sequence[Optional[int]]] = None,
    reference: Optional[PathLike] = None,
    output_layer: Optional[str] = None,
    pixels: Optional[Pixels] = None,
) -> Opened:
    """Open the network at a path, which must not be known to give something else than `kind`.

    assumed: whether nothing need be known of it. The other arguments, and the errors, are those of
    `recognition.embed.Embedder.load`.
    """
    _check_numbers(batch_size=batch_size, **({} if threads is None else {'threads': threads}))
    settled = settle(find_model(path)._replace(output=output_layer, pixels=pixels), faces=kind == EMBEDDING)
    model = settled.model
    wanted = _wanted(image_shape)
    record = Record()
    if model.kind != 'checkpoint':  # whose values are checked where they are read
        for file in model.files:
            check_checksum(file)
    else:
        model.check_files()
        record = checkpoint_record(model.path)
        if output_layer is None:  # the record is of the network's own output
            record.check_kind(kind, model, assumed=assumed)
    opened = open_engine(
        engine,
        model,
        batch_size=batch_size,
        image_shape=wanted,
        threads=threads,
        reference=_reference(model, reference),
    )
    logger.info('%s by %s, %s', model, opened.name, opened.precision)
    if model.kind != 'checkpoint':
        record = metadata_record(opened.metadata, model)
        record.check_kind(kind, model, assumed=assumed)
        if reference is None and settled.assumed:
            logger.warning(settled.assumed)
    return Opened(model, opened, record, settled.said)


class Runner:
    """Runs a network on images; any number of threads may call it, and their requests are put together into batches.

    engine: name of the engine (`recognition.engines.ENGINES`). precision: what it computes in. image_shape: (H, W, C)
    of the network's images. network: SHA-256 sum of the values, by which networks are told apart. pixels:
    preprocessing of a file that does not record its own, in words; '' for 0..255 as they are, and where it is recorded.
    """

    pixels = ''

    def __init__(
        self, engine: Engine, network: str, function: BatchFunction, rows: int, resize: Optional[Resize]
    ) -> None:
        """Make what gives `function` up to `rows` images of the engine's size; resize=None refuses other sizes."""
        self.engine, self.precision = engine.name, engine.precision
        self.image_shape: Shape = engine.image_shape
        self.network = network
        self._rows, self._resize = rows, resize
        self._batcher = Batcher(function, rows)
        self._warned = False

    def stream(self, images: Any, on_fault: Optional[OnFault] = None) -> Iterator[Tuple[str, np.ndarray]]:
        """Yield name and row, float32 (D,), of each image, a few batches of which are in memory at a time.

        on_fault: called with the name of an image that cannot be read and its error, and the image is left out;
        None: the error is raised.
        """
        pending: Deque[Tuple[List[str], BatchResult]] = deque()
        for names, batch in self._batches(images, on_fault):
            pending.append((names, self._batcher.submit(batch)))
            if len(pending) > AHEAD:
                names, result = pending.popleft()
                yield from zip(names, result.wait())
        while pending:
            names, result = pending.popleft()
            yield from zip(names, result.wait())

    def close(self) -> None:
        """End the thread that works; what waits for it is a ConfigError."""
        self._batcher.close()

    def __enter__(self: R) -> R:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise ConfigError(FORK_MESSAGE)  # where it is pickled

    def _all_rows(self, images: Any, what: str) -> np.ndarray:
        rows = [row for _, row in self.stream(images)]
        if not rows:
            raise DataError(f'there are no images to {what}')
        return np.stack(rows)

    def _batches(self, images: Any, on_fault: Optional[OnFault]) -> Iterator[Tuple[List[str], np.ndarray]]:
        names: List[str] = []
        held: List[np.ndarray] = []
        for item in items(images, self.image_shape[2]):
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
        if self._resize is None:
            raise DataError(f'{words}; resizing is turned off')
        if not self._warned:
            self._warned = True
            logger.warning('%s: it is stretched to that, as are all others of another size', words)
        return self._resize(image, wanted)


def finite_rows(engine: Engine, images: np.ndarray) -> np.ndarray:
    """Return an engine's rows, float64 (N, D), of images of its size; CheckpointError where they are not finite."""
    found = checked_embed(engine, images)
    if not np.isfinite(found).all():
        raise CheckpointError(
            'the network gives values that are not finite; its weights are damaged, or the training has diverged'
        )
    return found


def _reference(model: Model, path: Optional[PathLike]) -> Optional[Model]:
    """Return the checkpoint that engines are compared with: the one that is named, or else the network itself."""
    found = model if path is None else find_model(path)
    if found.kind == 'checkpoint':
        return found
    if path is not None:
        raise ConfigError(f'reference={str(path)!r} is not a checkpoint PREFIX,EPOCH')
    return None


def _check_numbers(**numbers: Any) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise ConfigError(f'{name}={number!r} must be a whole number, 1 at least')


def _wanted(image_shape: Optional[Sequence[Optional[int]]]) -> Wanted:
    if image_shape is None:
        return None
    sides = list(image_shape) if isinstance(image_shape, Iterable) else []
    if len(sides) != 3 or sides[2] not in (*CHANNELS, None):
        raise ConfigError(f'image_shape={image_shape!r} is not (height, width, channels), of 1 or 3 channels')
    _check_numbers(**{'image_shape, height': sides[0], 'image_shape, width': sides[1]})
    return int(sides[0] or 0), int(sides[1] or 0), sides[2]
