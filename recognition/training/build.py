"""What a training run is made of, put together from the config."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

from config.checks import output_kind, trains_classes
from config.errors import ConfigError
from recognition.checkpoint.run_files import RunRecord
from recognition.checkpoint.training_state import TrainingState
from recognition.classifier.distillation import Teacher
from recognition.data.augment import Augmentation
from recognition.data.dataset import FaceLoader, TrainingFaces, class_names, open_faces, split_path
from recognition.data.pair_sets import load_bin
from recognition.distributed import heartbeat
from recognition.distributed.kvstore import KVStoreGroup
from recognition.optim.lr_schedule import build_schedule, total_steps
from recognition.training.checks import check_output
from recognition.training.loop import Evaluators, Loop
from recognition.training.pretrained import load_pretrained
from recognition.training.progress import History, Progress
from recognition.training.resume import check_names, restore
from recognition.training.tensorboard import Board, board_path
from recognition.training.trainer import Trainer
from recognition.utils.environment import environment
from recognition.utils.files import remove_leftovers
from recognition.utils.run_paths import checkpoint_files, history_path, state_path
from recognition.verification.evaluation import Evaluator, LabelledSet, PairSet
from symbols import get_symbol
from symbols.context import check_precision

import mxnet as mx

logger = logging.getLogger(__name__)

Found = Optional[Tuple[int, TrainingState]]  # the state that a run goes on from, and its epoch


def load_evaluators(cfg: Any) -> Evaluators:
    """Read the verification sets that are there; one that is missing is logged, a damaged one is a DataError.

    Raises ConfigError for a set that judges another kind of output than the network's.
    """
    sets: Dict[str, Evaluator] = {}
    for name in cfg.val_targets:
        paths = [
            folder / f'{name}.{kind}' for kind in ('rec', 'bin') for folder in split_path(cfg.dataset_path)
        ]
        there = next((path for path in paths if path.exists()), None)
        if there is None:
            wanted = paths[-1].with_suffix('.rec' if trains_classes(cfg) else '.bin')
            logger.warning('%s is not there, so the network is not verified on it', wanted)
            continue
        heartbeat.now(f'reading {name}')
        found = _load_set(cfg, name, there)
        if found.kind != output_kind(cfg):
            raise ConfigError(
                f'val_targets: {there} holds {found.content}, which judge a network whose output is of the kind '
                f'{found.kind!r}, and that of net_output={cfg.net_output!r} is {output_kind(cfg)!r}'
            )
        sets[name] = found
    if cfg.ckpt == 1 and not sets:
        raise ConfigError('ckpt=1 saves when the verification gets better, so it needs a set in val_targets')
    return sets


def _load_set(cfg: Any, name: str, path: Path) -> Evaluator:
    if path.suffix == '.rec':
        dataset = open_faces(cfg.dataset_path, cfg.image_shape, name=name)
        for index in range(len(dataset)):  # later, a fault would cost the epochs before it
            dataset.read(index)
        return LabelledSet(dataset)
    return PairSet(*load_bin(path, cfg.image_shape[:2], channels=cfg.image_shape[2]))


def named_classes(cfg: Any) -> Sequence[str]:
    """Return the names of the classes of a run, () where it trains none or they have no names."""
    return class_names(cfg.dataset_path) if trains_classes(cfg) else ()


def open_loader(cfg: Any, dataset: TrainingFaces, contexts: Sequence[mx.Context]) -> FaceLoader:
    """Return the loader of a run, whose processes are forked here."""
    return FaceLoader(
        dataset,
        cfg.per_batch_size * len(contexts) * cfg.accumulate,
        Augmentation.from_config(cfg),
        seed=cfg.seed,
        workers=cfg.data_workers,
        faults=cfg.data_faults,
        sampler=cfg.data_sampler,
        per_identity=cfg.images_per_identity,
    )


def build_trainer(
    cfg: Any,
    loader: FaceLoader,
    contexts: Sequence[mx.Context],
    prefix: Path,
    found: Found,
    teacher: Optional[Teacher] = None,
) -> Trainer:
    """Build the trainer, and put it where it has to start."""
    heartbeat.now(heartbeat.WITH_THE_OTHERS)
    workers = KVStoreGroup(cfg.kvstore, contexts)
    heartbeat.now('starting', rank=workers.rank, needs_servers=True)
    loader.share(workers.rank, workers.size)
    symbol = get_symbol(cfg)
    check_output(symbol, cfg)
    check_precision(symbol, contexts)
    schedule = build_schedule(cfg, total_steps(cfg, loader.batches_per_epoch))
    trainer = Trainer(symbol, cfg, schedule, contexts, workers, teacher)
    if found:
        check_names(prefix, named_classes(cfg))
        restore(trainer, cfg, loader, state_path(prefix, found[0]), found[1])
        if cfg.pretrained:
            logger.info(
                'the weights are those of the training state; pretrained=%r is not read', cfg.pretrained
            )
    elif cfg.pretrained:
        load_pretrained(trainer.net, trainer.classifier, cfg)
    heartbeat.now(heartbeat.WITH_THE_OTHERS)
    trainer.begin()
    return trainer


def build_loop(
    cfg: Any,
    trainer: Trainer,
    loader: FaceLoader,
    evaluators: Evaluators,
    prefix: Path,
    found: Found,
    save_every: int,
    stack: ExitStack,
) -> Loop:
    """Open what the run is told by, and give the loop that runs it; `stack` closes it all."""
    leads, total = trainer.workers.leads, total_steps(cfg, loader.batches_per_epoch)
    writes = bool(cfg.ckpt and leads)
    if leads:
        remove_leftovers(prefix)
    replaced = [] if found else checkpoint_files(prefix)
    history = History(history_path(prefix) if writes else None, steps=trainer.steps, held=bool(replaced))
    stack.callback(history.close)
    start = environment(cfg.seed, trainer.contexts, trainer.workers.size)
    record = RunRecord(prefix if writes else None, cfg, start, resumed=bool(found), held=bool(replaced))
    progress = Progress(
        total,
        done=trainer.steps,
        per_epoch=loader.batches_per_epoch,
        frequent=cfg.frequent,
        quiet=not leads,
    )
    stack.callback(progress.close)
    board = Board(board_path(prefix), trainer.steps) if cfg.tensorboard and writes else None
    if board:
        stack.callback(board.close)
    loop = Loop(
        trainer,
        loader,
        cfg,
        prefix=prefix,
        total=total,
        history=history,
        progress=progress,
        evaluators=evaluators,
        classes=named_classes(cfg),
        save_every=save_every,
        replaced=replaced,
        record=stack.enter_context(record),
        board=board,
    )
    if found:
        loop.go_on_from(*found)
        logger.info('going on after step %d of %d', trainer.steps, total)
    return loop


def note_end(loop: Loop) -> None:
    """Put into the record of the run how it ended."""
    heartbeat.now(heartbeat.ENDING, needs_servers=False)
    how = f'stopped by {loop.stopped_by}' if loop.stopped_by else 'done'
    replaced = loop.loader.faults
    loop.record.start.update(ended=how, steps=loop.trainer.steps, of=loop.total, images_replaced=replaced)
