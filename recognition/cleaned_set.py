"""A cleaned training set on disk: records, pair sets, what was left out, and a checkpoint to go on from."""

from __future__ import annotations

import csv
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, Sequence

import numpy as np

from config.errors import DataError
from recognition.checkpoint import Saved, save_network
from recognition.data import FaceDataset
from recognition.pack import write_records
from recognition.subcentre import WEIGHT, Cleaning, merged, samples

import mxnet as mx

MODEL, EPOCH = 'model', 1  # of the checkpoint; the epoch that training starts from where none is named
DROPPED, IDENTITIES = 'dropped.csv', 'identities.csv'


def write_cleaned(
    folder: Path, dataset: FaceDataset, cleaning: Cleaning, centres: np.ndarray, saved: Saved
) -> int:
    """Write a new data folder, whole or not at all, and return its number of images.

    It holds train.rec, train.idx, property and the .bin sets of the old one; dropped.csv (record, old label, degrees)
    and identities.csv (new and old label, images kept and dropped, dominant centre); and the network with one centre
    for each identity as model-symbol.json and model-0001.params. Raises DataError where `folder` is there already,
    cannot be written to, or no image is kept.
    """
    with _new_folder(folder) as made:
        count = write_records(made, samples(dataset, cleaning), None, dataset.image_shape)
        for pairs in sorted(dataset.folder.glob('*.bin')):
            shutil.copyfile(pairs, made / pairs.name)
        _write_table(made / DROPPED, ('record', 'label', 'degrees'), _dropped(dataset, cleaning))
        head = ('new_label', 'label', 'kept', 'dropped', 'dominant_centre')
        _write_table(made / IDENTITIES, head, _identities(cleaning))
        _write_model(made / MODEL, saved, merged(centres, cleaning))
    return count


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `folder` when all is in it, and is taken away on a fault."""
    if folder.exists():
        raise DataError(f'{folder} is there already; give a folder that is not')
    made = folder.with_name(f'.{folder.name}.{os.getpid()}.tmp')
    try:
        made.mkdir(parents=True)
        yield made
        os.rename(made, folder)
    except OSError as error:
        raise DataError(f'{folder} cannot be written: {error.strerror}') from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write_table(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with open(path, 'w', newline='') as out:
        writer = csv.writer(out)
        writer.writerow(head)
        writer.writerows(rows)


def _dropped(dataset: FaceDataset, cleaning: Cleaning) -> Iterator[Sequence[Any]]:
    for index in np.flatnonzero(~cleaning.kept):
        yield dataset.where(index), int(cleaning.labels[index]), f'{cleaning.angles[index]:.1f}'


def _identities(cleaning: Cleaning) -> Iterator[Sequence[Any]]:
    kept, dropped = cleaning.counts()
    new = {int(label): place for place, label in enumerate(cleaning.identities)}
    for label, centre in enumerate(cleaning.dominant):
        yield new.get(label, ''), label, kept[label], dropped[label], centre


def _write_model(prefix: Path, saved: Saved, rows: np.ndarray) -> None:
    """Save the network with the classifier fc7 on its embedding, as InsightFace's checkpoints have it."""
    symbol = mx.sym.FullyConnected(
        saved.symbol,
        mx.sym.var(WEIGHT, shape=rows.shape),
        num_hidden=len(rows),
        no_bias=True,
        name='fc7',
    )
    states = set(saved.symbol.list_auxiliary_states())
    args = {name: value for name, value in saved.values.items() if name not in states}
    auxs = {name: value for name, value in saved.values.items() if name in states}
    save_network(prefix, EPOCH, symbol, {**args, WEIGHT: mx.nd.array(rows)}, auxs)
