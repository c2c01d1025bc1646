"""The network of `audit` and `plot`: a preset with settings on top, a saved symbol, or a trained network."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

from config import complete, network, resolve
from config.errors import CheckpointError, ConfigError
from config.schema import parse_value
from recognition.cli.parser import Parser
from recognition.cli.standard_options import (
    add_config,
    add_image_size,
    add_no_check,
    add_output_layer,
    config_settings,
)
from recognition.engines.base import DEFAULT_SHAPE
from recognition.engines.model import find_model

if TYPE_CHECKING:
    import mxnet as mx

logger = logging.getLogger(__name__)

Shape = Tuple[int, ...]
UNKNOWN = 0  # channels, before a network's file is read
IMAGE_AXES = 4
SHORT = {'head': 'net_output', 'activation': 'net_act', 'emb_size': 'emb_size'}
FORMS = 'a preset (r50, d121, ...), PREFIX,EPOCH, PREFIX-symbol.json or NET.onnx'


class Request(NamedTuple):
    """A network that the command line names: `text` as given, and what is said of its inputs and settings."""

    text: str
    shapes: Dict[str, Shape]  # by input; '' is the input that is not named
    settings: Dict[str, Any]
    output: Optional[str] = None  # the layer that it is shown up to

    @property
    def is_preset(self) -> bool:
        """Whether `text` is the name of a preset, or is meant to be one: it is not like a path."""
        return self.text in network or not re.search(r'[,./]', self.text)

    @property
    def files(self) -> List[Path]:
        """Return the files that hold a network which is no preset."""
        if self.is_preset:
            return []
        return [Path(self.text)] if self.text.endswith('.json') else find_model(self.text).files

    @property
    def title(self) -> str:
        """Return what a picture of the network is called."""
        name = Path(self.text).name.rpartition(',')[0] or Path(self.text).name
        for ending in ('-symbol.json', '.json', '.onnx'):
            name = name[: -len(ending)] if name.endswith(ending) else name
        return name


def add_network_arguments(parser: Parser) -> None:
    """Add `network`, --network, --model, --shape and the settings, which `request_from` reads."""
    add = parser.add_argument
    add('positional', nargs='?', metavar='network', help=FORMS)
    add('--network', metavar='NAME', help='the same, for a preset')
    add('--model', metavar='MODEL', help='the same, for a trained network')
    add_no_check(parser)
    add(
        '--shape',
        action='append',
        default=[],
        metavar='[NAME=]N,C,H,W',
        help='shape of an input, batch first; once per input; NAME is data, or else the first argument, when '
        'it is left out (default: one image of the size that the network takes, or 112x112)',
    )
    add_image_size(parser, 'of one image; the short form of --shape')
    add_output_layer(parser, 'layer up to which the network is shown (default: all of it)')
    add_setting_arguments(parser)


def add_setting_arguments(parser: Parser) -> None:
    """Add --head, --activation, --emb-size and --config, which `settings_from` reads."""
    add = parser.add_argument
    add(
        '--head',
        metavar='NAME',
        help="fc1 head of the preset, by long name or letter (default: the preset's)",
    )
    add('--activation', metavar='NAME', help="activation of the preset (default: the preset's)")
    add('--emb-size', metavar='INT', help="width of the embedding (default: the preset's)")
    add_config(parser, 'net_multiplier=0.5')


def settings_from(args: argparse.Namespace) -> Dict[str, Any]:
    """Return the settings on top of a preset, by key of the config; ConfigError for a bad one."""
    texts = {key: getattr(args, option) for option, key in SHORT.items()}
    given = {key: parse_value(key, value) for key, value in texts.items() if value is not None}
    return {**given, **config_settings(args.config)}


def names_in(args: argparse.Namespace) -> List[str]:
    """Return the networks that are named, by position or by an option."""
    return [name for name in (args.positional, args.network, args.model) if name is not None]


def request_from(args: argparse.Namespace, text: Optional[str] = None) -> Request:
    """Return the one network that the arguments name, or `text` in its place.

    Raises ConfigError, before mxnet is imported, for a preset, setting or shape that cannot be.
    """
    names = [text] if text is not None else names_in(args)
    if len(names) != 1:
        count = f'{len(names)} networks are given' if names else 'the network is missing'
        raise ConfigError(f'{count}; give one: {FORMS}')
    request = Request(names[0], dict(map(_shape, args.shape)), settings_from(args), args.output_layer)
    if args.image_size:
        if args.shape:
            raise ConfigError('--image-size and --shape both give the shape of an input; give one')
        height, width, channels = args.image_size
        if 'image_shape' in request.settings:
            raise ConfigError(
                '--image-size and --config image_shape=... both give the size of an image; give one'
            )
        own = resolve(request.text, **request.settings).image_shape[2] if request.is_preset else UNKNOWN
        request.shapes[''] = (1, channels or own, height, width)
    if request.is_preset:
        _config(request)
    elif request.settings:
        keys = ', '.join(sorted(request.settings))
        raise ConfigError(f'{request.text} is already built, so {keys} cannot change; name a preset')
    elif not request.text.endswith('.json'):
        model = find_model(request.text)
        if model.kind == 'ncnn':
            raise ConfigError(f'{request.text} holds no graph of MXNet; give {FORMS}')
        model.check_files()
    elif not Path(request.text).is_file():
        raise CheckpointError(f'{request.text} does not exist')
    return request


def network_from(request: Request) -> Tuple[mx.sym.Symbol, Dict[str, Shape]]:
    """Return the symbol of a request, and the shapes of its inputs by name; errors as in `load_symbol`."""
    from recognition.checkpoint.network import embedding_of, image_inputs
    from symbols import get_symbol
    from symbols.ir.nodes import check_shape
    from symbols.ir.padding import check_padding

    if request.is_preset:
        cfg = _config(request)
        symbol, size = get_symbol(cfg), cfg.image_shape
    else:
        symbol, size = _saved(request)
    if request.output is not None:
        symbol = embedding_of(symbol, request.text, request.output)
    height, width, channels = size
    unnamed = [*image_inputs(symbol), symbol.list_arguments()[0]][0]
    given = request.shapes or {'': (1, UNKNOWN, height, width)}
    shapes = {name or unnamed: tuple(side or channels for side in shape) for name, shape in given.items()}
    for name, shape in shapes.items():
        check_shape(name, shape)
        if name == 'data' and len(shape) == IMAGE_AXES:
            check_padding(symbol, (*shape[2:], shape[1]))
    return symbol, shapes


def _config(request: Request) -> Any:
    """Return the config of a preset; the heads are built for the size of the images."""
    data = request.shapes.get('', request.shapes.get('data', ()))
    size = {'image_shape': (data[2], data[3], data[1])} if len(data) == IMAGE_AXES else {}
    return resolve(request.text, **{**size, **request.settings})


def _saved(request: Request) -> Tuple[mx.sym.Symbol, Tuple[int, int, int]]:
    """Return the symbol of a file, and the (height, width, channels) that its network was made for."""
    from recognition.checkpoint.network import Saved, image_inputs, input_channels, load_params
    from recognition.engines.record import checkpoint_record
    from symbols.ir.nodes import load_symbol

    text = request.text
    if text.endswith('.onnx'):
        return _exported(text)
    if text.endswith('.json'):
        recorded = checkpoint_record(text.removesuffix('-symbol.json')).image_shape
        return load_symbol(text, request.output), recorded or DEFAULT_SHAPE
    model = find_model(text)
    symbol, recorded = load_symbol(model.files[0], request.output), checkpoint_record(model.path).image_shape
    if recorded:
        return symbol, recorded
    args, auxs = load_params(model.path, model.epoch)
    saved = Saved(symbol, {**args, **auxs}, {})
    (data, *_) = [*image_inputs(symbol, saved.values), symbol.list_arguments()[0]]
    return symbol, (*DEFAULT_SHAPE[:2], input_channels(saved, data=data))


def _exported(text: str) -> Tuple[mx.sym.Symbol, Tuple[int, int, int]]:
    """Return the network that an ONNX file was exported from, by the config in its metadata."""
    from recognition.export.onnx.metadata import read_metadata
    from symbols import get_symbol

    held = read_metadata(text)
    if 'config' not in held:
        raise CheckpointError(
            f'{text} does not hold the config of its network, without which its graph in MXNet is unknown; '
            'give the checkpoint, PREFIX,EPOCH'
        )
    if held.get('options', {}).get('fold'):
        logger.warning('%s: its batch norms are folded; the network is shown as it was before', text)
    height, width, channels = held['image_shape']
    return get_symbol(complete(held['config'])), (height, width, channels)


def _shape(text: str) -> Tuple[str, Shape]:
    name, _, sizes = text.rpartition('=')
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes.split(',')):
        raise ConfigError(f'--shape {text!r} must be whole numbers with commas, as 1,3,112,112')
    return name, tuple(int(size) for size in sizes.split(','))
