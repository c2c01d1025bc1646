"""Embeddings in files, with their images' names and what made them: .npz, .npy, .parquet, .safetensors.

.npz holds `embeddings` (N, D), `names` and `about`, which is JSON. Beside a .npy stand its names, a line each, in a
.txt and the rest in a .json. In .parquet the columns are `name` and `embedding`; in the other formats too, `about`
is what the metadata say.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from config.errors import ConfigError, DataError
from config.reading import read_text, reading
from recognition.utils.files import PathLike, remove_leftovers, replacing, to_disk, unicode_path
from recognition.utils.output_paths import check_outputs
from recognition.utils.packages import require
from recognition.utils.safetensors_bytes import save_tensors
from recognition.utils.streamed_array import SUFFIX, read_array, read_whole_array, write_archive

__all__ = ['Embedded', 'check_output', 'load_embeddings', 'save_embeddings']

DAMAGE = 'is damaged, or holds no embeddings'


class Embedded(NamedTuple):
    """Embeddings, float32 (N, D), the names of their images, and words on how they were made, by name."""

    names: List[str]
    rows: np.ndarray
    about: Dict[str, str]


def check_output(path: PathLike, *, overwrite: bool = False) -> None:
    """Raise ConfigError where embeddings cannot be saved there, MissingExtra where its format needs a package."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ConfigError(f'{path} does not end in {", ".join(FORMATS)}')
    check_outputs([path, *_beside(path)], overwrite=overwrite)
    for package in FORMATS[path.suffix].packages:
        _load(package, path.suffix)


def save_embeddings(path: PathLike, embedded: Embedded, *, overwrite: bool = False) -> None:
    """Write embeddings in the format of the path's ending; whatever happens, the file is whole or not there.

    Raises DataError for what `load_embeddings` would refuse, and where it cannot be written; else as `check_output`.
    """
    check_output(path, overwrite=overwrite)
    path = Path(path)
    _check(path, embedded)
    for file in (path, *_beside(path)):
        remove_leftovers(file)
    FORMATS[path.suffix].write(path, embedded)


