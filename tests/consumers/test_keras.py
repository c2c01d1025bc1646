"""Keras itself on files that write_keras.py exported; its backend is PyTorch, which other programs here need, too."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings(
    'ignore:__array__ implementation'
)  # of Keras on PyTorch, with numpy 2
NPZ = Path(os.environ['CONSUMER_MODELS']) / 'keras.npz'
HELD = dict(np.load(NPZ))
NAMES = [name for name in HELD if name != 'images' and not name.startswith('mode ')]
WITH_TOP = [name for name in NAMES if '-' not in name]
SHAPE = (112, 112, 3)
TOLERANCE = 1e-5  # of probabilities
WITHOUT_TOP = 3e-4  # of the largest feature: rounding grows in a deep network of random weights
APPLICATIONS = {
    'keras_densenet121': ('DenseNet121', {}),
    'keras_densenet169': ('DenseNet169', {}),
    'keras_densenet201': ('DenseNet201', {}),
    'keras_resnet50': ('ResNet50', {}),
    'keras_xception': ('Xception', {}),
    'keras_densenet121-pool': ('DenseNet121', {'include_top': False, 'pooling': 'avg'}),
    'keras_resnet50-map': ('ResNet50', {'include_top': False}),
}


def check(model, name):
    """Compare with MXNet's outputs, images prepared as Keras prepares them."""
    images = HELD['images'].astype(np.float32)
    prepared = keras.applications.imagenet_utils.preprocess_input(images, mode=str(HELD[f'mode {name}']))
    found, expected = keras.ops.convert_to_numpy(model(prepared, training=False)), HELD[name]
    if found.ndim == 4:
        found = found.transpose(0, 3, 1, 2)
    assert found.shape == expected.shape
    bound = TOLERANCE if name in WITH_TOP else WITHOUT_TOP * np.abs(expected).max()
    assert np.abs(found - expected).max() <= bound
    assert expected.std() > 1e-4


@pytest.mark.parametrize('name', NAMES)
def test_a_model_predicts_the_same(name):
    check(keras.saving.load_model(NPZ.with_name(f'{name}.keras')), name)


@pytest.mark.parametrize('name', APPLICATIONS)
def test_keras_applications_take_the_weights(name):
    build, settings = APPLICATIONS[name]
    model = getattr(keras.applications, build)(weights=None, input_shape=SHAPE, **settings)
    model.load_weights(NPZ.with_name(f'{name}.weights.h5'))
    check(model, name)


@pytest.mark.parametrize('name', sorted({*NAMES} - {*APPLICATIONS}))
def test_an_articles_network_takes_the_weights(name):
    model = keras.models.clone_model(keras.saving.load_model(NPZ.with_name(f'{name}.keras')))
    model.load_weights(NPZ.with_name(f'{name}.weights.h5'))
    check(model, name)


@pytest.mark.parametrize('name', ['keras_resnet50'])
def test_a_model_trains_and_is_saved_again(name, tmp_path):
    model = keras.saving.load_model(NPZ.with_name(f'{name}.keras'))
    model.compile('sgd', 'sparse_categorical_crossentropy')
    model.train_on_batch(HELD['images'].astype(np.float32), np.array([1, 2]))
    model.save(tmp_path / 'again.keras')
    again = keras.saving.load_model(tmp_path / 'again.keras')
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), model.get_weights()))
