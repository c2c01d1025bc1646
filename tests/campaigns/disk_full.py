"""Full and read-only disks, at each write of each command: what was there stays whole, nothing new is half there.

A command writes to a small tmpfs in a mount namespace of its own, in which a file takes all room but some pages, in a
trial as many as chance has it, up to what the command needs, or which may only be read. Right is status 0 with all
files or status 1 with all that was there before, nothing else, and a sentence that names the file and the reason. A
training may keep what it had saved. Where nothing can be mounted (by `unshare`, with root or user namespaces),
no file may become larger than that many pages, which finds less.
"""

from __future__ import annotations

import gc
import io
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Dict, List

from tests.campaigns import sandbox, table
from tests.campaigns.disk_tasks import MODEL, TASKS, Task

PAGE, SIZE = 4096, '400m'
REASON = re.compile('No space left on device|Read-only file system|is not writable|File too large')
MOUNT = ['unshare', '-m' if os.geteuid() == 0 else '-rm']
MADE_BY_CHANCE = ('model-report.html', 'model-curves.png')  # a run without its report is done, and says so
Files = Dict[str, bytes]


def make_inputs(made: Path) -> None:
    """Write the data sets and networks that the commands read."""
    from config import resolve
    from recognition.checkpoint.run_files import write_json
    from recognition.train import train
    from recognition.utils.run_paths import config_path
    from symbols import get_block
    from tests.helpers.narrow import small, write_network
    from tests.helpers.training import (
        CLASSES,
        SMALL,
        classes_config,
        config,
        photographs,
        write_class_set,
        write_faces,
    )

    import mxnet as mx

    write_faces(made / 'faces')
    write_class_set(made / 'set')
    names: List[str] = []
    for number, (image, label) in enumerate(photographs()):
        path = made / 'photos' / CLASSES[label] / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
        names.append(str(path))
    (made / 'pairs.txt').write_text(''.join(f'{a}\t{b}\t1\n' for a, b in zip(names, names[1:])))
    few = {'max_steps': 4, 'data_workers': 0}
    train(config(made / 'faces', **few), prefix=made / 'run' / 'model')
    train(classes_config(made / 'set', **few), prefix=made / 'classes' / 'model')
    centres = resolve(
        'r18', 'folder', 'subcenter_arcface', dataset_path=str(made / 'faces'), **{**SMALL, **few}
    )
    train(centres, prefix=made / 'centres' / 'model')
    for form, cfg in (('keras', small('keras_xception')), ('pytorch', resolve('r18', emb_size=8))):
        net = get_block(cfg)
        net.initialize(mx.init.Xavier())
        net(mx.nd.zeros((1, 3, *cfg.image_shape[:2])))
        (made / form).mkdir()
        write_json(config_path(write_network(net, made / form / 'model')), cfg)
    for words in (
        f'export {MODEL} --fold --image-size 32,32 -o {{made}}/net.onnx',
        f'export {MODEL} --format safetensors -o {{made}}/net.safetensors',
    ):
        status, told = command(words, made, made)
        assert status == 0, told


def command(words: str, made: Path, out: Path) -> tuple:
    """Run a command in this process; return its status and what it said on standard error."""
    from recognition.commands.main import main

    told = io.StringIO()
    try:
        with redirect_stderr(told), redirect_stdout(io.StringIO()):
            try:
                main([word.format(made=made, out=out) for word in words.split()])
            finally:
                gc.collect()  # what was left open says so here
    except SystemExit as end:
        return int(end.code or 0), told.getvalue()
    except BaseException as error:  # which is what the campaign looks for
        return -1, f'Traceback (most recent call last): {error!r}'
    return 0, told.getvalue()


