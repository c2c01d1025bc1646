"""The files that the demo leaves: audit, picture, report and figures of its network."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from recognition.data import FaceDataset
from recognition.data.orl import CREDITS, SETTINGS
from recognition.drawing.render import HOW_TO_GET_AN_ENGINE, write_picture
from recognition.reports import html, print_audit, roc_picture, training_picture
from recognition.train import TrainResult
from recognition.utils.files import write_whole
from recognition.verification import Verification, load_bin
from recognition.verification.baselines import raw_pixels, whitened_pca
from symbols import get_symbol
from symbols.audit import Audit, audit, check_summary
from symbols.graph import build_graph

logger = logging.getLogger(__name__)

PAIRS = 'orl'  # the pair set
MEANING = (
    'Ten people are few, and all were photographed in one laboratory: the figure shows that the parts work '
    'together, not how well such a network does elsewhere.'
)


def write_results(
    cfg: Any, folder: Path, audited: Audit, result: TrainResult, seconds: float
) -> Dict[str, Verification]:
    """Write the curves, the report and result.json; return what the network and the baselines came to."""
    verified = {cfg.network: result.verifications[PAIRS], **_baselines(cfg)}
    roc_picture(folder / 'roc.png', verified)
    training_picture(folder / 'training.png', result.history)
    _report(cfg, folder, audited, result, verified)
    _write_result(cfg, folder, verified, seconds)
    return verified


def describe_network(cfg: Any, folder: Path) -> Audit:
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
    images, issame = load_bin(folder / f'{PAIRS}.bin')
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
    html.write_report(
        folder,
        f'{cfg.network} on the ORL faces',
        [
            html.Section(
                'Verification',
                [
                    html.comparison(verified),
                    html.picture(folder / 'roc.png', 'ROC curve over the pairs of unseen people'),
                    html.paragraph(MEANING),
                ],
            ),
            html.Section(
                'Training',
                [
                    html.picture(folder / 'training.png', 'Loss, accuracy and learning rate'),
                    html.settings(settings, f'{result.steps} steps in {result.seconds:.0f} s'),
                ],
            ),
            html.Section(
                'Network',
                [*html.audit_blocks(audited), *_drawn(folder / 'network.svg')],
            ),
            html.Section('Photographs', [html.paragraph(CREDITS)]),
        ],
        f'{own.accuracy:.1%} of {own.pairs} pairs of people it has never seen are told apart rightly.',
    )


def _drawn(picture: Path) -> List[html.Block]:
    if not picture.exists():
        return [html.paragraph(f'There is no picture of it: {HOW_TO_GET_AN_ENGINE}.')]
    return [html.picture(picture, 'The network, unit by unit')]


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
