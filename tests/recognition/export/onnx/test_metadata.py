"""What an ONNX file says of itself, and what is said of one that says nothing."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest

from config.errors import CheckpointError
from recognition.export.onnx.converter import to_onnx
from recognition.export.onnx.metadata import preprocessing
from recognition.export.onnx_export import Options, check_origin, read_metadata
from recognition.utils.run_paths import config_path, params_path
from symbols import get_symbol
from tests.helpers.exported import SHAPE, export, save_tiny
from tests.helpers.narrow import small

import mxnet as mx


def test_metadata(saved, tmp_path):
    options = Options(normalise=True, uint8_nhwc=True)
    export(saved, tmp_path / 'net.onnx', options=options)
    told = read_metadata(tmp_path / 'net.onnx')
    sum_file = Path(f'{params_path(saved, 1)}.sha256')
    assert told == {
        'facesymbols': '0.1.0',
        'params_sha256': sum_file.read_text().split()[0],
        'epoch': 1,
        'opset': 17,
        'image_shape': [32, 32, 3],
        'embedding_shape': [24],
        'preprocessing': 'RGB, uint8 (N, 32, 32, 3) in 0..255; (x - 127.5) * 0.0078125 is inside the network',
        'pixels': {'mean': 0.0, 'scale': 1.0, 'order': 'rgb'},
        'options': {'normalise': True, 'uint8_nhwc': True, 'fold': False, 'pixels': 'inside'},
    }
    session = onnxruntime.InferenceSession(str(tmp_path / 'net.onnx'))
    assert session.get_modelmeta().custom_metadata_map['embedding_shape'] == '[24]'


@pytest.mark.parametrize(
    ('preset', 'words'),
    [
        ('r18', 'RGB, float32 (N, 3, 32, 32) in 0..255; (x - 127.5) * 0.0078125 is inside the network'),
        (
            'keras_resnet50',
            'RGB, float32 (N, 3, 32, 32), as the network was trained on; it takes no mean off',
        ),
        ('d2l_densenet', 'grey, float32 (N, 1, 96, 96), as the network was trained on'),
    ],
)
def test_what_a_network_takes(preset, words):
    cfg = small(preset, image_shape=(96, 96, 1) if preset == 'd2l_densenet' else SHAPE)
    assert preprocessing(get_symbol(cfg), {}, cfg.image_shape).startswith(words)


def test_the_config_is_told_where_it_is_the_networks(save, tmp_path, caplog):
    cfg = small('r18', image_shape=SHAPE)
    prefix = save(cfg)
    config_path(prefix).write_text(json.dumps(cfg))
    export(prefix, tmp_path / 'net.onnx')
    assert read_metadata(tmp_path / 'net.onnx')['config'] == json.loads(json.dumps(cfg))
    best = save(cfg, tmp_path / 'model-best')
    export(best, tmp_path / 'net.onnx')
    assert read_metadata(tmp_path / 'net.onnx')['config']['emb_size'] == 24
    assert not caplog.records
    for other in ({**cfg, 'emb_size': 16}, {**cfg, 'bn_eps': 0.01}, {**cfg, 'emb_size': 'many'}):
        config_path(prefix).write_text(json.dumps(other))
        caplog.clear()
        export(prefix, tmp_path / 'net.onnx')
        assert 'config' not in read_metadata(tmp_path / 'net.onnx')
        assert 'model-config.json is left out of the metadata' in caplog.text
    for damaged in (
        '{',
        '"no config"',
        '{"net_output": "E", "net_name": "fresnet", "image_shape": [112, 112]}',
    ):
        config_path(prefix).write_text(damaged)
        with pytest.raises(CheckpointError, match=r'model-config\.json is damaged'):
            export(prefix, tmp_path / 'net.onnx')


def test_a_file_of_another_network_is_told(saved, tmp_path):
    export(saved, tmp_path / 'net.onnx')
    check_origin(tmp_path / 'net.onnx', saved, 1)
    other = save_tiny(tmp_path / 'other', units=8)
    with pytest.raises(CheckpointError, match=r'net\.onnx is of another network than .*other-0001\.params'):
        check_origin(tmp_path / 'net.onnx', other, 1)
    with pytest.raises(CheckpointError, match=r'other-0002\.params does not exist'):
        check_origin(tmp_path / 'net.onnx', other, 2)


def test_a_file_that_is_not_ours_is_told(tmp_path):
    path = tmp_path / 'net.onnx'
    refused(path, 'does not exist')
    for content in (b'\x89PNG\r\n no network at all', b''):
        path.write_bytes(content)
        refused(path, 'is damaged or not an ONNX file')
    model = to_onnx(mx.sym.relu(mx.sym.var('data')), {}, SHAPE)
    path.write_bytes(model.SerializeToString())
    refused(path, 'not a network that was exported here: facesymbols, params_sha256, ')


def refused(path, words):
    with pytest.raises(CheckpointError) as caught:
        read_metadata(path)
    assert words in str(caught.value)
    assert '\n' not in str(caught.value)
