"""What a training run tells while it goes on: a bar on a terminal or lines in a log, and a history file."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from config.errors import CheckpointError
from config.reading import read_bytes
from recognition.training.metrics import Throughput, TrainingMetrics
from recognition.training.trainer import StepResult
from recognition.utils.files import replacing
from recognition.verification.evaluation import Evaluation

logger = logging.getLogger(__name__)

Record = Dict[str, Any]
# of the values of a record that are computed with
KINDS: Mapping[str, Any] = {'step': int, 'epoch': int, 'loss': (int, float), 'accuracy': (int, float)}
LIMIT = 2**63  # of whole numbers, beyond which they do not become float


class History:
    """The records of a run, in memory and as lines of JSON in a file.

    A record has `step` and `epoch` (from 1), `loss`, `accuracy` (0..1), `lr`, `norm` (of the gradient) and
    `images_per_second`; that of a step which was left out has `step`, `epoch` and `skipped` (why); that of a
    verification has `step`, `epoch` and `verification` (by name of the set).

    path: the file, which the first record begins anew; None for memory alone. steps: where the run goes on; older
    records are kept, and those after it (written after the training state was) are dropped. held: the file is that
    of another run and stays until `release`.
    """

    def __init__(self, path: Optional[Path], *, steps: int = 0, held: bool = False) -> None:
        before = read_history(path) if path and steps else []
        self.records: List[Record] = [record for record in before if record['step'] <= steps]
        self._path, self._held = path, held
        self._file: Optional[FileIO] = None

    def append(self, record: Record) -> None:
        """Add a record, in the file too."""
        self.records.append(record)
        self._write([record] if self._file else self.records)

    def epoch_means(self, epoch: int) -> Record:
        """Return the mean loss and accuracy over the steps of an epoch, {} where none was done."""
        own = [
            record
            for record in self.records
            if record.get('epoch') == epoch and {'loss', 'accuracy'} <= record.keys()
        ]
        return {key: float(np.mean([record[key] for record in own])) for key in ('loss', 'accuracy') if own}

    def release(self) -> None:
        """Replace another run's file by this run's records, if it was held."""
        if self._held:
            self._held = False
            self._write(self.records)

    def _write(self, records: Sequence[Record]) -> None:
        if self._path is None or self._held:
            return
        lines = ''.join(json.dumps(record) + '\n' for record in records).encode()
        if self._file:
            try:
                while lines:  # without a buffer, which would be written once more when the file is closed
                    lines = lines[self._file.write(lines) :]
            except OSError as error:
                raise CheckpointError(f'{self._path} cannot be written: {error.strerror}') from error
            return
        with replacing(self._path, CheckpointError) as temporary:
            temporary.write_bytes(lines)
        self._file = open(self._path, 'ab', buffering=0)  # noqa: SIM115 (closed by close)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def read_history(path: Path) -> List[Record]:
    """Return the records in the file of a run, without lines that are damaged; none where there is no file."""
    records = []
    for line in read_bytes(path, CheckpointError).splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and 'step' in record and all(map(_is_sound, *zip(*record.items()))):
            records.append(record)
    return records


def _is_sound(key: str, value: Any) -> bool:
    """Whether a value of a record is of the kind that is computed with."""
    small = not isinstance(value, int) or abs(value) < LIMIT
    return small and isinstance(value, KINDS.get(key, object))


class Progress:
    """Shows loss, accuracy, images per second and time left: a bar if stderr is a terminal, else log lines.

    total: steps of the whole run; done: how many are done already; per_epoch: steps of an epoch; frequent: steps
    between two lines of the log. quiet: show nothing, as every worker but the first.
    """

    def __init__(self, total: int, *, done: int, per_epoch: int, frequent: int, quiet: bool = False) -> None:
        self.total, self.done, self.per_epoch, self.frequent = total, done, per_epoch, frequent
        self.metrics, self.throughput = TrainingMetrics(frequent), Throughput()
        self._stack = ExitStack()
        self._quiet = quiet
        self._bar = self._open_bar() if sys.stderr.isatty() and not quiet else None

    def _open_bar(self) -> Any:
        try:
            from tqdm import tqdm
            from tqdm.contrib.logging import logging_redirect_tqdm
        except ImportError:  # the lines of the log say the same
            return None
        bar = tqdm(total=self.total, initial=self.done, unit='step', dynamic_ncols=True, file=sys.stderr)
        self._stack.callback(bar.close)
        self._stack.enter_context(logging_redirect_tqdm())
        return bar

    def update(self, result: StepResult, labels: np.ndarray, rate: float) -> None:
        """Count a step whose learning rate was `rate`, and show it."""
        self.done += 1
        if not result.skipped:
            self.metrics.update(result.losses, result.predictions, labels)
        self.throughput.update(len(labels))
        if self._bar is not None:
            self._bar.set_postfix_str(
                f'epoch {self._epoch()}, loss {self.metrics.loss:.3f}, accuracy {self.metrics.accuracy:.1%}, '
                f'{self.throughput.images_per_second:.0f} images/s',
                refresh=False,
            )
            self._bar.update()
        elif not self._quiet and (self.done % self.frequent == 0 or self.done == self.total):
            left = self.throughput.seconds_left((self.total - self.done) * len(labels))
            logger.info(
                'step %d/%d  epoch %s  loss %.3f  accuracy %.1f %%  lr %.3g  %.0f images/s  %s left',
                self.done,
                self.total,
                self._epoch(),
                self.metrics.loss,
                100 * self.metrics.accuracy,
                rate,
                self.throughput.images_per_second,
                duration(left),
            )

    def verified(self, epoch: Mapping[str, float], results: Mapping[str, Evaluation]) -> None:
        """Show the means of the running epoch beside the accuracies on other images."""
        if epoch and results:
            accuracies = ''.join(
                f', {name} accuracy {100 * each.accuracy:.1f} %' for name, each in results.items()
            )
            logger.info(
                'epoch %s: loss %.3f, train accuracy %.1f %%%s, %.0f images/s',
                self._epoch(),
                epoch['loss'],
                100 * epoch['accuracy'],
                accuracies,
                self.throughput.images_per_second,
            )

    def _epoch(self) -> str:
        return f'{-(-self.done // self.per_epoch)}/{-(-self.total // self.per_epoch)}'

    def close(self) -> None:
        """Take the bar away."""
        self._stack.close()


def duration(seconds: float) -> str:
    """Return seconds as '1:02:03' or '2:03'."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f'{hours}:{minutes:02d}:{whole % 60:02d}' if hours else f'{minutes}:{whole % 60:02d}'
