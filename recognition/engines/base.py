"""What every engine is: a class that opens a network's file and embeds batches of images."""

from __future__ import annotations

import re
from contextlib import contextmanager
from importlib.util import find_spec
from math import prod
from types import ModuleType
from typing import Callable, ClassVar, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np

from config.compat import how_to_get_mxnet
from config.errors import LONG_WORD, CheckpointError, ConfigError, FaceSymbolsError
from config.reading import LONGEST_REASON
from recognition.data.image_headers import size_fault
from recognition.engines.model import Model
from recognition.tracing.points import Trace
from recognition.utils.packages import install_command, require

Shape = Tuple[int, int, int]  # height, width, channels
Wanted = Optional[
    Tuple[Optional[int], Optional[int], Optional[int]]
]  # what a user asks for; None is left to the network's file
CHANNELS = {1: 'grey', 3: 'RGB'}  # of images that an engine takes
DEFAULT_SHAPE: Shape = (112, 112, 3)

# How far, in cosine distance, an engine's embeddings may be from MXNet's.
LIMIT = 1e-4
WINOGRAD_LIMIT = 1e-3  # 3x3 convolutions by way of a transform that rounds more
BFLOAT16_LIMIT = 1e-3  # 8 bits of mantissa
FLOAT16_LIMIT = 1e-3  # 11 bits
INT8_LIMIT = 5e-2  # weights and activations in 256 steps

# What onnxruntime puts before the reason: its codes, the file, and the places in its source with their functions.
CPLUSPLUS = re.compile(
    r'\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed:|Exception during initialization: |'
    r'/\S+\.(?:cc|h):\d+ .*?\) (?=\S)|\w+\.(?:cc|h):\d+ \w+ |Fatal error: '
)


class Engine:
    """A network that is ready to embed; one thread at a time may call it.

    A subclass says what it reads (`recognition.engines.model.KINDS`), and which package and extra it needs.
    """

    name: ClassVar[str]
    reads: ClassVar[str]
    package: ClassVar[str]
    extra: ClassVar[Optional[str]] = None
    exact: ClassVar[bool] = True  # in float32, so that 'auto' may choose it

    precision: str = 'float32'
    limit: float = LIMIT  # largest cosine distance from MXNet's embedding
    image_shape: Shape

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        """Open a file of the kind that the engine reads.

        image_shape: (H, W, C) of networks whose file leaves it open; threads: None leaves it to the engine. Raises
        CheckpointError for a damaged file, MissingExtra where the package is not installed.
        """
        raise NotImplementedError

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D), as the network gives them."""
        raise NotImplementedError

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every layer gives for uint8 images (N, H, W, C); ConfigError where the engine cannot."""
        raise ConfigError(f'the engine {self.name} does not give the values of its layers')

    @property
    def metadata(self) -> Dict[str, str]:
        """Return what the file says of the network, by name."""
        return {}

    @classmethod
    def present(cls) -> bool:
        """Whether the engine's package is installed."""
        return find_spec(cls.package) is not None

    @classmethod
    def how_to_install(cls) -> str:
        """Return the command that installs the engine's package."""
        return install_command(cls.extra) if cls.extra else how_to_get_mxnet()

    @classmethod
    def load_package(cls) -> ModuleType:
        """Import the engine's package; MissingExtra says how to install it."""
        return require(cls.package, cls.extra or '', f'the engine {cls.name}', command=cls.how_to_install())


def checked_embed(engine: Engine, images: np.ndarray) -> np.ndarray:
    """Return an engine's embeddings of uint8 images (N, H, W, C) as float64 (N, D).

    Raises CheckpointError where the package cannot run the network, and where that gives something else.
    """
    with _running(engine, f'the network on images of {images.shape[1:]}'):
        found = np.asarray(engine.embed(images), np.float64)  # later sums and lengths round nothing away
    if found.ndim != 2 or len(found) != len(images):
        raise CheckpointError(
            f'the network gives shape {found.shape} for {len(images)} images, where embeddings, or class scores, are '
            f'({len(images)}, size); its head gives neither, or it is damaged'
        )
    return found


def checked_trace(engine: Engine, images: np.ndarray) -> Trace:
    """Return an engine's trace of uint8 images (N, H, W, C); CheckpointError where the package cannot run them."""
    with _running(engine, 'the layers of the network'):
        return engine.trace(images)


def embed_as(engine: Engine, shape: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what embeds uint8 images (N, H, W, C), each as `shape`, where an engine may give a map in a row."""

    def run(images: np.ndarray) -> np.ndarray:
        with _running(engine, 'the network'):
            found = engine.embed(images)
        return found.reshape(len(images), *shape) if found[0].size == prod(shape) else found

    return run


@contextmanager
def _running(engine: Engine, what: str) -> Iterator[None]:
    """Raise CheckpointError where the package fails within."""
    try:
        yield
    except FaceSymbolsError:
        raise
    except Exception as error:  # the packages have no error in common
        raise CheckpointError(f'the engine {engine.name} cannot run {what}: {_last_line(error)}') from error


def agreed_shape(source: object, found: Wanted, wanted: Wanted) -> Shape:
    """Return the (H, W, C) of a network: what its file says (None: open), or else what is wanted, or 112x112.

    Raises ConfigError where the two contradict each other, CheckpointError for images that are neither grey nor RGB.
    """
    asked = wanted or (None, None, None)
    told = found or (None, None, None)
    height, width, channels = (
        one or other or default for one, other, default in zip(told, asked, DEFAULT_SHAPE)
    )
    if any(other and one and one != other for one, other in zip(told, asked)):
        raise ConfigError(
            f'images of {_words(asked)} do not fit {source}, which takes {_words((height, width, channels))}'
        )
    if min(height, width) < 1:
        raise CheckpointError(f'{source} takes images of {height}x{width} pixels')
    if channels not in CHANNELS:
        raise CheckpointError(f'{source} takes images of {channels} channels, which are neither RGB nor grey')
    fault = size_fault((height, width))
    if fault:
        raise CheckpointError(f'{source} takes images of {fault}')
    return height, width, channels


def output_of(model: Model, names: Sequence[str]) -> str:
    """Return the name of the output that a model names, or of the only one.

    Raises ConfigError, which lists them, for another one; CheckpointError where there is none.
    """
    if model.output in names or (model.output is None and len(names) == 1):
        return model.output or names[0]
    if not names:
        raise CheckpointError(f'{model} is damaged: it has no output')
    fault = f'{len(names)} outputs' if model.output is None else f'no output {model.output!r}'
    raise ConfigError(f'{model} has {fault}; choose one by --output-layer: {", ".join(names)}')


def _words(shape: Sequence[Optional[int]]) -> str:
    return 'x'.join(str(side) for side in shape if side)


def damaged(model: Model, error: BaseException) -> CheckpointError:
    """Return what to raise where a package cannot read a network's file."""
    return CheckpointError(f'{model} is damaged, or no network that can be loaded: {_last_line(error)}')


def _last_line(error: BaseException) -> str:
    words = LONG_WORD.sub(
        r'\1...', str(error)
    )  # a name of 70,000 characters would take the next line a minute
    lines = CPLUSPLUS.sub('', words).strip().splitlines()
    return lines[-1].strip()[:LONGEST_REASON] if lines else type(error).__name__
