"""Which devices `--gpus` names."""

from __future__ import annotations

import pytest

from config import ConfigError, MissingExtra
from symbols.context import select_context

import mxnet as mx


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
