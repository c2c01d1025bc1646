"""Print a network's parameters, multiply-accumulates, memory and shapes, layer by layer, by stage and in total.

    facesymbols audit d121                                        a table for the terminal
    facesymbols audit runs/r50/model,10 --format html -o audit.html
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
    from symbols.graph import Subtotal

logger = logging.getLogger(__name__)

JSON, TERMINAL = 'json', 'terminal'
FORMATS = (TERMINAL, 'markdown', 'csv', 'html')
LIMITS = {'max_params': 'parameters', 'max_flops': 'flops', 'max_memory': 'memory_limit'}


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('audit', __doc__)
    add_network_arguments(parser)
    add = parser.add_argument
    add(
        '--format',
        choices=(*FORMATS, JSON),
        help='default: terminal, or markdown where rich is not installed',
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
    if not request and (limits or args.explain):
        raise ConfigError('limits and --explain are for one network')
    sizes = _sizes(args) if args.all else {}
    if args.output:
        read = [file for each in (request, *compared) if each for file in each.files]
        check_outputs([args.output], overwrite=args.overwrite, sources=read)
    form = args.format or _default_format()
    exceeded: List[str] = []
    text = io.StringIO()
    out = text if args.output else sys.stdout
    if request:
        exceeded = _one(request, args.explain, form, limits, out)
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


def _one(request: Request, explain: bool, form: str, limits: Mapping[str, int], out: IO[str]) -> List[str]:
    """Write the audit of one network, and return which limits it exceeds."""
    from recognition.reports.audit import audit_report
    from recognition.reports.budget import over_budget
    from recognition.reports.tables import write
    from symbols.audit import audit, check_summary, estimate_memory
    from symbols.graph import subtotals

    symbol, shapes = network_from(request)
    audited = audit(symbol, shapes)
    check = check_summary(symbol, shapes, audited)
    stages, memory = subtotals(symbol, shapes, audited), estimate_memory(symbol, shapes, audited)
    if form == JSON:
        json.dump(_as_json(request.text, audited, check, stages, memory), out, indent=2)
        out.write('\n')
    else:
        write(audit_report(request.text, audited, check, stages, memory, explain=explain), form, out)
    return over_budget(audited, memory, **limits)  # type: ignore[arg-type]


def _sizes(args: argparse.Namespace) -> Dict[str, Any]:
    if args.head or args.shape or args.image_size or args.config:
        raise ConfigError(
            '--all takes every head at the size of its preset; --head, --shape, --image-size and --config are for '
            'one network'
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
    kinds = ('trainable', 'fixed', 'auxiliary', 'flops', 'bytes')
    return {
        'network': network,
        'inputs': dict(audited.inputs),
        'total': asdict(audited.total),
        'flops_unit': 'multiply-accumulates',
        'memory': {**asdict(memory), 'inference': memory.inference, 'training': memory.training},
        'uncounted': [{'layer': layer.name, 'operator': layer.operator} for layer in audited.uncounted],
        'stages': [
            {'level': each.level, 'name': each.name, **{kind: getattr(each, kind) for kind in kinds}}
            for each in stages
        ],
        'layers': [_layer_json(layer, said) for layer, said in zip(audited.layers, check.layers)],
        'print_summary': {'total': check.total, 'error': check.error},
        'differences': [{**asdict(item), 'difference': item.difference} for item in check.differences],
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
