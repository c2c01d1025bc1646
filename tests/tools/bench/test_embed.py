from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from config.errors import ConfigError, FaceSymbolsError
from tools.bench import embed, network_suite
from tools.bench.contenders import NEEDS

PLAIN = ('plain', 'plain, own threads')
SMALL = {'net_multiplier': 0.125}
HERE = [name for name in embed.ROWS if all(map(find_spec, NEEDS[name].packages)) and name != 'torch']


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.setattr(network_suite, 'SECONDS', 0)
    monkeypatch.setattr(embed, 'PRODUCTS', 1)
    options = {'batch': 2, 'threads': 1, 'settings': SMALL, 'told': lambda _: None}
    return lambda **changed: embed.measure(1, **{**options, **changed})


def assert_rows(rows, names):
    assert [row.name for row in rows] == names
    for row in rows:
        assert row.figures['images/s'] > 0
        assert row.ratios['images/s'] > 0
        assert row.figures['GFLOP/s'] > 0
        assert row.figures['of GEMM'] > 0


@pytest.mark.slow
def test_every_engine_embeds_every_network(measure):
    rows = measure(networks=('r18', 'd121'), against=HERE)
    each = [*PLAIN, 'mxnet', *(row for name in HERE for row in embed.ROWS[name]), 'gemm']
    assert 'onnxruntime plain' in each
    assert_rows(rows, [f'{network}, {name}' for network in ('r18', 'd121') for name in each])
    assert [row.ratios['images/s'] for row in rows if row.name.endswith(', plain')] == [1, 1]
    assert [row.figures['of GEMM'] for row in rows if row.name.endswith(', gemm')] == [1, 1]


@pytest.mark.slow
def test_plain_and_rewritten_stand_alone(measure):
    assert_rows(
        measure(networks=('r18',), against=['plain']),
        ['r18, plain', 'r18, plain, own threads', 'r18, mxnet', 'r18, gemm'],
    )


@pytest.mark.torch
def test_pytorch_embeds(measure):
    rows = measure(networks=('r18',), against=['torch'])
    assert_rows(rows, [f'r18, {name}' for name in (*PLAIN, 'mxnet', 'torch', 'gemm')])


@pytest.mark.slow
def test_another_network_is_refused(measure, monkeypatch):
    def rewritten(symbol, values, shapes, **how):
        return symbol, {**values, 'conv0_weight': values['conv0_weight'] * 1.01}

    monkeypatch.setattr(embed, 'optimize', rewritten)
    with pytest.raises(FaceSymbolsError, match=r'mxnet is .* off plain'):
        measure(networks=('r18',), against=[])


def test_embeddings_are_compared():
    wanted = np.array([[1.0, -4.0]])
    embed.check('a', wanted + 3e-4, wanted)
    for found in (wanted + 5e-4, wanted * np.nan):
        with pytest.raises(FaceSymbolsError, match=r'a is .* off'):
            embed.check('a', found, wanted)
    with pytest.raises(FaceSymbolsError, match='shape'):
        embed.check('a', wanted[:, :1], wanted)


def test_mistakes_are_told_before_anything_is_run(measure):
    with pytest.raises(ConfigError, match='r19'):
        measure(networks=('r18', 'r19'))
    with pytest.raises(ConfigError, match='threads=0'):
        measure(threads=0)
