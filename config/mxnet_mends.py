"""Where mxnet 1.9.1 would fail, or compute otherwise, because numpy does something differently than in its time.

- `ndarray.tostring`, which its recordio calls, was removed in numpy 2.3.
- `np.int64(3) == ()` is an array without a truth value, where mxnet's random asks for the size ().
- An array of shape (1,) is not a number any more from numpy 2.4 on, as in the thresholds of quantization.
- A number in a tuple is written `np.int64(3)`, where MXNet's parser of attributes, and a reader, want `3`.
- A Python float and a np.float32 add up, and are compared, as np.float32 (NEP 50), which loses digits of metrics' sums,
  learning rates, norms and the least overlap of a cropped box.
- An integer that a type does not hold is an error, where it was wrapped: `mx.nd.array([255, -1], dtype='uint8')`.
- The linear algebra returns named tuples, which cannot be made of a list as mxnet makes tuples.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Tuple

import numpy as np

NUMBER_OF_NUMPY = re.compile(r'\bnp\.(?:u?int\d+|float\d+|str_)\(([^()]*)\)|\bnp\.(True|False)_')
# Attributes that begin as Python's numbers, and which mxnet adds to np.float32, multiplies by it or compares with it.
DOUBLES = {
    'EvalMetric': ('sum_metric', 'global_sum_metric', 'num_inst', 'global_num_inst'),
    'LRScheduler': ('base_lr', 'base_lr_orig'),
    'DetRandomCropAug': ('min_object_covered',),
}
NORMS = ('LARS', 'LBSGD')  # optimizers that compute with norms of np.float32
# Modules whose source is changed: a pattern, and what takes its place.
REWRITTEN: Dict[str, Tuple[str, str]] = {
    'mxnet.recordio': (r'\.tostring\(\)', '.tobytes()'),
    **{
        f'mxnet.{kind}.{room}.random': (r'if (\w+) == \(\):', r'if isinstance(\1, tuple) and not \1:')
        for kind in ('ndarray', 'symbol')
        for room in ('numpy', 'numpy_extension')
    },
}


def array_of_any_integers(obj: Any, dtype: Any = None, **settings: Any) -> np.ndarray:
    """Return np.array(obj, dtype), in which an integer that the type does not hold is wrapped."""
    try:
        return np.array(obj, dtype, **settings)
    except OverflowError:
        return np.array(obj, **settings).astype(dtype)


def _write_plain_numbers(base: Any) -> None:
    """Mend mxnet.base, by whose functions every text goes to MXNet."""
    text, texts = base.c_str, base.c_str_array
    base.c_str = lambda string: text(_plain_tuple(string))
    base.c_str_array = lambda strings: texts([_plain_tuple(string) for string in strings])


def _plain_tuple(string: str) -> str:
    """Write the numbers of a tuple or list plainly; other texts are names."""
    return plain(string) if string[:1] in ('(', '[') else string


def plain(string: str) -> str:
    """Write numpy's numbers as numpy 1 did."""
    return NUMBER_OF_NUMPY.sub(r'\1\2', string) if 'np.' in string else string


def _mend_metric(module: Any) -> None:
    _compute_in_double(module)
    words = module.EvalMetric.__str__
    module.EvalMetric.__str__ = lambda self: plain(words(self))


def _compute_in_double(module: Any) -> None:
    for owner, names in DOUBLES.items():
        for name in names if hasattr(module, owner) else ():
            setattr(getattr(module, owner), name, _Double(name))


def _take_norms_in_double(optimizer: Any) -> None:
    for name in NORMS:
        owner = getattr(optimizer, name)
        owner._l2norm = _in_double(owner._l2norm)


def _in_double(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: np.float64(function(*args, **kwargs))


def _take_thresholds_out(quantization: Any) -> None:
    """Make numbers of the arrays of one element among what entropy calibration returns."""
    threshold = quantization._get_optimal_threshold
    quantization._get_optimal_threshold = lambda *args, **kwargs: tuple(
        each.item() if isinstance(each, np.ndarray) else each for each in threshold(*args, **kwargs)
    )


def _make_plain_tuples(multiarray: Any) -> None:
    """Mend mxnet.numpy.multiarray, which makes its own arrays of what numpy returns."""
    convert = multiarray._as_mx_np_array
    multiarray._as_mx_np_array = lambda result, ctx=None: convert(
        tuple(result) if isinstance(result, tuple) else result, ctx
    )


class _Double:
    """An attribute of instances that holds a Python float, as pickles should, and is read as np.float64."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None or self.name not in vars(instance):
            raise AttributeError(self.name)
        value = vars(instance)[self.name]
        return np.float64(value) if isinstance(value, float) else value

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = float(value) if isinstance(value, np.floating) else value

    def __delete__(self, instance: Any) -> None:
        del vars(instance)[self.name]


MENDED: Dict[str, Callable[[Any], None]] = {
    'mxnet.base': _write_plain_numbers,
    'mxnet.contrib.quantization': _take_thresholds_out,
    'mxnet.image.detection': _compute_in_double,
    'mxnet.lr_scheduler': _compute_in_double,
    'mxnet.metric': _mend_metric,
    'mxnet.numpy.multiarray': _make_plain_tuples,
    'mxnet.optimizer.optimizer': _take_norms_in_double,
}
