"""safetensors files with their metadata in the order given; the package writes them in another one each time."""

from __future__ import annotations

import json
from typing import Mapping

import numpy as np

from recognition.utils.files import PathLike

LENGTH = (
    8  # bytes at the beginning, little endian: how long the header is; the header's end is aligned to as many
)


def save_tensors(path: PathLike, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays and metadata by name; the package must be there."""
    from safetensors.numpy import save

    content = memoryview(save({name: np.ascontiguousarray(each) for name, each in arrays.items()}))
    start = LENGTH + int.from_bytes(content[:LENGTH], 'little')
    header = {'__metadata__': dict(metadata), **json.loads(bytes(content[LENGTH:start]))}
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % LENGTH)
    with open(path, 'wb') as file:  # by Python, since safetensors takes no path that is not Unicode
        file.write(len(text).to_bytes(LENGTH, 'little') + text)
        file.write(content[start:])
