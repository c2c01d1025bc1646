"""mxnet 1.9.1 with whatever numpy is installed: its names exist, and what it computes is what it computed."""

from __future__ import annotations

import ast
import json
import pickle
import subprocess
import sys
from functools import reduce
from pathlib import Path
from typing import Dict, Iterator, List, Optional

import numpy as np
import pytest

import symbols  # noqa: F401  (it makes numpy fit)
from config.mxnet_numpy import NEEDED, numpy_for_mxnet

import mxnet as mx
from mxnet import numpy_dispatch_protocol as protocol

ROOT = Path(__file__).resolve().parents[2]
MXNET = Path(mx.__file__).parent


def numpy_names(tree: ast.AST) -> Iterator[str]:
    """Yield what a module takes from numpy: `np.linalg.norm` under any alias, `from numpy.x import y`."""
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    aliases: Dict[str, str] = {}
    for node in imports:
        if isinstance(node, ast.Import):
            found = [alias for alias in node.names if alias.name.split('.')[0] == 'numpy']
            aliases.update({a.asname or 'numpy': a.name if a.asname else 'numpy' for a in found})
        elif node.level == 0 and (node.module or '').split('.')[0] == 'numpy':
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
    for node in ast.walk(tree):
        path = dotted(node) if isinstance(node, ast.Attribute) else None
        if path and path[0] in aliases:
            yield '.'.join([aliases[path[0]], *path[1:]])


def dotted(node: ast.expr) -> Optional[List[str]]:
    if isinstance(node, ast.Name):
        return [node.id]
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return inner and [*inner, node.attr]


def names_in_mxnet() -> List[str]:
    found = set()
    for path in MXNET.rglob('*.py'):
        found.update(numpy_names(ast.parse(path.read_text('utf-8'))))
    by_name = protocol._NUMPY_ARRAY_FUNCTION_LIST + protocol._NUMPY_ARRAY_UFUNC_LIST
    return sorted(found | {f'numpy.{name}' for name in by_name})


@pytest.mark.filterwarnings('ignore')  # numpy 1.23 warns of each name that it will remove
def test_every_name_that_mxnet_takes_from_numpy_exists():
    numpy, missing = numpy_for_mxnet(), []
    names = names_in_mxnet()
    for name in names:
        try:
            reduce(getattr, name.split('.')[1:], numpy)
        except AttributeError:
            missing.append(name)
    assert missing == []
    assert len(names) > 250  # the walk finds them


# What scripts of mxnet's time take from numpy.
OLD_NAMES = (
    *('bool', 'int', 'float', 'object', 'PZERO', 'NZERO', 'PINF', 'NINF', 'NaN', 'NAN', 'Inf', 'Infinity'),
    *('infty', 'in1d', 'product', 'cumproduct', 'alltrue', 'sometrue', 'row_stack', 'asfarray', 'trapz'),
    *('msort', 'round_', 'bool8', 'float_', 'unicode_', 'compat', 'pv', 'fv', 'pmt', 'npv', 'nper', 'irr'),
    *('mirr', 'rate', 'ppmt', 'ipmt', 'string_', 'mat'),
)


def test_removed_names_are_put_back_and_others_left_alone():
    """A process that has imported mxnet has the numpy of one that has not, and the removed names."""
    program = (
        '{}import json, re, numpy as np, numpy.testing\n'
        'values = {{name: value for name, value in vars(np).items() if callable(value) or isinstance(value, float)}}\n'
        'print(json.dumps({{name: re.sub(" at 0x.*", "", str(value)) for name, value in values.items()}}))'
    )
    warnings = 'error' if NEEDED else 'ignore'  # numpy 1.23 warns of the names that mxnet takes from it
    plain, beside = (
        json.loads(subprocess.check_output([sys.executable, '-W', warnings, '-c', code], cwd=ROOT))
        for code in (program.format(''), program.format('import symbols; '))
    )
    assert {name: beside.get(name) for name in plain} == plain
    assert [name for name in OLD_NAMES if not hasattr(np, name)] == []
    assert (mx.numpy.utils.onp is np) == (not NEEDED)  # numpy 1.23 is as mxnet wants it


def test_an_import_of_mxnet_that_failed_does_no_harm():
    """As in a notebook, where the next cell imports in the right order."""
    program = (
        'try:\n    import mxnet as mx\nexcept (AttributeError, ImportError): import symbols, mxnet as mx\n'
        'import numpy as np; print(mx.nd.ones((3, 4)).reshape((np.int64(2), 6)).shape)'
    )
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == '(2, 6)', done.stderr


