"""Images embedded a second: MXNet as InsightFace uses it, this project's rewritten network, and other engines.

All take the same uint8 images (N, H, W, 3), and one whose embeddings are not plain's is refused; of bfloat16 the cosine
distance counts. The last row is a
product of dense matrices, by numpy, that takes as many multiplications: what the processor is good for.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from config.errors import FaceSymbolsError
from recognition.bench.contenders import PLAIN, check_counts, choose
from recognition.bench.embed_process import GEMM_SIDE
from recognition.bench.networks import Drawn, draw_network, save
from recognition.bench.rounds import Row, interleaved
from recognition.bench.turns import Turns
from recognition.engines.agreement import cosine_distances
from recognition.engines.base import BFLOAT16_LIMIT
from recognition.environment import usable_cores
from symbols.optimize import optimize

import mxnet as mx

NETWORKS, BATCH = ('r50', 'd121'), 8
SECONDS = 2.0  # that a turn takes at least
TOLERANCE = 1e-4  # of the largest value of plain's embeddings
FIGURE, GEMM, OURS, BFLOAT16 = 'images/s', 'gemm', 'mxnet', 'openvino-bf16'
PRODUCTS = 5  # in a turn of GEMM, of which the fastest counts
# what may be named in `against` -> its rows
ROWS: Mapping[str, Tuple[str, ...]] = {
    PLAIN: (),
    'onnxruntime': ('onnxruntime plain', 'onnxruntime'),
    'openvino': ('openvino', 'openvino-bf16'),
    'ncnn': ('ncnn',),
    'torch': ('torch',),
}


def measure(
    rounds: int,
    *,
    networks: Sequence[str] = NETWORKS,
    batch: int = BATCH,
    threads: Optional[int] = None,
    against: Optional[Sequence[str]] = None,
    settings: Optional[Mapping[str, Any]] = None,
    told: Callable[[str], None] = print,
) -> List[Row]:
    """Embed `batch` images at a time with each contender in every round, network after network.

    threads: None, as many as there are usable cores. against: of ROWS; None, all that are installed. settings: of the
    networks, on top of their presets. A row's ratio is to its own network's plain. Raises ConfigError for what is not
    known, FaceSymbolsError where a contender fails or disagrees.
    """
    check_counts(rounds=rounds, batch=batch, threads=threads)
    chosen = choose(tuple(ROWS), against, told)
    names = [PLAIN, OURS, *(row for name in chosen for row in ROWS[name]), GEMM]
    drawn = {name: draw_network(name, settings or {}) for name in networks}  # a wrong name is told at once
    rows: List[Row] = []
    for name, network in drawn.items():
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            told(f'{name}: opening {", ".join(names)}')
            write_files(Path(folder), network, names, batch)
            contenders = {
                each: _open(each, Path(folder), network, batch, threads or usable_cores(), stack)
                for each in names
            }
            rows += _with_gflops(name, network, interleaved(contenders, rounds, told=told))
    return rows


def write_files(folder: Path, network: Drawn, names: Sequence[str], batch: int) -> None:
    """Write what the contenders of these names read."""
    shapes = {'data': (batch, *network.shape)}
    np.save(folder / 'faces.npy', network.faces(batch))
    save(folder / PLAIN, network.symbol, network.values)
    save(folder / 'rewritten', *optimize(network.symbol, network.values, shapes, for_mxnet=True))
    if 'onnxruntime plain' in names:
        (folder / 'plain.onnx').write_bytes(_onnx(network.symbol, network.values, network))
    if {'onnxruntime', 'openvino', 'ncnn'} & set(names):
        folded = _onnx(*optimize(network.symbol, network.values, shapes), network)
        (folder / 'folded.onnx').write_bytes(folded)
        if 'ncnn' in names:
            _write_ncnn(folder / 'folded.ncnn', folded, network)


def _onnx(symbol: mx.sym.Symbol, values: Mapping[str, np.ndarray], network: Drawn) -> bytes:
    from recognition.onnx_graph import to_onnx

    content: bytes = to_onnx(symbol, values, network.cfg.image_shape).SerializeToString()
    return content


def _write_ncnn(prefix: Path, onnx: bytes, network: Drawn) -> None:
    from recognition.pnnx import converted

    with converted(onnx, network.cfg.image_shape) as pair:
        for source, suffix in ((pair.graph, '.param'), (pair.values, '.bin')):
            Path(f'{prefix}{suffix}').write_bytes(source.read_bytes())


def _open(
    name: str, folder: Path, network: Drawn, batch: int, threads: int, stack: ExitStack
) -> Callable[[], Dict[str, float]]:
    """Start a contender's process and compare its embeddings with plain's, which is the first to be opened."""
    words = [name, str(folder), str(threads)]
    log, module = folder / f'{name}.log', 'recognition.bench.embed_process'
    turns = Turns(name, module, words, threads=threads, ours=name == OURS, log=log)
    stack.callback(turns.close)
    if name == GEMM:
        return partial(_product, turns, network.flops)
    check(name, np.load(folder / f'{name}.npy'), np.load(folder / f'{PLAIN}.npy'))
    return lambda: {FIGURE: batch / turns.seconds(SECONDS)}


def check(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Raise FaceSymbolsError unless a contender's embeddings are those of plain."""
    if found.shape != wanted.shape:
        raise FaceSymbolsError(f'{name} gives embeddings of shape {found.shape}, plain of {wanted.shape}')
    if name == BFLOAT16:
        apart = float(cosine_distances(wanted, found).max())
        if not apart <= BFLOAT16_LIMIT:
            raise FaceSymbolsError(f"{name} is {apart:.2g} off plain's embeddings in cosine distance")
        return
    off = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if not off <= TOLERANCE:
        raise FaceSymbolsError(
            f"{name} is {off:.2g} of the largest value off plain's embeddings, and at most {TOLERANCE:g} passes"
        )


def _product(turns: Turns, flops: int) -> Dict[str, float]:
    """Return the images a second of which the fastest of a few products has the multiplications."""
    seconds = min(turns.seconds(0) for _ in range(PRODUCTS))
    return {FIGURE: 2 * GEMM_SIDE**3 / seconds / flops}


def _with_gflops(network: str, drawn: Drawn, rows: Sequence[Row]) -> List[Row]:
    """Return the rows under their network's name, with GFLOP/s and the share of the dense product's."""
    *_, gemm = rows
    found = []
    for row in rows:
        shares = [own[FIGURE] / peak[FIGURE] for own, peak in zip(row.rounds, gemm.rounds)]
        figures = {
            **row.figures,
            'GFLOP/s': row.figures[FIGURE] * drawn.flops / 1e9,
            'of GEMM': median(shares),
        }
        found.append(replace(row, name=f'{network}, {row.name}', figures=figures))
    return found
