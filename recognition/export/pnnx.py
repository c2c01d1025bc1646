"""An ONNX file as ncnn's pair of files, by the program pnnx, which the wheel of that name brings.

pip wants PyTorch for the wheel, which the program itself does without: `pip install --no-deps pnnx` is enough.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Iterator, NamedTuple, Sequence

from config.errors import CheckpointError, MissingExtra
from recognition.utils.processes import die_with_parent

NAME = 'net'


class Pair(NamedTuple):
    """ncnn's two files: the graph as text, and the values."""

    graph: Path
    values: Path


def find_pnnx() -> Path:
    """Return the path of the program; MissingExtra says how to install it."""
    spec = find_spec('pnnx')
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / 'pnnx'
        if os.access(program, os.X_OK):
            return program
    raise MissingExtra('files for ncnn are made by pnnx: pip install --no-deps pnnx')


@contextmanager
def converted(content: bytes, image_shape: Sequence[int]) -> Iterator[Pair]:
    """Give the pair that pnnx makes of an ONNX file's content, in a folder that is removed afterwards.

    image_shape: (H, W, C) of the images; the pair takes one of them at a time, float32 (C, H, W), and computes in
    float32. Raises CheckpointError where pnnx makes no such pair.
    """
    program = find_pnnx()
    height, width, channels = image_shape
    with TemporaryDirectory() as folder:
        pair = Pair(Path(folder, f'{NAME}.ncnn.param'), Path(folder, f'{NAME}.ncnn.bin'))
        Path(folder, f'{NAME}.onnx').write_bytes(content)
        shape = f'inputshape=[1,{channels},{height},{width}]'
        try:
            done = subprocess.run(
                [program, f'{NAME}.onnx', shape, 'fp16=0'],
                cwd=folder,
                capture_output=True,
                text=True,
                errors='replace',
                preexec_fn=die_with_parent(),
            )
        except OSError as error:  # it was built for another kind of machine
            raise CheckpointError(f'{program} cannot be run: {error.strerror}') from error
        if done.returncode or not (pair.graph.is_file() and pair.values.is_file()):
            last = (done.stderr.strip().splitlines() or ['it says nothing'])[-1]
            raise CheckpointError(f'pnnx cannot convert the network (status {done.returncode}): {last}')
        yield pair
