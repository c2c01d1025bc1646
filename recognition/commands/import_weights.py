"""Make a checkpoint of a network here from weights of Keras, of InsightFace's arcface_torch or of InsightFace's MXNet.

Every parameter must find its value, and every value its parameter; another --head than the weights have is drawn fresh,
and the report says so. Nothing is written unless all is loaded that was asked for.
"""

from __future__ import annotations

import argparse
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from recognition.cli import run
from config import resolve
from config.errors import CheckpointError
from config.keys import FAMILY_NAMES, HEAD_NAMES
from recognition.checkpoint.matching import BODY, FITTING, WHOLE
from recognition.checkpoint.network import Saved, load_embedding, save_network
from recognition.cli.network_options import add_setting_arguments, settings_from
from recognition.training.pretrained import check_layers, check_pair
from recognition.utils.run_paths import check_prefix, params_path, parse_checkpoint, symbol_path
from recognition.weights.conversion import (
    as_option,
    can_compare,
    check_epoch,
    check_vacant,
    choose_part,
    convert,
    embedding_difference,
    own_settings,
    training_command,
)
from symbols import get_symbol

EXAMPLE = (
    'example: python tools/import_weights.py arcface_torch backbone.pth --network r50 --output models/r50'
)
HEAD_KEYS = (
    'net_output',
    'emb_size',
    'num_classes',
)  # settings that may ask for another head than the weights have
RAW = 'pixels as they are, which means'
INPUTS = {  # what keras.applications.<module>.preprocess_input makes of RGB images in 0..255
    'keras_densenet': f'{RAW} RGB / 255, less 0.485 0.456 0.406, divided by 0.229 0.224 0.225 (densenet)',
    'keras_resnet': f'{RAW} BGR less 103.939 116.779 123.68 (resnet50)',
    'xception': f'{RAW} RGB / 127.5 - 1 (xception); imported with --set input_mean=127.5 '
    f'--set input_scale={1 / 127.5!r} it takes RGB in 0..255',
}


class Source(NamedTuple):
    """What a file holds: values by our names, and the checkpoint when it was one of MXNet's."""

    values: Dict[str, Any]
    saved: Optional[Saved] = None


def _keras(file: str, cfg: Any, part: str) -> Source:
    from recognition.weights.keras.mapping import read_keras

    return Source(read_keras(file, cfg))


def _arcface_torch(file: str, cfg: Any, part: str) -> Source:
    from recognition.weights.arcface_torch import read_arcface_torch

    return Source(read_arcface_torch(file, cfg, part))


def _arcface_torch_settings(preset: Any) -> Dict[str, Any]:
    from recognition.weights.arcface_torch import settings_for

    return settings_for(preset.num_layers)


def _no_settings(preset: Any) -> Dict[str, Any]:
    return {}


def _insightface(file: str, cfg: Any, part: str) -> Source:
    prefix, epoch = parse_checkpoint('insightface', file)
    saved = load_embedding(prefix, epoch)
    check_pair(saved, prefix, epoch, cfg.image_shape, part)
    return Source(saved.values, saved)


class Format(NamedTuple):
    """One subcommand: how its file is called and read, and what the format sets in the config."""

    metavar: str
    help: str
    read: Callable[[str, Any, str], Source]
    settings: Callable[[Any], Dict[str, Any]] = _no_settings


