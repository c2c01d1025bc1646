"""Face embeddings from one object, whatever the images are in and whichever engine is the fastest here.

embedder = Embedder.load('models/r50,7')          # or 'r50.onnx', or 'r50.ncnn.param'
embeddings = embedder(['a.jpg', 'b.png', array])  # float32 (3, D), of length 1
"""

from __future__ import annotations

import logging
from functools import partial
from types import MappingProxyType
from typing import Any, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from config.checks import EMBEDDING
from recognition.data.image_sources import resized
from recognition.embedding.runner import Runner, finite_rows, open_network
from recognition.engines.base import Engine
from recognition.utils.files import PathLike
from recognition.utils.pixels import Pixels
from recognition.verification.lfw import FLIPS, check_flip
from recognition.verification.lfw import normalise as to_unit_length

__all__ = ['Embedder', 'Settings']

logger = logging.getLogger(__name__)

UNKNOWN: Mapping[str, str] = MappingProxyType({})
NORMALISED_WARNING = (
    '%s gives embeddings of length 1, to which those of the mirror images are added afterwards: '
    'figures differ a little from those of its checkpoint'
)


class Settings(NamedTuple):
    """How embeddings are made of what the network gives."""

    normalise: bool = True
    mirror: str = 'sum'
    resize: bool = True
    batch_size: int = 32


class Embedder(Runner):
    """Embeds face images; any number of threads may call it, and their requests are put together into batches.

    engine: name of the engine (`recognition.engines.ENGINES`). precision: what it computes in. image_shape: (H, W, C)
    of the network's images. network: SHA-256 sum of the values, by which networks are told apart. pixels:
    preprocessing of a file that does not record its own, in words; '' for 0..255 as they are, and where it is recorded.
    provenance: license and origin of its weights, where they are known.
    """

    def __init__(
        self,
        engine: Engine,
        network: str,
        settings: Settings,
        provenance: Mapping[str, str] = UNKNOWN,
        pixels: str = '',
    ) -> None:
        # the engine sees an image and its mirror image in one call
        rows = settings.batch_size if settings.mirror == 'none' else max(1, settings.batch_size // 2)
        resize = resized if settings.resize else None
        super().__init__(engine, network, partial(_forward, engine, settings), rows, resize)
        self.settings, self.provenance, self.pixels = settings, dict(provenance), pixels

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
        image_shape: Optional[Sequence[Optional[int]]] = None,
        reference: Optional[PathLike] = None,
        output_layer: Optional[str] = None,
        pixels: Optional[Pixels] = None,
    ) -> Embedder:
        """Load a network: a checkpoint 'prefix,epoch', an ONNX file 'net.onnx', or ncnn's pair 'net.ncnn.param'.

        engine: mxnet, onnxruntime, openvino, ncnn, or 'auto': the fastest one installed, timed once and remembered.
        The embedding of a checkpoint by another engine than MXNet is compared with MXNet's, and the engine is refused
        where it disagrees; `reference` names a checkpoint to compare a file with.
        normalise: to length 1. mirror: 'sum' adds the mirror image's embedding, 'concat' puts it behind (N, 2 D),
        'none' leaves it out. resize: stretch images of another size, with one warning; else they are refused.
        batch_size: images that the engine sees at a time, mirror images counted. threads: of the engine; None leaves
        it to the engine. MXNet settles its number when it is imported; where that was before, a warning says so.
        image_shape: (H, W, C) where nothing records it (None: 112, 112, and 3 or what the first convolution takes); C
        may be None. PREFIX-config.json records it for a checkpoint, and an ONNX file by itself.
        output_layer: the output that is the embedding, where the network has several; None: fc1, or the only one.
        pixels: preprocessing of RGB images in 0..255 that a file leaves to its caller; None: as the file records, or
        else, for ONNX, as InsightFace's package decides by the names of its first eight nodes, with a warning.

        Raises CheckpointError for a network that is missing, damaged or refused, ConfigError for a wrong setting
        and for a network that is known to give no embeddings, MissingExtra for an engine that is not installed.
        """
        check_flip(mirror, 'mirror')
        opened = open_network(
            path,
            engine,
            EMBEDDING,
            batch_size=batch_size,
            threads=threads,
            image_shape=image_shape,
            reference=reference,
            output_layer=output_layer,
            pixels=pixels,
        )
        if mirror != 'none' and '"normalise": true' in opened.engine.metadata.get('options', ''):
            logger.warning(NORMALISED_WARNING, opened.model)
        settings = Settings(normalise, mirror, resize, batch_size)
        return cls(opened.engine, opened.network, settings, opened.record.provenance, opened.said)

    def __call__(self, images: Any) -> np.ndarray:
        """Embed one image or many: float32 (N, D), in their order; a folder's are in the order of their paths.

        images: uint8 RGB (H, W, 3), grey (H, W), a batch (N, H, W, 3); a file, a folder, encoded bytes; or any
        iterable of these (`data.image_sources`). Raises DataError for an image that cannot be read, and for none;
        CheckpointError where the network gives values that are not finite.
        """
        return self._all_rows(images, 'embed')


def _forward(engine: Engine, settings: Settings, images: np.ndarray) -> np.ndarray:
    """Return the embeddings, float32 (N, D) or (N, 2 D), of images (N, H, W, C) of the network's size."""
    count = len(images)
    plain = settings.mirror == 'none'
    found = finite_rows(engine, images if plain else np.concatenate([images, images[:, :, ::-1]]))
    rows = FLIPS[settings.mirror](found[:count], lambda: found[count:])
    return (to_unit_length(rows) if settings.normalise else rows).astype(np.float32)