def load_embeddings(path: PathLike) -> Embedded:
    """Read what `save_embeddings` wrote; DataError where it is missing, damaged or something else."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise DataError(f'{path} does not end in {", ".join(FORMATS)}, so that it holds no embeddings')
    kind = FORMATS[path.suffix]
    for package in kind.packages:
        _load(package, path.suffix)
    with reading(path, DataError, DAMAGE):
        embedded = kind.read(path)
        _check(path, embedded)
    return embedded


def _check(path: Path, embedded: Embedded) -> None:
    """Raise DataError unless there is a name for each row, all are finite float32, and all words are text."""
    names, rows, about = embedded
    if rows.ndim != 2 or rows.dtype != np.float32 or len(rows) != len(names):
        raise DataError(
            f'{path} holds {len(names)} names and embeddings of shape {rows.shape}, {rows.dtype}, where a name for '
            'each row of float32 (N, D) is wanted'
        )
    if not np.isfinite(rows).all():
        raise DataError(f'{path} holds embeddings that are not finite')
    if not isinstance(names, list) or not isinstance(about, dict):
        raise DataError(f'{path} holds names in no list, or what tells of them has no names')
    for word in (*names, *about, *about.values()):
        if not isinstance(word, str) or word.encode('utf-8', 'ignore').decode() != word:
            raise DataError(
                f'{path} holds {word!r} as a name or in what tells of them, which is no text in UTF-8'
            )


def _load(package: str, suffix: str) -> Any:
    return require(package, 'embed', f'the format {suffix}')


def _write_npz(path: Path, embedded: Embedded) -> None:
    about = np.array(json.dumps(embedded.about))
    names = np.array(embedded.names, dtype=np.str_)
    with replacing(path) as temporary:
        write_archive(temporary, {'embeddings': embedded.rows, 'names': names, 'about': about})


def _read_npz(path: Path) -> Embedded:
    with zipfile.ZipFile(path) as archive:
        names, rows, about = (read_array(archive, key + SUFFIX) for key in ('names', 'embeddings', 'about'))
    return Embedded(names.tolist(), np.asarray(rows), json.loads(str(about)))


def _beside(path: Path) -> Tuple[Path, ...]:
    """Return the other files of embeddings in a .npy: of the names, and of the rest."""
    return (path.with_suffix('.txt'), path.with_suffix('.json')) if path.suffix == '.npy' else ()


def _write_npy(path: Path, embedded: Embedded) -> None:
    broken = next((name for name in embedded.names if len(name.splitlines()) > 1), None)
    if broken is not None:
        raise DataError(f'{path.with_suffix(".txt")} cannot hold the name {broken!r}, which is two lines')
    names, about = _beside(path)
    # the arrays come last: when they are there, all is
    with replacing(path) as arrays, replacing(about) as words, replacing(names) as lines:
        with open(arrays, 'wb') as file:
            np.save(file, embedded.rows)
        words.write_text(json.dumps(embedded.about), 'utf-8')
        lines.write_text(''.join(f'{name}\n' for name in embedded.names), 'utf-8')
        for written in (arrays, words, lines):
            to_disk(written)
        path.unlink(missing_ok=True)  # all is written: old arrays never stand beside new names


def _read_npy(path: Path) -> Embedded:
    names, about = _beside(path)
    lines = read_text(names, DataError).splitlines()
    with reading(about, DataError, DAMAGE):
        words = json.loads(read_text(about, DataError))
    with open(path, 'rb') as file:
        return Embedded(lines, read_whole_array(file, path.stat().st_size), words)


def _write_parquet(path: Path, embedded: Embedded) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    flat = pa.array(np.ascontiguousarray(embedded.rows).reshape(-1))
    columns = {
        'name': pa.array(embedded.names, pa.string()),
        'embedding': pa.FixedSizeListArray.from_arrays(flat, embedded.rows.shape[1]),
    }
    table = pa.table(columns).replace_schema_metadata({'facesymbols': json.dumps(embedded.about)})
    with (
        replacing(path) as temporary,
        open(temporary, 'wb') as file,
    ):  # pyarrow takes no path that is no Unicode
        parquet.write_table(table, file)


def _read_parquet(path: Path) -> Embedded:
    import pyarrow.parquet as parquet

    with open(path, 'rb') as file:
        table = parquet.read_table(file)
    column = table['embedding'].combine_chunks()
    rows = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return Embedded(table['name'].to_pylist(), rows, json.loads(table.schema.metadata[b'facesymbols']))


def _write_safetensors(path: Path, embedded: Embedded) -> None:
    metadata = {**embedded.about, 'names': json.dumps(embedded.names)}
    with replacing(path) as temporary:
        save_tensors(temporary, {'embeddings': embedded.rows}, metadata)


def _read_safetensors(path: Path) -> Embedded:
    from safetensors import safe_open

    # a missing file is an OSError with its name
    with open(path, 'rb') as file, safe_open(unicode_path(file), framework='numpy') as held:
        about = dict(held.metadata())
        return Embedded(json.loads(about.pop('names')), held.get_tensor('embeddings'), about)


class Format(NamedTuple):
    """How a file is written and read, and which packages that needs."""

    write: Callable[[Path, Embedded], None]
    read: Callable[[Path], Embedded]
    packages: Tuple[str, ...] = ()


FORMATS = {
    '.npz': Format(_write_npz, _read_npz),
    '.npy': Format(_write_npy, _read_npy),
    '.parquet': Format(_write_parquet, _read_parquet, ('pyarrow', 'pyarrow.parquet')),
    '.safetensors': Format(_write_safetensors, _read_safetensors, ('safetensors', 'safetensors.numpy')),
}
