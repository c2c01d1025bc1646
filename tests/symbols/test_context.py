"""Which devices `--gpus` names, and what a CPU cannot compute."""

from __future__ import annotations

import pytest

from config import ConfigError, MissingExtra, resolve
from symbols import get_symbol
from symbols.context import check_precision, computes_in_half, select_context

import mxnet as mx

WHOLE = mx.sym.Convolution(mx.sym.var('data'), num_filter=2, kernel=(3, 3), name='conv')
HALF = mx.sym.Cast(WHOLE, dtype='float16')


class Features:
    """What `mx.runtime.Features()` is on a machine with a CUDA wheel, or without one."""

    def __init__(self, cuda):
        self.cuda = cuda

    def is_enabled(self, name):
        return self.cuda and name == 'CUDA'


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(mx.runtime, 'Features', lambda: Features(cuda=True))
    monkeypatch.setattr(mx.context, 'num_gpus', lambda: 2)


@pytest.mark.parametrize('gpus', [None, '', '  '])
def test_without_gpus_it_is_the_cpu(gpus):
    assert select_context(gpus) == [mx.cpu()]


@pytest.mark.parametrize(('gpus', 'numbers'), [('0', [0]), ('1', [1]), ('1, 0', [1, 0])])
def test_gpus_in_the_order_they_are_named(two_gpus, gpus, numbers):
    assert select_context(gpus) == [mx.gpu(number) for number in numbers]


@pytest.mark.parametrize('gpus', ['2', '0,2', '-1', '0,0'])
def test_gpus_that_are_not_there(two_gpus, gpus):
    with pytest.raises(ConfigError, match=f'--gpus {gpus}: this machine has 2 GPUs'):
        select_context(gpus)


@pytest.mark.parametrize('gpus', ['all', '0,', '0;1', '0.5'])
def test_text_that_names_no_gpus(gpus):
    with pytest.raises(ConfigError, match=f"--gpus '{gpus}' does not do; it must be GPU numbers such as 0,1"):
        select_context(gpus)


def test_the_cpu_wheel_says_which_wheel_to_install(monkeypatch):
    monkeypatch.setattr(mx.runtime, 'Features', lambda: Features(cuda=False))
    with pytest.raises(MissingExtra, match=r'pip install mxnet-cu112==1\.9\.1'):
        select_context('0')


@pytest.mark.parametrize('contexts', [mx.cpu(), [mx.cpu(0), mx.cpu(1)], [mx.gpu(0), mx.cpu()]])
def test_float16_needs_a_gpu(contexts):
    with pytest.raises(ConfigError, match=r'^a computes in float16 \(fp16=True\), which needs a GPU'):
        check_precision(HALF, contexts, 'a')
    check_precision(WHOLE, contexts)
    check_precision(HALF, mx.gpu(0))
    check_precision(HALF, [mx.gpu(0), mx.gpu(1)])


def test_networks_with_fp16_compute_in_half_precision():
    small = {'net_multiplier': 0.125, 'emb_size': 8}
    assert computes_in_half(get_symbol(resolve('r18', fp16=True, **small)))
    assert not computes_in_half(get_symbol(resolve('r18', **small)))
