"""The importer on weights of Keras."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from config import resolve
from config.errors import CheckpointError
from recognition.checkpoint.matching import parts_of
from recognition.checkpoint.network import load_embedding
from recognition.commands.import_weights import main
from tests.helpers.importing import written

KERAS = {'net_multiplier': 0.25, 'num_classes': 10, 'image_shape': (64, 64, 3)}
KERAS_WORDS = ['--config', 'net_multiplier=0.25', '--config', 'image_shape=64,64,3']
ROLES = {'weight': 'kernel', 'moving_var': 'moving_variance'}  # others have the same name there


def write_keras(path, cfg, *, classifier=True):
    """Write the weights of a Keras network in the HDF5 layout of Keras 2, and return them by our names."""
    random = np.random.RandomState(4)
    own = parts_of(cfg)
    values = {
        name: random.uniform(0.5, 1, shape).astype('f4')
        for name, shape in {**own.backbone, **own.head}.items()
    }
    layers = {}
    for name, value in values.items():
        layer, role = next(
            (name[: -len(role) - 1], role)
            for role in ('weight', 'bias', 'gamma', 'beta', 'moving_mean', 'moving_var')
            if name.endswith(f'_{role}')
        )
        theirs = value.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim])
        layers.setdefault('predictions' if layer == 'fc1' else layer, {})[ROLES.get(role, role)] = theirs
    if not classifier:
        del layers['predictions']
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = [name.encode() for name in layers]
        for name, weights in layers.items():
            group = file.create_group(name)
            group.attrs['weight_names'] = [f'{name}/{role}:0'.encode() for role in weights]
            for role, value in weights.items():
                group[f'{name}/{role}:0'] = value
    return values


def import_keras(folder, *words):
    command = ['keras', str(folder / 'weights.h5'), '--network', 'keras_resnet50', *KERAS_WORDS]
    return main([*command, '--output', str(folder / 'new'), *words])


def test_weights_of_keras_are_imported_with_their_classifier(tmp_path, capsys):
    values = write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    import_keras(tmp_path, '--config', 'num_classes=10')
    shown = capsys.readouterr().out
    assert 'missing' not in shown
    assert 'input     pixels as they are, which means BGR less 103.939 116.779 123.68' in shown
    assert 'train     not as it is: `facesymbols train` feeds RGB in 0..255' in shown
    saved = load_embedding(tmp_path / 'new', 0).values
    assert saved.keys() == values.keys()
    assert [name for name in values if not np.array_equal(saved[name].asnumpy(), values[name])] == []


@pytest.mark.parametrize('words', [['--head', 'E'], ['--fresh-head'], ['--config', 'num_classes=7']])
def test_the_classifier_of_keras_is_left_out_on_request(tmp_path, capsys, words):
    cfg = resolve('keras_resnet50', **KERAS)
    values = write_keras(tmp_path / 'weights.h5', cfg, classifier=words[0] == '--head')
    import_keras(tmp_path, *words)
    saved = load_embedding(tmp_path / 'new', 0).values
    body = parts_of(cfg).backbone
    assert [name for name in body if not np.array_equal(saved[name].asnumpy(), values[name])] == []
    shown = capsys.readouterr().out
    assert 'missing' in shown
    assert 'was drawn fresh' in shown


def test_a_file_of_keras_without_its_classifier_is_refused(tmp_path):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS), classifier=False)
    with pytest.raises(CheckpointError, match='it lacks fc1_weight, fc1_bias; --fresh-head'):
        import_keras(tmp_path)
    assert written(tmp_path) == []


@pytest.mark.parametrize('setting', ['bn_eps=0.01', 'net_act=elu', 'input_mean=127.5', 'input_scale=0.5'])
def test_settings_that_would_falsify_weights_of_keras_are_refused(tmp_path, setting):
    write_keras(tmp_path / 'weights.h5', resolve('keras_resnet50', **KERAS))
    with pytest.raises(
        CheckpointError, match=f'{setting.partition("=")[0]}=.* its weights were trained with'
    ):
        import_keras(tmp_path, '--config', 'num_classes=10', '--config', setting)
    assert written(tmp_path) == []
