"""Checkpoints: what MXNet itself reads of them, and what is said of missing, damaged or foreign files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError
from recognition.checkpoint.network import load_network, load_params, save_network
from recognition.utils.checksums import checksum_path
from recognition.utils.files import replacing
from recognition.utils.run_paths import epochs_of, params_path, symbol_path
from symbols import get_block
from tests.helpers import narrow
from tests.helpers.toy_network import SHAPE, network, parameters, save_toy

import mxnet as mx
from mxnet import gluon

ROOT = Path(__file__).resolve().parents[3]


def with_loss(symbol):
    """The same network with a classifier on top, as InsightFace saves it in training."""
    x = mx.sym.FullyConnected(symbol, num_hidden=5, no_bias=True, name='fc7')
    return mx.sym.Group([symbol, mx.sym.SoftmaxOutput(x, label=mx.sym.var('softmax_label'), name='softmax')])


def images():
    return mx.nd.array(np.random.RandomState(7).randint(0, 256, (2, 3, 16, 16)))


def outputs(symbol, args, auxs):
    executor = symbol.bind(mx.cpu(), {**args, 'data': images()}, aux_states=auxs, grad_req='null')
    return executor.forward(is_train=False)[0].asnumpy()


@pytest.fixture
def saved(tmp_path):
    return save_toy(tmp_path / 'model')


def test_mxnet_reads_what_is_written(saved):
    prefix, symbol, args, auxs = saved
    expected = outputs(symbol, args, auxs)
    loaded = mx.model.load_checkpoint(str(prefix), 3)
    assert loaded[0].list_outputs() == ['fc1_output']
    np.testing.assert_array_equal(outputs(*loaded), expected)
    block = gluon.SymbolBlock.imports(f'{prefix}-symbol.json', ['data'], f'{prefix}-0003.params')
    np.testing.assert_allclose(block(images()).asnumpy(), expected, rtol=1e-5)


def test_load_network_gives_the_same_numbers(saved):
    prefix, symbol, args, auxs = saved
    block = load_network(prefix, 3, image_shape=SHAPE)
    np.testing.assert_allclose(block(images()).asnumpy(), outputs(symbol, args, auxs), rtol=1e-5)


def test_only_the_files_of_the_checkpoint_are_left(saved):
    assert sorted(os.listdir(saved[0].parent)) == [
        'model-0003.params',
        'model-0003.params.sha256',
        'model-symbol.json',
    ]
    assert epochs_of(saved[0]) == [3]


@pytest.mark.parametrize('whole_symbol', [True, False])
def test_a_classifier_on_top_is_left_out(tmp_path, whole_symbol):
    symbol = with_loss(network())
    args, auxs = parameters(symbol)
    mx.model.save_checkpoint(str(tmp_path / 'm'), 1, symbol if whole_symbol else network(), args, auxs)
    block = load_network(tmp_path / 'm', 1, image_shape=SHAPE)
    assert 'fc7_weight' not in block.collect_params()
    del args['fc7_weight']
    np.testing.assert_allclose(block(images()).asnumpy(), outputs(network(), args, auxs), rtol=1e-5)


def refused(prefix, *words, epoch=3):
    with pytest.raises(CheckpointError) as caught:
        load_network(prefix, epoch, image_shape=SHAPE)
    message = str(caught.value)
    assert '\n' not in message
    assert [word for word in words if word not in message] == []


def test_missing_files_are_named(saved, tmp_path):
    refused(saved[0], 'model-0004.params does not exist', 'epochs there are 3', epoch=4)
    refused(tmp_path / 'nothing', 'nothing-symbol.json does not exist')


@pytest.mark.parametrize('keep', [0, 7, 60, 0.3, 0.9, -1])
def test_a_file_cut_short_is_named(saved, keep):
    for path in (params_path(saved[0], 3), symbol_path(saved[0])):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
        refused(saved[0], str(path), 'damaged')
        path.write_bytes(whole)


@pytest.mark.parametrize(
    'graph',
    [
        b'{junk',
        b'[1, 2]',
        b'{"nodes": []}',
        b'{"nodes": [{"op": "null", "name": "x", "inputs": [[4, 0]]}], "arg_nodes": [0], "heads": [[0, 0]]}',
    ],
)
def test_a_symbol_that_is_none_is_named(saved, graph):
    symbol_path(saved[0]).write_bytes(graph)
    refused(saved[0], 'model-symbol.json is damaged or not the symbol')


def test_files_of_nameless_and_oddly_named_arrays_are_refused(saved):
    path = str(params_path(saved[0], 3))
    mx.nd.save(path, [mx.nd.ones((2,))])
    refused(saved[0], 'its sum is not the one in', 'remove that file')
    checksum_path(params_path(saved[0], 3)).unlink()
    refused(saved[0], 'no named parameters')
    mx.nd.save(path, {'conv0_weight': mx.nd.ones((2,))})
    refused(saved[0], "'conv0_weight'", 'arg:')


def test_parameters_of_another_network_are_refused(saved):
    prefix, symbol, args, _ = saved
    save_network(prefix, 3, symbol, *parameters(network(width=6)))
    refused(prefix, 'model-0003.params does not fit', 'conv0_weight (6, 3, 3, 3) instead of (4, 3, 3, 3)')
    save_network(prefix, 3, symbol, {**args, 'other_weight': mx.nd.ones((1,))}, {})
    refused(prefix, 'it lacks bn0_moving_mean, bn0_moving_var', 'and 1 more', 'it has also other_weight')


def test_a_network_of_other_images_is_refused(tmp_path, capfd):
    symbol = network()
    save_network(tmp_path / 'n', 3, symbol, *parameters(symbol))
    with pytest.raises(CheckpointError, match='pre_fc1_weight'):
        load_network(tmp_path / 'n', 3, image_shape=(32, 32, 3))
    with pytest.raises(
        CheckpointError, match=r'takes no images of 2x2x3: .*Error in operator conv0'
    ) as caught:
        load_network(tmp_path / 'n', 3, image_shape=(2, 2, 3))
    assert '.cc:' not in str(caught.value)
    assert capfd.readouterr().out == ''


def test_tensorflows_padding_is_refused_images_that_it_would_pad_otherwise(tmp_path):
    net = get_block(narrow.small('article_xception', image_shape=(16, 15, 3)))
    net.initialize()
    prefix = narrow.write_network(net, tmp_path / 'model')
    images = mx.nd.ones((1, 3, 18, 17))
    assert load_network(prefix, 1, image_shape=(18, 17, 3))(images).shape == (1, 7)
    words = r"\(padding='tf_same'\) for maps of another size than 15x15"
    with pytest.raises(ConfigError, match=words):
        load_network(prefix, 1, image_shape=(15, 15, 3))
    for hybrid in (False, True):
        net.hybridize(hybrid)
        assert net(images).shape == (1, 7)
        with pytest.raises(ConfigError, match=words):
            net(mx.nd.ones((1, 3, 15, 15)))


def test_a_network_in_float16_is_refused_on_a_cpu(tmp_path):
    half = network().get_internals()['relu0_output']
    half = mx.sym.FullyConnected(mx.sym.Cast(half, dtype='float16'), num_hidden=8, name='fc1')
    save_network(tmp_path / 'm', 3, half, *parameters(network()))
    with pytest.raises(
        ConfigError, match=r'm-symbol\.json computes in float16 \(fp16=True\), which needs a GPU'
    ):
        load_network(tmp_path / 'm', 3, mx.cpu(), image_shape=SHAPE)


def test_a_symbol_with_two_embeddings_is_refused(saved):
    prefix, symbol, args, auxs = saved
    save_network(prefix, 3, mx.sym.Group([symbol, mx.sym.identity(symbol, name='fc1')]), args, auxs)
    refused(prefix, 'has 2 outputs called fc1_output')


def test_a_failed_write_leaves_the_old_file(saved):
    prefix = saved[0]
    before = {name: (prefix.parent / name).read_bytes() for name in os.listdir(prefix.parent)}

    def interrupted():
        with replacing(params_path(prefix, 3), CheckpointError) as temporary:
            temporary.write_bytes(b'half')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {name: (prefix.parent / name).read_bytes() for name in os.listdir(prefix.parent)} == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(CheckpointError, match='cannot be written'):
        save_network(tmp_path / 'file' / 'model', 1, network(), *parameters(network()))


def test_params_are_split_into_arguments_and_auxiliary_states(saved):
    prefix, _, args, auxs = saved
    loaded_args, loaded_auxs = load_params(prefix, 3)
    assert (set(loaded_args), set(loaded_auxs)) == (set(args), set(auxs))


SAVE = """
import resource, sys
from symbols import get_symbol
import mxnet as mx
from config.errors import CheckpointError
from recognition.checkpoint import save_network
x = mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=64, name='fc1')
resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))
for prefix, width in (('model', 1000), ('/proc/model', 10)):
    values = {'fc1_weight': mx.nd.zeros((64, width)), 'fc1_bias': mx.nd.zeros((64,))}
    try:
        save_network(prefix, 1, x, values, {})
    except CheckpointError as error:
        print(error)
"""


def test_why_mxnet_could_not_write_is_said(tmp_path):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SAVE],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    large, nowhere = done.stdout.splitlines()
    assert re.fullmatch(r'model-\S+ cannot be written: File too large', large)
    assert re.fullmatch(r'/proc/model-\S+ cannot be written: No such file or directory', nowhere)
    assert list(tmp_path.iterdir()) == []


def test_arrays_are_read_when_all_that_writes_them_is_done(tmp_path, monkeypatch):
    prefix, symbol, args, auxs = save_toy(tmp_path / 'model')
    done, read = [], mx.nd.NDArray.as_in_context
    monkeypatch.setattr(mx.nd, 'waitall', lambda: done.append('waited'))
    monkeypatch.setattr(mx.nd.NDArray, 'as_in_context', lambda *given: (done.append('read'), read(*given))[1])
    save_network(prefix, 2, symbol, args, auxs)
    assert done == ['waited', *['read'] * (len(args) + len(auxs))]
