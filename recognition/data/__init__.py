"""Training sets and verification sets: RecordIO, images, loading, augmentation; free of mxnet."""

from __future__ import annotations

from recognition.data.augment import Augmentation
from recognition.data.dataset import FaceDataset, JoinedDataset, open_faces, split_path
from recognition.data.loader import FaceLoader
from recognition.data.pair_sets import load_bin, read_pairs
from recognition.data.writer import write_pairs, write_records

__all__ = [
    'Augmentation',
    'FaceDataset',
    'FaceLoader',
    'JoinedDataset',
    'load_bin',
    'open_faces',
    'read_pairs',
    'split_path',
    'write_pairs',
    'write_records',
]
