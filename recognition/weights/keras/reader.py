"""The weights in a file of Keras, layer by layer; neither Keras nor TensorFlow is needed, and nothing in it is run.

Three layouts are read, told apart by what is in the file, not by its name:
- HDF5 of Keras 1 and 2 (and of Keras 3's model.save('x.h5')): layers and weights by name, weights alone or a model;
- `.weights.h5` of Keras 3 (and of the last Keras 2): the layers of each class are counted in the order of
  `model.layers`, and their weights are numbered; newer versions note a layer's name beside them;
- `.keras`: a zip with the second as model.weights.h5, and a config.json that names the layers in the same order.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import zipfile
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from config.errors import CheckpointError
from config.reading import reading, refusing
from recognition.utils.files import PathLike
from recognition.utils.packages import require
from recognition.weights.keras.hdf5_probe import check_hdf5
from recognition.weights.keras.model_config import Configured, plain, read_config

HDF5 = b'\x89HDF\r\n\x1a\n'
ZIP = b'PK\x03\x04'
CONTAINERS = ('layers', '_layer_checkpoint_dependencies')  # where Keras 3, and Keras 2.12, put the layers
WEIGHTS, CONFIG = 'model.weights.h5', 'config.json'
MODE = 'preprocess_input'
RECORDED = (MODE, 'license', 'origin')  # attributes that a file exported here may have
LARGEST = {WEIGHTS: 2 << 30, CONFIG: 64 << 20}  # bytes that a member of a .keras file may have
MOST_NAMES = 100_000  # in an attribute
LONGEST_NAME = 64 << 10  # bytes
EXPANSION = 100  # how many times larger than in the file a member may be

# What Keras 1 called `<layer>_W`; running_std is the variance, whatever its name.
KERAS_1 = {'W': 'kernel', 'b': 'bias', 'running_mean': 'moving_mean', 'running_std': 'moving_variance'}


class Variable(NamedTuple):
    """An array in the file, which is read when its shape has been found right."""

    where: str
    shape: Tuple[int, ...]
    dataset: Any

    def read(self) -> np.ndarray:
        """Return the values as float32; CheckpointError where they are no finite floating point numbers."""
        with refusing(self.where, CheckpointError), np.errstate(over='ignore'):
            if self.dataset.external or self.dataset.is_virtual:
                raise CheckpointError(f'{self.where} lies in another file')
            if self.dataset.dtype.kind != 'f':
                raise CheckpointError(
                    f'{self.where} is of {self.dataset.dtype} where floating point numbers are wanted'
                )
            values = np.array(self.dataset[()], np.float32)
        if not np.isfinite(values).all():
            raise CheckpointError(f'{self.where} holds values that are not finite')
        return values


class Layer(NamedTuple):
    """A layer with weights.

    name: Keras's, with '_' for '/'; None where the file has none. kind: its class in snake case (`conv2d`); None where
    the file does not say. number: where the class is counted. variables: by Keras's names (`kernel`), or by number
    ('0', '1', ...).
    """

    label: str  # what an error calls it
    name: Optional[str]
    kind: Optional[str]
    number: int
    variables: Mapping[str, Variable]


class KerasFile(NamedTuple):
    """The layers with weights, and the config of the model in the order of `model.layers`; [] in a file of weights.

    recorded: the attributes of a file that was exported here, of RECORDED.
    """

    layers: List[Layer]
    config: List[Configured]
    recorded: Mapping[str, str] = MappingProxyType({})


@contextmanager
def open_keras(path: PathLike) -> Iterator[KerasFile]:
    """Give what is in a Keras file, whose variables can be read while it is open.

    Raises CheckpointError for a file that is missing, damaged or not Keras's, and MissingExtra without h5py.
    """
    h5py = _h5py()
    source, config = _content(path)
    check_hdf5(source, path)
    with reading(path, CheckpointError):
        file = h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, 'r')
    with file:
        with reading(path, CheckpointError):
            recorded = {key: ''.join(_names(file, key)) for key in RECORDED if key in file.attrs}
            content = _layers(file, config, path)._replace(recorded=recorded)
        yield content


def _h5py() -> Any:
    return require('h5py', 'keras', "reading Keras's files")


def _content(path: PathLike) -> Tuple[Union[PathLike, bytes], Optional[List[Configured]]]:
    """Return the path or the content that is HDF5, and the config of a .keras file."""
    with reading(path, CheckpointError), open(path, 'rb') as file:
        start = file.read(len(HDF5))
    if start == HDF5:
        return path, None
    if not start.startswith(ZIP):
        raise CheckpointError(f'{path} is no file of Keras: it is neither HDF5 nor a zip')
    with reading(path, CheckpointError), zipfile.ZipFile(path) as archive:
        config = read_config(_member(archive, CONFIG, path))
        return _member(archive, WEIGHTS, path), config


def _member(archive: zipfile.ZipFile, name: str, path: PathLike) -> bytes:
    if name not in archive.namelist():
        raise CheckpointError(f'{path} is a zip without {name}, so it is no .keras file')
    info = archive.getinfo(name)
    if info.file_size > min(LARGEST[name], EXPANSION * (info.compress_size + 1024)):
        raise CheckpointError(
            f'{path}: {name} would be unpacked to {info.file_size} bytes, which is too much'
        )
    return archive.read(info)


def _layers(file: Any, config: Optional[List[Configured]], path: PathLike) -> KerasFile:
    if 'model_weights' in file:
        config = [layer for text in _names(file, 'model_config') for layer in read_config(text)]
        return KerasFile(_named(_child(file, 'model_weights'), config, path), config)
    if 'layer_names' in file.attrs or 'layer_names0' in file.attrs:
        return KerasFile(_named(file, [], path), [])
    container = next((name for name in CONTAINERS if name in file), None)
    if container is None:
        raise CheckpointError(f'{path} is HDF5, but it holds no layers of a Keras model')
    counted = _counted(_child(file, container), path)
    return KerasFile(counted if config is None else _with_names(counted, config, path), config or [])


def _named(group: Any, config: List[Configured], path: PathLike) -> List[Layer]:
    """Return the layers of the older layout, in which attributes list the names of layers and weights."""
    if 'theano' in _names(group, 'backend'):
        raise CheckpointError(f'{path} is of Keras with Theano, whose convolutions are mirrored')
    kinds = {layer.name: layer.kind for layer in config}
    layers = []
    for name in _names(group, 'layer_names'):
        own = _child(group, name)
        label = f'layer {shown(name)}'
        variables = {
            _role(weight, name): _variable(_child(own, weight), f'{path}: {label}, {shown(weight)}')
            for weight in _names(own, 'weight_names')
        }
        if variables:
            layers.append(Layer(label, plain(name), kinds.get(plain(name)), 0, variables))
    return layers


def _role(weight: str, layer: str) -> str:
    """Return what a weight is to its layer: conv1/conv/kernel:0 is a kernel, and conv1_W:0 was one in Keras 1."""
    last = weight.rpartition('/')[2].partition(':')[0]
    older = re.fullmatch(rf'{re.escape(layer)}_(\w+?)(_\d+)?', last)
    return KERAS_1.get(older.group(1), older.group(1)) if older else last


def _names(group: Any, attribute: str) -> List[str]:
    """Return an attribute's names; one that is too large for HDF5 is split into `<attribute>0`, `<attribute>1`, ..."""
    if attribute in group.attrs:
        return _texts(group, attribute)
    names: List[str] = []
    for part in itertools.takewhile(group.attrs.__contains__, (f'{attribute}{n}' for n in itertools.count())):
        names += _texts(group, part)
    return names


