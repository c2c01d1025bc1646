"""The command that a refusal names installs what is missing, and takes no newer numpy away."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from recognition.utils import packages

LINES = [
    'mxnet==1.9.1; python_version < "3.13"',
    'onnx>=1.14; extra == "onnx"',
    'reportlab<5,>=4; python_version < "3.10" and extra == "plot"',
    "reportlab>=4; python_version >= '3.10' and extra == 'plot'",
    'rich>=12; extra == "onnxed"',
]
ALONE = "pip install 'onnx>=1.14' 'reportlab>=4'"
WITH_MXNET = "pip install 'facesymbols[onnx,plot]'"


@pytest.mark.parametrize(
    ('python', 'numpy', 'expected'),
    [
        ((3, 11), '2.4.6', ALONE),
        ((3, 11), '1.26.4', WITH_MXNET),  # which mxnet's requirements allow
        ((3, 13), '2.5.5', WITH_MXNET),  # where mxnet is not among the requirements
    ],
)
def test_beside_numpy_2_the_packages_are_named(python, numpy, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(packages.sys, 'version_info', python)
    monkeypatch.setattr(packages, 'version', lambda name: {'numpy': numpy}[name])
    monkeypatch.setattr(packages, 'requires', lambda name: LINES)
    monkeypatch.setattr(packages, 'ROOT', tmp_path)
    assert packages.install_command('onnx', 'plot') == expected
    assert packages.install_command() == "pip install 'facesymbols'"


def test_where_the_package_is_not_installed_the_checkout_is(tmp_path, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    (tmp_path / 'setup.py').touch()
    for name in ('version', 'requires'):
        monkeypatch.setattr(packages, name, missing)
    monkeypatch.setattr(packages, 'ROOT', tmp_path)
    assert packages.install_command('onnx') == f"pip install -e '{tmp_path}[onnx]'"
