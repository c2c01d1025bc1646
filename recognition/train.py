"""Train a network: `facesymbols train --network r18 --dataset orl --loss cosface`.

From Python: `train(resolve('r18', 'orl', 'cosface', net_multiplier=0.25), prefix='runs/orl/model')`.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import shlex
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

from recognition.cli import run
from config import complete
from config.checks import check_training
from config.errors import ConfigError, FaceSymbolsError
from recognition.cli.config_options import config_from
from recognition.cli.train_options import build_parser
from recognition.data.dataset import TrainingFaces, open_faces, record_files, split_path
from recognition.distributed import heartbeat
from recognition.distributed.job_plan import in_a_job
from recognition.embedding.teacher import open_teacher
from recognition.engines.model import find_model
from recognition.utils.files import PathLike
from recognition.utils.locks import locked
from recognition.utils.output_paths import check_place
from recognition.utils.processes import INTERRUPTED, stop_requests
from recognition.utils.run_paths import (
    best_prefix,
    check_prefix,
    check_vacant,
    config_path,
    params_path,
    parse_checkpoint,
)

if TYPE_CHECKING:
    from recognition.training.loop import Loop
    from recognition.training.progress import Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a training run came to."""

    prefix: Path
    epoch: Optional[int]  # of the newest checkpoint; None where ckpt=0 saves nothing
    steps: int  # since the first run
    loss: float  # mean of the last cfg.frequent steps; NaN where no step was left to do
    accuracy: float  # share of right predictions in them, after the margin
    images_per_second: float  # verifications and saving left out
    seconds: float  # of the whole call
    history: List[Record]  # see recognition.training.progress.History
    verifications: Dict[str, Any]  # the last one (recognition.verification.evaluation), by name of the set
    stopped_by: Optional[str] = None  # the signal's name
    rank: int = 0  # of this worker among those that trained together; the first has saved


def train(
    cfg: Any,
    *,
    prefix: Optional[PathLike] = None,
    resume: bool = False,
    force: bool = False,
    gpus: str = '',
    save_every: int = 1,
    verify: bool = True,
) -> TrainResult:
    """Train the network of `cfg` (a `config.resolve(...)`) on the images in cfg.dataset_path.

    prefix: of the checkpoints; models_root/network-loss-dataset/model when None.
    resume: go on from the newest training state there. force: replace checkpoints that are there, once the first
    new one is written.
    gpus: numbers of devices, '0,1' say; '' is the CPU. save_every: epochs between two checkpoints.
    verify: on cfg.val_targets, every cfg.verbose steps and at the end.

    Ctrl-C and SIGTERM end the running step, save, and return with `stopped_by` set (in the main thread). Raises
    ConfigError, DataError or CheckpointError for input that does not do, before anything is written;
    FaceSymbolsError when the loss is no longer finite. Another training on the same prefix is refused meanwhile.
    """
    from recognition.training.build import build_loop, build_trainer, load_evaluators, note_end, open_loader
    from recognition.training.checks import check_settings
    from recognition.training.resume import find_state
    from symbols.context import select_context

    begin = time.monotonic()
    heartbeat.begin()
    check_settings(cfg)
    prefix = _checked_prefix(cfg, prefix)
    with ExitStack() as stack:
        if cfg.ckpt and not in_a_job():
            _lock(prefix, cfg, stack)
        found = find_state(prefix, resume=resume, force=force)
        cfg, dataset = _open_dataset(cfg)
        contexts = select_context(gpus)
        stop = stack.enter_context(stop_requests())
        # the workers are forked before mxnet has threads
        loader = stack.enter_context(open_loader(cfg, dataset, contexts))
        evaluators = load_evaluators(cfg) if verify else {}
        teacher = open_teacher(cfg, loader, stop) if cfg.teacher else None
        trainer = build_trainer(cfg, loader, contexts, prefix, found, teacher)
        if cfg.ckpt and in_a_job() and trainer.workers.leads:
            _lock_of_a_job(prefix, cfg, resume or force, stack)
        loop = build_loop(cfg, trainer, loader, evaluators, prefix, found, save_every, stack)
        loop.run(stop)
        note_end(loop)
    heartbeat.now(heartbeat.DONE)
    return _result(loop, time.monotonic() - begin)


def _checked_prefix(cfg: Any, prefix: Optional[PathLike]) -> Path:
    prefix = default_prefix(cfg) if prefix is None else prefix
    check_prefix(prefix)
    return Path(prefix)


def _lock(prefix: Path, cfg: Any, stack: ExitStack) -> None:
    """Lock all that a run writes."""
    for each in (prefix, best_prefix(prefix)) if cfg.best else (prefix,):
        stack.enter_context(locked(each))


def _lock_of_a_job(prefix: Path, cfg: Any, may_exist: bool, stack: ExitStack) -> None:
    """Lock the prefix of a job by its first worker, which learns late that it is the first."""
    _lock(prefix, cfg, stack)
    if not may_exist:  # another job may have begun since that was checked
        check_vacant(prefix)


