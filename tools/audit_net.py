"""Print a network's parameters, multiply-accumulates and output shapes, layer by layer and in total.

The argument is the name of a network preset or a `prefix-symbol.json`. Beside the true numbers stands what
`mx.viz.print_summary` says, and which layers explain the difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any, Dict, Optional, Sequence

from recognition.cli import run
from recognition.audit_text import print_audit
from recognition.network_argument import add_network_arguments, network_from
from symbols.audit import AUXILIARY, FIXED, TRAINABLE, Audit, Layer, audit
from symbols.summary_check import SummaryCheck, check_summary


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Audit the network of the command line, and print a table or one JSON object."""
    args = _parser().parse_args(argv)
    symbol, shapes = network_from(args)
    audited = audit(symbol, shapes)
    check = check_summary(symbol, shapes, audited)
    if args.json:
        print(json.dumps(_as_json(args.network, audited, check), indent=2))
    else:
        print_audit(args.network, audited, check, sys.stdout)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='audit_net.py', description=(__doc__ or '').partition('\n')[0])
    add_network_arguments(parser)
    parser.add_argument('--json', action='store_true', help='print one JSON object instead of the table')
    return parser


def _as_json(network: str, audited: Audit, check: SummaryCheck) -> Dict[str, Any]:
    return {
        'network': network,
        'inputs': dict(audited.inputs),
        'total': asdict(audited.total),
        'flops_unit': 'multiply-accumulates',
        'uncounted': [{'layer': layer.name, 'operator': layer.operator} for layer in audited.uncounted],
        'layers': [_layer_json(layer, said) for layer, said in zip(audited.layers, check.layers)],
        'print_summary': {'total': check.total, 'error': check.error},
        'differences': [{**asdict(item), 'difference': item.difference} for item in check.differences],
    }


def _layer_json(layer: Layer, said: Optional[int]) -> Dict[str, Any]:
    return {
        'name': layer.name,
        'operator': layer.operator,
        'output_shapes': layer.output_shapes,
        **{kind: layer.size(kind) for kind in (TRAINABLE, FIXED, AUXILIARY)},
        'flops': layer.flops,
        'print_summary': said,
        'parameters': [asdict(parameter) for parameter in layer.parameters],
        'shared': dict(layer.shared),
    }


if __name__ == '__main__':
    run(main)
