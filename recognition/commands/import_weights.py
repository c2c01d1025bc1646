"""Write a checkpoint from weights of Keras, PyTorch (arcface_torch) or InsightFace, an ONNX or a safetensors file.

Every parameter must find its value, and every value its parameter; another --head than the weights have is drawn fresh,
and the report says so. Nothing is written unless all is loaded that was asked for.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from config import network, resolve
from config.checks import CLASS_SCORES, output_kind
from config.errors import CheckpointError, ConfigError
from config.keys import FAMILY_NAMES, HEAD_NAMES, KEYS
from config.preprocessing import MODES, PIXEL_KEYS, mode_of
from config.presets import FAMILIES
from config.schema import check_value
from recognition.cli.import_formats import FORMATS, Format, Source, prefix_and_epoch
from recognition.cli.network_options import add_setting_arguments, settings_from
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_no_check, add_output, add_provenance, provenance_from
from recognition.data.class_names import read_classes, write_classes
from recognition.engines.model import Model
from recognition.engines.record import beside, write_provenance
from recognition.utils.checksums import check_checksum, checksum_path
from recognition.utils.locks import lock_output
from recognition.utils.output_paths import check_outputs
from recognition.utils.run_paths import check_prefix, classes_path, config_path, origin_path

AUTO = 'auto'  # --network: the preset is recognised
LAST_EPOCH = 999_999  # six digits in a checkpoint's name
# Settings that may ask for another head than the weights have.
HEAD_KEYS = ('net_output', 'emb_size', 'num_classes')


def epoch(text: str) -> int:
    """Parse the number of a checkpoint."""
    if not text.isdecimal() or int(text) > LAST_EPOCH:
        raise argparse.ArgumentTypeError(f'{text!r} must be from 0 to {LAST_EPOCH}')
    return int(text)


def build_parser() -> Parser:
    """Return the parser of the command line."""
    example = 'arcface_torch backbone.pth --network r50 -o models/r50'
    parser = command_parser('import-weights', __doc__, example)
    formats = parser.add_subparsers(dest='format', required=True, metavar='FORMAT')
    for name, form in FORMATS.items():
        one = formats.add_parser(name, help=form.help, description=form.help)
        add = one.add_argument
        add('file', metavar=form.metavar, help=form.help)
        default = '; auto: the one that fits' if form.identifies else ''
        default = ' (default: as the file records it)' if form.names_network else default
        add(
            '--network',
            required=not form.names_network,
            help=f'preset that the weights are of: r50, keras_densenet121, ...{default}',
        )
        add_output(one, 'PREFIX', 'of the checkpoint to write', kind=str)
        add_no_check(one)
        add('--epoch', type=epoch, default=0, metavar='N', help='number of the checkpoint (default: 0)')
        add_setting_arguments(one)
        add_provenance(one)
        if name == 'keras':
            add(
                '--preprocessing',
                choices=tuple(MODES),
                help="what of Keras's preprocess_input is put into the network, by the name of its mode (default: as a "
                "file exported here records it, or the network's own; none for those of articles)",
            )
        add('--fresh-head', action='store_true', help='leave the head of the weights out and draw one fresh')
        if name != 'onnx':  # whose parameters have no names by which some could fit
            add('--partial', action='store_true', help='load whatever fits and draw the rest fresh')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Read, check, save and print what the network takes and how to train it on."""
    args = build_parser().parse_args(argv)
    check_prefix(args.output)
    settings = settings_from(args)
    auto = FORMATS[args.format].identifies and args.network == AUTO
    if args.network and not auto:
        resolve(args.network, **settings)
    if getattr(args, 'preprocessing', None) and not settings.keys().isdisjoint(PIXEL_KEYS):
        raise ConfigError(
            f'--preprocessing and --config {PIXEL_KEYS[0]}=... both say what is done to pixels; give one'
        )
    written = Model('checkpoint', Path(args.output), args.epoch)
    read = [args.file]
    if args.format == 'insightface':
        source = Model('checkpoint', *prefix_and_epoch(args.file))
        source.check_files()
        read = [str(path) for path in source.files]
    elif not Path(args.file).is_file():
        raise CheckpointError(
            f'{args.file} {"is a folder" if Path(args.file).is_dir() else "does not exist"}'
        )
    files = [*written.files, checksum_path(written.files[-1])]
    files += [config_path(args.output), classes_path(args.output), origin_path(args.output)]
    check_outputs(files, overwrite=args.overwrite, sources=read, option='--output or --epoch')
    lock_output(args.output)  # as a training with this prefix does
    if args.format != 'insightface':  # whose values are checked where they are read
        check_checksum(Path(args.file))
    if auto:
        from recognition.weights.onnx.candidates import identify
        from recognition.weights.onnx.reader import load_file

        args.network, settings = identify(load_file(args.file), settings)
        print('network  ', args.network)
    _import(args, FORMATS[args.format], settings, written)
    return None


