"""mxnet 1.9.1 with the numpys that came after it: 1.24 to 2.x.

Names that numpy has removed are put back, also for the scripts of mxnet's time; names that exist are left alone. Where
one of these now means something else (`np.bool`, `np.core`), mxnet's own modules see the old meaning: their
`import numpy` gives `numpy_for_mxnet()`. It takes effect for modules that are imported after `install`. scipy.stats and
scikit-learn, which mxnet rarely uses, are not imported with it.

Of what numpy does differently, five things reach mxnet:

- `ndarray.tostring`, which its recordio calls, was removed in numpy 2.3;
- a number in a tuple is written `np.int64(3)`, where MXNet's parser of attributes wants `3`;
- a Python float and a np.float32 add up to a np.float32 (NEP 50), so that sums of its metrics would lose digits;
- the linear algebra returns named tuples, which cannot be made of a list as mxnet makes tuples;
- `np.bool` is there again and is `np.bool_`, where it was Python's.
"""

from __future__ import annotations

import builtins
import re
import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Dict, NoReturn, Optional, Tuple

import numpy as np

PACKAGE = 'mxnet'
VERSION = tuple(int(part) for part in np.__version__.split('.')[:2])  # 2.0.0rc1 is 2.0
NEEDED = VERSION >= (1, 24)  # the first that removed names
# Removed in numpy 1.20, where a call has since raised RuntimeError; mxnet only passes them on.
FINANCE = ('fv', 'ipmt', 'irr', 'mirr', 'nper', 'npv', 'pmt', 'ppmt', 'pv', 'rate')
NUMBER_OF_NUMPY = re.compile(r'\bnp\.(?:u?int\d+|float\d+|str_)\(([^()]*)\)|\bnp\.(True|False)_')
DOUBLES = {  # attributes that begin as Python's numbers and to which mxnet adds, or by which it multiplies, np.float32
    'EvalMetric': ('sum_metric', 'global_sum_metric', 'num_inst', 'global_num_inst'),
    'LRScheduler': ('base_lr', 'base_lr_orig'),
}


def install() -> None:
    """Put back what numpy has removed, and let mxnet's modules see `numpy_for_mxnet()`, where this numpy needs it.

    What an import of mxnet that failed before has left behind is imported again.
    """
    if not NEEDED or any(isinstance(known, _Finder) for known in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # some numpys warn of a name when it is looked for
        for name, value in _removed_names().items():
            if not hasattr(np, name):
                setattr(np, name, value)
    if PACKAGE not in sys.modules:
        for name in [name for name in sys.modules if name.startswith(f'{PACKAGE}.')]:
            del sys.modules[name]


def numpy_for_mxnet() -> ModuleType:
    """Return a module with all that numpy has, the names that mxnet 1.9.1 uses beside them, and Python's bool."""
    module = _Numpy(np.__name__, np.__doc__)
    for name, value in {**_removed_names(), **vars(np), **_changed_names()}.items():
        setattr(module, name, value)
    return module


class _Numpy(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)  # what numpy itself makes when it is first asked for, such as numpy.testing


def _removed_names() -> Dict[str, Any]:
    """Return what numpy from 1.24 on has removed, as it was: what mxnet 1.9.1 uses and what goes with it."""
    names: Dict[str, Any] = {
        **{each.__name__: each for each in (bool, int, float, complex, str, object)},
        **{'bool8': np.bool_, 'float_': np.float64, 'complex_': np.complex128, 'unicode_': np.str_},
        **dict.fromkeys(('Inf', 'Infinity', 'PINF', 'infty'), np.inf),
        **dict.fromkeys(('NAN', 'NaN'), np.nan),
        **{'NINF': -np.inf, 'PZERO': 0.0, 'NZERO': -0.0},
        **{'alltrue': np.all, 'sometrue': np.any, 'round_': np.round, 'row_stack': np.vstack},
        **{'product': np.prod, 'cumproduct': np.cumprod},
        'in1d': _in1d,
        'msort': lambda a: np.sort(a, axis=0),
        'asfarray': _asfarray,
        'compat': SimpleNamespace(basestring=str),
        **{name: _finance(name) for name in FINANCE},
    }
    if VERSION >= (2, 0):
        names['trapz'] = vars(np)['trapezoid']
    return names


def _changed_names() -> Dict[str, Any]:
    """Return names that exist and mean something else than in mxnet's time."""
    if VERSION < (2, 0):
        return {'bool': bool}
    from numpy.lib.array_utils import normalize_axis_tuple

    return {
        'bool': bool,
        'core': SimpleNamespace(numeric=SimpleNamespace(normalize_axis_tuple=normalize_axis_tuple)),
    }


def _asfarray(a: Any, dtype: Any = np.float64) -> np.ndarray:
    return np.asarray(a, dtype if np.issubdtype(dtype, np.inexact) else np.float64)


def _in1d(ar1: Any, ar2: Any, assume_unique: bool = False, invert: bool = False) -> np.ndarray:
    return np.isin(np.ravel(ar1), ar2, assume_unique=assume_unique, invert=invert)


def _finance(name: str) -> Callable[..., NoReturn]:
    def removed(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f'numpy removed {name} in 1.20; numpy_financial.{name} replaces it')

    return removed


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r'\d+', version))


