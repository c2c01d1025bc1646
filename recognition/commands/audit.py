"""Print a network's parameters, multiply-accumulates, memory and shapes, layer by layer, by stage and in total.

    facesymbols audit d121                                        a table for the terminal
    facesymbols audit runs/r50/model,10 --format html -o audit.html
    facesymbols audit r50 --level layers                          layers as articles count them: a Swish is one
    facesymbols audit article_xception --format keras             the same as Keras's model.summary() prints them
    facesymbols audit r50 --explain                               why print_summary says something else
    facesymbols audit r50 --max-params 50M --max-flops 7G --max-memory 300MB
    facesymbols audit --diff r50 r50v1                            what two networks have different
    facesymbols audit --all                                       every preset with every head

Beside the true numbers stands what `mx.viz.print_summary` says, and which layers explain the difference. A limit that
is exceeded ends with status 1 and names the largest layers.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
from dataclasses import asdict
from importlib.util import find_spec
from shutil import get_terminal_size
from typing import IO, TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence

from config.errors import ConfigError
from recognition.cli.network_options import (
    Request,
    add_network_arguments,
    names_in,
    network_from,
    request_from,
    settings_from,
)
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_output
from recognition.utils.amounts import parse_amount
from recognition.utils.files import write_whole
from recognition.utils.output_paths import check_outputs
from recognition.utils.packages import install_command

if TYPE_CHECKING:
    from recognition.reports.tables import Report
    from symbols.audit import Audit, Layer, Memory, SummaryCheck
    from symbols.graph import NetLayer, Subtotal

logger = logging.getLogger(__name__)

JSON, TERMINAL, KERAS = 'json', 'terminal', 'keras'
OPERATORS, LAYERS = LEVELS = ('operators', 'layers')
FORMATS = (TERMINAL, 'markdown', 'csv', 'html')
SUMS = ('trainable', 'fixed', 'auxiliary', 'flops', 'bytes')
LIMITS = {'max_params': 'parameters', 'max_flops': 'flops', 'max_memory': 'memory_limit'}


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('audit', __doc__)
    add_network_arguments(parser)
    add = parser.add_argument
    add(
        '--format',
        choices=(*FORMATS, JSON, KERAS),
        help='default: terminal, or markdown where rich is not installed; keras: as model.summary() prints layers',
    )
    add(
        '--level',
        choices=LEVELS,
        help='a row for each operator of MXNet (default), or for each layer of articles',
    )
    add('--json', action='store_const', const=JSON, dest='format', help='the same as --format json')
    add_output(parser, 'FILE', 'file to write (default: the screen)', default=None)
    add('--explain', action='store_true', help='say of every layer why print_summary is off')
    add('--max-params', metavar='N', help='limit on parameters, as 8M')
    add('--max-flops', metavar='N', help='limit on multiply-accumulates, as 1G')
    add('--max-memory', metavar='BYTES', help='limit on the memory of an inference, as 200MB')
    add('--diff', nargs=2, metavar='NETWORK', help='compare two networks')
    add('--all', action='store_true', help='a table of all presets and heads')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Audit what the command line names, write it, and return 1 where a limit is exceeded."""
    args = build_parser().parse_args(argv)
    limits = {
        limit: parse_amount(f'--{option.replace("_", "-")}', getattr(args, option))
        for option, limit in LIMITS.items()
        if getattr(args, option) is not None
    }
    request = request_from(args) if names_in(args) else None
    compared = [request_from(args, text) for text in args.diff or ()]
    if bool(request) + bool(compared) + args.all != 1:
        raise ConfigError('name one network, or two with --diff, or give --all')
    if not request and (limits or args.explain or args.level or args.format == KERAS):
        raise ConfigError('limits, --explain, --level and --format keras are for one network')
    if args.format == KERAS and (args.level == OPERATORS or args.explain):
        raise ConfigError(
            '--format keras has a row for each layer, so --level operators and --explain are not for it'
        )
    sizes = _sizes(args) if args.all else {}
    if args.output:
        read = [file for each in (request, *compared) if each for file in each.files]
        check_outputs([args.output], overwrite=args.overwrite, sources=read)
    form = args.format or _default_format()
    exceeded: List[str] = []
    text = io.StringIO()
    out = text if args.output else sys.stdout
    if request:
        exceeded = _one(request, args, form, limits, out)
    elif compared:
        _compare(compared, form, out)
    else:
        from recognition.reports.network_table import network_table

        _write(network_table(sizes), form, out)
    if args.output:
        write_whole(args.output, text.getvalue().encode('utf-8'))
    for sentence in exceeded:
        print(f'over the limit: {sentence}', file=sys.stderr)
    return 1 if exceeded else None


