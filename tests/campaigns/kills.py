"""Trainings killed at random moments: each, resumed, ends with the bits of the run that was not killed.

A run is a fork of this process, which has imported mxnet and computed nothing; a job of several processes is
started by `facesymbols launch`. It gets SIGKILL after a random time, or while it saves, up to three times, and then is
left to end.
A trial is one SIGKILL; its outcome is that of the run. Right is: the same parameters, training state and history as
without a kill, every file with its sum, and nothing left over. A run that refuses to resume is wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, NoReturn

import numpy as np

from recognition.utils.checksums import check_checksum
from recognition.utils.run_paths import config_path, epochs_of, history_path, params_path
from tests.campaigns import table

STEPS, KILLS = 24, 3  # of a run
LIMIT = 300.0  # seconds that a run may take after its kills, on a busy machine
WRITING = '.model-0*.tmp'
PART_OF_A_WRITE = 0.004  # seconds


class Task(NamedTuple):
    """What is trained: settings, on images with classes instead of faces, by how many workers."""

    settings: Dict[str, Any] = {}  # noqa: RUF012 (never changed)
    classes: bool = False
    workers: int = 1


PARTIAL = {'sample_rate': 0.7, 'per_batch_size': 3, 'loss_name': 'adaface'}
TASKS = {
    'SGD': Task(),
    'partial FC': Task(PARTIAL),
    'EMA': Task({'ema': 0.9}),
    'AdamW, accumulated, clipped': Task(
        {
            'optimizer': 'adamw',
            'lr': 0.002,
            'ema': 0.9,
            'accumulate': 2,
            'clip_norm': 1.0,
            'per_batch_size': 3,
        }
    ),
    'classes': Task(classes=True),
    'recompute, frozen layers': Task({'freeze': ('conv0_|bn0_|stage1_',), 'recompute': True}),
    'triplets, images decoded ahead': Task(
        {'loss_name': 'triplet', 'data_sampler': 'balanced', 'images_per_identity': 3, 'data_workers': 1}
    ),
    'the newest checkpoint alone': Task({'ckpt': 3}),
    'two workers': Task({'per_batch_size': 3}, workers=2),
    'two workers, partial FC in parts': Task({**PARTIAL, 'fc7_sharded': True}, workers=2),
}


class Run:
    """A training in a process group of its own, that goes on from what is at the prefix."""

    def __init__(self, task: Task, made: Path, prefix: Path) -> None:
        self.task, self.prefix, self.status = task, prefix, None  # type: Task, Path, Optional[int]
        self.process = os.fork()
        if not self.process:
            _train(task, made, prefix)

    def ended(self) -> bool:
        """Whether it has ended; `status` is set then."""
        if self.status is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            self.status = status if done else None
        return self.status is not None

    def ended_within(self, seconds: float) -> bool:
        """Whether it ends before the time is over."""
        until = time.monotonic() + seconds
        while not self.ended() and time.monotonic() < until:
            time.sleep(0.01)
        return self.ended()

    def kill_at(self, chance: random.Random, seconds: float) -> bool:
        """Kill it within so many seconds, or while it saves; False where it ends before."""
        due = time.monotonic() + chance.uniform(0, seconds) if chance.random() < 0.5 else None
        while not self.ended():
            if due is None and any(self.prefix.parent.glob(WRITING)):
                due = time.monotonic() + chance.uniform(0, PART_OF_A_WRITE)
            if due is not None and time.monotonic() >= due:
                return self._kill(chance)
            time.sleep(0.0005)
        return False

    def _kill(self, chance: random.Random) -> bool:
        """Kill the run; of a job one of its processes, the launcher too, and wait until none is left."""
        children = _children(self.process) if self.task.workers > 1 else []
        victim = chance.choice([self.process, *children])
        with suppress(ProcessLookupError):
            (os.kill if children else os.killpg)(victim, signal.SIGKILL)
        self.ended_within(LIMIT)
        until = time.monotonic() + LIMIT
        while any(map(_lives, children)) and time.monotonic() < until:
            time.sleep(0.01)
        return True

    def end(self) -> None:
        """End what is left of it."""
        for process in _children(self.process) if not self.ended() else []:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        self.ended_within(LIMIT)


def _children(process: int) -> List[int]:
    try:
        return [int(each) for each in Path(f'/proc/{process}/task/{process}/children').read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _lives(process: int) -> bool:
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def _train(task: Task, made: Path, prefix: Path) -> NoReturn:
    """Train in this process, or become the launcher of a job."""
    from recognition.train import train
    from tests.helpers.training import classes_config, command, config

    status = 1
    try:
        os.setsid()
        with open(prefix.parent / 'log', 'ab') as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        resume = config_path(prefix).exists()
        settings = {'max_steps': STEPS, 'end_epoch': 9, 'data_workers': 0, **task.settings}
        if task.workers > 1:
            launch = [
                '-W',
                'ignore',
                '-m',
                'recognition',
                'launch',
                '-n',
                task.workers,
                '--logs',
                prefix.parent,
            ]
            words = [
                *command(made / 'faces', prefix, **settings),
                '--no-verify',
                *['--resume'][: int(resume)],
            ]
            os.execv(sys.executable, [sys.executable, *map(str, launch), '--', *words])
        cfg = classes_config(made / 'set', **settings) if task.classes else config(made / 'faces', **settings)
        train(cfg, prefix=prefix, resume=resume, verify=False)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def differences(prefix: Path, unbroken: Path) -> List[str]:
    """Return what a run left otherwise than the one that was not killed."""
    from recognition.checkpoint.training_state import load_state

    found = [f'{path.name} is left' for path in prefix.parent.glob('.*.tmp')]
    for kind in ('params', 'state'):
        if epochs_of(prefix, kind) != epochs_of(unbroken, kind):
            return [*found, f'there are the epochs {epochs_of(prefix, kind)} of .{kind}']
    for epoch in epochs_of(unbroken):
        check_checksum(params_path(prefix, epoch))
        if params_path(prefix, epoch).read_bytes() != params_path(unbroken, epoch).read_bytes():
            found.append(f'.params of epoch {epoch}')
    for epoch in epochs_of(unbroken, 'state'):
        one, other = load_state(prefix, epoch), load_state(unbroken, epoch)
        if sorted(one.arrays) != sorted(other.arrays) or one.progress != other.progress:
            found.append(f'progress of epoch {epoch}: {one.progress}')
        found += [
            f'{key} of epoch {epoch}'
            for key, value in other.arrays.items()
            if not np.array_equal(value, one.arrays.get(key))
        ]
    lines = [json.loads(line) for line in history_path(prefix).read_text('utf-8').splitlines()]
    steps = [line['step'] for line in lines]
    return [*found, *([] if steps == list(range(1, STEPS + 1)) else [f'history of the steps {steps}'])]


def chain(
    task: Task, made: Path, unbroken: Path, folder: Path, chance: random.Random, seconds: float
) -> tuple:
    """Kill a run up to KILLS times and let it end; return the number of kills, the outcome and the reason."""
    prefix, killed = folder / 'model', 0
    for kills_left in reversed(range(KILLS + 1)):
        run = Run(task, made, prefix)
        try:
            if kills_left and run.kill_at(chance, seconds):
                killed += 1
                if not run.ended():
                    return killed, 'hang', 'the job goes on without one of its processes'
                continue
            if not run.ended_within(LIMIT):
                return killed, 'hang', ''
        finally:
            run.end()
        if run.status:
            return (
                killed,
                'crash' if os.WIFSIGNALED(run.status) else 'wrong',
                (folder / 'log').read_text()[-2000:],
            )
        break
    try:
        found = differences(prefix, unbroken)
    except Exception:
        return killed, 'crash', traceback.format_exc()
    return killed, 'wrong' if found else 'right', '; '.join(found)


def run_task(name: str, made: Path, trials: int, seed: int) -> Counter:
    """Kill runs of a task until there are as many kills as `trials`."""
    task, count = TASKS[name], Counter()  # type: Task, Counter
    chance = random.Random(zlib.crc32(f'{name} {seed}'.encode()))
    with tempfile.TemporaryDirectory(prefix='kills-') as place:
        unbroken = Path(place) / 'unbroken' / 'model'
        unbroken.parent.mkdir()
        begin = time.monotonic()
        run = Run(task, made, unbroken)
        done = run.ended_within(LIMIT)
        run.end()
        seconds = time.monotonic() - begin
        if not done or run.status:
            sys.exit(f'{name} does not end by itself\n{(unbroken.parent / "log").read_text()[-2000:]}')
        while sum(count.values()) < trials:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                killed, outcome, why = chain(task, made, unbroken, Path(folder), chance, seconds)
            count[outcome] += killed
            if outcome != 'right':
                count[outcome] += not killed
                sys.stderr.write(f'{name}, {killed} kills: {outcome}: {why}\n')
    return count


def main() -> int:
    """Print the table; status 1 where a run ended otherwise."""
    parser = table.parser(__doc__, 30)
    parser.add_argument('--only', nargs='+', choices=TASKS, default=[*TASKS], metavar='FEATURE')
    args = parser.parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    from recognition.training import build  # noqa: F401  mxnet is loaded once, before all forks
    from tests.helpers.training import write_class_set, write_faces

    rows: Dict[str, Counter] = {}
    with tempfile.TemporaryDirectory(prefix='kills-') as place:
        made = Path(place)
        write_faces(made / 'faces')
        write_class_set(made / 'set')
        for name in args.only:
            rows[name] = run_task(name, made, args.trials, args.seed)
            print(table.markdown({name: rows[name]}, 'feature').splitlines()[-1], file=sys.stderr)
    print(table.markdown(rows, 'feature'))
    return 1 if table.faults(rows) else 0


if __name__ == '__main__':
    sys.exit(main())
