"""An Embedder and a Predictor used by many threads for long, with good images and bad ones among them.

Each engine has a process of its own. Its threads ask for one image or several, in all forms; now and then its main
thread is interrupted by Ctrl-C, and forks. A trial is a call. Right is the rows that a thread alone gets (within 1e-5:
the others in a batch change the last bits), refused the error of the bad image that was in the call. Wrong is anything
else: an error of another's image too, and memory that grows by 1 % or more after the first minute.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from config.errors import ConfigError, DataError
from tests.campaigns import sandbox, table

ENGINES = ('mxnet', 'onnxruntime', 'openvino', 'ncnn')
THREADS, SIDE, GOOD = 16, 32, 36
TOLERANCE = 1e-5
SETTLED = 60.0  # seconds after which memory is to stay, or a third of a shorter time
GROWTH = 1.01
FORK_EVERY, LAST_WAIT = 1.0, 60.0  # seconds
SMALL = {'net_multiplier': 0.0625, 'image_shape': (SIDE, SIDE, 3)}
NETWORKS = {
    'Embedder': ('cosface', {'emb_size': 16}),
    'Predictor': ('classes', {'num_classes': 6}),
}


class Images(NamedTuple):
    """Images that can be read, with the rows that they get alone, and others that cannot, with words of the error."""

    good: List[Any]
    rows: np.ndarray
    bad: List[Tuple[Any, str]]


def make(folder: Path) -> None:
    """Write the networks, and images of all forms."""
    import cv2

    from config import resolve
    from recognition.checkpoint.run_files import write_json
    from recognition.utils.run_paths import config_path
    from symbols import get_block
    from tests.helpers.narrow import write_network

    import mxnet as mx

    for name, (loss, settings) in NETWORKS.items():
        cfg = resolve('r18', 'images' if loss == 'classes' else 'folder', loss, **SMALL, **settings)
        mx.random.seed(1)
        net = get_block(cfg)
        net.initialize(mx.init.Xavier())
        net(mx.nd.zeros((1, 3, SIDE, SIDE)))
        write_json(config_path(write_network(net, folder / name)), cfg)
    draw = np.random.default_rng(0)
    for number in range(GOOD // 3):
        image = draw.integers(0, 256, (SIDE + number % 5, SIDE, 3), dtype=np.uint8)
        (folder / f'{number}.png').write_bytes(cv2.imencode('.png', image)[1].tobytes())


def good_images(folder: Path) -> List[Any]:
    """Return paths, encoded bytes and arrays."""
    paths = sorted(folder.glob('*.png'))
    draw = np.random.default_rng(1)
    arrays = [draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in paths]
    return [*paths, *(path.read_bytes()[:] for path in reversed(paths)), *arrays]


def bad_images(folder: Path) -> List[Tuple[Any, str]]:
    """Return images that cannot be read, with what their error must say; {} is the place among others."""
    whole = (folder / '0.png').read_bytes()
    (folder / 'cut.png.bad').write_bytes(whole[:99])
    return [
        (whole[: len(whole) // 2], 'image {}'),
        (b'', 'image {}'),
        (np.full((SIDE, SIDE, 3), 0.5), ''),
        (folder / 'cut.png.bad', 'cut.png.bad'),
        (folder / 'missing.png', 'missing.png'),
    ]


def call(ask: Callable[[Any], np.ndarray], images: Images, chance: random.Random) -> str:
    """Ask for some images, and return the outcome."""
    chosen = [chance.randrange(len(images.good)) for _ in range(chance.choice((1, 1, 2, 5, 40)))]
    asked, words = [images.good[each] for each in chosen], None
    if chance.random() < 0.25:
        place = chance.randrange(len(asked) + 1)
        image, said = chance.choice(images.bad)
        asked.insert(place, image)
        words = said.format(place)
    try:
        rows = ask(asked[0] if len(asked) == 1 else asked)
    except DataError as error:
        return 'refused' if words is not None and words in str(error) else f'wrong: {error}'
    except Exception as error:
        return f'crash: {error!r}'
    if words is not None:
        return f'wrong: {words!r} was taken'
    off = np.abs(rows - images.rows[chosen]).max() if len(rows) == len(chosen) else np.inf
    return 'right' if off <= TOLERANCE else f'wrong: rows are {off:g} off'


def interrupted(ask: Callable[[Any], np.ndarray], images: Images, delay: float) -> str:
    """Interrupt calls of the main thread, as Ctrl-C does; what is asked for afterwards must be right."""
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    with suppress(KeyboardInterrupt):
        timer.start()
        while True:
            ask(images.good[:3])
    return call(ask, images._replace(bad=images.bad[:1]), random.Random(delay))


def forked(ask: Callable[[Any], np.ndarray], images: Images) -> str:
    """Fork; the child is to refuse at once, and the parent to go on."""
    child = os.fork()
    if not child:
        try:
            ask(images.good[0])
        except ConfigError:
            os._exit(0)
        finally:
            os._exit(1)
    until = time.monotonic() + LAST_WAIT
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return 'wrong: a fork computes' if status else 'right'
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 'hang: a fork'


def memory() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def soak(ask: Callable[[Any], np.ndarray], folder: Path, minutes: float, seed: int) -> Dict[str, Any]:
    """Call from many threads; return the outcomes, and the memory when it had settled and at the end."""
    good = good_images(folder)
    images = Images(good, np.concatenate([ask(each) for each in good]), bad_images(folder))
    begin, count, told = time.monotonic(), Counter(), Counter()  # type: float, Counter, Counter
    end, settled = begin + 60 * minutes, begin + min(SETTLED, 20 * minutes)
    lock = threading.Lock()

    def note(outcome: str) -> None:
        with lock:
            count[outcome.partition(':')[0]] += 1
            told[outcome] += ':' in outcome

    def work(number: int) -> None:
        chance = random.Random(f'{seed} {number}')
        while time.monotonic() < end:
            note(call(ask, images, chance))

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    times, sizes = array('d'), array('q')  # 16 bytes a sample: a list would grow by 2 MB in an hour
    chance = random.Random(seed)
    while time.monotonic() < end:
        note(interrupted(ask, images, chance.uniform(0, 0.05)))
        note(forked(ask, images))
        until = min(time.monotonic() + FORK_EVERY, end)
        while time.monotonic() < until:
            times.append(time.monotonic())
            sizes.append(memory())
            time.sleep(0.2)
    for thread in threads:
        thread.join(max(0.0, end + LAST_WAIT - time.monotonic()))
        if thread.is_alive():
            note('hang: a call')
    later = [size for when, size in zip(times, sizes) if when >= settled]
    part = max(1, len(later) // 10)
    first, last = (float(np.median(each)) for each in (later[:part], later[-part:]))
    if last >= GROWTH * first:
        note(f'wrong: memory grows from {first / 1e6:.1f} to {last / 1e6:.1f} MB')
    return {'count': count, 'told': dict(told.most_common(5)), 'memory': (first, last)}


def child(folder: Path, subject: str, engine: str, minutes: float, seed: int) -> None:
    """Soak one subject with one engine in this process, and print what came of it as JSON."""
    from recognition.embed import Embedder
    from recognition.predict import Predictor

    logging.disable(logging.WARNING)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    model = f'{folder / subject},1'
    names = [f'class {number}' for number in range(6)]
    if subject == 'Embedder':
        with Embedder.load(model, engine, batch_size=16) as embedder:
            found = soak(embedder, folder, minutes, seed)
    else:
        with Predictor.load(model, engine, batch_size=16, classes=names) as predictor:
            found = soak(predictor.probabilities, folder, minutes, seed)
    print(json.dumps(found))


def campaign(
    engines: List[str], minutes: float, seed: int, subjects: Any = tuple(NETWORKS)
) -> Dict[str, Counter]:
    """Return the counts by subject and engine, with the memory in the name of the row."""
    rows: Dict[str, Counter] = {}
    with tempfile.TemporaryDirectory(prefix='soak-') as place:
        made = sandbox.run(
            f'from pathlib import Path; from tests.campaigns import soak; soak.make(Path({place!r}))', 600
        )
        assert made.outcome == 'right', made.stderr
        for subject in subjects:
            for engine in engines:
                words = [sys.executable, '-W', 'ignore', '-m', 'tests.campaigns.soak', '--minutes', minutes]
                words += ['--seed', seed, '--child', place, subject, engine]
                result = sandbox.run(words, 60 * minutes + 600, env={'XDG_CACHE_HOME': f'{place}/cache'})
                name = f'{subject}, {engine}'
                if result.outcome != 'right':
                    rows[name] = Counter({'hang' if result.outcome == 'hang' else 'crash': 1})
                    sys.stderr.write(f'{name}: {result.outcome}, {result.status}: {result.stderr[-2000:]}\n')
                    continue
                found = json.loads(result.stdout)
                first, last = found['memory']
                name += f', {first / 1e6:.1f} MB, {last / first - 1:+.2%}'
                rows[name] = Counter(found['count'])
                sys.stderr.write(f'{name}: {found["count"]} {found["told"]}\n')
    return rows


def main() -> int:
    """Print the table; status 1 where something was neither right nor refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=60.0, help='of each row (default: %(default)g)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', nargs='+', choices=ENGINES, default=[*ENGINES], metavar='ENGINE')
    parser.add_argument('--child', nargs=3, help='FOLDER SUBJECT ENGINE: for use by the campaign itself')
    args = parser.parse_args()
    if args.child:
        folder, subject, engine = args.child
        child(Path(folder), subject, engine, args.minutes, args.seed)
        return 0
    rows = campaign(args.only, args.minutes, args.seed)
    print(table.markdown(rows, 'subject, engine, memory after a minute, growth'))
    return 1 if table.faults(rows) else 0


if __name__ == '__main__':
    sys.exit(main())
