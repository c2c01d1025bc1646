"""Files of every format that is read, mutated: each is read, or refused in one sentence.

No trial may end the process, take longer than SECONDS, take more memory than MEMORY and three times the file, raise
anything but an error of this library, or run code (a canary shows that). A process reads one mutated file after
another, and a new one takes its place where it was lost. `--trials` is of each format, `--only NAME` chooses some.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import numpy as np

from tests.campaigns.corpus import FORMATS
from tests.campaigns.mutators import CANARY, mutate
from tests.campaigns.table import Count, faults, markdown, parser

SECONDS = 10.0  # of computing
PATIENCE = 6  # times as long without computing
MEMORY = 200 << 20  # bytes beside three times the file
CEILING = 4 << 30  # of address space, above what the process has
LONGEST = 1200  # characters of a sentence, which may name several paths
SHOWN = 300
SEEDS = 3  # files kept of a kind of fault
ODD_FILES: Tuple[Callable[[Path], object], ...] = (Path.touch, Path.mkdir, os.mkfifo)  # of the first trials


def read_one(name: str, path: Path) -> Tuple[str, str]:
    """Return what reading a mutated file came to: the outcome, and words."""
    from config.errors import FaceSymbolsError

    before = _memory('VmRSS')
    Path('/proc/self/clear_refs').write_text('5')  # the highest resident set is counted anew
    try:
        FORMATS[name].read(path)
        outcome, words = 'right', ''
    except FaceSymbolsError as error:
        outcome, words = 'refused', str(error)
    except MemoryError as error:
        outcome, words = 'crash', f'MemoryError {error}'
    except Exception as error:
        outcome, words = 'crash', f'{type(error).__name__}: {error}'
    taken = _memory('VmHWM') - before
    allowed = MEMORY + 3 * sum(each.stat().st_size for each in path.parent.iterdir() if each.is_file())
    if (path.parent / CANARY).exists():
        return 'wrong', f'code was run; {words}'
    if outcome == 'refused' and ('\n' in words or len(words) > LONGEST or 'Traceback' in words):
        return 'wrong', f'not a sentence: {words}'
    if taken > allowed:
        return 'wrong', f'{taken >> 20} MB taken; {words}'
    return outcome, words


def _memory(key: str) -> int:
    """Return a line of the process's status in bytes."""
    status = Path('/proc/self/status').read_text()
    return 1024 * int(status.partition(f'{key}:')[2].split(maxsplit=1)[0])


def serve(name: str, folder: Path, seed: int) -> None:
    """Write valid files, and then for each number on standard input mutate the file and read it."""
    import logging

    logging.disable(logging.CRITICAL)
    whole = folder / 'whole'
    whole.mkdir()
    main = FORMATS[name].write(whole).name
    content = (whole / main).read_bytes()
    FORMATS[name].read(whole / main)  # the packages are loaded then
    trial = folder / 'trial'
    resource.setrlimit(resource.RLIMIT_AS, (_memory('VmSize') + CEILING, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = sys.stdout
    print(flush=True)
    for line in sys.stdin:
        draw = np.random.default_rng([seed, int(line)])
        shutil.rmtree(trial, ignore_errors=True)
        shutil.copytree(whole, trial)
        (trial / main).unlink()
        if int(line) < len(ODD_FILES):
            ODD_FILES[int(line)](trial / main)
        else:
            (trial / main).write_bytes(mutate(content, draw, str(trial / CANARY)))
        with redirect_stdout(None):
            found = read_one(name, trial / main)
        print(json.dumps(found), file=answers, flush=True)


class Server:
    """A process that mutates and reads, started anew after each loss."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        self.name, self.folder, self.seed = name, folder, seed
        self.process: Optional[subprocess.Popen[str]] = None

    def start(self) -> None:
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        command = [
            sys.executable,
            '-W',
            'ignore',
            '-m',
            'tests.campaigns.mutation',
            '--serve',
            str(self.folder),
        ]
        command += ['--only', self.name, '--seed', str(self.seed)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        if not self._line(600):
            raise RuntimeError(f'{self.name}: the valid file cannot be read')

    def trial(self, number: int) -> Tuple[str, str]:
        if self.process is None:
            self.start()
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended
            self.process.stdin.write(f'{number}\n')
            self.process.stdin.flush()
        line, begun = None, self._processor_seconds()
        for _ in range(PATIENCE):  # on a machine that does other work, too, ten seconds are no hang
            line = self._line(SECONDS)
            if line is not None or self._processor_seconds() - begun > SECONDS:
                break
        if line:
            outcome, words = json.loads(line)
            return outcome, words
        status = self.process.poll() if line is None else self.process.wait()
        self.close()
        return ('hang', '') if status is None else ('crash', f'status {status}')

    def _processor_seconds(self) -> float:
        """Return how long the process and those that it has started and seen the end of have computed."""
        assert self.process is not None
        with suppress(OSError):
            fields = Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(')')[2].split()
            return sum(map(int, fields[11:15])) / os.sysconf('SC_CLK_TCK')
        return 0.0

    def _line(self, seconds: float) -> Optional[str]:
        """Return a line, '' at the end, None where there is none in time."""
        assert self.process is not None
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline() if ready else None

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            with suppress(BrokenPipeError):
                self.process.communicate()
            self.process = None


def run(names: Sequence[str], trials: int, seed: int, keep: Optional[Path] = None) -> Dict[str, Any]:
    """Return the outcomes by format; what is wrong is printed, and its files are kept in a folder."""
    rows: Dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            count, server = Count(), Server(name, Path(folder) / 'server', seed)
            for number in range(trials):
                outcome, words = server.trial(number)
                count[outcome] += 1
                if outcome not in ('right', 'refused'):
                    print(f'{name}, trial {number}: {outcome}: {words[:SHOWN]}', file=sys.stderr, flush=True)
                    if keep and count[outcome] <= SEEDS and server.folder.exists():
                        shutil.copytree(
                            server.folder / 'trial', keep / f'{name} {number}', dirs_exist_ok=True
                        )
            server.close()
            rows[name] = count
            print(f'{name}: {dict(count)}', file=sys.stderr, flush=True)
    return rows


def main() -> int:
    options = parser(__doc__, trials=10_000)
    options.add_argument('--only', action='append', metavar='NAME', choices=FORMATS)
    options.add_argument('--keep', type=Path, help='folder for the files that showed a fault')
    options.add_argument('--serve', type=Path, help='of the processes that this one starts')
    args = options.parse_args()
    if args.serve:
        serve(args.only[0], args.serve, args.seed)
        return 0
    rows = run(args.only or list(FORMATS), args.trials, args.seed, args.keep)
    print(markdown(rows, 'file'))
    return int(faults(rows) > 0)


if __name__ == '__main__':
    sys.exit(main())
