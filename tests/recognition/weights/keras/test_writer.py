"""Keras's files that are written here, against what Keras 3.15.1 wrote of the same networks."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from config.errors import CheckpointError
from recognition.weights.keras.mapping import read_keras
from recognition.weights.keras.writer import write_keras
from tests.helpers.keras_layouts import config_of
from tests.helpers.keras_numbers import drawn

pytestmark = pytest.mark.usefixtures('hdf5_here')

NUMBERED = (
    'article_xception.keras-3.15.1.numbered',
    'keras_xception.keras-3.15.1.numbered',
    'keras_resnet50_elu.keras-3.15.1.numbered',
)
ARCHIVES = ('article_xception.keras-3.15.1.archive', 'keras_xception.keras-3.15.1.archive')
WEIGHTED = ('Conv2D', 'SeparableConv2D', 'BatchNormalization')
ALIKE = ('strides', 'epsilon')


@pytest.fixture
def values_of(layout, reference, path):
    """Return a function: the name of a layout -> it, the config of its network, its values by our names."""

    def make(name):
        made = layout(name)
        made.write(path, drawn(reference / 'keras', made.reference))
        cfg = config_of(made.network)
        return made, cfg, read_keras(path, cfg)

    return make


def check_weights(file, made, theirs):
    with h5py.File(file, 'r') as written:
        found = {}
        written.visititems(lambda name, item: found.update({name: item}) if hasattr(item, 'shape') else None)
        assert sorted(found) == sorted(name for name in made.datasets if name.startswith('layers/'))
        for name, dataset in found.items():
            np.testing.assert_array_equal(dataset[()], theirs[made.datasets[name]], err_msg=name)
            assert dataset.dtype == np.float32


@pytest.mark.parametrize(
    'name', [NUMBERED[0], *(pytest.param(n, marks=pytest.mark.slow) for n in NUMBERED[1:])]
)
def test_weights_lie_where_keras_puts_them(name, values_of, reference, tmp_path):
    made, cfg, values = values_of(name)
    file = tmp_path / 'net.weights.h5'
    write_keras(file, values, cfg, model=False)
    check_weights(file, made, drawn(reference / 'keras', made.reference))


@pytest.mark.parametrize('name', [ARCHIVES[0], pytest.param(ARCHIVES[1], marks=pytest.mark.slow)])
def test_a_model_has_the_layers_of_keras(name, values_of, reference, tmp_path):
    made, cfg, values = values_of(name)
    file = tmp_path / 'net.keras'
    write_keras(file, values, cfg, model=True)
    with zipfile.ZipFile(file) as archive:
        config = json.loads(archive.read('config.json'))
        check_weights(
            io.BytesIO(archive.read('model.weights.h5')), made, drawn(reference / 'keras', made.reference)
        )
    assert len(layers_of(config)) == len(layers_of(made.config)) > 40
    for ours, theirs in zip(layers_of(config), layers_of(made.config)):
        alike = [
            *ALIKE,
            *(['padding'] if ours.get('kernel_size') != [1, 1] else []),
        ]  # which a 1x1 is without
        assert [ours.get(key) for key in alike] == [theirs.get(key) for key in alike]


def layers_of(config):
    """Return the settings of the layers with weights, by class, in order."""
    layers = config['config']['layers']
    return [each['config'] for kind in WEIGHTED for each in layers if each['class_name'] == kind]


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'net_act': 'elu'}, "net_act='elu' does not go with .*: its network has net_act='relu'"),
        ({'net_output': 'GAP'}, r"net_output='GAP' is not a head of Keras, whose networks have classifier"),
        ({'input_mean': 1.0}, "its network takes images as one of Keras's modes prepares them"),
        ({'padding': 'symmetric'}, "its network has padding='tf_same'"),
    ],
)
def test_what_keras_does_not_have(settings, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        write_keras(tmp_path / 'net.keras', {}, config_of('article_xception', **settings), model=True)
    assert not list(tmp_path.iterdir())