# Python 3.12 has no distutils; mxnet compares numpy's version with its classes.
DISTUTILS_VERSION = SimpleNamespace(LooseVersion=_numbers, StrictVersion=_numbers)


class _LateModule:
    """A module that is imported when something is taken from it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.name), name)


# mxnet imports both where they are installed, which takes half as long as mxnet itself: scipy.stats for some of its
# functions, scikit-learn for the base class of FeedForward, the predecessor of Module.
LATE_STATS = SimpleNamespace(stats=_LateModule('scipy.stats'))
LATE_IMPORTS = {('scipy', ('stats',)), ('scipy.stats', ())}
BASE_OF_FEEDFORWARD = 'sklearn.base'


class _Finder:
    """Finds mxnet's modules for Python's import, and no others."""

    def __init__(self) -> None:
        numpy = numpy_for_mxnet()

        def import_for_mxnet(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == 'distutils.version':
                return DISTUTILS_VERSION
            taken = tuple(args[2] or ()) if len(args) > 2 else ()
            if (name, taken) in LATE_IMPORTS and find_spec('scipy') is not None:
                return LATE_STATS
            if name == BASE_OF_FEEDFORWARD and name not in sys.modules:
                raise ImportError(f'{name} is not imported yet: FeedForward does without it')
            found = builtins.__import__(name, *args, **kwargs)
            return numpy if found is np else found

        self.builtins = {**vars(builtins), '__import__': import_for_mxnet}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        if name.partition('.')[0] != PACKAGE:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self.builtins)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, own_builtins: Dict[str, Any]) -> None:
        super().__init__(name, path)
        self.builtins = own_builtins

    def get_code(self, fullname: str) -> Any:
        if fullname != 'mxnet.recordio':
            return super().get_code(fullname)
        source = self.get_data(self.path).replace(b'.tostring()', b'.tobytes()')
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)['__builtins__'] = self.builtins
        super().exec_module(module)
        if module.__name__ in MENDED:
            MENDED[module.__name__](module)


def _write_plain_numbers(base: Any) -> None:
    """Mend mxnet.base, by whose functions every text goes to MXNet."""
    text, texts = base.c_str, base.c_str_array
    base.c_str = lambda string: text(_plain(string))
    base.c_str_array = lambda strings: texts([_plain(string) for string in strings])


def _plain(string: str) -> str:
    return NUMBER_OF_NUMPY.sub(r'\1\2', string) if 'np.' in string else string


def _compute_in_double(module: Any) -> None:
    """Mend mxnet.metric and mxnet.lr_scheduler."""
    for owner, names in DOUBLES.items():
        for name in names if hasattr(module, owner) else ():
            setattr(getattr(module, owner), name, _Double(name))


def _make_plain_tuples(multiarray: Any) -> None:
    """Mend mxnet.numpy.multiarray, which makes its own arrays of what numpy returns."""
    convert = multiarray._as_mx_np_array
    multiarray._as_mx_np_array = lambda result, ctx=None: convert(
        tuple(result) if isinstance(result, tuple) else result, ctx
    )


class _Double:
    """An attribute of instances whose floating-point numbers are stored as np.float64."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None or self.name not in vars(instance):
            raise AttributeError(self.name)
        return vars(instance)[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = np.float64(value) if isinstance(value, (float, np.floating)) else value


MENDED: Dict[str, Callable[[Any], None]] = {
    'mxnet.base': _write_plain_numbers,
    'mxnet.lr_scheduler': _compute_in_double,
    'mxnet.metric': _compute_in_double,
    'mxnet.numpy.multiarray': _make_plain_tuples,
}
