"""The network of `audit` and `plot`: presets, saved symbols, checkpoints and ONNX files."""

from __future__ import annotations

import json

import pytest

from config import resolve
from config.errors import CheckpointError, ConfigError
from recognition.cli.network_options import add_network_arguments, network_from, request_from
from recognition.cli.parser import Parser
from recognition.export.onnx_export import Options, export_onnx
from recognition.utils.run_paths import config_path
from tests.helpers.narrow import small

CONFIG = small('r18')
SHAPE = CONFIG.image_shape


def request(*words):
    parser = Parser(prog='facesymbols plot')
    add_network_arguments(parser)
    return request_from(parser.parse_args(list(map(str, words))))


def built(*words):
    symbol, shapes = network_from(request(*words))
    return symbol.tojson(), shapes


@pytest.fixture
def prefix(save):
    """A checkpoint of epoch 1 with the config of its run, as training leaves both."""
    prefix = save(CONFIG)
    config_path(prefix).write_text(json.dumps(CONFIG))
    return prefix


def test_a_preset_is_named_in_three_ways():
    expected = built('y1')
    assert built('--network', 'y1') == expected == built('--model', 'y1')
    assert expected[1] == {'data': (1, 3, 112, 112)}


def test_a_checkpoint_is_its_symbol_at_the_size_of_its_run(prefix):
    height, width, channels = SHAPE
    expected = built(f'{prefix}-symbol.json')
    assert built('--model', f'{prefix},1') == expected
    assert expected[1] == {'data': (1, channels, height, width)}
    assert built(f'{prefix},1', '--image-size', '64,64')[1] == {'data': (1, 3, 64, 64)}
    config_path(prefix).unlink()
    assert built(f'{prefix},1')[1] == {'data': (1, 3, 112, 112)}


def test_a_checkpoint_keeps_its_channels(save):
    prefix = save(small('d2l_densenet', image_shape=(64, 64, 1)))
    assert built(f'{prefix},1')[1] == {'data': (1, 1, 112, 112)}  # by its first convolution
    assert built(f'{prefix},1', '--image-size', '48,64')[1] == {'data': (1, 1, 48, 64)}


def test_a_size_that_would_be_padded_otherwise_is_refused(save):
    prefix = save(small('article_xception', image_shape=(64, 64, 3)))
    assert built(f'{prefix},1', '--image-size', '66,66')[1] == {'data': (1, 3, 66, 66)}
    for words in (['--image-size', '65,65'], ['--shape', '1,3,65,65']):
        with pytest.raises(ConfigError, match='another size than 65x65'):
            built(f'{prefix},1', *words)


def test_an_onnx_file_is_the_network_of_its_config(prefix, tmp_path, caplog):
    for name, fold in (('plain', False), ('folded', True)):
        path = tmp_path / f'{name}.onnx'
        export_onnx(prefix, 1, path, image_shape=SHAPE, options=Options(fold=fold))
        symbol, shapes = network_from(request(path))
        assert set(symbol.list_arguments()) == set(network_from(request(f'{prefix},1'))[0].list_arguments())
        assert shapes == {'data': (1, 3, *SHAPE[:2])}
        assert ('its batch norms are folded' in caplog.text) == fold


def test_an_onnx_file_without_a_config_is_refused(prefix, tmp_path):
    config_path(prefix).unlink()
    export_onnx(prefix, 1, tmp_path / 'net.onnx', image_shape=SHAPE)
    with pytest.raises(CheckpointError, match='does not hold the config of its network'):
        network_from(request(tmp_path / 'net.onnx'))


@pytest.mark.parametrize(
    ('words', 'error', 'message'),
    [
        ([], ConfigError, 'the network is missing; give one: a preset'),
        (['r18', '--model', 'y1'], ConfigError, '2 networks are given'),
        (['model,1'], CheckpointError, r'model-symbol\.json does not exist'),
        (['model-symbol.json'], CheckpointError, r'model-symbol\.json does not exist'),
        (['net.onnx'], CheckpointError, r'net\.onnx does not exist'),
        (['r18', '--image-size', '112'], ConfigError, 'is not H,W or H,W,C'),
        (['r18', '--shape', '1,3,0,4'], ConfigError, 'must be whole numbers with commas'),
    ],
)
def test_a_mistake_is_one_sentence(words, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        request(*words)


@pytest.mark.parametrize(
    ('text', 'title'),
    [('r50', 'r50'), ('runs/a/model,12', 'model'), ('a/b-symbol.json', 'b'), ('a/net.onnx', 'net')],
)
def test_a_picture_is_called_after_the_network(text, title, monkeypatch):
    from recognition.cli.network_options import Request

    assert Request(text, {}, {}).title == title


def test_the_size_of_an_image_is_the_networks():
    assert network_from(request('y1', '--image-size', '64,48'))[1] == {'data': (1, 3, 64, 48)}
    assert network_from(request('d2l_densenet', '--image-size', '64,64'))[1] == {'data': (1, 1, 64, 64)}
    assert network_from(request('d2l_densenet'))[1] == {
        'data': (1, *resolve('d2l_densenet').image_shape[2:], 96, 96)
    }
