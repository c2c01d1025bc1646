"""What tests share: mxnet without operator fusion, the same random numbers every time, networks that hold numbers."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest

os.environ['MXNET_SUBGRAPH_BACKEND'] = 'NONE'  # fusion moves the last bits; read when a symbol is bound

from config import config, default
from symbols import get_block

# A shell starts a background job with Ctrl-C ignored, which the programs that the tests interrupt would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

REFERENCE = Path(__file__).parent / 'reference'


def pytest_addoption(parser):
    parser.addoption('--golden', action='store_true', help='write the golden files in tests/golden anew')


@pytest.fixture(autouse=True)
def seeds():
    """Start every test from the same random state."""
    import mxnet as mx

    random.seed(0)
    np.random.seed(0)
    mx.random.seed(0)


@pytest.fixture(scope='session')
def make_images():
    """Return a function: image_shape (H, W, C), count -> float32 RGB images (count, C, H, W) in 0..255."""
    import mxnet as mx

    def make(image_shape, count=2, seed=3):
        height, width, channels = image_shape
        size = (count, channels, height, width)
        return mx.nd.array(np.random.RandomState(seed).uniform(0, 255, size).astype(np.float32))

    return make


@pytest.fixture(scope='session')
def make_network(make_images):
    """Return a function: config -> network with random parameters and batch norm statistics that fit them.

    Slopes, gammas and betas are random as well, so that no wrong one goes unseen; gammas that are fixed too, since
    they must be ignored. Give the config bn_mom=0, and the statistics are those of the images of `make_images`.
    """
    from recognition.checkpoint.matching import set_parameters

    import mxnet as mx

    def make(cfg):
        net = get_block(cfg)
        rng = np.random.RandomState(1)
        given = {
            name: random_values(rng, name, parameter.shape)
            for name, parameter in net.collect_params().items()
            if parameter.grad_req != 'null' or name.endswith('gamma')
        }
        set_parameters(net, given)
        for parameter in net.collect_params().values():
            if parameter._data is None:
                parameter.initialize()
        mx.random.seed(1)  # of dropout: a fixture may come before `seeds`
        with mx.autograd.record():
            embedding = net(make_images(cfg['image_shape']))
        embedding.backward()  # mxnet moves the statistics here
        mx.nd.waitall()
        return net

    return make


@pytest.fixture
def save(tmp_path, make_network):
    """Return a function: config -> prefix of a checkpoint of epoch 1 of such a network, with random values."""
    from tests.helpers.narrow import write_network

    return lambda cfg, prefix=tmp_path / 'model': write_network(make_network(cfg), prefix)


def random_values(rng, name, shape):
    """Return random values that keep the numbers of a network in range."""
    if name.endswith('weight'):
        return rng.randn(*shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
    if name.endswith('gamma') or name.endswith('alpha'):
        return rng.uniform(0.3, 1.2, shape)
    return rng.randn(*shape) * 0.1


@pytest.fixture(scope='session')
def small(tmp_path_factory):
    """Return one small network as the files of all engines (tests.helpers.small_network); nobody changes them."""
    from tests.helpers.small_network import write_all

    return write_all(tmp_path_factory.mktemp('small'))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return the folder of what is remembered, which is the test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'facesymbols'


@pytest.fixture
def central_config(monkeypatch):
    """Give the central config back as it was."""
    monkeypatch.delenv('DMLC_NUM_WORKER', raising=False)
    before = dict(config), dict(default)
    yield
    for central, values in zip((config, default), before):
        central.clear()
        central.update(values)


@pytest.fixture(scope='session')
def reference():
    """Return the folder of reference numbers."""
    return REFERENCE


def load_rows(path):
    """Return the rows of one of the JSON lists under tests/reference."""
    return json.loads((REFERENCE / path).read_text('utf-8'))


SLOW_PARITY = ('r50v1', 'd121-GAP-relu-256')


def parity_param(row):
    """Return a row of the parity index as a parameter, with the name of its network and what else it tells."""
    name = '-'.join(str(part) for part in row['combo'] if part is not None)
    return pytest.param(row, id=name, marks=[pytest.mark.slow] if name in SLOW_PARITY else [])


def pytest_generate_tests(metafunc):
    """Parametrise a test that takes `count_row` or `parity_row` with the rows of the reference."""
    if 'count_row' in metafunc.fixturenames:
        rows = load_rows('insightface/param_counts.json')
        ids = ['-'.join(str(row[key]) for key in ('network', 'head', 'act', 'emb')) for row in rows]
        metafunc.parametrize('count_row', rows, ids=ids)
    if 'parity_row' in metafunc.fixturenames:
        rows = load_rows('insightface/parity/index.json')
        metafunc.parametrize('parity_row', list(map(parity_param, rows)))
