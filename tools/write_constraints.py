"""Write constraints/: for each Python the newest releases that go together, found by uv's resolver (pip install uv).

mxnet 1.9.1 asks for a numpy below 2 and an old graphviz. It works with the newest of both, so these limits are
overridden, and the files are for `pip install --no-deps -r`.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'constraints'
PYTHONS = ('3.9', '3.10', '3.11', '3.12', '3.13')
MXNET = 'mxnet==1.9.1'
LIMITS = ('numpy>=1.23', 'graphviz>=0.8.1')  # in place of mxnet's own
PLATFORM = ('--python-platform', 'x86_64-manylinux_2_28')
CUDA = ('nvidia-', 'cuda-', 'triton')  # what torch asks for where it is not the build for CPUs


class Lock(NamedTuple):
    """One file: its first line, the Python that it is for, and uv's options.

    needed: requirements besides the extras of setup.py. limits: those that replace the packages' own.
    """

    words: str
    python: str
    extras: Tuple[str, ...] = ('all',)
    needed: Tuple[str, ...] = (MXNET,)
    limits: Tuple[str, ...] = LIMITS
    options: Tuple[str, ...] = PLATFORM


LOCKS = {
    **{f'python{each}': Lock(f'Newest releases on Python {each}', each) for each in PYTHONS},
    'oldest': Lock(
        'Oldest numpy, and the newest releases that go with it on Python 3.9',
        '3.9',
        needed=(MXNET, 'numpy==1.23.5'),
        limits=(),
    ),
    'extra': Lock(
        'For the tests with a browser, PyTorch or pnnx, on every Python',
        '3.9',
        extras=('browser', 'torch', 'pnnx'),
        needed=('torch<2.14',),  # no later build for CPUs was tried
        options=('--universal', '--no-emit-package', 'mxnet'),
    ),
}


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(
        prog='write_constraints.py', description=(__doc__ or '').partition('\n')[0]
    )
    parser.add_argument('names', nargs='*', default=list(LOCKS), help=f'files to write: {", ".join(LOCKS)}')
    for name in parser.parse_args(argv).names:
        (FOLDER / f'{name}.txt').write_text(resolved(LOCKS[name]), 'utf-8')


def resolved(lock: Lock) -> str:
    """Return the text of a file."""
    with tempfile.TemporaryDirectory() as folder:
        needed, limits = Path(folder, 'needed.in'), Path(folder, 'limits.txt')
        needed.write_text('\n'.join(lock.needed))
        limits.write_text('\n'.join(lock.limits))
        command = ['uv', 'pip', 'compile', 'setup.py', str(needed), '--quiet', '--no-header', '--no-annotate']
        command += [word for extra in lock.extras for word in ('--extra', extra)]
        command += ['--override', str(limits), '--python-version', lock.python, *lock.options]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith(CUDA)]
    return f'# {lock.words}; written by tools/write_constraints.py.\n' + '\n'.join(lines) + '\n'


if __name__ == '__main__':
    main()