def _default_format() -> str:
    if find_spec('rich'):
        return TERMINAL
    logger.warning('without the package rich the table is in Markdown: %s', install_command('audit'))
    return 'markdown'


def _compare(requests: Sequence[Request], form: str, out: IO[str]) -> None:
    from recognition.reports.audit import difference_report
    from symbols.audit import audit

    one, other = requests
    before, after = (audit(*network_from(request)) for request in (one, other))
    _write(difference_report(one.text, other.text, before, after), form, out)


def _one(
    request: Request, args: argparse.Namespace, form: str, limits: Mapping[str, int], out: IO[str]
) -> List[str]:
    """Write the audit of one network, and return which limits it exceeds."""
    from recognition.reports.audit import audit_report
    from recognition.reports.budget import over_budget
    from recognition.reports.keras_summary import keras_summary
    from recognition.reports.tables import write
    from symbols.audit import audit, check_summary, estimate_memory
    from symbols.graph import layer_table, subtotals, weighted_layers

    symbol, shapes = network_from(request)
    audited = audit(symbol, shapes)
    memory = estimate_memory(symbol, shapes, audited)
    table = layer_table(symbol, shapes, audited)
    if form == KERAS:
        width = get_terminal_size().columns if out.isatty() else None
        out.write(keras_summary(request.title, table.layers, width))
        return over_budget(audited, memory, **limits)  # type: ignore[arg-type]
    check = check_summary(symbol, shapes, audited)
    stages, weighted = subtotals(symbol, shapes, audited), weighted_layers(table)
    layers = table.layers if args.level == LAYERS else ()
    if form == JSON:
        found = _as_json(request.text, audited, check, stages, memory)
        found['weighted_layers'] = asdict(weighted)
        found['layers'] = [_net_layer_json(layer, layers) for layer in layers] or found['layers']
        json.dump(found, out, indent=2)
        out.write('\n')
    else:
        report = audit_report(
            request.text,
            audited,
            check,
            stages,
            memory,
            weighted=weighted,
            layers=layers,
            explain=args.explain,
        )
        write(report, form, out)
    return over_budget(audited, memory, **limits)  # type: ignore[arg-type]


def _sizes(args: argparse.Namespace) -> Dict[str, Any]:
    if args.head or args.shape or args.image_size or args.output_layer or args.config:
        raise ConfigError(
            '--all takes every head at the size of its preset; --head, --shape, --image-size, --output-layer and '
            '--config are for one network'
        )
    return settings_from(args)


def _write(report: Report, form: str, out: IO[str]) -> None:
    from recognition.reports.tables import as_dicts, write

    if form == JSON:
        json.dump({table.title: as_dicts(table) for table in report.tables}, out, indent=2)
        out.write('\n')
    else:
        write(report, form, out)


def _as_json(
    network: str, audited: Audit, check: SummaryCheck, stages: Sequence[Subtotal], memory: Memory
) -> Dict[str, Any]:
    return {
        'network': network,
        'inputs': dict(audited.inputs),
        'total': asdict(audited.total),
        'flops_unit': 'multiply-accumulates',
        'memory': {**asdict(memory), 'inference': memory.inference, 'training': memory.training},
        'uncounted': [{'layer': layer.name, 'operator': layer.operator} for layer in audited.uncounted],
        'stages': [
            {'level': each.level, 'name': each.name, **{kind: getattr(each, kind) for kind in SUMS}}
            for each in stages
        ],
        'layers': [_layer_json(layer, said) for layer, said in zip(audited.layers, check.layers)],
        'print_summary': {'total': check.total, 'error': check.error},
        'differences': [{**asdict(item), 'difference': item.difference} for item in check.differences],
    }


def _net_layer_json(layer: NetLayer, layers: Sequence[NetLayer]) -> Dict[str, Any]:
    return {
        'name': layer.name,
        'type': layer.type,
        'inputs': [layers[i].name for i, _ in layer.inputs],
        'output_shapes': layer.shapes,
        **{kind: getattr(layer, kind) for kind in SUMS},
        'operators': [each.name for each in layer.layers],
    }


def _layer_json(layer: Layer, said: Optional[int]) -> Dict[str, Any]:
    from symbols.audit import AUXILIARY, FIXED, TRAINABLE

    return {
        'name': layer.name,
        'operator': layer.operator,
        'input_shapes': layer.input_shapes,
        'output_shapes': layer.output_shapes,
        **{kind: layer.size(kind) for kind in (TRAINABLE, FIXED, AUXILIARY)},
        'flops': layer.flops,
        'bytes': layer.bytes,
        'print_summary': said,
        'parameters': [asdict(parameter) for parameter in layer.parameters],
        'shared': dict(layer.shared),
    }
