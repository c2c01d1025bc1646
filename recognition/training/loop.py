"""The training loop: epochs, verifications, checkpoints, and an orderly end when it is asked to stop."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from config.checks import trains_classes
from config.errors import CheckpointError
from config.reading import refusing
from recognition.checkpoint.network import save_network
from recognition.checkpoint.run_files import RunRecord, write_json
from recognition.checkpoint.training_state import TrainingState, saving_state
from recognition.data.class_names import write_classes
from recognition.data.loader import FaceLoader
from recognition.distributed import heartbeat
from recognition.engines.record import read_provenance, write_provenance
from recognition.training.best import Best
from recognition.training.progress import History, Progress, Record
from recognition.training.resume import agrees_with_checkpoint, library_versions
from recognition.training.tensorboard import Board
from recognition.training.trainer import StepResult, Trainer
from recognition.utils.processes import StopRequest
from recognition.utils.run_paths import (
    best_prefix,
    classes_path,
    config_path,
    epochs_of,
    files_of,
    origin_path,
    params_path,
    remove_params,
    state_path,
)
from recognition.verification.evaluation import Evaluation, Evaluator

logger = logging.getLogger(__name__)

Evaluators = Mapping[str, Evaluator]  # by the name of the set
KEPT = 2  # training states; each is as large as the weights three times over
NEVER, BETTER, ALWAYS, NEWEST = range(4)  # the config's ckpt


class Loop:
    """Trains to step `total`, from wherever `trainer` stands.

    evaluators: verified on every cfg.verbose steps and cfg.verify_epochs epochs, and at the end. classes: their names,
    which are kept beside the checkpoints.
    prefix: of the checkpoints; save_every: epochs between two of them. replaced: files of an older run, which go
    once this one has saved, as do its files in `history` and `record`. board: where the figures are shown, too.
    The first of several workers alone shows, verifies and saves; the others keep step with it.
    saved: the epoch of the newest checkpoint, counted from 1; an epoch that was broken off counts.
    verifications: what the last verification said, by name of the set. stopped_by: the signal that ended the run.
    """

    def __init__(
        self,
        trainer: Trainer,
        loader: FaceLoader,
        cfg: Any,
        *,
        prefix: Path,
        total: int,
        history: History,
        progress: Progress,
        evaluators: Evaluators,
        classes: Sequence[str] = (),
        save_every: int = 1,
        replaced: Sequence[Path] = (),
        record: RunRecord,
        board: Optional[Board] = None,
    ) -> None:
        self.trainer, self.loader, self.cfg, self.prefix = trainer, loader, cfg, prefix
        self.total, self.history, self.progress, self.evaluators = total, history, progress, evaluators
        self.save_every, self.replaced, self.classes = save_every, list(replaced), list(classes)
        self.record, self.board = record, board
        self._provenance = read_provenance(cfg.pretrained) if cfg.pretrained else {}
        self.saved: Optional[int] = None
        self.best = Best(cfg.best, {name: each.figures for name, each in evaluators.items()})
        self._workers = trainer.workers
        self.verifications: Dict[str, Evaluation] = {}
        self.stopped_by: Optional[str] = None
        self._saved_step = self._verified_step = self._settled_step = -1
        self._epochs_saved: List[int] = []

    def go_on_from(self, epoch: int, state: TrainingState) -> None:
        """Take over what the run before did; the trainer stands there already."""
        self.saved = epoch
        if agrees_with_checkpoint(self.prefix, epoch, state):
            self._saved_step = self.trainer.steps
        with refusing(state_path(self.prefix, epoch), CheckpointError):
            self.best.score = float(state.progress['best'])
            self.loader.faults = int(state.progress['faults'])
        self._epochs_saved = epochs_of(self.prefix, 'state')

    @property
    def epoch(self) -> int:
        """The epoch that the last step belonged to, counted from 1; 0 before the first step."""
        return -(-self.trainer.steps // self.loader.batches_per_epoch)

    def run(self, stop: StopRequest) -> None:
        """Train until the last step is done or `stop` is true for a worker; save in both cases what is not saved yet.

        Raises FaceSymbolsError when the run ends in steps whose loss or gradient is not finite.
        """
        stopped = False
        while self.trainer.steps < self.total and not stopped:
            epoch, batch = divmod(self.trainer.steps, self.loader.batches_per_epoch)
            for images, labels in self.loader.epoch(epoch, start=batch):
                heartbeat.now(heartbeat.WITH_THE_OTHERS)
                self._step(images, labels)
                stopped = self._stop_everywhere(stop)
                heartbeat.now('reading images')
                if stopped or self.trainer.steps >= self.total:
                    break
            if self._epoch_is_over():
                self._end_epoch()
        if not stopped:
            self.trainer.guard.end()
            if self.trainer.steps != self._verified_step:
                self._verify()
        if self.trainer.steps:
            self._save_unless(NEVER, *([] if stopped or self.saved is None else [BETTER]))

    def _end_epoch(self) -> None:
        every = self.cfg.verify_epochs
        if every and self.epoch % every == 0 and self.trainer.steps != self._verified_step:
            self._verify()
        if self.epoch % self.save_every == 0:
            self._save_unless(NEVER, BETTER)

    def _stop_everywhere(self, stop: StopRequest) -> bool:
        """Return whether any worker was asked to stop: all of them then do, after the same step."""
        stopped = self._workers.total([bool(stop)])[0] > 0
        if stopped:
            self.stopped_by = stop.name or 'another worker'
        return stopped

    def _epoch_is_over(self) -> bool:
        return self.trainer.steps % self.loader.batches_per_epoch == 0

    def _step(self, images: np.ndarray, labels: np.ndarray) -> None:
        rate = self.trainer.schedule(self.trainer.steps)
        result = self.trainer.step(images, labels)
        if result.skipped:
            logger.warning('step %d is left out: %s', self.trainer.steps, result.skipped)
        self.progress.update(result, labels, rate)
        if self.board:
            self.board.faces(images, self.trainer.steps)
        self._note(self._figures(result, labels, rate))
        if self.cfg.verbose and self.trainer.steps % self.cfg.verbose == 0:
            self._verify()

    def _note(self, figures: Record) -> None:
        self.record.begin()
        record = {'step': self.trainer.steps, 'epoch': self.epoch, **figures}
        self.history.append(record)
        if self.board:
            self.board.record(record)

    def _figures(self, result: StepResult, labels: np.ndarray, rate: float) -> Record:
        if result.skipped:
            return {'skipped': result.skipped}
        return {
            'loss': float(result.losses.mean()),
            'accuracy': float((result.predictions == labels).mean()),
            'lr': rate,
            'norm': result.norm,
            'images_per_second': round(self.progress.throughput.images_per_second, 1),
        }

    def _settle(self) -> None:
        """Bring the workers' moving statistics together; all of them come here at the same steps."""
        heartbeat.now(heartbeat.WITH_THE_OTHERS)
        if self._settled_step != self.trainer.steps:
            self._settled_step = self.trainer.steps
            self.trainer.settle()

    def _verify(self) -> None:
        """Verify on every set, and save the network where it is the best so far and that is asked for."""
        self._verified_step = self.trainer.steps
        self._settle()
        improved = bool(self.evaluators) and self._workers.leads and self._improved()
        heartbeat.now(heartbeat.WITH_THE_OTHERS)
        # a word to those that do not verify, since all have a part in saving
        if self._workers.total([improved])[0]:
            self._save_best()
            self._save_unless(NEVER, ALWAYS, NEWEST)

    def _improved(self) -> bool:
        """Verify, and return whether the network is the best so far."""
        with self.progress.throughput.paused():
            net, ctx = self.trainer.embedding_network(), self.trainer.contexts[0]
            for name, evaluate in self.evaluators.items():
                heartbeat.now(f'verifying on {name}')
                self.verifications[name] = evaluate(net, ctx)
                logger.info('%s: %s', name, self.verifications[name].summary())
        figures = {name: result.as_dict() for name, result in self.verifications.items()}
        self._note({'verification': figures})
        if trains_classes(self.cfg):
            self.progress.verified(self.history.epoch_means(self.epoch), self.verifications)
        if self.board:
            self.board.verified(self.verifications, self.trainer.steps)
        return self.best.improved(self.verifications)

    def _save_best(self) -> None:
        if self.cfg.best and self._workers.leads and not self.trainer.guard.in_a_row:
            prefix = best_prefix(self.prefix)
            self._save_network(prefix, 0)
            write_json(config_path(prefix), self.cfg)
            self._own(prefix, 0)

    def _save_network(self, prefix: Path, epoch: int) -> None:
        save_network(prefix, epoch, self.trainer.symbol, *self.trainer.network_arrays())
        if self.classes:
            write_classes(classes_path(prefix), self.classes)
        if self._provenance:
            write_provenance(prefix, self._provenance)

    def _save_unless(self, *modes: int) -> None:
        """Write checkpoint and state, once a step, unless ckpt is one of `modes`.

        After a step that was left out nothing is written: the weights that it found may be the fault, and what was
        saved before would give way to them.
        """
        self._settle()
        done = self.cfg.ckpt in modes or self._saved_step == self.trainer.steps
        if done or self.trainer.guard.in_a_row:
            return
        self._saved_step, self.saved = self.trainer.steps, self.epoch
        if not self._workers.leads:
            self.trainer.hand_over()
            return
        heartbeat.now('saving')
        with self.progress.throughput.paused(), saving_state(self.prefix, self.epoch, self._state()):
            self._save_network(self.prefix, self.epoch)
        self._own(self.prefix, self.epoch)
        self._remove_replaced()
        logger.debug('saved %s', params_path(self.prefix, self.epoch))
        self._drop_old()
        heartbeat.now(heartbeat.WITH_THE_OTHERS)

    def _state(self) -> TrainingState:
        progress = {
            **self.trainer.counts(),
            'epoch': self.epoch,
            'batch': self.trainer.steps % self.loader.batches_per_epoch,
            'batch_size': self.loader.batch_size,
            'images': len(self.loader.dataset),
            'best': self.best.score,
            'faults': self.loader.faults,
        }
        cfg = json.loads(json.dumps(self.cfg))
        return TrainingState(progress, cfg, self.trainer.arrays(), library_versions())

    def _remove_replaced(self) -> None:
        """Remove what an older run left, now that this one has something to put in its place."""
        for path in self.replaced:
            path.unlink(missing_ok=True)
        self.replaced = []
        self.history.release()
        self.record.release()

    def _own(self, prefix: Path, epoch: int) -> None:
        """Take the files of a checkpoint from the older run's: they are this run's now."""
        own = {*files_of(prefix, epoch), config_path(prefix)}
        own -= {*([] if self.classes else [classes_path(prefix)])}
        own -= {*([] if self._provenance else [origin_path(prefix)])}
        self.replaced = [path for path in self.replaced if path not in own]

    def _drop_old(self) -> None:
        """Remove the older states that this run wrote, and with ckpt=3 the parameters that go with them."""
        if self.epoch not in self._epochs_saved:
            self._epochs_saved.append(self.epoch)
        while len(self._epochs_saved) > KEPT:
            epoch = self._epochs_saved.pop(0)
            state_path(self.prefix, epoch).unlink(missing_ok=True)
            if self.cfg.ckpt == NEWEST:
                remove_params(self.prefix, epoch)
