"""An ONNX network in INT8: smaller, and faster on processors that multiply bytes; what it costs is measured first.

Convolutions and fully connected layers take bytes, scaled by what a set of faces showed (post-training static
quantization, Jacob et al. 2018, 'Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference', section 2); ONNX Runtime does it. The layer that sees the pixels stays in float32.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from config.checks import EMBEDDING
from config.errors import CheckpointError, ConfigError, DataError
from recognition.data.dataset import FaceDataset
from recognition.data.image_sources import Item, as_pixels, items, resized
from recognition.embed import Embedder
from recognition.embedding.agreement import cosine_distances
from recognition.engines.model import Model
from recognition.engines.onnxruntime_engine import OnnxRuntimeEngine
from recognition.engines.pixel_rules import settle
from recognition.engines.record import Record
from recognition.export.onnx.builder import load_onnx
from recognition.export.onnx.metadata import put_metadata, read_metadata
from recognition.utils.files import PathLike, remove_leftovers, replacing
from recognition.utils.pixels import RAW, Pixels
from recognition.verification.lfw import Answers, Verification, verify

MOST_LOST = 0.01  # of accuracy, by default
LAYERS = ('Conv', 'Gemm')
BATCH = 16
ENGINE = 'onnxruntime'
SUFFIX = '.onnx'

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a network in INT8 is beside the one in float32, on the same pairs."""

    plain: Verification
    quantized: Verification
    distance: float  # the largest cosine distance between both embeddings of an image
    calibrated_on: int  # faces

    @property
    def lost(self) -> float:
        """Return how much accuracy is lost, below 0 where it is gained."""
        return self.plain.accuracy - self.quantized.accuracy


def quantize(
    source: PathLike,
    output: PathLike,
    faces: np.ndarray,
    pairs: np.ndarray,
    issame: Answers,
    *,
    most_lost: float = MOST_LOST,
) -> Outcome:
    """Write an ONNX network that was exported here as one in INT8, and return what that changes.

    faces: uint8 (N, H, W, C) of the network's size, by which the scales are chosen: some hundreds, of people that
    are not in `pairs`. pairs: uint8 (2 P, H, W, C), rows 2p and 2p + 1 being pair p; issame: (P,).
    Raises CheckpointError for a file that is none of ours or in INT8 already, and, with nothing written, where more
    than `most_lost` (0..1) of the accuracy is lost; DataError for images that do not fit; ConfigError for a path or
    a share that cannot be.
    """
    onnx, runtime = load_onnx(), OnnxRuntimeEngine.load_package()
    _check_request(Path(source), Path(output), most_lost)
    told = read_metadata(source)
    if 'int8' in told:
        raise CheckpointError(f'{source} is in INT8 already; start from the network in float32')
    Record(told.get('kind')).check_kind(EMBEDDING, source)
    _check_kind(source, told['embedding_shape'])
    _check_images(told['image_shape'], faces=faces, pairs=pairs)
    if len(pairs) != 2 * len(issame):
        raise DataError(
            f'{len(pairs)} images do not fit {len(issame)} answers: two for each pair are expected'
        )
    pixels = settle(Model('onnx', Path(source)), faces=True).model.pixels or RAW
    with TemporaryDirectory() as folder:
        made = Path(folder, 'int8.onnx')
        _quantize(runtime, Path(source), made, _Batches(faces, pixels, told['options']['uint8_nhwc']))
        plain, quantized = (_embed(each, pixels, pairs) for each in (source, made))
        distance = float(cosine_distances(plain, quantized).max())
        outcome = Outcome(verify(plain, issame), verify(quantized, issame), distance, len(faces))
        if outcome.lost > most_lost:
            raise CheckpointError(
                f'INT8 takes the accuracy from {outcome.plain.accuracy:.4f} to {outcome.quantized.accuracy:.4f}, more '
                f'than {most_lost:g} down, and nothing is written; other faces to calibrate on may help'
            )
        model = onnx.load(str(made))
        del model.metadata_props[:]
        put_metadata(model, {**told, 'int8': _summary(outcome)})
        remove_leftovers(output)
        with replacing(output, CheckpointError) as temporary:
            temporary.write_bytes(model.SerializeToString())
    return outcome


