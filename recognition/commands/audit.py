"""Print a network's parameters, multiply-accumulates, memory and shapes, layer by layer, by stage and in total.

    python tools/audit_net.py d121                                        a table for the terminal
    python tools/audit_net.py model-symbol.json --shape 1,3,112,112 --format html --output audit.html
    python tools/audit_net.py r50 --explain                               why print_summary says something else
    python tools/audit_net.py r50 --max-params 50M --max-flops 7G --max-memory 300MB
    python tools/audit_net.py --diff r50 r50v1                            what two networks have different
    python tools/audit_net.py --all                                       every preset with every head

A network is the name of a preset or a `prefix-symbol.json`. Beside the true numbers stands what `mx.viz.print_summary`
says, and which layers explain the difference. A limit that is passed ends with status 1 and names the largest layers.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Optional, Sequence

from recognition.cli import run
from config.errors import ConfigError
from recognition.cli.network_options import add_network_arguments, network_from
from recognition.reports.audit import audit_report, difference_report
from recognition.reports.budget import over_budget, parse_amount
from recognition.reports.network_table import network_table
from recognition.reports.tables import FORMS, Report, as_dicts, write
from recognition.utils.files import write_whole
from symbols.audit.core import AUXILIARY, FIXED, TRAINABLE, Audit, Layer, audit
from symbols.audit.memory import Memory, estimate_memory
from symbols.audit.print_summary_check import SummaryCheck, check_summary
from symbols.graph.subtotals import Subtotal, subtotals

JSON = 'json'
LIMITS = {'max_params': 'parameters', 'max_flops': 'flops', 'max_memory': 'memory_limit'}


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Audit what the command line names, write it, and return 1 where a limit is passed."""
    args = _parser().parse_args(argv)
    form = JSON if args.json else args.format
    limits = {
        limit: parse_amount(f'--{option.replace("_", "-")}', getattr(args, option))
        for option, limit in LIMITS.items()
        if getattr(args, option) is not None
    }
    if bool(args.network) + bool(args.diff) + args.all != 1:
        raise ConfigError('name one network, or two with --diff, or give --all')
    if limits and not args.network:
        raise ConfigError('limits are for one network')
    said: List[str] = []
    text = io.StringIO()
    out = text if args.output else sys.stdout
    if args.network:
        said = _one(args, form, limits, out)
    elif args.diff:
        one, other = args.diff
        before, after = (audit(*network_from(_naming(args, name))) for name in args.diff)
        _write(difference_report(one, other, before, after), form, out)
    else:
        _write(network_table(_sizes(args)), form, out)
    if args.output:
        write_whole(args.output, text.getvalue().encode('utf-8'))
    for sentence in said:
        print(f'over the limit: {sentence}', file=sys.stderr)
    return 1 if said else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='audit_net.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser, optional=True)
    add = parser.add_argument
    add('--format', choices=(*FORMS, JSON), default='terminal', help='default: %(default)s')
    add('--json', action='store_true', help='the same as --format json')
    add('--output', type=Path, metavar='FILE', help='write there in place of the screen')
    add('--explain', action='store_true', help='tell of every layer why print_summary is off')
    add('--max-params', metavar='N', help='limit on parameters, 8M say')
    add('--max-flops', metavar='N', help='limit on multiply-accumulates, 1G say')
    add('--max-memory', metavar='BYTES', help='limit on the memory of an inference, 200MB say')
    add('--diff', nargs=2, metavar='NETWORK', help='compare two networks')
    add('--all', action='store_true', help='a table of all presets and heads')
    return parser


def _one(args: argparse.Namespace, form: str, limits: Mapping[str, int], out: IO[str]) -> List[str]:
    """Write the audit of one network, and return which limits it passes."""
    symbol, shapes = network_from(args)
    audited = audit(symbol, shapes)
    check = check_summary(symbol, shapes, audited)
    stages, memory = subtotals(symbol, shapes, audited), estimate_memory(symbol, shapes, audited)
    if form == JSON:
        json.dump(_as_json(args.network, audited, check, stages, memory), out, indent=2)
        out.write('\n')
    else:
        write(audit_report(args.network, audited, check, stages, memory, explain=args.explain), form, out)
    return over_budget(audited, memory, **limits)  # type: ignore[arg-type]


def _naming(args: argparse.Namespace, network: str) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), 'network': network})


def _sizes(args: argparse.Namespace) -> Dict[str, Any]:
    if args.head or args.shape:
        raise ConfigError(
            '--all takes every head at the size of its preset; --head and --shape are for one network'
        )
    given = {'net_act': args.activation, 'emb_size': args.emb_size and int(args.emb_size)}
    return {key: value for key, value in given.items() if value is not None}


def _write(report: Report, form: str, out: IO[str]) -> None:
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


if __name__ == '__main__':
    run(main)
