"""An ONNX file of a face network, its values for a network here, and the settings that the two must share.

The network is recognised by its operators and their sizes; no name in the file is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from config import complete
from config.checks import CLASS_SCORES, output_kind
from config.errors import CheckpointError, first_few
from config.keys import KEYS
from config.presets import RESNET_UNITS
from config.reading import no_reason, reading
from recognition.checkpoint.matching import BODY, WHOLE, parts_of
from recognition.utils.files import PathLike
from recognition.utils.packages import require
from recognition.utils.pixels import RAW, Pixels, pixels_of
from recognition.weights.arcface_torch import DEPTHS, SETTINGS
from recognition.weights.onnx.file_steps import FileReader
from recognition.weights.onnx.front import split_front
from recognition.weights.onnx.matching import Match, Values, assign, match
from recognition.weights.onnx.network_steps import network_graph
from recognition.weights.onnx.steps import CONV, NORM, Graph
from symbols import get_symbol

FLOAT, UINT8 = 1, 2  # ONNX's numbers of types
IMAGE_AXES = 4
COLOURS = (1, 3)
MEAN, SCALE = (KEYS[key].default for key in ('input_mean', 'input_scale'))
# Of files that say nothing and take no mean off: arcface_torch's, and most of what is published.
ASSUMED = Pixels(MEAN, SETTINGS['input_scale'])


@dataclass(frozen=True)
class OnnxFile:
    """A file: its graph behind what it does to the pixels, and what it says of itself.

    inside: what it does to the pixels; outside: what it leaves to its caller, None where it does not say. sides:
    height, width and channels of its images, None for one that is open. planes: whether the channels come before rows.
    """

    path: Path
    graph: Graph
    inside: Pixels
    outside: Optional[Pixels]
    sides: Tuple[Optional[int], ...]
    planes: bool
    as_bytes: bool
    metadata: Mapping[str, str]

    @property
    def silent(self) -> bool:
        """Whether the file neither normalises pixels nor records what its caller does."""
        known = self.outside is not None or 'facesymbols' in self.metadata
        return self.inside == RAW and not known and self.graph.steps[0].op != NORM

    def front(self, cfg: Mapping[str, Any]) -> Pixels:
        """Return what is done to RGB images in 0..255 before the graph; a silent file has what is usual."""
        if self.inside != RAW:
            return self.inside.after(self.outside or RAW)
        if self.silent:
            return RAW if front_of(cfg) == RAW else ASSUMED  # Keras's networks, and those for faces
        return self.outside or RAW

    @property
    def units(self) -> Tuple[int, ...]:
        """Return how many residual sums of the same width follow each other, as a ResNet's stages."""
        counts: List[List[int]] = []
        for step in self.graph.steps:
            if step.op == 'Add' and len(step.inputs) == 2:
                width = self.graph.width(step.output)
                if counts and counts[-1][0] == width:
                    counts[-1][1] += 1
                else:
                    counts.append([width, 1])
        return tuple(count for _, count in counts)


def load_file(path: PathLike) -> OnnxFile:
    """Read a file, once while it stays as it is.

    Raises CheckpointError where it is missing, damaged, quantised, not in float32, or has not one input of images and
    one output; MissingExtra where onnx is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist')
    stat = path.stat()
    return _load(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)
def _load(path: Path, *version: int) -> OnnxFile:
    model = parse(path)
    graph = model.graph
    held = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in held]
    for ports, words in ((inputs, 'inputs'), (graph.output, 'outputs')):
        if len(ports) != 1:
            names = first_few(repr(each.name) for each in ports)
            raise CheckpointError(f'{path} has {len(ports)} {words} ({names}); it must have one')
    kind = inputs[0].type.tensor_type.elem_type
    if kind not in (FLOAT, UINT8):
        raise CheckpointError(f'{path} does not take images in float32 or uint8; give one that does')
    dims = [each.dim_value or None for each in inputs[0].type.tensor_type.shape.dim]
    planes = len(dims) == IMAGE_AXES and dims[1] in (*COLOURS, None)
    if len(dims) != IMAGE_AXES or dims[1 if planes else 3] not in (*COLOURS, None):
        raise CheckpointError(f'{path} takes an input of shape {tuple(dims)}, which is not a batch of images')
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        whole = FileReader(model, path).graph(inputs[0].name, graph.output[0].name)
        inside, behind = split_front(whole)
    except CheckpointError as error:
        raise CheckpointError(str(error) if str(error).startswith(str(path)) else f'{path} {error}') from None
    except Exception as error:  # an input that is missing, say
        raise CheckpointError(f'{path} is damaged: its graph cannot be read') from error
    if not behind.steps:
        raise CheckpointError(f'{path} holds no layers')
    inside, behind = _with_scale(inside, behind)
    sides = tuple(dims[2:] + dims[1:2] if planes else dims[1:])
    outside = pixels_of(metadata['pixels'], path) if 'pixels' in metadata else None
    return OnnxFile(path, behind, inside, outside, sides, planes, kind == UINT8, metadata)


def parse(path: PathLike) -> Any:
    """Return onnx's model of a file, with the values that are beside it; CheckpointError where it is damaged."""
    onnx = require('onnx', 'onnx', 'an ONNX file')
    from google.protobuf.message import DecodeError

    with reading(path, CheckpointError, 'is damaged or not an ONNX file', no_reason):
        try:
            return onnx.load(str(path))
        except DecodeError:
            raise
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise CheckpointError(
                f'{path} keeps weights in a file beside it that is missing or damaged; copy all files of the network'
            ) from error