def test_scipy_and_scikit_learn_are_imported_when_they_are_used():
    program = (
        'import sys, symbols\n'
        'from mxnet.test_utils import chi_square_check, np, rand_sparse_ndarray\n'
        'imported = [name in sys.modules for name in ("scipy", "scipy.stats", "sklearn")]\n'
        'counts = np.repeat([0, 1], (52, 48))\n'
        'p, _, _ = chi_square_check(lambda count: counts, [0, 1], [0.5, 0.5], len(counts))\n'
        'csr, _ = rand_sparse_ndarray((4, 4), "csr", density=1)\n'
        'print(imported, round(float(p), 4), csr.asnumpy().all())'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == f'[True, {not NEEDED}, {not NEEDED}] 0.6892 True', done.stderr


def test_names_that_exist_are_numpys_own():
    numpy = numpy_for_mxnet()
    changed = {name for name, value in vars(np).items() if getattr(numpy, name) is not value}
    assert changed <= {'array', 'bool', 'core'}  # numpy 2's bool is its bool_, and its core warns
    assert numpy.bool is bool


@pytest.mark.parametrize(
    ('name', 'result'),
    [
        ('in1d', [True, False, False, True]),
        ('msort', [[1, 0], [3, 2]]),
        ('product', 0),
        ('round_', [[3, 2], [1, 0]]),
        ('alltrue', False),
        ('sometrue', True),
        ('trapz', [2.5, 0.5]),
        ('asfarray', [[3.0, 2.0], [1.0, 0.0]]),
    ],
)
@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # the numpys that still have them warn
def test_functions_that_are_put_back_compute_what_they_did(name, result):
    function = getattr(numpy_for_mxnet(), name)
    array = np.array([[3, 2], [1, 0]])
    value = function(array, [3, 0]) if name == 'in1d' else function(array)
    assert np.asarray(value).tolist() == result


def test_finance_is_refused_as_numpy_has_done_since_1_20():
    with pytest.raises(RuntimeError, match='numpy_financial'):
        mx.np.pv(0.05, 10, 1)


NUMBERS = (np.int64(3), np.int32(3))


def test_numbers_of_numpy_in_a_tuple_become_plain_attributes():
    data = mx.sym.var('data', shape=(np.int64(0), 3, 8, 8), lr_mult=np.float64(0.5))
    symbol = mx.sym.Convolution(
        data, kernel=NUMBERS, num_filter=np.int64(2), no_bias=np.bool_(True), name='c'
    )
    assert symbol.attr_dict()['c'] == {'kernel': '(3, 3)', 'num_filter': '2', 'no_bias': 'True'}
    assert data.attr('__shape__') == '(0, 3, 8, 8)'
    assert data.attr('__lr_mult__') == '0.5'
    scaled = mx.nd.Custom(
        mx.nd.ones(2), op_type='told', factors=(np.float32(1.5), np.bool_(True), np.int8(-1))
    )
    assert scaled.asnumpy().tolist() == [1.5, 1.5]
    assert mx.nd.ones((3, 4)).reshape((np.int64(2), np.int32(6))).shape == (2, 6)
    assert mx.nd.sum(mx.nd.ones((3, 3)), axis=tuple(np.arange(2))).asscalar() == 9


@mx.operator.register('told')
class ToldProp(mx.operator.CustomOpProp):
    def __init__(self, factors):
        super().__init__(need_top_grad=True)
        assert factors == '(1.5, True, -1)'

    def create_operator(self, ctx, shapes, dtypes):
        return Told()


class Told(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], in_data[0] * 1.5)


def test_sums_of_a_metric_are_kept_in_double():
    """In single, what is added to 2**24 is lost."""
    metric = mx.metric.Loss()
    for value in (2.0**24, 0.25, 0.25):
        metric.update(None, [mx.nd.array([value])])
    metric = pickle.loads(pickle.dumps(metric))
    assert float(metric.sum_metric) == 2**24 + 0.5  # a np.float32 equals any number that is rounded to it
    assert float(metric.get()[1]) == (2**24 + 0.5) / 3
    metric.reset()
    assert (metric.sum_metric, metric.global_sum_metric, metric.num_inst) == (0, 0, 0)
    assert not hasattr(mx.metric.Loss, 'sum_metric')


