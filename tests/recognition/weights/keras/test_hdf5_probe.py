"""The process that looks at a file of HDF5 first: the library may crash there, and nobody else does."""

from __future__ import annotations

import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.weights.keras import hdf5_probe as hdf5_check
from tests.helpers.keras_written import (
    KEYS,
    read_all,
    refused,
    summary,
    write_archive,
    write_named,
    write_numbered,
)

CRASH = 'import os; os.kill(os.getpid(), 11)'


@pytest.mark.parametrize('write', [write_named, write_numbered])
def test_random_damage_is_one_sentence(written, write, monkeypatch):
    """Bytes of the structure at random: no other error comes out, and the library of HDF5 takes nobody with it."""
    monkeypatch.setattr(hdf5_check, 'SECONDS', 2)
    path = written(write)
    content = path.read_bytes()
    rng = np.random.RandomState(1)
    faults = 0
    for _ in range(6):
        damaged = bytearray(content)
        for position in rng.randint(8, len(content), 30):
            damaged[position] = rng.randint(256)
        path.write_bytes(damaged)
        try:
            read_all(path)
        except CheckpointError:
            faults += 1
    assert faults


@pytest.mark.parametrize(
    ('probe', 'words'),
    [
        (CRASH, 'crashes'),
        ('import time; time.sleep(60)', 'does not come to an end'),
        ('while True: pass', 'does not come to an end'),
    ],
)
def test_file_that_hdf5_does_not_survive(written, monkeypatch, probe, words):
    monkeypatch.setattr(hdf5_check, 'PROBE', probe)
    monkeypatch.setattr(hdf5_check, 'SECONDS', 1)
    monkeypatch.setattr(hdf5_check, 'PATIENCE', 1 if 'sleep' in probe else 60)
    refused(written(write_named), words)


def test_probe_reads_the_structure(written, path, monkeypatch):
    """It sees every attribute, of a file and of what stands in an archive."""
    monkeypatch.setattr(hdf5_check, 'PROBE', hdf5_check.PROBE.replace('item.attrs[attribute]', CRASH))
    refused(written(write_named), 'crashes')
    assert summary(written(write_numbered))
    write_archive(path, weights=lambda file: write_numbered(file, names=dict.fromkeys(KEYS, 'a')))
    refused(path, 'crashes')