def _import(args: argparse.Namespace, form: Format, settings: Dict[str, Any], written: Model) -> None:
    from recognition.checkpoint import save_network
    from recognition.checkpoint.layer_diff import pixel_formula
    from recognition.checkpoint.matching import BODY, FITTING, WHOLE
    from recognition.checkpoint.run_files import write_json
    from recognition.training.pretrained import check_layers
    from recognition.weights.conversion import choose_part, convert
    from symbols import get_symbol

    own = _settings_of_file(form, args, settings)
    names_file = beside(args.file.rpartition(',')[0], classes_path) if args.format == 'insightface' else None
    cfg, *others = _candidates(args.network, {**own, **settings})
    part = BODY if args.fresh_head else FITTING if getattr(args, 'partial', False) else WHOLE
    source = _read(form, args.file, cfg, others, part)
    if part == WHOLE:
        asked = any(not _same_head(cfg, other, ('emb_size',)) for other in others)
        part = choose_part(source.values, cfg, other_head=asked, source=args.file, target=args.network)
    names = {'source': args.file, 'target': args.network}
    if source.saved:
        check_layers(source.saved.symbol, get_symbol(cfg), part, **names)
    converted = convert(source.values, cfg, part, **names)
    apart = source.compare(converted) if source.compare else None
    keeps = part == WHOLE and output_kind(cfg) == CLASS_SCORES
    classes: Sequence[str] = source.record.classes if keeps else ()
    if names_file and keeps:
        classes = read_classes(names_file, cfg.num_classes)
    save_network(args.output, args.epoch, converted.symbol, converted.args, converted.auxs)
    write_json(config_path(args.output), cfg)
    write_provenance(args.output, {**source.record.provenance, **provenance_from(args)})
    if classes:
        write_classes(classes_path(args.output), classes)
    else:  # an older network's names are not those of this one
        classes_path(args.output).unlink(missing_ok=True)
    _print_report(source, converted.report, apart)
    _print_use(args, cfg, written, pixel_formula(converted.symbol))


def _settings_of_file(form: Format, args: argparse.Namespace, settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return what the file sets on top of --network, which becomes the file's where it is not given.

    Raises CheckpointError where --network or a setting makes another network than that of a file which holds its own.
    """
    from recognition.weights.conversion import own_settings

    inside = form.inside(args.file, args.network)
    clash = '' if inside is None or getattr(args, 'partial', False) else _clash(form, inside, args, settings)
    if clash and form.names_network:
        raise CheckpointError(clash)
    if inside is None or clash:
        return form.settings(resolve(args.network, **settings), args)
    if not args.network:
        family = FAMILIES[FAMILY_NAMES[inside.net_name]]
        args.network = inside.network if inside.network in network else next(iter(family.presets))
    return own_settings(inside, args.network)


def _clash(form: Format, inside: Any, args: argparse.Namespace, settings: Dict[str, Any]) -> str:
    """Return what makes another network than that of the config inside the file, the head aside; '' where nothing."""
    row = network.get(args.network, {}) if form.names_network else {}
    for key, value in {**row, **settings}.items():
        if KEYS[key].group == 'network' and key not in HEAD_KEYS and check_value(key, value) != inside[key]:
            option = f'--network {args.network}' if key not in settings else 'the command line'
            return f'{args.file} holds a network with {key}={inside[key]!r}, but {option} has {value!r}'
    return ''


def _print_report(source: Source, report: Any, apart: Optional[float]) -> None:
    print(report)
    print(*source.notes, sep='\n', end='\n' if source.notes else '')
    for name, value in source.saved.classifier.items() if source.saved else ():
        print(
            f'left out  {name} {tuple(value.shape)}: the classifier over identities; fine-tuning can take it'
        )
    if report.missing or report.misshaped:
        print('what is missing or misshaped was drawn fresh, and needs training before use')
    if apart is not None:
        compared = 'embeddings' if report.ok else 'backbones'
        print(
            f'embedding the {compared} of the file and of this network are {apart:.1g} of the largest value apart'
        )


def _candidates(network: str, settings: Dict[str, Any]) -> List[Any]:
    """Return the config of the settings, and others with more and more of the preset's own head."""
    kept = [resolve(network, **settings)]
    for without in (HEAD_KEYS[:1], HEAD_KEYS):
        fewer = resolve(network, **{key: value for key, value in settings.items() if key not in without})
        if not _same_head(fewer, kept[-1]):
            kept.append(fewer)
    return kept


def _same_head(one: Any, other: Any, sizes: Sequence[str] = HEAD_KEYS[1:]) -> bool:
    heads = [HEAD_NAMES[cfg.net_output] for cfg in (one, other)]
    return heads[0] == heads[1] and all(one[key] == other[key] for key in sizes)


def _read(form: Format, file: str, cfg: Any, others: Sequence[Any], part: str) -> Source:
    """Read a file of the network of `cfg`, or else of the first of `others` that it is of."""
    try:
        return form.read(file, cfg, part)
    except CheckpointError:
        for other in others:
            with suppress(CheckpointError):
                return form.read(file, other, part)
        raise


def _print_use(args: argparse.Namespace, cfg: Any, written: Model, formula: str) -> None:
    """Print which files there are now, what the network takes, and how it is trained on."""
    from recognition.weights.conversion import as_option, own_settings, training_command

    beside_it = [path for path in (config_path(args.output), origin_path(args.output)) if path.is_file()]
    print('written  ', ', '.join(map(str, [*written.files, *beside_it])))
    settings = own_settings(cfg, args.network)
    if settings:
        print('settings ', ' '.join(f'--config {key}={as_option(value)}' for key, value in settings.items()))
    inside = f'; {formula} is inside' if formula else ' as they are'
    if not formula and args.format == 'keras':
        mode = mode_of(cfg)
        inside += (
            '; the file does not say how its images were prepared, which --preprocessing tf, torch or caffe puts inside'
            if mode == 'none'
            else f", without Keras's own preprocessing ({mode})"
        )
    print(f'input     RGB in 0..255{inside}')
    print('train    ', training_command(cfg, args.network, args.output, args.epoch))
