"""Choice of the pixels for a network's file: as it records, as the user sets, or by InsightFace's rule."""

from __future__ import annotations

from typing import Mapping, NamedTuple, Tuple

from config.errors import ConfigError
from recognition.engines.model import OUTPUT_LAYER, Model
from recognition.engines.ncnn_engine import read_told
from recognition.engines.onnx_file import OnnxFile, read_onnx_file
from recognition.utils.pixels import CENTRED, RAW, Pixels, pixels_of

CHECKPOINT = 'params_sha256'  # in an exported file's metadata: the sum of the .params it was made from
PIXELS = 'pixels'
OPTIONS = '--input-mean, --input-scale and --channels'
CENTRED_OPTIONS = 'give --input-mean 127.5 --input-scale 0.00784313725'
ARITHMETIC = ('Add', 'Div', 'Mul', 'Sub')


class Settled(NamedTuple):
    """A model with its pixels; `said`: these in words, where they are not recorded, since embeddings depend on them.

    assumed: a warning that names the pixels assumed and the rule. Both are '' otherwise.
    """

    model: Model
    said: str = ''
    assumed: str = ''


def settle(model: Model, *, faces: bool) -> Settled:
    """Choose the pixels for a network; `faces`: whether it is to embed faces, as InsightFace's do.

    Raises ConfigError where the user's differ from those that the file records, and for a checkpoint, whose network
    normalises pixels itself; CheckpointError for a damaged file.
    """
    if model.pixels is not None:
        model.pixels.check()
    if model.kind == 'checkpoint':
        if model.pixels is not None:
            raise ConfigError(
                f'{OPTIONS} are for files; {model} is a checkpoint, whose network normalises pixels itself'
            )
        return Settled(model)
    file = read_onnx_file(model.path) if model.kind == 'onnx' else None
    metadata = file.metadata if file else read_told(model.path)
    outputs = [port.name for port in file.outputs] if file else []
    if model.output is not None and (outputs == [model.output] or _ends_in(metadata, model.output)):
        model = model._replace(output=None)  # that is the one it has anyway
    if CHECKPOINT in metadata or PIXELS in metadata:
        return Settled(model._replace(pixels=_recorded(model, metadata)))
    pixels, assumed = model.pixels, ''
    if pixels is None:
        pixels, why = _guess(file) if file and faces else (RAW, 'by default')
        assumed = (
            f'{model} does not record its preprocessing: pixels are {pixels}, {why}; {OPTIONS} change that'
        )
    return Settled(model._replace(pixels=pixels), '' if pixels == RAW else str(pixels), assumed)


def _ends_in(metadata: Mapping[str, str], output: str) -> bool:
    """Return whether a file was exported up to a layer, with `_output` behind its name or without."""
    held = metadata.get(OUTPUT_LAYER)
    return held is not None and held.removesuffix('_output') == output.removesuffix('_output')


def _recorded(model: Model, metadata: Mapping[str, str]) -> Pixels:
    found = pixels_of(metadata[PIXELS], model) if PIXELS in metadata else RAW
    if model.pixels is not None and not found.same_as(model.pixels):
        raise ConfigError(
            f'{model} records pixels {found}, but {OPTIONS} give {model.pixels}; leave these options out'
        )
    return found


def _guess(file: OnnxFile) -> Tuple[Pixels, str]:
    """Return the pixels that InsightFace's package gives a face network (model_zoo/arcface_onnx.py), and why."""
    if file.inputs and file.inputs[0].kind == 'uint8':
        return RAW, 'since it takes bytes'
    found = [
        any(name.startswith(starts) for name in file.node_names)
        for starts in (('Sub', '_minus'), ('Mul', '_mul'))
    ]
    own = [operator for operator in file.first_operators if operator in ARITHMETIC]
    if all(found):
        but = f'; its pixels go straight to a Conv: if its caller normalises, {CENTRED_OPTIONS}'
        but = but if 'Conv' in file.first_operators else ''
        return RAW, f"by InsightFace's rule (a Sub and a Mul among the names of its first eight nodes){but}"
    but = f'; if its own {own[0]} normalises, give --input-mean 0 --input-scale 1' if own else ''
    return CENTRED, f"by InsightFace's rule (no Sub and Mul among the names of its first eight nodes){but}"
