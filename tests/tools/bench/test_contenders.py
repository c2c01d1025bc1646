from __future__ import annotations

import importlib.util
import re

import pytest

from config.errors import ConfigError
from recognition.utils.packages import install_command
from tools.bench import contenders
from tools.bench.contenders import NEEDS, check_counts, choose


@pytest.fixture
def bare(monkeypatch):
    """A machine without ncnn and PyTorch."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        contenders, 'find_spec', lambda name: None if name in ('pnnx', 'torch') else find(name)
    )


def test_all_that_are_installed_take_part_and_the_others_are_told(bare):
    said = []
    assert choose(tuple(NEEDS), None, said.append) == ['plain', 'onnxruntime', 'openvino']
    assert len(said) == 2
    assert 'pnnx is not installed: pip install' in said[0]
    assert install_command('torch') in said[1]


def test_those_that_are_named_take_part_in_the_order_of_the_suite(bare):
    assert choose(tuple(NEEDS), ['openvino', 'plain'], print) == ['plain', 'openvino']


def test_one_that_is_named_and_not_installed_is_refused(bare):
    with pytest.raises(ConfigError, match=rf'torch needs torch, .*{re.escape(install_command("torch"))}'):
        choose(tuple(NEEDS), ['torch'], print)
    with pytest.raises(ConfigError, match='pip install --no-deps pnnx'):
        choose(tuple(NEEDS), ['ncnn'], print)


def test_an_unknown_one_is_refused():
    with pytest.raises(ConfigError, match=r"'openvinno' is not one of .*; did you mean 'openvino'"):
        choose(tuple(NEEDS), ['openvinno'], print)


def test_counts_are_at_least_one():
    check_counts(batch=1, threads=None)
    with pytest.raises(ConfigError, match='batch=0 must be at least 1'):
        check_counts(batch=0, threads=None)
