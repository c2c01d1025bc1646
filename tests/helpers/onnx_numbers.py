"""Operators in ONNX beside MXNet's own, for the tests of the rules."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from recognition.export.onnx.converter import to_onnx

import mxnet as mx

S = mx.sym
IMAGE = (7, 6, 4)  # height, width, channels
LIMIT = 1e-5  # of the largest value


def data():
    return S.var('data')


def drawn(symbol, image_shape=IMAGE, seed=0):
    """Return random values for the parameters of a symbol; variances and the like are above 0."""
    random = np.random.RandomState(seed)
    height, width, channels = image_shape
    shapes, _, states = symbol.infer_shape(data=(2, channels, height, width))
    values = {}
    names = (*symbol.list_arguments(), *symbol.list_auxiliary_states())
    for name, shape in zip(names, (*shapes, *states)):
        low, high = (0.3, 1.5) if name.endswith(('gamma', 'var', 'alpha')) else (-1, 1)
        values[name] = random.uniform(low, high, shape).astype(np.float32)
    return {name: value for name, value in values.items() if name != 'data' and not name.endswith('_label')}


def run_onnx(model, images):
    """Return what onnxruntime computes of images (N, C, H, W)."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {'data': images})[0]


def run_mxnet(symbol, values, images):
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    states = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    shapes = zip(symbol.list_arguments(), symbol.infer_shape(data=images.shape)[0])
    # no output depends on a label
    arguments = {name: arrays.get(name, mx.nd.zeros(shape)) for name, shape in shapes if name != 'data'}
    executor = symbol.bind(
        mx.cpu(), {**arguments, 'data': mx.nd.array(images)}, aux_states=states, grad_req='null'
    )
    return executor.forward(is_train=False)[0].asnumpy()


def assert_same(symbol, image_shape=IMAGE, *, spread=3.0, low=None, limit=LIMIT, values=None):
    """Compare both on two batch sizes; values of images are within -spread..spread, or from `low` on."""
    values = drawn(symbol, image_shape) if values is None else values
    model = to_onnx(symbol, values, image_shape)
    height, width, channels = image_shape
    for batch in (1, 3):
        random = np.random.RandomState(batch)
        images = random.uniform(-spread if low is None else low, spread, (batch, channels, height, width))
        images = images.astype(np.float32)
        ours, theirs = run_onnx(model, images), run_mxnet(symbol, values, images)
        assert ours.shape == theirs.shape
        assert np.isfinite(theirs).all()
        assert np.abs(ours - theirs).max() <= limit * np.abs(theirs).max()
    return model


def pool(kernel=(3, 3), stride=(2, 2), pad=(1, 1), **settings):
    return S.Pooling(data(), kernel=kernel, stride=stride, pad=pad, **settings)


def column():
    """(N, 4, 1, 1), to be broadcast."""
    return S.mean(data(), axis=(2, 3), keepdims=True)