class _Batches:
    """The faces as ONNX Runtime's calibration asks for them, batch after batch."""

    def __init__(self, faces: np.ndarray, pixels: Pixels, as_bytes: bool) -> None:
        self._batches = self._give(faces, pixels, as_bytes)

    def _give(self, faces: np.ndarray, pixels: Pixels, as_bytes: bool) -> Iterator[Dict[str, np.ndarray]]:
        for start in range(0, len(faces), BATCH):
            batch = faces[start : start + BATCH]
            yield {'data': batch if as_bytes else pixels.planes(batch)}

    def get_next(self) -> Optional[Dict[str, np.ndarray]]:
        """Return the next batch, None after the last."""
        return next(self._batches, None)


def _quantize(runtime: Any, source: Path, made: Path, batches: _Batches) -> None:
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> Optional[Dict[str, np.ndarray]]:
            return batches.get_next()

    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)  # it advises a preparation that the export has made unnecessary
    try:
        quantization.quantize_static(
            str(source),
            str(made),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(LAYERS),
            nodes_to_exclude=_first_layer(source),
            per_channel=True,
            reduce_range=True,  # 7 bits: the sums of 8 overflow on processors without VNNI, another accuracy there
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        root.setLevel(level)


def _first_layer(source: Path) -> List[str]:
    graph = load_onnx().load(str(source)).graph
    return [node.name for node in graph.node if node.op_type in LAYERS][:1]


def _embed(network: PathLike, pixels: Pixels, images: np.ndarray) -> np.ndarray:
    with Embedder.load(network, ENGINE, pixels=pixels) as embedder:
        return embedder(images)


def _check_request(source: Path, output: Path, most_lost: float) -> None:
    if output.suffix != SUFFIX:
        raise ConfigError(f'{output} must end in {SUFFIX}')
    if output.resolve() == source.resolve():
        raise ConfigError(f'{output} is the network in float32 itself; choose another name')
    if not 0 <= most_lost <= 1:
        raise ConfigError(f'most_lost={most_lost:g} must be from 0 to 1')


def _check_kind(source: PathLike, shape: Sequence[int]) -> None:
    if len(shape) != 1:
        held = ' x '.join(map(str, shape))
        raise CheckpointError(f'{source} gives maps of {held} values, and pairs are judged by embeddings')


def _check_images(image_shape: Sequence[int], **given: np.ndarray) -> None:
    for name, images in given.items():
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != tuple(image_shape):
            sides = ', '.join(map(str, image_shape))
            raise DataError(f'{name} must be uint8 (N, {sides}), not {images.dtype} {images.shape}')
        if not len(images):
            raise DataError(f'there are no images in {name}')


def _summary(outcome: Outcome) -> Dict[str, Any]:
    """Return what is written into the file."""
    return {
        'calibrated_on': outcome.calibrated_on,
        'accuracy': outcome.quantized.accuracy,
        'accuracy_float32': outcome.plain.accuracy,
        'pairs': outcome.plain.pairs,
        'cosine_distance': outcome.distance,
    }


def read_faces(folder: PathLike, size: Tuple[int, int], count: int, channels: int = 3) -> np.ndarray:
    """Return `count` images, uint8 (N, H, W, C) of `size` (height, width), taken evenly; all where there are fewer.

    folder: images, or a data set with `property` and train.rec. Raises DataError where it is neither, or an image
    cannot be read; ConfigError for a count below 1.
    """
    folder = Path(folder)
    if count < 1:
        raise ConfigError(f'{count} faces are too few to choose the scales by')
    if not folder.is_dir():
        raise DataError(f'{folder} is no folder')
    read: List[Callable[[], np.ndarray]]
    if (folder / 'property').is_file():
        faces = FaceDataset(folder)
        read = [lambda index=index: faces.read(index)[0] for index in _spread(len(faces), count)]  # type: ignore[misc]
    else:
        found: List[Item] = list(items(folder, channels))
        read = [found[index].load for index in _spread(len(found), count)]
    return np.stack([_fitted(each(), size, channels) for each in read])


def _spread(held: int, count: int) -> List[int]:
    """Return places in 0..held-1, all different, since they are 1 apart at least before they are rounded."""
    return [int(index) for index in np.linspace(0, held - 1, min(held, count)).round()]


def _fitted(image: np.ndarray, size: Tuple[int, int], channels: int) -> np.ndarray:
    pixels = as_pixels(image, 'an image', channels)
    return pixels if pixels.shape[:2] == size else resized(pixels, size)
