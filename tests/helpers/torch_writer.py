"""PyTorch checkpoints as nobody writes them: other orders and compressions, and the format before the zip."""

from __future__ import annotations

import struct
import zipfile

from recognition.weights.torch.writer import Call, Name, encode, pickled, tensor, tensors

__all__ = ['Call', 'Name', 'encode', 'pickled', 'tensor', 'tensors', 'write_older', 'write_zip']

MACHINE = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
OLDER_START = (0x1950A86A20F9469CFC6C, 1001, MACHINE)


def write_zip(path, value, storages, *, order=b'little', root='archive', compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.writestr(f'{root}/data.pkl', value if isinstance(value, bytes) else pickled(value))
        if order is not None:
            archive.writestr(f'{root}/byteorder', order)
        for key, content in storages.items():
            archive.writestr(f'{root}/data/{key}', content)
        archive.writestr(f'{root}/version', b'3\n')
    return path


def write_older(path, value, storages, *, lengths=None, start=OLDER_START):
    """Write the format before torch 1.6, in which the storages' lengths stand in the file a second time."""
    parts = [*map(pickled, start), pickled(value), pickled(list(storages))]
    for key, content in storages.items():
        parts += [struct.pack('<q', (lengths or {}).get(key, len(content) // 4)), content]
    path.write_bytes(b''.join(parts))
    return path