def _texts(group: Any, attribute: str) -> List[str]:
    """Return the texts of an attribute."""
    import h5py

    stored = group.attrs.get_id(attribute)
    kind, size = stored.get_type(), math.prod(stored.shape)
    if not size:  # an empty list has no type of its own
        return []
    if not isinstance(kind, h5py.h5t.TypeStringID) or size > MOST_NAMES or kind.get_size() > LONGEST_NAME:
        raise ValueError(f'{attribute} is no list of names')
    texts = group.attrs[attribute]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in np.ravel(texts)]


def _counted(group: Any, path: PathLike) -> List[Layer]:
    """Return the layers of the newer layout, in the order of their numbers: conv2d, conv2d_1, ..."""
    layers = []
    for key in group:
        own = _child(group, key)
        kind, number = split_number(key)
        found: Dict[str, Any] = {}
        own.visititems(lambda name, item, found=found: found.update({name: item}))
        variables = {
            name[len('vars/') :] if name.startswith('vars/') else name: _variable(
                item, f'{path}: {group.name}/{key}/{name}'
            )
            for name, item in found.items()
            if hasattr(item, 'shape')
        }
        names = _names(found['vars'], 'name') if 'vars' in found else []
        label = ' '.join(['layer', shown(key), *(f'({shown(name)})' for name in names)])
        if variables:
            layers.append(Layer(label, plain(names[0]) if names else None, kind, number, variables))
    return sorted(layers, key=lambda layer: (layer.kind, layer.number))


def split_number(name: str) -> Tuple[str, int]:
    """Return (name without its number, number) of a name that Keras made: conv2d is number 0, conv2d_1 number 1."""
    match = re.fullmatch(r'(.+)_(\d{1,9})', name)
    return (match.group(1), int(match.group(2))) if match else (name, 0)


def _with_names(counted: List[Layer], config: List[Configured], path: PathLike) -> List[Layer]:
    """Return the layers with the names of the config: the n-th of a class there is the n-th of it here."""
    layers = []
    for kind in dict.fromkeys(layer.kind for layer in counted):
        here = [layer for layer in counted if layer.kind == kind]
        there = [layer for layer in config if layer.kind == kind]
        if len(here) != len(there):
            raise CheckpointError(
                f'{path} contradicts itself: its config has {len(there)} layers {kind}, its weights are of {len(here)}'
            )
        layers += [
            layer._replace(label=f'layer {shown(known.name)}', name=known.name)
            for layer, known in zip(here, there)
        ]
    return layers


def _child(group: Any, name: str) -> Any:
    """Return what `a/b` leads to inside the group, or KeyError; links to elsewhere are not followed."""
    for part in name.split('/'):
        link = group.get(part, getlink=True)
        if type(link).__name__ != 'HardLink':
            raise KeyError(f'{name} lies elsewhere')
        group = group[part]
    return group


def _variable(dataset: Any, where: str) -> Variable:
    return Variable(where, tuple(dataset.shape), dataset)


def shown(name: object) -> str:
    """Return a name from a file as an error may print it."""
    text = repr(str(name))
    return text if len(text) <= 60 else f'{text[:60]}...'
