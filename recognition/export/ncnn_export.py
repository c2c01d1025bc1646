"""Networks for ncnn: a pair of files, NET.ncnn.param and NET.ncnn.bin, checked as an ONNX file is.

    check = export_ncnn('runs/r50/model', 10, 'r50.ncnn.param')

Beside the pair lies NET.ncnn.json, which tells what the network takes, as an ONNX file's metadata do. ncnn runs 3x3
convolutions by Winograd's transform, on phones and small computers, too.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Mapping, Optional, Tuple

from config.errors import CheckpointError, ConfigError
from recognition.engines.base import Wanted, embed_as
from recognition.engines.model import Model
from recognition.engines.ncnn_engine import NcnnEngine, told_path
from recognition.export.onnx.builder import load_onnx
from recognition.export.onnx.front import INSIDE
from recognition.export.onnx_export import PLAIN, UNKNOWN, Options, prepare
from recognition.export.parity import Check, Faces, check_alone, compare
from recognition.export.pnnx import Pair, converted, find_pnnx
from recognition.utils.files import PathLike, remove_leftovers, replacing

SUFFIX = '.param'


def export_ncnn(
    prefix: PathLike,
    epoch: int,
    output: PathLike,
    *,
    options: Options = PLAIN,
    image_shape: Wanted = None,
    faces: Optional[Faces] = None,
    output_layer: Optional[str] = None,
    provenance: Mapping[str, str] = UNKNOWN,
) -> Check:
    """Write a checkpoint's embedding network as ncnn's pair, and return how far it is from MXNet's numbers.

    output: path of the .param file; the .bin file and the .json file lie beside it. Batch norms are folded whatever
    `options` say. Arguments and errors as in `recognition.export.export_onnx`; ConfigError for a path with another
    ending, for uint8_nhwc, since ncnn takes planes of float32, for pixels='outside', and for a network whose embedding
    of an image depends on the others in the batch, since ncnn takes one at a time; MissingExtra where ncnn, pnnx or
    onnx is missing.
    """
    output = Path(output)
    if output.suffix != SUFFIX:
        raise ConfigError(f'{output} must end in {SUFFIX}; the values go to the same name with .bin')
    if options.uint8_nhwc:
        raise ConfigError('uint8_nhwc does not go with ncnn, which takes planes of float32')
    if options.pixels != INSIDE:
        raise ConfigError(f'pixels={options.pixels!r} does not go with ncnn, whose files take RGB in 0..255')
    load_onnx()
    NcnnEngine.load_package()
    find_pnnx()
    ready = prepare(prefix, epoch, replace(options, fold=True), image_shape, faces, output_layer, provenance)
    check_alone(ready.reference, ready.probes)
    height, width, channels = ready.told['image_shape']
    with converted(ready.content, (height, width, channels)) as pair:
        engine = NcnnEngine(Model('ncnn', pair.graph.with_suffix('')), (height, width, channels), None)
        run = embed_as(engine, ready.told['embedding_shape'])
        check = compare(run, ready.reference, ready.probes, (engine.trace, ready.trace))
        _put(pair, json.dumps(ready.told, indent=2), output)
    return check


def files_of(output: PathLike) -> Tuple[Path, Path, Path]:
    """Return the three files that are written for the .param file `output`: it, the values, what tells of them."""
    graph = Path(output)
    return graph, graph.with_suffix('.bin'), told_path(graph.with_suffix(''))


def _put(pair: Pair, told: str, output: Path) -> None:
    """Write all three files, then put them in place, the graph last: without it there is no network, old or new."""
    files = files_of(output)
    for path in files:
        remove_leftovers(path)
    # they are put in place when the block is left, the last one first
    graph, values, about = (replacing(path, CheckpointError) for path in files)
    with graph as graph_file, values as values_file, about as about_file:
        about_file.write_text(told + '\n', encoding='utf-8')
        values_file.write_bytes(pair.values.read_bytes())
        graph_file.write_bytes(pair.graph.read_bytes())
        output.unlink(missing_ok=True)
