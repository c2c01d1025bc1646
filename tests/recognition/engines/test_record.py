"""The record of a network: from the config and names beside a checkpoint, from the metadata of an ONNX file."""

from __future__ import annotations

import json

import pytest

from config.errors import CheckpointError, ConfigError, DataError
from recognition.checkpoint.network import input_channels, load_embedding
from recognition.engines.model import find_model
from recognition.engines.record import Record, checkpoint_record, metadata_record, shape_of
from recognition.utils.run_paths import classes_path, config_path
from tests.helpers.classifiers import NAMES, record, write_grey


def test_beside_a_checkpoint(tmp_path):
    prefix = record(tmp_path / 'model')
    assert checkpoint_record(prefix) == Record('class scores', (14, 12, 3), NAMES, keras=False)
    assert checkpoint_record(f'{prefix}-best') == checkpoint_record(prefix)
    for head, kind in (('E', 'embedding'), ('bn_dropout', 'feature map')):
        assert checkpoint_record(record(tmp_path / 'model', head)).kind == kind
    config_path(prefix).unlink()
    assert checkpoint_record(prefix).kind == 'class scores'  # nothing else has names of classes
    classes_path(prefix).unlink()
    assert checkpoint_record(prefix) == Record()


def test_weights_of_keras_are_known(tmp_path):
    for name, padding, keras in (
        ('keras_densenet', 'symmetric', True),
        ('fxception', 'tf_same', True),
        ('fxception', 'symmetric', False),
        ('plain_densenet', 'symmetric', False),
    ):
        prefix = record(tmp_path / 'model', net_name=name, padding=padding)
        assert checkpoint_record(prefix).keras is keras
    trained_here = record(tmp_path / 'model', net_name='keras_densenet', dataset_path='datasets/birds')
    assert not checkpoint_record(trained_here).keras


def test_in_metadata_what_was_written_is_read():
    for held in (Record('class scores', None, NAMES, keras=True), Record('embedding'), Record('feature map')):
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in held.as_metadata().items()}
        assert metadata_record(texts, 'net.onnx') == held
    cfg = {'net_output': 'classifier', 'net_name': 'fresnet', 'image_shape': [14, 12, 3]}
    found = metadata_record({'config': json.dumps(cfg)}, 'net.onnx')  # of an earlier release
    assert (found.kind, found.image_shape) == ('class scores', (14, 12, 3))
    assert metadata_record({}, 'net.onnx') == Record()


@pytest.mark.parametrize(
    'text', ['{', '[]', '{}', '{"net_output": "E"}', '{"net_name": "a", "image_shape": 3}']
)
def test_a_damaged_config_is_refused(tmp_path, text):
    config_path(tmp_path / 'model').write_text(text)
    with pytest.raises(CheckpointError, match=r'model-config\.json is damaged'):
        checkpoint_record(tmp_path / 'model')
    if text != '{':
        with pytest.raises(CheckpointError, match=r'net\.onnx is damaged'):
            metadata_record({'config': text}, 'net.onnx')


def test_damaged_names_are_refused(tmp_path):
    classes_path(tmp_path / 'model').write_text('a\na\n')
    with pytest.raises(DataError, match=r"model-classes\.txt .*'a' is there twice"):
        checkpoint_record(tmp_path / 'model')
    prefix = record(tmp_path / 'other', num_classes=9)
    with pytest.raises(DataError, match=r'other-classes\.txt names 8 classes, and there are 9'):
        checkpoint_record(prefix)
    for text in ('[3', '"abc"', '5'):
        with pytest.raises(CheckpointError, match='its metadata cannot be read'):
            metadata_record({'kind': 'class scores', 'classes': text}, 'net.onnx')


def test_the_channels_are_those_of_the_first_convolution(tmp_path, small):
    model = find_model(write_grey(tmp_path / 'grey'))
    assert shape_of(model) == (112, 112, 1)
    assert shape_of(model, (14, 12, None)) == (14, 12, 1)
    with pytest.raises(ConfigError, match=r'images of 14x12x3 do not fit .*grey,1, which takes 14x12x1'):
        shape_of(model, (14, 12, 3))
    record(tmp_path / 'grey', shape=(14, 12, 1))
    assert shape_of(model) == (14, 12, 1)
    write_grey(tmp_path / 'grouped', (14, 12, 4), groups=4)
    assert input_channels(load_embedding(tmp_path / 'grouped', 1)) == 4
    with pytest.raises(CheckpointError, match='images of 4 channels, which are neither RGB nor grey'):
        shape_of(find_model(f'{tmp_path}/grouped,1'))
    assert shape_of(find_model(small.checkpoint)) == (112, 112, 3)  # it has no convolution
