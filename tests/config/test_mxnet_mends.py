"""What mxnet 1.9.1 computes where numpy does something differently: the values are those with numpy 1.23."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import symbols  # noqa: F401  (it makes numpy fit)

import mxnet as mx
from mxnet.contrib import quantization

ROOT = Path(__file__).resolve().parents[2]


def test_thresholds_of_quantization():
    symbol = mx.sym.FullyConnected(mx.sym.var('data'), num_hidden=3, name='fc')
    weights = {'fc_weight': mx.nd.ones((3, 4)) * 0.5, 'fc_bias': mx.nd.zeros((3,))}
    quantized, _, _ = quantization.quantize_model(
        symbol,
        weights,
        {},
        calib_mode='entropy',
        calib_data=mx.io.NDArrayIter(np.linspace(-1, 1, 32).reshape(8, 4), None, 4),
        num_calib_examples=8,
        ctx=mx.cpu(),
        quantized_dtype='int8',
    )
    ranges = [
        float(held['max_calib_range']) for held in quantized.attr_dict().values() if 'max_calib_range' in held
    ]
    assert ranges == pytest.approx([0.935758, 1.291226], abs=1e-6)


@pytest.mark.parametrize('name', ['normal', 'uniform', 'gamma', 'exponential'])
def test_random_arrays_of_a_size_of_numpys(name):
    settings = {'shape': 2.0} if name == 'gamma' else {}
    draw = getattr(mx.np.random, name)
    assert draw(size=np.int64(3), **settings).shape == (3,)
    assert draw(size=(), **settings).shape == ()


def test_pickles_hold_pythons_numbers():
    """So that every numpy reads them, and digits are not lost after that either."""
    schedule = mx.lr_scheduler.FactorScheduler(2, base_lr=0.1)
    metric = mx.metric.Loss()
    metric.update(None, mx.nd.array([0.1]))
    for each in (schedule, metric):
        assert b'numpy._core' not in pickle.dumps(each, 2)
    read = pickle.loads(pickle.dumps(metric))
    for _ in range(3):
        read.update(None, mx.nd.array([1e-9]))
    assert read.get()[1] * 4 == pytest.approx(float(np.float32(0.1)) + 3e-9, rel=1e-12)
    assert schedule.base_lr * np.float32(0.1) == 0.1 * float(np.float32(0.1))
    del metric.sum_metric
    assert not hasattr(metric, 'sum_metric')


def test_integers_beyond_a_type_are_wrapped():
    assert mx.nd.array([255, -1], dtype='uint8').asnumpy().tolist() == [255, 255]
    assert mx.np.array([2**40 + 3], dtype='int32').asnumpy().tolist() == [3]


def test_the_least_overlap_of_a_cropped_box_is_a_double():
    label = np.array([[0, 0.1, 0.1, 0.5, 0.6]], np.float32)
    augment = mx.image.DetRandomCropAug(min_object_covered=0.3)
    kept = [bool(augment._check_satisfy_constraints(label, left, 0, 50, 40, 50, 40)) for left in range(5, 25)]
    assert sum(kept) == 15


def test_norms_of_optimizers_are_doubles():
    weight = mx.nd.array(np.linspace(0.1, 0.7, 7))
    for optimizer in (mx.optimizer.LARS(), mx.optimizer.LBSGD()):
        norm = optimizer._l2norm(weight)
        assert norm * 0.1 == float(norm) * 0.1


def test_names_stay_as_they_are(tmp_path):
    assert mx.sym.var('np.int64(3)').name == 'np.int64(3)'
    path = str(tmp_path / 'a.params')
    mx.nd.save(path, {'np.True_': mx.nd.ones(1)})
    assert list(mx.nd.load(path)) == ['np.True_']


def test_a_metric_is_printed_plainly():
    metric = mx.metric.Accuracy()
    metric.update(mx.nd.array([0, 1]), mx.nd.array([[0.9, 0.1], [0.8, 0.2]]))
    assert str(metric) == "EvalMetric: {'accuracy': 0.5}"


def test_scipy_that_is_replaced_by_another_module():
    """As Sphinx does it."""
    program = 'import sys, types; sys.modules["scipy"] = types.ModuleType("scipy"); import symbols'
    subprocess.run([sys.executable, '-c', program], cwd=ROOT, check=True)


def test_a_late_module_is_a_module():
    assert 'entropy' in dir(quantization.stats)
    with pytest.raises(TypeError, match='pickle'):
        copy.deepcopy(quantization.stats)
