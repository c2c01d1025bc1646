"""The files that a network is in: a checkpoint of MXNet, an ONNX file, or ncnn's pair."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from config.errors import CheckpointError
from recognition.engines.onnx_file import read_onnx_file
from recognition.utils.checksums import sum_of
from recognition.utils.files import PathLike, readable
from recognition.utils.pixels import Pixels
from recognition.utils.run_paths import epochs_of, params_path, parse_checkpoint, symbol_path

KINDS = {
    'checkpoint': 'a checkpoint PREFIX,EPOCH',
    'onnx': 'a file NET.onnx',
    'ncnn': 'a pair NET.ncnn.param, NET.ncnn.bin',
}
NAMED = 8  # epochs that an error names
OUTPUT_LAYER = (
    'output_layer'  # in the metadata of an exported file: the layer that it ends in, where one was named
)
PAIR = re.compile(r'(.+)\.(param|bin)')


class Model(NamedTuple):
    """Location of a network: its `kind` (of KINDS), and the path of its file or the prefix of its files.

    output: the layer that gives the embedding, where the user names it. pixels: the preprocessing that the user sets;
    None: as the files record.
    """

    kind: str
    path: Path
    epoch: int = 0
    output: Optional[str] = None
    pixels: Optional[Pixels] = None

    def __str__(self) -> str:
        return readable(f'{self.path},{self.epoch}' if self.kind == 'checkpoint' else self.files[0])

    @property
    def files(self) -> List[Path]:
        """Return the files that hold it; the values, by which networks are told apart, are in the last one."""
        if self.kind == 'checkpoint':
            return [symbol_path(self.path), params_path(self.path, self.epoch)]
        if self.kind == 'ncnn':
            return [Path(f'{self.path}.param'), Path(f'{self.path}.bin')]
        return [self.path]

    def check_files(self) -> None:
        """Raise CheckpointError where a file is missing; that of a checkpoint names the epochs that exist."""
        for file in self.files:
            if not file.is_file():
                hint = self._epochs() if self.kind == 'checkpoint' else ''
                raise CheckpointError(f'{file} does not exist{hint}')

    def fingerprint(self) -> str:
        """Return the SHA-256 sum, in hexadecimal, of the file that holds the values; CheckpointError without it."""
        return self._sum(self.files[-1])

    def content_key(self) -> str:
        """Return a sum of the files, `output` and `pixels`, the key of what is cached for the model.

        Errors as `fingerprint`.
        """
        said = [] if self.output is None and self.pixels is None else [repr((self.output, self.pixels))]
        return hashlib.sha256(''.join([*map(self._sum, self.files), *said]).encode()).hexdigest()

    def _sum(self, file: Path) -> str:
        try:
            beside = read_onnx_file(file).value_files if self.kind == 'onnx' else ()
            sums = [sum_of(each) for each in (file, *beside)]
        except OSError as error:
            hint = self._epochs() if self.kind == 'checkpoint' else ''
            raise CheckpointError(f'{error.filename} cannot be read: {error.strerror}{hint}') from error
        return hashlib.sha256(''.join(sums).encode()).hexdigest() if beside else sums[0]

    def _epochs(self) -> str:
        there = epochs_of(self.path)
        return f'; the epochs there are {", ".join(map(str, there[-NAMED:]))}' if there else ''


def find_model(path: PathLike) -> Model:
    """Return which network a path stands for: 'prefix,epoch', 'net.onnx' or one file of ncnn's pair.

    Raises CheckpointError for another path, and where one of the files does not exist.
    """
    text = os.fspath(path)
    pair = PAIR.fullmatch(text)
    if text.endswith('.onnx'):
        model = Model('onnx', Path(text))
    elif pair:
        model = Model('ncnn', Path(pair.group(1)))
    else:
        try:
            model = Model('checkpoint', *_prefix(text))
        except CheckpointError as error:
            raise CheckpointError(f'{error}; or give {KINDS["onnx"]} or {KINDS["ncnn"]}') from None
    for file in model.files if model.kind != 'checkpoint' else []:  # a checkpoint's error names what is there
        if not file.is_file():
            raise CheckpointError(f'{file} does not exist')
    return model


def _prefix(text: str) -> Tuple[Path, int]:
    prefix, epoch = parse_checkpoint('the network', text)
    return Path(prefix), epoch
