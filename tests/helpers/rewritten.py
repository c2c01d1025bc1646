"""A symbol with values, rewritten for inference and run, as tests compare it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from symbols.passes.optimize import optimize

import mxnet as mx

CLOSE = 2e-5  # of the largest value, in float32


def draw(symbol, shape, slopes=(0.0, 0.5)):
    """Return values by name under which signals neither vanish nor grow, and no batch norm is an identity."""
    rng = np.random.default_rng(0)
    arguments, _, auxiliary = symbol.infer_shape(data=shape)
    names = symbol.list_arguments() + symbol.list_auxiliary_states()
    values = {}
    for name, own in zip(names, [*arguments, *auxiliary]):
        if name.endswith('_weight'):
            values[name] = rng.standard_normal(own) / np.sqrt(np.prod(own[1:]))
        elif name.endswith(('_mean', '_beta', '_bias')):
            values[name] = 0.3 * rng.standard_normal(own)
        else:
            bounds = slopes if 'relu' in name or name.endswith('alpha') else (0.5, 1.5)
            values[name] = rng.uniform(*bounds, own)
    del values['data']
    return {name: value.astype(np.float32) for name, value in values.items()}


def run(symbol, values, images):
    executor = symbol.simple_bind(mx.cpu(), grad_req='null', data=images.shape)
    assert set(values) == {*executor.arg_dict, *executor.aux_dict} - {'data'}
    for name, array in {**executor.arg_dict, **executor.aux_dict}.items():
        array[:] = images if name == 'data' else values[name]
    return executor.forward(is_train=False)[0].asnumpy()


def assert_same(symbol, shape=(2, 3, 112, 112), **draws):
    """Check that both forms of the rewrite give what the symbol gives; return them."""
    values = draw(symbol, shape, **draws)
    images = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    wanted = run(symbol, values, images)
    assert np.abs(wanted).max() > 1e-3
    forms = []
    for for_mxnet in (False, True):
        form, held = optimize(symbol, values, {'data': shape}, for_mxnet=for_mxnet)
        np.testing.assert_allclose(run(form, held, images), wanted, rtol=0, atol=CLOSE * np.abs(wanted).max())
        forms.append(form)
    return forms


def operators(symbol):
    return Counter(node['op'] for node in json.loads(symbol.tojson())['nodes'])