def _with_scale(inside: Pixels, graph: Graph) -> Tuple[Pixels, Graph]:
    """Take the scale of the pixels out of the first convolution where only the mean is left before it.

    As it is there the weights are so small that a step of training would be thousands of times as long.
    """
    first = graph.steps[0]
    if inside.mean != MEAN or inside.scale != 1 or first.op != CONV:
        return inside, graph
    held = {**first.held, 'weight': first.held['weight'] / SCALE}
    return inside._replace(scale=SCALE), graph._replace(steps=[replace(first, held=held), *graph.steps[1:]])


def settings_for(file: OnnxFile, cfg: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what the file asks of the config of its network, where that has otherwise.

    The pixels, the size of the images, the width of the output, the eps of the batch norms where it is one, and the
    depth of arcface_torch's iresnet200, by its layers another network than MXNet's.
    """
    found: Dict[str, Any] = file.front(cfg).settings()
    sides = zip(file.sides, cfg['image_shape'])
    found['image_shape'] = tuple(side or own for side, own in sides)
    found['num_classes' if output_kind(cfg) == CLASS_SCORES else 'emb_size'] = file.graph.width()
    depth = DEPTHS.get(cfg['num_layers'])
    if depth is not None and file.units == RESNET_UNITS[depth]:
        found['num_layers'] = depth
    own = network_graph(get_symbol({**cfg, **found}), found['image_shape'])
    there, here = ({step.eps for step in graph.steps if step.op == NORM} for graph in (file.graph, own))
    if len(there) == 1 and not there <= here:
        (found['bn_eps'],) = there
    return {key: value for key, value in found.items() if value != cfg[key]}


def match_file(file: OnnxFile, cfg: Mapping[str, Any], part: str = WHOLE) -> Tuple[Graph, Match]:
    """Lay the network of a config, with part 'body' its backbone alone, on a file; Difference where they differ."""
    symbol = parts_of(cfg).body if part == BODY else get_symbol(cfg)
    _, own = split_front(network_graph(symbol, cfg['image_shape']))
    return own, match(own, file.graph, whole=part != BODY)


def read_onnx(
    path: PathLike, cfg: Mapping[str, Any], part: str = WHOLE, *, target: str = 'the network'
) -> Values:
    """Read the network of `cfg` from an ONNX file, as float32 arrays by our names.

    cfg: resolve('r50', **settings_for(load_file(path), resolve('r50'))). With part 'body' the head may be another one.
    Raises CheckpointError for a file that `load_file` refuses, and for one of another network, which names what differs
    first.
    """
    cfg = complete(cfg)
    file = load_file(path)
    if file.inside != RAW and file.front(cfg) != front_of(cfg):
        raise CheckpointError(
            f'{path} takes {file.front(cfg).words()} of the pixels, and the config has {front_of(cfg).words()}; '
            'leave that out'
        )
    try:
        return assign(*match_file(file, cfg, part))
    except CheckpointError as error:
        raise CheckpointError(f'{path} {named(error, target)}') from None


def named(error: CheckpointError, target: str) -> str:
    """Return the sentence of an error with the network's name in it."""
    return str(error).replace('{network}', target)


def notes_on(path: PathLike, cfg: Mapping[str, Any]) -> List[str]:
    """Return lines on what a file says of its origin, and on what it leaves to its caller."""
    file = load_file(path)
    lines = [f'{key:<9} {file.metadata[key]}' for key in ('license', 'origin') if key in file.metadata]
    front = front_of(cfg)
    if file.silent:
        lines.append(
            f'pixels    {front.words()} is assumed: the file neither normalises them nor records what its caller '
            'does; --config input_mean=... and --config input_scale=... change that'
        )
    elif file.inside == RAW and front != RAW:
        lines.append(f'pixels    {front.words()}, which the file leaves to its caller, is inside now')
    return lines


def front_of(cfg: Mapping[str, Any]) -> Pixels:
    """Return what the network of a config does to the pixels."""
    return Pixels(cfg['input_mean'], cfg['input_scale'], cfg['input_order'])
