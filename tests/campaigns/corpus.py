"""Each format that is read: how a small valid file of it is made, and what reads it."""

from __future__ import annotations

import gzip
import json
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple

import numpy as np

Read = Callable[[Path], Any]
SIDE = 8


class Format(NamedTuple):
    """A format: what writes valid files into a folder and names the one to mutate, and what reads that."""

    write: Callable[[Path], Path]
    read: Read


def _image(seed: int = 0, suffix: str = '.png') -> bytes:
    import cv2

    image = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return bytes(cv2.imencode(suffix, image)[1])


def _images(suffix: str) -> Format:
    return Format(
        lambda folder: _written(folder / f'face{suffix}', _image(0, suffix)),
        _by('data.image_sources', 'read_image'),
    )


def _written(path: Path, content: Any) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _checkpoint(name: str, read: Callable[[str, int], Any]) -> Format:
    """A checkpoint of the tiny network with its config, of which one file is mutated."""

    def write(folder: Path) -> Path:
        from tests.helpers.exported import save_tiny

        save_tiny(folder / 'm')
        (folder / 'm-0001.params.sha256').unlink()
        _config(folder)
        return folder / name

    return Format(write, lambda path: read(str(path.parent / 'm'), 1))


def _config(folder: Path) -> Path:
    from config import resolve

    return _written(folder / 'm-config.json', json.dumps(resolve('r18', 'emore')))


def _load_network(prefix: str, epoch: int) -> None:
    from recognition.checkpoint.network import load_network
    from tests.helpers.exported import SHAPE

    load_network(prefix, epoch, image_shape=SHAPE)


def _record(prefix: str, epoch: int) -> None:
    from recognition.engines.record import checkpoint_record

    checkpoint_record(prefix)


def _write_state(folder: Path) -> Path:
    from recognition.checkpoint.training_state import TrainingState, save_state
    from recognition.training.resume import PROGRESS

    arrays = {'param:a': np.ones((3, 4), np.float32), 'momentum:a': np.zeros((3, 4), np.float32)}
    save_state(folder / 'm', 1, TrainingState(dict.fromkeys(PROGRESS, 1), {'net_name': 'resnet'}, arrays))
    return folder / 'm-0001.state'


def _read_state(path: Path) -> None:
    from recognition.checkpoint.training_state import newest_state
    from recognition.training.resume import PROGRESS

    newest_state(path.parent / 'm', PROGRESS)