class Disk:
    """A small file system that is this process's own."""

    def __init__(self, path: Path) -> None:
        self.path, self.out = path, path / 'out'
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={SIZE}', 'none', path], check=True)
        self.out.mkdir()

    def files(self) -> Files:
        """Return what is there."""
        found = sorted(each for each in self.out.rglob('*') if each.is_file())
        return {str(each.relative_to(self.out)): each.read_bytes() for each in found}

    def put_back(self, files: Files) -> None:
        """Have these files there, and no others, and all room."""
        self.set_room(None)
        shutil.rmtree(self.out)
        self.out.mkdir()
        for name, content in files.items():
            (self.out / name).parent.mkdir(parents=True, exist_ok=True)
            (self.out / name).write_bytes(content)

    def set_room(self, pages: object) -> None:
        """Leave so many pages; None leaves all, 'none' lets nothing be written at all."""
        how = 'ro' if pages == 'none' else 'rw'
        subprocess.run(['mount', '-o', f'remount,{how}', self.path], check=True)
        if pages != 'none':
            (self.path / 'ballast').unlink(missing_ok=True)
        if isinstance(pages, int):
            with open(self.path / 'ballast', 'wb') as ballast:
                os.posix_fallocate(ballast.fileno(), 0, self.free() - pages * PAGE)

    def free(self) -> int:
        """Return the bytes that are free."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


class LimitedFolder(Disk):
    """A folder in which files may not become large."""

    def __init__(self, path: Path) -> None:
        self.path, self.out = path, path / 'out'
        self.out.mkdir()

    def set_room(self, pages: object) -> None:
        """Limit every file to so many pages; None ends that."""
        size = resource.RLIM_INFINITY if pages is None else PAGE * pages if isinstance(pages, int) else 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def free(self) -> int:
        """Return a number that falls by what is written."""
        return -sum(map(len, self.files().values()))


def judge(task: Task, status: int, told: str, files: Dict[str, Files], where: str) -> str:
    """Return the outcome of a trial. files: 'before', 'after', and 'wanted' where there is room."""
    before, after, wanted = files['before'], files['after'], files['wanted']
    if status < 0 or any(words in told for words in sandbox.TRACEBACKS):
        return 'crash'
    if status == 0:
        missing = set(wanted) - set(after)
        allowed = set(MADE_BY_CHANCE) if task.piecewise else set()
        return 'right' if missing <= allowed and set(after) <= set(wanted) else 'wrong'
    last = told.splitlines()[-1] if told else ''
    if not (last.startswith('error: ') and where in last and REASON.search(last)):
        return 'wrong'
    if after == before:
        return 'refused'
    kept = task.piecewise and set(before) <= set(after) <= set(wanted) | set(before)
    return 'refused' if kept and all(map(is_whole, *zip(*after.items()))) else 'wrong'


def is_whole(name: str, content: bytes) -> bool:
    """Whether a file of a run can be read to its end."""
    if name.endswith('.json'):
        return bool(json.loads(content))
    if name.endswith('.state'):
        import zipfile

        return zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    return len(content) > 0


def run_task(name: str, made: Path, disk: Disk, trials: int, seed: int) -> Counter:
    """Run a command with too little room, beside nothing and beside an older output."""
    task, count = TASKS[name], Counter()
    chance = random.Random(zlib.crc32(f'{name} {seed}'.encode()))
    os.environ['XDG_CACHE_HOME'] = str(disk.out if task.cache else made / 'cache')
    disk.put_back({})
    if task.before:
        assert command(task.before, made, disk.out)[0] == 0
    first = disk.files()
    before_free = disk.free()
    status, told = command(task.words, made, disk.out)
    if 'pip install' in told:  # no trial: an optional package is missing
        return count
    if status:
        print(f'{name}, with all room: {told}', file=sys.stderr)
        return Counter({'crash': 1})
    wanted, needed = disk.files(), max(1, (before_free - disk.free()) // PAGE)
    olds = [first] if task.before or task.cache else [{}, wanted]
    for trial in range(trials):
        old = olds[trial % len(olds)]
        words = task.words + (' --overwrite' if old and not task.before else '')
        room = {0: 'none', 1: 0}.get(trial // len(olds), chance.randrange(needed + 2))
        disk.put_back(old)
        disk.set_room(room)
        status, told = command(words, made, disk.out)
        files = {'before': old, 'after': disk.files(), 'wanted': wanted}
        outcome = judge(task, status, told, files, str(disk.path))
        count[outcome] += 1
        if outcome in table.FAULTS:
            changed = sorted(
                each for each in {*old, *files['after']} if old.get(each) != files['after'].get(each)
            )
            print(
                f'{name}, room {room} of {needed}: {outcome}, status {status}, {changed}: {told[-300:]}',
                file=sys.stderr,
            )
    disk.put_back({})
    return count


def child(folder: Path, names: List[str], trials: int, seed: int, *, mounted: bool) -> None:
    """Run the tasks in this process, whose file systems are its own, and print their counts as JSON."""
    made, place = folder / 'made', folder / 'disk'
    for each in (made, place):
        each.mkdir()
    make_inputs(made)
    disk = Disk(place) if mounted else LimitedFolder(place)
    for name in names:
        print(json.dumps([name, run_task(name, made, disk, trials, seed)]), flush=True)


def can_mount() -> bool:
    """Return whether this process may mount a file system of its own."""
    try:
        return not subprocess.run(
            [*MOUNT, 'mount', '-t', 'tmpfs', 'none', '/mnt'], capture_output=True
        ).returncode
    except FileNotFoundError:
        return False


def campaign(names: List[str], trials: int, seed: int, seconds: float = 36000.0) -> Dict[str, Counter]:
    """Return the counts of the commands."""
    spare = MOUNT if can_mount() else []
    with tempfile.TemporaryDirectory(prefix='disk-full-') as folder:
        words = [*spare, sys.executable, '-W', 'ignore', '-m', 'tests.campaigns.disk_full']
        result = sandbox.run(
            [
                *words,
                '--child',
                folder,
                str(bool(spare)),
                '--trials',
                trials,
                '--seed',
                seed,
                '--only',
                *names,
            ],
            seconds,
        )
    print(result.stderr, end='', file=sys.stderr)
    rows = {name: Counter(count) for name, count in map(json.loads, result.stdout.splitlines())}
    if result.outcome != 'right' and len(rows) < len(names):
        rows[names[len(rows)]] = Counter({'hang' if result.outcome == 'hang' else 'crash': 1})
    return rows


def main() -> int:
    """Print the table; status 1 where a trial is a fault."""
    parser = table.parser(__doc__, 20)
    parser.add_argument('--only', nargs='+', choices=TASKS, default=[*TASKS], metavar='COMMAND')
    parser.add_argument(
        '--child', nargs=2, help='FOLDER MOUNTED: run in this process, for use by the campaign itself'
    )
    args = parser.parse_args()
    if args.child:
        child(Path(args.child[0]), args.only, args.trials, args.seed, mounted=args.child[1] == 'True')
        return 0
    rows = campaign(args.only, args.trials, args.seed)
    print(table.markdown(rows, 'command'))
    return 1 if table.faults(rows) else 0


if __name__ == '__main__':
    sys.exit(main())