FORMATS = {
    'keras': Format('FILE', "Keras's .h5, .weights.h5 or .keras, of a keras_... network", _keras),
    'arcface_torch': Format(
        'FILE', "PyTorch's backbone.pth of an iresnet", _arcface_torch, _arcface_torch_settings
    ),
    'insightface': Format('PREFIX,EPOCH', 'PREFIX-symbol.json and the .params of that epoch', _insightface),
}


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Read, check, save and tell what the network takes and how to train it on."""
    args = _parser().parse_args(argv)
    check_prefix(args.output)
    check_epoch(args.epoch)
    if not args.overwrite:
        check_vacant(args.output, args.epoch)
    form = FORMATS[args.format]
    given = settings_from(args)
    cfg, *others = _candidates(args.network, {**form.settings(resolve(args.network)), **given})
    part = BODY if args.fresh_head else FITTING if args.partial else WHOLE
    source = _read(form, args.file, cfg, others, part)
    if part == WHOLE:
        part = choose_part(source.values, cfg, other_head=bool(others), source=args.file, target=args.network)
    names = {'source': args.file, 'target': args.network}
    if source.saved:
        check_layers(source.saved.symbol, get_symbol(cfg), part, **names)
    converted = convert(source.values, cfg, part, **names)
    apart = None
    if source.saved and can_compare(source.saved, converted):
        apart = embedding_difference(source.saved, converted, cfg.image_shape)
    save_network(args.output, args.epoch, converted.symbol, converted.args, converted.auxs)
    print(converted.report)
    for name, value in source.saved.classifier.items() if source.saved else ():
        print(
            f'left out  {name} {tuple(value.shape)}: the classifier over identities; fine-tuning can take it'
        )
    if converted.report.missing or converted.report.misshaped:
        print('what is missing or misshaped was drawn fresh, and needs training before use')
    if apart is not None:
        print(
            f'embedding the embeddings of the file and of this network are {apart:.1g} of the largest value apart'
        )
    _print_use(args, cfg)
    return None


def _candidates(network: str, settings: Dict[str, Any]) -> List[Any]:
    """Return the config of the settings, and others with more and more of the preset's own head."""
    kept = [resolve(network, **settings)]
    for without in (HEAD_KEYS[:1], HEAD_KEYS):
        fewer = resolve(network, **{key: value for key, value in settings.items() if key not in without})
        if not _same_head(fewer, kept[-1]):
            kept.append(fewer)
    return kept


def _same_head(one: Any, other: Any) -> bool:
    heads = [HEAD_NAMES[cfg.net_output] for cfg in (one, other)]
    return heads[0] == heads[1] and all(one[key] == other[key] for key in HEAD_KEYS[1:])


def _read(form: Format, file: str, cfg: Any, others: Sequence[Any], part: str) -> Source:
    """Read a file of the network of `cfg`, or else of the first of `others` that it is of."""
    for each in (cfg, *others[:-1]):
        try:
            return form.read(file, each, part)
        except CheckpointError:
            if not others:
                raise
    return form.read(file, others[-1], part)


def _print_use(args: argparse.Namespace, cfg: Any) -> None:
    """Print which files there are now, what the network takes, and how it is trained on."""
    print(f'written   {symbol_path(args.output)}, {params_path(args.output, args.epoch)}')
    raw = cfg.input_mean == 0 and cfg.input_scale == 1
    settings = own_settings(cfg, args.network)
    if settings:
        print('settings ', ' '.join(f'--set {key}={as_option(value)}' for key, value in settings.items()))
    if raw:
        print('input    ', INPUTS.get(FAMILY_NAMES[cfg.net_name], f'{RAW} no normalisation'))
        print(
            'train     not as it is: recognition.train feeds RGB in 0..255, which is not what this network takes'
        )
    else:
        print(f'input     RGB in 0..255; (x - {cfg.input_mean:g}) * {cfg.input_scale!r} is inside')
        print('train    ', training_command(cfg, args.network, args.output, args.epoch))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='import_weights.py', description=(__doc__ or '').partition('\n')[0], epilog=EXAMPLE
    )
    formats = parser.add_subparsers(dest='format', required=True, metavar='FORMAT')
    for name, form in FORMATS.items():
        one = formats.add_parser(name, help=form.help, description=form.help, allow_abbrev=False)
        add = one.add_argument
        add('file', metavar=form.metavar, help=form.help)
        add('--network', required=True, help='preset that the weights are of: r50, keras_densenet121, ...')
        add('--output', required=True, metavar='PREFIX', help='of the checkpoint to write')
        add('--epoch', type=int, default=0, help='number of the checkpoint (default: 0)')
        add_setting_arguments(one)
        add('--fresh-head', action='store_true', help='leave the head of the weights out and draw one fresh')
        add('--partial', action='store_true', help='load whatever fits and draw the rest fresh')
        add('--overwrite', action='store_true', help='replace files of that name')
    return parser


if __name__ == '__main__':
    run(main)
