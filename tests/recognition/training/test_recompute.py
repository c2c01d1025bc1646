"""Recomputed training: gradients, moving statistics and random numbers as without."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from config import resolve
from recognition.checkpoint.initialize import prepare
from recognition.checkpoint.network import wrap_symbol
from recognition.training import recompute as passes
from recognition.training.recompute import Recomputed, Whole, build_pass, find_growth
from symbols import get_symbol
from symbols.passes.segments import Segment
from tools.bench.process import run_alone

import mxnet as mx

SIDE = 32
CPUS = [mx.cpu(0), mx.cpu(1)]
NETWORKS = {
    'r18': {'net_multiplier': 0.125},
    'd121': {'net_multiplier': 0.125},
    'xception': {'net_multiplier': 0.0625},
    'y1': {},
    'mnas025': {},
}


def settings(name, **more):
    return resolve(name, emb_size=16, image_shape=(SIDE, SIDE, 3), **{**NETWORKS[name], **more})


def state_after(cfg, *, requests='write', batches=1, contexts=CPUS[:1]):
    """Return gradients and moving statistics by name after some steps' passes, none of which changes a weight."""
    mx.random.seed(3)
    symbol = get_symbol(cfg)
    net = wrap_symbol(symbol)
    prepare(net, symbol, image_shape=cfg.image_shape, ctx=contexts)
    network = build_pass(net, symbol, cfg, contexts)
    assert isinstance(network, Recomputed if cfg.recompute else Whole)
    trained = {name: each for name, each in net.collect_params().items() if each.grad_req != 'null'}
    for each in trained.values():
        each.grad_req = requests
    draw = np.random.RandomState(0)
    for number in range(batches):
        mx.random.seed(number)
        images = [mx.nd.array(draw.randint(0, 256, (4, 3, SIDE, SIDE)), context) for context in contexts]
        weights = [mx.nd.array(draw.randn(4, 16), context) for context in contexts]
        with mx.autograd.record():
            losses = [(network(x) * w).sum() for x, w in zip(images, weights)]
        mx.autograd.backward(losses)
        network.backward()
    mx.nd.waitall()
    found = {name: [g.asnumpy() for g in each.list_grad()] for name, each in trained.items()}
    for name in symbol.list_auxiliary_states():
        found[name] = [value.asnumpy() for value in net.collect_params()[name].list_data()]
    return found


def same(one, other):
    assert sorted(one) == sorted(other)
    for key, values in one.items():
        for value, again in zip(values, other[key]):
            assert np.isfinite(value).all()
            np.testing.assert_allclose(again, value, rtol=1e-6, atol=1e-6 * np.abs(value).max(), err_msg=key)


LIKE_Y1 = pytest.param('mnas025', marks=pytest.mark.slow)


@pytest.mark.parametrize('name', [*(each for each in NETWORKS if each != 'mnas025'), LIKE_Y1])
def test_recomputed_gradients_and_statistics_are_those_of_the_whole(name):
    same(*(state_after(settings(name, recompute=each)) for each in (False, True)))


def test_channels_in_another_order_are_recomputed():
    own = {'input_order': 'bgr', 'input_mean': (103.939, 116.779, 123.68), 'input_scale': 0.017}
    same(*(state_after(settings('r18', recompute=each, **own)) for each in (False, True)))


@pytest.mark.parametrize(
    'how', [{'requests': 'add', 'batches': 3}, {'contexts': CPUS}], ids=['added', 'devices']
)
def test_also_where_gradients_are_added_and_on_several_devices(how):
    same(*(state_after(settings('r18', recompute=each), **how) for each in (False, True)))


def test_dropout_leaves_out_the_same_the_second_time(monkeypatch):
    def recorded(self, data):
        for segment, block in zip(self.segments, self._blocks):
            last = block is self._blocks[-1]
            data = passes._run(block, data, passes._draw() if segment.random and not last else None)
        return data

    cfg = settings('d121', densenet_dropout=0.2, recompute=True)
    twice = state_after(cfg)
    monkeypatch.setattr(Recomputed, '__call__', recorded)
    monkeypatch.setattr(Recomputed, 'backward', lambda self: None)
    same(state_after(cfg), twice)


def test_a_gpu_or_half_precision_keeps_the_operators_that_are_there(monkeypatch):
    made = []
    monkeypatch.setattr('recognition.training.recompute.Whole', lambda symbol, params: made.append(symbol))
    cfg = settings('r18')
    symbol = get_symbol(cfg)
    net = wrap_symbol(symbol)
    prepare(net, symbol, image_shape=cfg.image_shape, ctx=CPUS[:1])
    build_pass(net, symbol, {**cfg, 'fp16': True}, CPUS[:1])
    build_pass(net, symbol, cfg, CPUS[:1])
    assert made[0] is symbol
    assert 'use_global_stats' in made[1].tojson()
    assert not any('prelu' in name for name in net.collect_params())


@pytest.mark.parametrize(
    ('sizes', 'wanted'),
    [((9, 9, 1, 1), 1), ((9, 1, 8, 7), 2), ((9, 9), None), ((1, 1, 9), None), ((9,), None)],
)
def test_memory_is_given_back_where_arrays_become_large_on_the_way_back(sizes, wanted):
    assert find_growth([Segment(None, 'x', False, size) for size in sizes]) == wanted


def test_a_dense_layer_is_not_taken_for_large_for_its_weights():
    cfg = resolve('r18', recompute=True)
    symbol = get_symbol(cfg)
    net = wrap_symbol(symbol)
    prepare(net, symbol, image_shape=cfg.image_shape, ctx=CPUS[:1])
    network = build_pass(net, symbol, cfg, CPUS[:1])
    assert network._growth is not None
    assert network.segments[-1].largest < network.segments[0].largest  # maps of 112x112 pixels


@pytest.mark.slow
def test_recomputing_takes_about_half_of_the_memory_of_a_process():
    command = [sys.executable, '-m', 'tools.bench.memory_steps', 'd121']
    whole, recomputed = (
        float(run_alone(way, [*command, way, '12']).split()[1]) for way in ('training', 'recompute')
    )
    assert recomputed < 0.6 * whole


def test_where_the_c_library_has_no_mallopt_the_gradients_are_the_same(monkeypatch):
    monkeypatch.setattr(passes.ctypes, 'CDLL', lambda name: object())
    assert passes._settle_malloc() is None
    same(*(state_after(settings('r18', recompute=each)) for each in (False, True)))
