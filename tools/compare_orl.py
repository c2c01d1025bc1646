"""Compare backbones and losses on the ORL faces: each pair of them trained anew for every seed, on an equal budget.

    python tools/compare_orl.py                     3 backbones x 4 losses x 5 seeds, hours of work
    python tools/compare_orl.py --seeds 1 --table   what is done already, as a table in Markdown

The widths of the backbones are chosen so that an image takes about as many multiply-accumulates in each, and all make
the same steps on the same images: thirty people train, ten others verify (900 pairs). Every finished run is a line of
results.jsonl, and is not made again; a seed comes when the one before is done everywhere, so that the table is
balanced whenever the work is broken off.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence

import numpy as np

from recognition.cli import run
from config import ConfigError, DataError, resolve
from recognition.data.orl import SETTINGS, prepare_orl
from recognition.utils.files import remove_leftovers

logger = logging.getLogger('compare_orl')

# Widths for 42 to 45 million multiply-accumulates an image.
BACKBONES = {'r18': 0.125, 'd121': 0.125, 'xception': 0.09}
# The scale is the demo's, for so few people. The margins are each paper's.
LOSSES: Dict[str, Dict[str, Any]] = {
    'softmax': {},
    'arcface': {'loss_m2': 0.5, 'loss_m3': 0.0},
    'cosface': {'loss_m2': 0.0, 'loss_m3': 0.35},
    'triplet': {'images_per_identity': 4},
}
BUDGET = {'end_epoch': 12, 'max_steps': 108, 'warmup_steps': 12, 'data_workers': 0, 'ckpt': 0, 'verbose': 0}
SET = 'orl'


class Cell(NamedTuple):
    """One run of the comparison."""

    network: str
    loss: str
    seed: int


def train_cell(cell: Cell, data: str) -> Dict[str, Any]:
    """Train and verify one cell; return what it came to, as values that JSON can hold."""
    from recognition.train import train

    logging.disable(logging.INFO)
    own = {**SETTINGS, **BUDGET, **LOSSES[cell.loss], 'net_multiplier': BACKBONES[cell.network]}
    cfg = resolve(cell.network, SET, cell.loss, **{**own, 'seed': cell.seed, 'dataset_path': data})
    result = train(cfg, prefix=Path(data) / 'unused')
    verified = result.verifications[SET]
    return {
        **cell._asdict(),
        'accuracy': verified.accuracy,
        'eer': verified.eer,
        'auc': verified.auc,
        'loss_at_end': result.loss,
        'steps': result.steps,
        'seconds': round(result.seconds, 1),
        'settings': {key: cfg[key] for key in sorted({*own, 'seed'})},
    }


def compare(folder: Path, cells: Sequence[Cell], jobs: int) -> None:
    """Train the cells that `folder` has no result of, `jobs` at a time, and add a line for each to its results."""
    done = {Cell(row['network'], row['loss'], row['seed']) for row in results(folder)}
    left = [cell for cell in cells if cell not in done]
    if not left:
        return
    data = folder / 'data'
    if not (data / f'{SET}.bin').exists():
        remove_leftovers(data)
        prepare_orl(data)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    # what the processes read at their start
    os.environ.update(OMP_NUM_THREADS=threads, MXNET_CPU_WORKER_NTHREADS=threads)
    spawn = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(jobs, spawn) as pool:
        running = [pool.submit(train_cell, cell, str(data)) for cell in left]
        try:
            for number, finished in enumerate(as_completed(running), 1):
                row = finished.result()
                _add(folder / 'results.jsonl', row)
                words = f'{row["network"]} {row["loss"]} seed {row["seed"]}: {row["accuracy"]:.2%}'
                logger.info('%d/%d  %s in %.0f s', number, len(left), words, row['seconds'])
        finally:
            pool.shutdown(cancel_futures=True)


def _add(path: Path, row: Dict[str, Any]) -> None:
    cut_short = path.exists() and not path.read_text().endswith('\n')
    with open(path, 'a') as file:
        file.write('\n' * cut_short + json.dumps(row) + '\n')


def results(folder: Path) -> List[Dict[str, Any]]:
    """Return the finished runs of a folder; a line that was cut short counts as not there."""
    path = folder / 'results.jsonl'
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def table(rows: Iterable[Dict[str, Any]]) -> str:
    """Return a Markdown table of the mean accuracy and its deviation over the seeds, a row for each backbone."""
    held: Dict[Any, List[float]] = {}
    for row in rows:
        held.setdefault((row['network'], row['loss']), []).append(100 * row['accuracy'])
    if not held:
        raise DataError('there is no finished run to make a table of')
    losses = [loss for loss in LOSSES if any(loss == held_loss for _, held_loss in held)]
    lines = ['| backbone | ' + ' | '.join(losses) + ' |', '| --- |' + ' ---: |' * len(losses)]
    for network in BACKBONES:
        cells = [_figures(held.get((network, loss), [])) for loss in losses]
        if any(cells):
            lines.append(f'| `{network}` | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def _figures(values: Sequence[float]) -> str:
    if not values:
        return ''
    spread = f' ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else ''
    return f'{np.mean(values):.1f}{spread} ({len(values)})'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='compare_orl.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--networks', nargs='+', default=list(BACKBONES), choices=list(BACKBONES), help='backbones')
    add('--losses', nargs='+', default=list(LOSSES), choices=list(LOSSES), help='losses')
    add('--seeds', type=int, default=5, metavar='N', help='seeds 1 to N (default: %(default)s)')
    add('--jobs', type=int, default=1, metavar='N', help='runs at a time (default: %(default)s)')
    add('--output', type=Path, default=Path('runs/orl-comparison'), help='folder (default: %(default)s)')
    add('--table', action='store_true', help='train nothing; print the table of what is done')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Train what is not done yet, and print the table."""
    args = _parser().parse_args(argv)
    for name in ('seeds', 'jobs'):
        if getattr(args, name) < 1:
            raise ConfigError(f'--{name} {getattr(args, name)} must be at least 1')
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    cells = [Cell(*each) for each in product(args.networks, args.losses, range(1, args.seeds + 1))]
    cells.sort(key=lambda cell: cell.seed)
    if not args.table:
        compare(args.output, cells, args.jobs)
    print(
        table(row for row in results(args.output) if Cell(row['network'], row['loss'], row['seed']) in cells)
    )


if __name__ == '__main__':
    run(main)
