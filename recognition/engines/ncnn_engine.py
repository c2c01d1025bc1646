"""ncnn, from a pair NET.ncnn.param and NET.ncnn.bin: fast on 3x3 convolutions, which it transforms."""

from __future__ import annotations

import json
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Dict, Optional, Sequence

import numpy as np

from config.compat import physical_cores
from config.errors import CheckpointError
from config.reading import LONGEST_REASON, read_text, reading
from recognition.engines.base import WINOGRAD_LIMIT, Engine, Shape, Wanted, agreed_shape, damaged, output_of
from recognition.engines.model import Model
from recognition.tracing.ncnn_trace import trace_ncnn
from recognition.tracing.points import Trace, trace_each
from recognition.utils.files import unicode_path
from recognition.utils.pixels import RAW

HALF_PRECISION = (
    'use_fp16_packed',
    'use_fp16_storage',
    'use_fp16_arithmetic',
    'use_bf16_packed',
    'use_bf16_storage',
)


class NcnnEngine(Engine):
    """A net on the CPU; the graph takes one image at a time, float32 (C, H, W).

    Several images run side by side, each on one thread, which takes less time than all threads on one; where there are
    too few of them, they run one by one on all threads. A net keeps the number of threads that it is loaded with.
    """

    name, reads, package, extra = 'ncnn', 'ncnn', 'ncnn', 'ncnn'
    precision, limit = 'float32 with Winograd', WINOGRAD_LIMIT

    def __init__(self, model: Model, image_shape: Wanted, threads: Optional[int]) -> None:
        self._ncnn = self.load_package()
        self._told = read_told(model.path)
        self.image_shape = _shape_of(told_path(model.path), self._told.get('image_shape'), image_shape)
        self._pixels = model.pixels or RAW
        self._pixels.check(self.image_shape[2])
        self._threads = threads or physical_cores()
        self._workers = ThreadPoolExecutor(self._threads)
        # open, so that a net that is loaded later comes from the same files, whatever becomes of their names
        self._files = [_open(file) for file in model.files]
        for file in self._files:
            weakref.finalize(self, file.close)
        self._model = model
        self._nets: Dict[int, Any] = {}  # by the number of threads for an image
        self._output = output_of(model, self._net(1).output_names())

    @property
    def metadata(self) -> Dict[str, str]:
        """Return what lies beside the pair as JSON."""
        return self._told

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed uint8 images (N, H, W, C), RGB or grey, as float32 (N, D)."""
        data = self._pixels.planes(images)
        if self._threads > 1 and 2 * len(data) <= self._threads:
            net = self._net(self._threads)
            return np.stack([self._embed_one(net, image) for image in data])
        return np.stack(list(self._workers.map(partial(self._embed_one, self._net(1)), data)))

    def trace(self, images: np.ndarray) -> Trace:
        """Return what every layer gives, without the rounding of Winograd's transform."""
        net = _load(self._ncnn, self._model, self._files, self._threads, exact=True)
        graph = self._model.files[0].read_text(encoding='utf-8')

        def alone(data: np.ndarray) -> Trace:
            extractor = net.create_extractor()
            held = self._ncnn.Mat(data[0]).clone()
            extractor.input(net.input_names()[0], held)
            return trace_ncnn(graph, data[0], lambda blob: extractor.extract(blob)[1])

        return trace_each(self._pixels.planes(images), alone)

    def _net(self, threads: int) -> Any:
        if threads not in self._nets:
            self._nets[threads] = _load(self._ncnn, self._model, self._files, threads)
        return self._nets[threads]

    def _embed_one(self, net: Any, image: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        # A copy, for ncnn reads whole vectors at once, aligned and beyond the end, as numpy's memory need not allow.
        extractor.input(net.input_names()[0], self._ncnn.Mat(image).clone())
        status, out = extractor.extract(self._output)
        if status:
            raise CheckpointError(f'ncnn cannot run the network on images of {self.image_shape}')
        found = np.array(out, dtype=np.float32)
        return found.reshape(-1) if found.size == max(found.shape) else found  # maps stay what they are


def _open(file: Path) -> BinaryIO:
    with reading(file, CheckpointError):
        return open(file, 'rb')


def _load(
    ncnn: ModuleType, model: Model, files: Sequence[BinaryIO], threads: int, *, exact: bool = False
) -> Any:
    """Return a net that runs each image on so many threads; CheckpointError where ncnn does not take the files.

    exact: it keeps what its layers give, and rounds as other engines do.
    """
    net: Any = ncnn.Net()
    net.opt.num_threads = threads  # what is set after loading is ignored, and told of on standard error
    if exact:
        net.opt.lightmode = net.opt.use_winograd_convolution = False
    for option in HALF_PRECISION:
        if hasattr(net.opt, option):
            setattr(net.opt, option, False)
    graph, values = map(unicode_path, files)
    try:
        refused = net.load_param(graph) or net.load_model(values)
        refused = refused or len(net.input_names()) != 1 or not net.output_names()
    except Exception as error:
        raise damaged(model, error) from error
    if refused:
        raise CheckpointError(
            f'{" and ".join(map(str, model.files))} are damaged, or not a pair that ncnn can load'
        )
    return net


def _shape_of(source: Path, told: Optional[str], wanted: Wanted) -> Shape:
    """Return the (H, W, C) of a pair: as told beside it, or else as wanted; ConfigError where these are two."""
    if told is None:
        return agreed_shape(source, None, wanted)
    try:
        height, width, channels = map(int, json.loads(told))
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise CheckpointError(f'{source} is damaged: its image_shape is {told[:LONGEST_REASON]}') from None
    return agreed_shape(source, (height, width, channels), wanted)


def told_path(prefix: Path) -> Path:
    """Return the path of the file that tells what a pair takes: NET.ncnn.json beside NET.ncnn.param."""
    return Path(f'{prefix}.json')


def read_told(prefix: Path) -> Dict[str, str]:
    """Return what that file says, each value as text or as JSON; nothing where there is none."""
    path = told_path(prefix)
    if not path.is_file():
        return {}
    with reading(path, CheckpointError):
        told = json.loads(read_text(path, CheckpointError))
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()}