def _records(name: str) -> Format:
    """A data set of four images in two classes, of which one file is mutated."""

    def write(folder: Path) -> Path:
        from recognition.data.writer import write_records

        write_records(folder, [(_image(n), n // 2) for n in range(4)], 2, (SIDE, SIDE, 3), classes=['a', 'b'])
        return folder / name

    def read(path: Path) -> None:
        from recognition.data.dataset import FaceDataset, class_names
        from recognition.data.validation.dataset import check_data

        class_names(path.parent)
        for use_index in (True, False):
            dataset = FaceDataset(path.parent, use_index=use_index)
            for index in range(min(len(dataset), 4)):
                dataset.read(index)
        check_data(path.parent, workers=0)

    return Format(write, read)


def _write_bin(folder: Path) -> Path:
    from recognition.data.writer import write_pairs

    return write_pairs(folder / 'p.bin', [_image(n) for n in range(4)], [True, False]) and folder / 'p.bin'


def _by(module: str, function: str) -> Read:
    return lambda path: getattr(import_module(f'recognition.{module}'), function)(path)


def _text(name: str, content: str, module: str, function: str) -> Format:
    return Format(lambda folder: _written(folder / name, content), _by(module, function))


def _write_idx(folder: Path) -> Path:
    _written(folder / 'a-labels-idx1-ubyte', bytes((0, 0, 8, 1, 0, 0, 0, 2, 0, 1)))
    images = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2)) + bytes(8)
    return _written(folder / 'a-images-idx3-ubyte.gz', gzip.compress(images, mtime=0))


def _keras(name: str) -> Format:
    def write(folder: Path) -> Path:
        import h5py

        from tests.helpers import keras_written

        path = folder / name
        if name.endswith('.keras'):
            keras_written.write_archive(path)
        else:
            with h5py.File(path, 'w') as file:
                (keras_written.write_numbered if 'weights' in name else keras_written.write_named)(file)
        return path

    def read(path: Path) -> None:
        from recognition.weights.keras.reader import open_keras

        with open_keras(path) as file:
            for layer in file.layers:
                for variable in layer.variables.values():
                    variable.read()

    return Format(write, read)


def _torch(older: bool) -> Format:
    def write(folder: Path) -> Path:
        from recognition.weights.torch.writer import tensors, write_state_dict
        from tests.helpers.torch_writer import write_older

        arrays = {name: np.arange(6, dtype=np.float32).reshape(2, 3) for name in ('a.weight', 'b.weight')}
        if older:
            return Path(write_older(folder / 'n.pth', *tensors(arrays)))
        write_state_dict(folder / 'n.pth', arrays, {'facesymbols/origin.json': b'{"license": "MIT"}'})
        return folder / 'n.pth'

    def read(path: Path) -> None:
        from recognition.weights.arcface_torch import kept_provenance
        from recognition.weights.torch.state_dict import read_state_dict

        read_state_dict(path)
        kept_provenance(path)

    return Format(write, read)


def _write_safetensors(folder: Path) -> Path:
    from recognition.weights.safetensors_file import write_safetensors

    config = json.loads(_config(folder).read_text())
    write_safetensors(folder / 'n.safetensors', {'a': np.ones((2, 3), np.float32)}, {'config': config})
    return folder / 'n.safetensors'


def _exported(name: str, engine: str) -> Format:
    def write(folder: Path) -> Path:
        from tests.helpers.exported import export, save_tiny
        from tests.helpers.small_network import HEIGHT, WIDTH, make_values, write_ncnn

        if engine == 'ncnn':
            write_ncnn(folder / 'n.ncnn', make_values())
            _written(
                folder / 'n.ncnn.json', json.dumps({'image_shape': [HEIGHT, WIDTH, 3], 'kind': 'embedding'})
            )
        else:
            export(save_tiny(folder / 'm'), folder / 'n.onnx')
        return folder / name

    def read(path: Path) -> None:
        from recognition.embed import Embedder

        whole = path.with_name('n.onnx' if engine != 'ncnn' else 'n.ncnn.param')
        embedder = Embedder.load(whole, engine)
        embedder(np.zeros((1, *embedder.image_shape), np.uint8))

    return Format(write, read)


def _embeddings(suffix: str, ending: str = '') -> Format:
    def write(folder: Path) -> Path:
        from recognition.embedding.storage import Embedded, save_embeddings

        rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
        save_embeddings(folder / f'e{suffix}', Embedded(['a', 'b', 'c'], rows, {'engine': 'mxnet'}))
        return folder / f'e{ending or suffix}'

    def read(path: Path) -> None:
        from recognition.embedding.storage import load_embeddings

        load_embeddings(path.with_suffix(suffix))

    return Format(write, read)


def _run(name: str) -> Format:
    """What a run leaves, of which one file is mutated."""

    def write(folder: Path) -> Path:
        _config(folder)
        _written(
            folder / 'm-environment.json', json.dumps([{'seed': 1, 'ended': 'done', 'steps': 2, 'of': 2}])
        )
        record = {'step': 1, 'epoch': 1, 'loss': 2.5, 'accuracy': 0.5, 'lr': 0.1, 'norm': 1.5}
        figures = {'accuracy': 0.5, 'accuracy_interval': [0.4, 0.6], 'eer': 0.5, 'auc': 0.5}
        verified = {'step': 2, 'epoch': 1, 'verification': {'lfw': {**figures, 'tar_at_far': {'0.001': 0.5}}}}
        lines = [record, {'step': 2, 'epoch': 1, 'skipped': 'inf'}, verified]
        _written(folder / 'm-history.jsonl', ''.join(json.dumps(line) + '\n' for line in lines))
        return folder / name

    def read(path: Path) -> None:
        from recognition.training.progress import History

        report: Any = import_module('recognition.training.report')

        report._curves = lambda prefix, history: report.paragraph('')  # to draw them takes a second
        History(path.parent / 'm-history.jsonl', steps=2).epoch_means(1)
        report.write_run_report(path.parent / 'm')

    return Format(write, read)


LIST = ''.join(f'1\tface{n}.png\t{n // 2}\n' for n in range(6))
IM2REC = ''.join(f'{n}\t{n // 2}.0\tface{n}.png\n' for n in range(6))
LISTS = 'data.list_files'
FORMATS: Dict[str, Format] = {
    'symbol JSON': _checkpoint('m-symbol.json', _load_network),
    '.params': _checkpoint('m-0001.params', _load_network),
    'config': _checkpoint('m-config.json', _record),
    '.state': Format(_write_state, _read_state),
    **{name: _records(name) for name in ('train.rec', 'train.idx', 'property', 'classes.txt')},
    '.bin': Format(_write_bin, _by('data.pair_sets', 'load_bin')),
    '.lst': _text('a.lst', LIST, LISTS, 'listed_people'),
    '.lst of im2rec': _text('a.lst', IM2REC, LISTS, 'listed_people'),
    'pairs': _text('pairs.txt', 'a.png b.png 1\na.png c.png 0\n', LISTS, 'listed_pairs'),
    'templates': _text('t.txt', '1 2\n3 4\n', 'verification.templates', 'read_template_people'),
    'hosts': _text('hosts', 'me@one # a\ntwo\n', 'distributed.job_plan', 'read_hosts'),
    'IDX': Format(_write_idx, _by('data.idx_files', 'read_labelled')),
    **{name: _keras(name) for name in ('a.h5', 'a.weights.h5', 'a.keras')},
    '.pth': _torch(older=False),
    'older .pth': _torch(older=True),
    'safetensors': Format(_write_safetensors, _by('weights.safetensors_file', 'read_safetensors')),
    'ONNX, imported': Format(
        _exported('n.onnx', 'onnxruntime').write, _by('weights.onnx.reader', 'load_file')
    ),
    'ONNX, onnxruntime': _exported('n.onnx', 'onnxruntime'),
    'ONNX, OpenVINO': _exported('n.onnx', 'openvino'),
    **{name: _exported(name, 'ncnn') for name in ('n.ncnn.param', 'n.ncnn.bin', 'n.ncnn.json')},
    **{suffix: _embeddings(suffix) for suffix in ('.npz', '.npy', '.parquet')},
    '.npy, words': _embeddings('.npy', '.json'),
    'safetensors of embeddings': _embeddings('.safetensors'),
    **{name: _run(f'm-{name}') for name in ('history.jsonl', 'environment.json')},
    **{
        f'image {suffix}': _images(suffix)
        for suffix in ('.jpg', '.png', '.bmp', '.webp', '.tif', '.ppm', '.gif')
    },
}
