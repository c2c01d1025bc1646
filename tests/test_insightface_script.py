"""A script in the structure of InsightFace's train.py trains and saves our networks, which load again."""

from __future__ import annotations

from math import ceil, prod

import numpy as np
import pytest

from config import dataset, network, resolve
from recognition.checkpoint.network import load_network
from symbols import get_symbol
from symbols.audit import audit
from symbols.ir.nodes import load_symbol
from symbols.ir.rewriter import describe
from symbols.passes.prelu import find_prelus
from tests.helpers.scripts.insightface_train import COUNTED, count_flops, main

import mxnet as mx

LOSSES = ('softmax', 'nsoftmax', 'arcface', 'cosface', 'combined', 'triplet', 'atriplet')
SIDE = 32
# Rows of a user's own: narrow networks without dropout, and a set of two identities.
NETWORKS = {
    'y1': {},
    'm1': {'net_multiplier': 0.5},
    'r50_se': {
        'net_name': 'fresnet',
        'num_layers': 50,
        'net_se': 1,
        'net_multiplier': 0.125,
        'net_output': 'FC',
    },
    'd121': {'net_multiplier': 0.25, 'net_output': 'FC'},
}
CELLS = [
    pytest.param(
        name, loss, marks=() if name == 'y1' or (name, loss) == ('m1', 'arcface') else pytest.mark.slow
    )
    for name in NETWORKS
    for loss in LOSSES
]


@pytest.fixture
def rows(central_config, monkeypatch):
    monkeypatch.setitem(
        dataset,
        'two',
        {'dataset': 'two', 'num_classes': 2, 'image_shape': (SIDE, SIDE, 3), 'val_targets': ()},
    )
    for name, row in NETWORKS.items():
        monkeypatch.setitem(network, name, {**network.get(name, {}), **row, 'emb_size': 16})


def words(name, loss, folder, rate):
    options = {'network': name, 'loss': loss, 'dataset': 'two', 'models-root': folder, 'per-batch-size': 6}
    options.update({'lr': rate, 'mom': 0, 'end-epoch': 3, 'verbose': 3, 'lr-steps': '3,5'})
    return [word for key, value in options.items() for word in (f'--{key}', str(value))]


@pytest.mark.parametrize(('name', 'loss'), CELLS)
def test_it_trains_and_what_it_saves_loads(name, loss, rows, tmp_path):
    model, losses, flops, prefix, images = main(
        words(name, loss, tmp_path, 1e-3 if loss == 'softmax' else 1e-5)
    )
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert 0 < flops == flops_of(model.symbol.get_internals()['fc1_output'], (SIDE, SIDE, 3))
    net = load_network(prefix, 1, image_shape=(SIDE, SIDE, 3))
    mx.nd.waitall()
    embedded = model.predict(mx.io.NDArrayIter(images.astype('float32'), np.zeros(6), batch_size=6))[0]
    embedded = embedded.asnumpy()
    rounding = 1e-5 * np.abs(embedded).max()
    np.testing.assert_allclose(net(mx.nd.array(images)).asnumpy(), embedded, rtol=1e-3, atol=rounding)


def test_two_devices_learn_as_one(rows, tmp_path):
    _, one, *_ = main(words('y1', 'softmax', tmp_path / '1', 1e-3))
    _, two, *_ = main(words('y1', 'softmax', tmp_path / '2', 1e-3), devices=2)
    np.testing.assert_allclose(two[:2], one[:2], rtol=0.05)


def test_its_prelus_are_written_as_operators_on_request(rows, tmp_path):
    from recognition.commands.export import main as export

    *_, prefix, _ = main(words('y1', 'arcface', tmp_path, 1e-5))
    plain = tmp_path / 'plain'
    size = f'{SIDE},{SIDE}'
    assert not export(['--format', 'mxnet', '--model', f'{prefix},1', '-o', str(plain), '--image-size', size])
    before, after = (describe(load_symbol(f'{each}-symbol.json')) for each in (prefix, plain))
    assert len(find_prelus(before)) == len(find_prelus(after)) == 33
    assert sum(node.get('attrs', {}).get('act_type') == 'prelu' for node in after['nodes']) == 33
    assert not any(node['op'] == '_minimum_scalar' for node in after['nodes'])
    held, written = (mx.nd.load(f'{each}-0001.params') for each in (prefix, plain))
    assert held.keys() == written.keys()
    assert all(np.array_equal(value.asnumpy(), written[name].asnumpy()) for name, value in held.items())


def flops_of(symbol, image_shape):
    """Return what InsightFace's rules come to: twice the multiply-accumulates, less one for each sum without a bias.

    Of a grouped convolution it takes the groups out of the whole, the ones with it, and rounds down.
    """
    height, width, channels = image_shape
    audited = audit(symbol, {'data': (1, channels, height, width)})
    less = 0
    for layer in audited.layers:
        if layer.operator in COUNTED and layer.attributes.get('no_bias') == 'True':
            less += ceil(prod(layer.output_shapes[0]) / int(layer.attributes.get('num_group', 1)))
    return 2 * audited.total.flops - less


QUICK = ('r18', 'y1', 'm05', 'mnas025', 'vargfacenet', 'xception', 'keras_resnet50')


@pytest.mark.parametrize(
    'name', [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in network]
)
def test_flops_are_those_of_the_audit(name):
    cfg = resolve(name)
    symbol = get_symbol(cfg)
    height, width, channels = cfg.image_shape
    if (cfg.input_mean, cfg.input_scale) != (0.0, 1.0):
        assert count_flops(symbol, data=(1, channels, height, width)) == flops_of(symbol, cfg.image_shape)
        return
    # It knows no shape of an input, which the first convolution of a network without a normalisation reads.
    with pytest.raises(KeyError, match='data_output'):
        count_flops(symbol, data=(1, channels, height, width))
