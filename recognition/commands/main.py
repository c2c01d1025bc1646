"""The command `facesymbols`: a table of subcommands, each imported when it is asked for."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import List, NamedTuple, NoReturn, Optional, Sequence

from recognition.cli import run
from config.errors import ConfigError, nearest
from recognition.cli.parser import COMMAND, Parser


class Command(NamedTuple):
    """A subcommand: the module with its `build_parser` and `main`, and a line of help."""

    module: str
    help: str


COMMANDS = {
    'train': Command('recognition.train', 'train a network on faces'),
    'launch': Command('recognition.commands.launch', 'train in several processes, on one machine or several'),
    'verify': Command('recognition.commands.verify', 'verify a network on pairs of faces'),
    'verify-templates': Command(
        'recognition.commands.verify_templates', 'verify and identify by templates (IJB)'
    ),
    'embed': Command('recognition.commands.embed', 'save the embeddings of images'),
    'compare': Command('recognition.commands.compare', 'compare faces in images'),
    'search': Command('recognition.commands.search', 'search saved embeddings for a face'),
    'predict': Command('recognition.commands.predict', 'predict the classes of images'),
    'evaluate': Command('recognition.commands.evaluate', 'evaluate a classifier on labelled images'),
    'plot': Command('recognition.commands.plot', 'draw a network'),
    'audit': Command('recognition.commands.audit', "print a network's parameters, MACs, memory and shapes"),
    'compare-layers': Command(
        'recognition.commands.compare_layers', 'name the first layer in which two forms of a network differ'
    ),
    'pack': Command('recognition.commands.pack', 'pack images into a training or verification set'),
    'check-data': Command('recognition.commands.check_data', 'check a data set for faults'),
    'clean': Command('recognition.commands.clean', 'leave images with wrong labels out of a data set'),
    'import-weights': Command(
        'recognition.commands.import_weights',
        'import weights of Keras, PyTorch, InsightFace, ONNX or safetensors',
    ),
    'export': Command(
        'recognition.commands.export', 'export a network to ONNX, ncnn, PyTorch, safetensors, Keras or MXNet'
    ),
    'optimize': Command('recognition.commands.optimize', 'rewrite a checkpoint for faster inference'),
    'quantize': Command('recognition.commands.quantize', 'write an ONNX network in INT8'),
    'report': Command('recognition.commands.report', 'write the report of a training run'),
    'demo': Command('recognition.commands.demo', 'train and verify on the ORL faces'),
    'doctor': Command('recognition.commands.doctor', 'check what is installed'),
    'completion': Command(
        'recognition.commands.completion', 'print a script that completes commands in a shell'
    ),
}
VERSION = '--version'


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """Run the command line and exit with its status."""
    words = sys.argv[1:] if argv is None else list(argv)
    run(lambda: dispatch(words))


def dispatch(argv: List[str]) -> Optional[int]:
    """Run the subcommand that `argv` names; ConfigError, with the nearest one, for another word."""
    if not argv or argv[0].startswith('-'):
        if argv == [VERSION]:
            from recognition.utils.environment import package_version

            print(package_version(COMMAND) or 'unknown (not installed)')
            return None
        parser = _parser()
        parser.parse_args(argv)  # --help, or a mistake
        parser.print_help()
        return 1
    name, *words = argv
    if name not in COMMANDS:
        raise ConfigError(f'{name!r} is not a command{nearest(name, COMMANDS)} ({COMMAND} --help lists them)')
    status: Optional[int] = import_module(COMMANDS[name].module).main(words)
    return status


def _parser() -> Parser:
    listed = '\n'.join(f'  {name:18}{command.help}' for name, command in COMMANDS.items())
    parser = Parser(
        prog=COMMAND,
        usage=f'{COMMAND} COMMAND ...',
        description=f'Face-embedding networks for MXNet.\n\ncommands:\n{listed}',
        epilog=f'{COMMAND} COMMAND --help describes a command.',
    )
    parser.add_argument(VERSION, action='store_true', help='print the version')
    return parser
