"""mxnet 1.9.1 with the numpys that came after it: 1.24 to 2.x.

The removed names that mxnet and most scripts of its time take from numpy are put back; names that exist are left alone.
Where one of these now means something else (`np.bool`, `np.core`), mxnet's own modules see the old meaning: their
`import numpy` gives `numpy_for_mxnet()`. It takes effect for modules that are imported after `install`. scipy.stats and
scikit-learn, which mxnet rarely uses, are not imported with it.

What numpy does differently is mended by `config.mxnet_mends`.
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
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

import numpy as np

from config.mxnet_mends import MENDED, REWRITTEN, array_of_any_integers

PACKAGE = 'mxnet'
VERSION = tuple(int(part) for part in np.__version__.split('.')[:2])  # 2.0.0rc1 is 2.0
NEEDED = VERSION >= (1, 24)  # the first that removed names
# Removed in numpy 1.20, where a call has since raised RuntimeError; mxnet only passes them on.
FINANCE = ('fv', 'ipmt', 'irr', 'mirr', 'nper', 'npv', 'pmt', 'ppmt', 'pv', 'rate')


def install() -> None:
    """Put back what numpy has removed, and let mxnet's modules see `numpy_for_mxnet()`, where this numpy needs it.

    What an import of mxnet that failed before has left behind is imported again.
    """
    if not NEEDED or any(type(known).__module__ == __name__ for known in sys.meta_path):
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
        **{'bool8': np.bool_, 'float_': np.float64, 'complex_': np.complex128},
        **{'unicode_': np.str_, 'string_': np.bytes_, 'mat': np.asmatrix},
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
        'array': array_of_any_integers,
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


class _LateModule(ModuleType):
    """A module that is imported when something is taken from it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)

    def __dir__(self) -> List[str]:
        return dir(import_module(self.__name__))


# mxnet imports both where they are installed, which takes half as long as mxnet itself: scipy.stats for some of its
# functions, scikit-learn for the base class of FeedForward, the predecessor of Module.
LATE_STATS = SimpleNamespace(stats=_LateModule('scipy.stats'))
LATE_IMPORTS = {('scipy', ('stats',)), ('scipy.stats', ())}
BASE_OF_FEEDFORWARD = 'sklearn.base'


def _has_scipy() -> bool:
    try:
        return find_spec('scipy') is not None
    except ValueError:  # a stand-in of another's is in its place
        return False


class _Finder:
    """Finds mxnet's modules for Python's import, and no others."""

    def __init__(self) -> None:
        numpy = numpy_for_mxnet()

        def import_for_mxnet(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == 'distutils.version':
                return DISTUTILS_VERSION
            taken = tuple(args[2] or ()) if len(args) > 2 else ()
            if (name, taken) in LATE_IMPORTS and _has_scipy():
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
        if fullname not in REWRITTEN:
            return super().get_code(fullname)
        source = re.sub(*REWRITTEN[fullname], self.get_data(self.path).decode())
        return self.source_to_code(source.encode(), self.path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)['__builtins__'] = self.builtins
        super().exec_module(module)
        if module.__name__ in MENDED:
            MENDED[module.__name__](module)
