"""Which contenders a suite has here: those that were asked for, or whose packages are installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from config.errors import ConfigError, nearest
from recognition.utils.packages import install_command

PLAIN = 'plain'
AS_IT_COMES = 'plain, own threads'  # as many as MXNet takes by itself (config.compat)


class Needs(NamedTuple):
    """The packages of a contender, and what installs them."""

    packages: Tuple[str, ...]
    install: str


NEEDS: Mapping[str, Needs] = {
    PLAIN: Needs((), ''),
    'onnxruntime': Needs(('onnx', 'onnxruntime'), install_command('onnx')),
    'openvino': Needs(('onnx', 'openvino'), install_command('onnx', 'openvino')),
    'ncnn': Needs(
        ('onnx', 'ncnn', 'pnnx'), f'{install_command("onnx", "ncnn")} && pip install --no-deps pnnx'
    ),
    'torch': Needs(('torch',), install_command('torch')),
}


def choose(known: Sequence[str], against: Optional[Sequence[str]], told: Callable[[str], None]) -> List[str]:
    """Return those of the contenders `known` to a suite that take part: `against`, or, where None, all installed.

    Those left out are told. ConfigError for a name that is not known, and for one that needs what is not installed.
    """
    for name in against or ():
        if name not in known:
            raise ConfigError(f'against={name!r} is not one of {", ".join(known)}{nearest(name, known)}')
        if _missing(name):
            raise ConfigError(f'{name} needs {_missing(name)}, which is not installed: {NEEDS[name].install}')
    if against is not None:
        return [name for name in known if name in against]
    for name in filter(_missing, known):
        told(f'{name} is left out, for {_missing(name)} is not installed: {NEEDS[name].install}')
    return [name for name in known if not _missing(name)]


def _missing(name: str) -> str:
    return ', '.join(package for package in NEEDS[name].packages if find_spec(package) is None)


def check_counts(**counts: Optional[int]) -> None:
    """Raise ConfigError for a number below 1; None is none."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ConfigError(f'{name}={count} must be at least 1')
