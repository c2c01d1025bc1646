"""Images embedded a second: MXNet as InsightFace uses it, this project's rewritten network, and other engines.

All take the same uint8 images (N, H, W, 3), and one whose embeddings are not plain's is refused; of bfloat16 the cosine
distance counts. The last row is a product of dense matrices, by numpy, that takes as many multiplications: what the
processor is good for.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Dict, List, Mapping, Sequence, Tuple

import numpy as np

from config.errors import FaceSymbolsError
from recognition.embedding.agreement import cosine_distances
from recognition.engines.base import BFLOAT16_LIMIT
from symbols.passes.optimize import optimize
from tools.bench.contenders import PLAIN
from tools.bench.embed_process import GEMM_SIDE
from tools.bench.network_suite import FIGURE, Measured, NetworkSuite, measure_networks
from tools.bench.networks import Drawn
from tools.bench.rounds import Row
from tools.bench.saved import save
from tools.bench.turns import Turns

import mxnet as mx

TOLERANCE = 1e-4  # of the largest value of plain's embeddings
GEMM, OURS, BFLOAT16 = 'gemm', 'mxnet', 'openvino-bf16'
PRODUCTS = 5  # in a turn of GEMM, of which the fastest counts
# what may be named in `against` -> its rows
ROWS: Mapping[str, Tuple[str, ...]] = {
    PLAIN: (),
    'onnxruntime': ('onnxruntime plain', 'onnxruntime'),
    'openvino': ('openvino', 'openvino-bf16'),
    'ncnn': ('ncnn',),
    'torch': ('torch',),
}


def write_files(measured: Measured) -> None:
    """Write what the contenders read."""
    folder, network, names = measured.folder, measured.network, measured.contenders
    shapes = {'data': (measured.batch, *network.shape)}
    np.save(folder / 'faces.npy', network.faces(measured.batch))
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
    from recognition.export.onnx.converter import to_onnx

    content: bytes = to_onnx(symbol, values, network.cfg.image_shape).SerializeToString()
    return content


def _write_ncnn(prefix: Path, onnx: bytes, network: Drawn) -> None:
    from recognition.export.pnnx import converted

    with converted(onnx, network.cfg.image_shape) as pair:
        for source, suffix in ((pair.graph, '.param'), (pair.values, '.bin')):
            Path(f'{prefix}{suffix}').write_bytes(source.read_bytes())


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


def _product(turns: Turns, measured: Measured) -> Dict[str, float]:
    """Return the images a second of which the fastest of a few products has the multiplications."""
    seconds = min(turns.seconds(0) for _ in range(PRODUCTS))
    return {FIGURE: 2 * GEMM_SIDE**3 / seconds / measured.network.flops}


def _with_gflops(measured: Measured, rows: Sequence[Row]) -> List[Row]:
    """Return the rows under their network's name, with GFLOP/s and the share of the dense product's."""
    *_, gemm = rows
    found = []
    for row in rows:
        shares = [own[FIGURE] / peak[FIGURE] for own, peak in zip(row.rounds, gemm.rounds)]
        figures = {
            **row.figures,
            'GFLOP/s': row.figures[FIGURE] * measured.network.flops / 1e9,
            'of GEMM': median(shares),
        }
        found.append(replace(row, name=f'{measured.name}, {row.name}', figures=figures))
    return found


SUITE = NetworkSuite(
    process='tools.bench.embed_process',
    opening='opening',
    rows=ROWS,
    ours=(OURS,),
    write_files=write_files,
    check=check,
    finish=_with_gflops,
    last=(GEMM,),
    turns={GEMM: _product},
)
# (rounds, *, networks, batch, threads, against, settings, told) -> rows
measure = partial(measure_networks, SUITE, networks=('r50', 'd121'))