def _open_dataset(cfg: Any) -> Tuple[Any, TrainingFaces]:
    """Return the config with the data set's number of classes, and the data set."""
    from recognition.losses.margin import check_labels
    from recognition.training.checks import settle_classes

    dataset = open_faces(
        cfg.dataset_path,
        cfg.image_shape,
        use_index=not cfg.is_shuffled_rec,
        fewest=cfg.data_images_filter,
    )
    cfg = settle_classes(cfg, dataset)
    check_labels(dataset.labels, cfg.num_classes)
    return cfg, dataset


def default_prefix(cfg: Any) -> Path:
    """Return models_root/network-loss-dataset/model, where InsightFace's script saves too."""
    parts = (cfg.network, cfg.loss or cfg.loss_name, cfg.dataset or split_path(cfg.dataset_path)[0].name)
    return Path(cfg.models_root) / '-'.join(part for part in parts if part) / 'model'


def _result(loop: Loop, seconds: float) -> TrainResult:
    return TrainResult(
        prefix=loop.prefix,
        epoch=loop.saved,
        steps=loop.trainer.steps,
        loss=loop.progress.metrics.loss,
        accuracy=loop.progress.metrics.accuracy,
        images_per_second=loop.progress.throughput.total_images_per_second,
        seconds=seconds,
        history=loop.history.records,
        verifications=loop.verifications,
        stopped_by=loop.stopped_by,
        rank=loop.trainer.workers.rank,
    )


def _check_output(args: argparse.Namespace) -> None:
    """Raise an error, before mxnet is imported, where the checkpoints cannot be written or may not be replaced."""
    check_prefix(args.prefix)
    check_place(config_path(args.prefix))
    if not args.resume and not args.overwrite:
        check_vacant(args.prefix)
    for option, given in (('pretrained', args.pretrained), ('teacher', args.teacher)):
        own = find_model(given).path if given and option == 'teacher' else given
        if args.overwrite and own and os.path.realpath(own) == os.path.realpath(args.prefix):
            raise ConfigError(f'--{option} {given} would be replaced; choose another --output')


def _split_pretrained(args: argparse.Namespace) -> None:
    """Take `--pretrained prefix,epoch` apart, the form that the other programs have."""
    text, given = args.pretrained or '', args.pretrained_epoch
    if text.endswith('.params') or re.search(r',\s*\d+$', text) or (',' in text and given is None):
        args.pretrained, epoch = parse_checkpoint('--pretrained', text)
        if given is not None and given.strip() != str(epoch):
            raise ConfigError(f'--pretrained {text} and --pretrained-epoch {given} are two epochs; give one')
        args.pretrained_epoch = str(epoch)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line; return 0, or 130 when Ctrl-C or SIGTERM ended the training."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = build_parser(argv).parse_args(argv)
    _split_pretrained(args)
    cfg = config_from(args)
    if args.image_size:
        height, width, channels = args.image_size
        cfg = complete({**cfg, 'image_shape': (height, width, channels or cfg.image_shape[2])})
    check_training(cfg)
    if cfg.teacher:
        find_model(cfg.teacher).check_files()
    if args.resume and args.overwrite:
        raise ConfigError('--resume and --overwrite contradict each other; give one')
    if args.prefix:
        _check_output(args)
    for folder in split_path(cfg.dataset_path):
        record_files(folder)
    logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stderr)
    result = train(
        cfg,
        prefix=args.prefix,
        resume=args.resume,
        force=args.overwrite,
        gpus=args.gpus,
        save_every=args.ckpt_every,
        verify=not args.no_verify,
    )
    if not result.rank:
        if result.epoch:
            heartbeat.now('writing the report')
            _report(result.prefix)
        logger.info('%s', _last_words(result, argv))
    return INTERRUPTED if result.stopped_by else 0


def _report(prefix: Path) -> None:
    """Write the report; a run that has none has still been done."""
    from recognition.training.report import write_run_report

    try:
        write_run_report(prefix)
    except FaceSymbolsError as error:
        logger.warning('there is no report: %s', error)


def _last_words(result: TrainResult, argv: Sequence[str]) -> str:
    from recognition.training.progress import duration

    saved = f'saved {params_path(result.prefix, result.epoch)}' if result.epoch else 'nothing was saved'
    if not result.stopped_by:
        figures = (
            '' if math.isnan(result.loss) else f', loss {result.loss:.3f}, accuracy {result.accuracy:.1%}'
        )
        return f'{result.steps} steps done in {duration(result.seconds)}{figures}; {saved}'
    words = f'stopped by {result.stopped_by} after step {result.steps}; {saved}'
    if not result.epoch:
        return words
    again = [part for part in argv if part not in ('--resume', '--overwrite', '--force')]
    return f'{words}; go on with: {shlex.join(["facesymbols", "train", *again, "--resume"])}'


if __name__ == '__main__':
    run(main)