def test_instances_of_perplexity_are_counted_in_double():
    metric = mx.metric.Perplexity(ignore_label=0)
    metric.num_inst = np.float32(2**24)
    metric.update([mx.nd.array([1])], [mx.nd.array([[0.5, 0.5]])])
    assert float(metric.num_inst) == 2**24 + 1


@pytest.mark.parametrize('schedule', [mx.lr_scheduler.CosineScheduler, mx.lr_scheduler.PolyScheduler])
def test_rates_given_as_single_are_computed_in_double(schedule):
    single, double = (schedule(10, base_lr=rate) for rate in (np.float32(0.1), float(np.float32(0.1))))
    assert [float(single(i)) for i in range(10)] == [double(i) for i in range(10)]


def test_arrays_of_mxnet_from_numpys_linear_algebra():
    matrix = mx.np.array([[3.0, 1.0], [4.0, 2.0]])
    q, r = mx.np.linalg.qr(matrix)
    np.testing.assert_allclose(mx.np.dot(q, r).asnumpy(), matrix.asnumpy(), rtol=1e-5)
    assert type(r) is mx.np.ndarray


def test_bool_is_pythons():
    assert mx.np.bool is bool
    assert mx.np.full((2,), True).dtype == np.bool_
    assert mx.np.array([3.0, 1.0])[mx.np.array([True, False], dtype=mx.np.bool)].tolist() == [3]
    assert mx.test_utils.default_rtols()[np.dtype(bool)] == 0


def test_records_with_several_labels_are_written_and_read():
    header = mx.recordio.IRHeader(0, [2.0, 5.5], np.int64(7), 0)
    image = np.full((4, 4, 3), 9, np.uint8)
    read, pixels = mx.recordio.unpack_img(mx.recordio.pack_img(header, image, quality=3, img_fmt='.png'))
    assert (read.label.tolist(), read.id, pixels.tolist()) == ([2, 5.5], 7, image.tolist())
    assert mx.recordio.unpack(mx.recordio.pack(header, b'bytes'))[1] == b'bytes'


def test_axes_are_moved_and_faults_reported():
    assert mx.nd.moveaxis(mx.nd.zeros((3, 4, 5)), [0, 1], [-1, -2]).shape == (5, 4, 3)
    with pytest.raises(ValueError, match='0 <= source < '):
        mx.nd.moveaxis(mx.nd.zeros((3, 4)), 9, 0)


@pytest.mark.parametrize('name', ['sgd', 'adam', 'nadam', 'rmsprop', 'lamb', 'signum'])
def test_optimizers_take_numbers_of_numpy_as_they_take_pythons(name):
    results = []
    for number in (float, np.float64):
        optimizer = mx.optimizer.create(
            name, learning_rate=number(0.125), wd=number(0.5), rescale_grad=number(0.25)
        )
        update, weight = mx.optimizer.get_updater(optimizer), mx.nd.array([1, 2])
        for _ in range(3):
            update(0, mx.nd.array([0.5, -0.25]), weight)
        results.append(weight.asnumpy().tolist())
    assert results[0] == results[1] != [1, 2]


@pytest.mark.parametrize('key', [3, 'a', np.str_('a')])
def test_keys_of_a_store_may_be_numpys(key):
    store, out = mx.kv.create('local'), mx.nd.zeros(2)
    store.init(key, mx.nd.ones(2))
    store.push(key, [mx.nd.ones(2)] * 2)
    store.pull(key, out)
    assert out.asnumpy().tolist() == [2, 2]


def test_data_loaders_keep_types():
    data = mx.gluon.data.ArrayDataset(np.arange(4, dtype=np.float32), np.arange(4))
    (values, labels), _ = mx.gluon.data.DataLoader(data, 2)
    assert (values.asnumpy().tolist(), labels.asnumpy().tolist()) == ([0, 1], [0, 1])


def test_helpers_of_mxnets_own_tests_work():
    square = mx.sym.square(mx.sym.var('a'))
    mx.test_utils.check_symbolic_forward(square, {'a': np.array([1.0, 3])}, [np.array([1.0, 9])])
    mx.test_utils.check_numeric_gradient(square, {'a': np.array([1.0, 3])})
    with pytest.raises(AssertionError):
        mx.test_utils.assert_almost_equal(np.ones(2), np.zeros(2))
    assert (
        len(mx.test_utils.chi_square_check(lambda n: np.arange(n) % 2, [0, 1], [0.5, 0.5], nsamples=100)) == 3
    )
