"""The training loop: epochs, verifications, checkpoints, and an orderly end when it is asked to stop."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from recognition.checkpoint import epochs_of, params_path, save_network, symbol_path
from recognition.interrupt import StopRequest
from recognition.loader import FaceLoader
from recognition.progress import History, Progress
from recognition.state import TrainingState, saving_state, state_path
from recognition.trainer import Trainer
from recognition.verification import Verification, embed, verify

logger = logging.getLogger(__name__)

PairSets = Mapping[str, Tuple[np.ndarray, np.ndarray]]
KEPT = 2  # training states; each is as large as the weights three times over
NEVER, BETTER, ALWAYS, NEWEST = range(4)  # the config's ckpt


class Loop:
    """Trains to step `total`, from wherever `trainer` stands.

    pair_sets: name -> (images, issame) as from `load_bin`, verified every cfg.verbose steps and at the end.
    prefix: of the checkpoints; save_every: epochs between two of them. replaced: files of an older run, which go
    once this one has saved.
    saved: the epoch of the newest checkpoint, counted from 1; an epoch that was broken off counts.
    verifications: what the last verification said, by name of the set.
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
        pair_sets: PairSets,
        save_every: int = 1,
        replaced: Sequence[Path] = (),
    ) -> None:
        self.trainer, self.loader, self.cfg, self.prefix = trainer, loader, cfg, prefix
        self.total, self.history, self.progress, self.pair_sets = total, history, progress, pair_sets
        self.save_every, self.replaced = save_every, replaced
        self.saved: Optional[int] = None
        self.best = 0.0
        self.verifications: Dict[str, Verification] = {}
        self._saved_step = self._verified_step = -1
        self._epochs_saved: List[int] = []

    def go_on_from(self, epoch: int, state: TrainingState) -> None:
        """Take over what the run before did; the trainer stands there already."""
        self.saved, self._saved_step = epoch, self.trainer.steps
        self.best = float(state.progress['best'])
        self._epochs_saved = epochs_of(self.prefix, 'state')

    @property
    def epoch(self) -> int:
        """The epoch that the last step belonged to, counted from 1; 0 before the first step."""
        return -(-self.trainer.steps // self.loader.batches_per_epoch)

    def run(self, stop: StopRequest) -> None:
        """Train until the last step is done or `stop` is true; save in both cases what is not saved yet."""
        while self.trainer.steps < self.total and not stop:
            epoch, batch = divmod(self.trainer.steps, self.loader.batches_per_epoch)
            for images, labels in self.loader.epoch(epoch, start=batch):
                self._step(images, labels)
                if stop or self.trainer.steps >= self.total:
                    break
            if self._epoch_is_over() and self.epoch % self.save_every == 0:
                self._save_unless(NEVER, BETTER)
        if not stop and self.trainer.steps != self._verified_step:
            self._verify()
        if self.trainer.steps:
            self._save_unless(NEVER, *([] if stop or self.saved is None else [BETTER]))

    def _epoch_is_over(self) -> bool:
        return self.trainer.steps % self.loader.batches_per_epoch == 0

    def _step(self, images: np.ndarray, labels: np.ndarray) -> None:
        rate = self.trainer.schedule(self.trainer.steps)
        losses, predictions = self.trainer.step(images, labels)
        self.progress.update(losses, predictions, labels, rate)
        self.history.append(
            {
                'step': self.trainer.steps,
                'epoch': self.epoch,
                'loss': float(losses.mean()),
                'accuracy': float((predictions == labels).mean()),
                'lr': rate,
                'images_per_second': round(self.progress.throughput.images_per_second, 1),
            }
        )
        if self.cfg.verbose and self.trainer.steps % self.cfg.verbose == 0:
            self._verify()

    def _verify(self) -> None:
        """Verify on every set of pairs; with ckpt=1, save where the mean accuracy is the best so far."""
        self._verified_step = self.trainer.steps
        if not self.pair_sets:
            return
        with self.progress.throughput.paused():
            net, ctx = self.trainer.embedding_network(), self.trainer.contexts[0]
            for name, (images, issame) in self.pair_sets.items():
                result = verify(embed(net, images, ctx), issame.tolist())
                self.verifications[name] = result
                logger.info(
                    '%s: accuracy %.2f %% +- %.2f %%', name, 100 * result.accuracy, 100 * result.accuracy_std
                )
        figures = {name: result.as_dict() for name, result in self.verifications.items()}
        self.history.append({'step': self.trainer.steps, 'epoch': self.epoch, 'verification': figures})
        accuracy = float(np.mean([result.accuracy for result in self.verifications.values()]))
        if accuracy > self.best:
            self.best = accuracy
            self._save_unless(NEVER, ALWAYS, NEWEST)

    def _save_unless(self, *modes: int) -> None:
        """Write checkpoint and state, once a step, unless ckpt is one of `modes`."""
        if self.cfg.ckpt in modes or self._saved_step == self.trainer.steps:
            return
        with self.progress.throughput.paused(), saving_state(self.prefix, self.epoch, self._state()):
            save_network(self.prefix, self.epoch, self.trainer.symbol, *self.trainer.network_arrays())
        self._saved_step, self.saved = self.trainer.steps, self.epoch
        self._remove_replaced()
        logger.debug('saved %s', params_path(self.prefix, self.epoch))
        self._drop_old()

    def _state(self) -> TrainingState:
        progress = {
            'step': self.trainer.steps,
            'epoch': self.epoch,
            'batch': self.trainer.steps % self.loader.batches_per_epoch,
            'batch_size': self.loader.batch_size,
            'images': len(self.loader.dataset),
            'best': self.best,
        }
        return TrainingState(progress, json.loads(json.dumps(self.cfg)), self.trainer.arrays())

    def _remove_replaced(self) -> None:
        """Remove what an older run left, now that this one has something to put in its place."""
        own = (
            symbol_path(self.prefix),
            params_path(self.prefix, self.epoch),
            state_path(self.prefix, self.epoch),
        )
        for path in self.replaced:
            if path not in own:
                path.unlink(missing_ok=True)
        self.replaced = ()
        self.history.release()

    def _drop_old(self) -> None:
        """Remove the older states that this run wrote, and with ckpt=3 the parameters that go with them."""
        if self.epoch not in self._epochs_saved:
            self._epochs_saved.append(self.epoch)
        while len(self._epochs_saved) > KEPT:
            epoch = self._epochs_saved.pop(0)
            state_path(self.prefix, epoch).unlink(missing_ok=True)
            if self.cfg.ckpt == NEWEST:
                params_path(self.prefix, epoch).unlink(missing_ok=True)
