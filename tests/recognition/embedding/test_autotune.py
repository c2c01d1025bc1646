"""The fastest engine: timed once, remembered, and timed again where anything has changed."""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from config.errors import CheckpointError, ConfigError
from recognition.embed import Embedder
from recognition.embedding import engine_choice
from recognition.embedding.autotune import choice_key, choose
from recognition.engines import ENGINES
from recognition.engines.model import find_model
from tests.helpers.small_network import SHAPE


class Slow:
    """An engine that takes its time."""

    image_shape = SHAPE

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds

    def embed(self, images):
        time.sleep(self.seconds)
        return np.ones((len(images), 2))


@pytest.fixture
def opened():
    return []


@pytest.fixture
def openers(opened):
    def opener(name, seconds):
        def open_it():
            opened.append(name)
            return Slow(name, seconds)

        return open_it

    return {name: opener(name, seconds) for name, seconds in {'a': 0.02, 'b': 0.001, 'c': 0.03}.items()}


def test_the_fastest_is_chosen_and_remembered(cache, openers, opened):
    assert choose(openers, 'key', 2).name == 'b'
    assert opened == ['a', 'b', 'c']
    assert json.loads((cache / 'engines.json').read_text()) == {'key': 'b'}
    assert choose(openers, 'key', 2).name == 'b'
    assert opened == ['a', 'b', 'c', 'b']
    choose(openers, 'another', 2)
    assert len(opened) == 7


@pytest.mark.parametrize(
    'content', ['', '{"key": "b"', '[1]', '{"key": "unknown"}', '{"key": ["b"]}', '\0' * 9]
)
def test_a_damaged_memory_is_ignored(cache, openers, opened, content):
    cache.mkdir(parents=True)
    (cache / 'engines.json').write_text(content)
    assert choose(openers, 'key', 2).name == 'b'
    assert len(opened) == 3
    assert json.loads((cache / 'engines.json').read_text())['key'] == 'b'
    assert [file.name for file in cache.iterdir()] == ['engines.json']


def test_a_memory_that_cannot_be_written_is_no_fault(cache, openers, caplog):
    cache.parent.mkdir(parents=True)
    cache.write_text('a file where the folder would be')
    assert choose(openers, 'key', 2).name == 'b'
    assert 'not remembered' in caplog.text


def test_an_engine_that_is_refused_is_left_out(cache, openers, caplog):
    def refused():
        raise CheckpointError('it disagrees')

    assert choose({**openers, 'b': refused}, 'key', 2).name == 'a'
    assert choose({**openers, 'a': refused}, 'key', 2).name == 'b'  # though it remembers the other
    assert 'the engine b is left out: it disagrees' in caplog.text
    assert choose({'a': refused, 'b': openers['b']}, 'single', 2).name == 'b'
    assert 'single' not in json.loads((cache / 'engines.json').read_text())  # another may be had next time
    with pytest.raises(ConfigError, match=r'no engine can run the network: it disagrees$'):
        choose({'a': refused, 'b': refused}, 'key', 2)
    with pytest.raises(CheckpointError, match='it disagrees'):
        choose({'a': refused}, 'key', 2)


def test_a_key_is_that_of_network_versions_and_settings():
    packages = ['numpy', 'mxnet']
    keys = {
        choice_key('a', packages, None, 32, None),
        choice_key('b', packages, None, 32, None),
        choice_key('a', ['numpy'], None, 32, None),
        choice_key('a', packages, None, 8, None),
        choice_key('a', packages, None, 32, 1),
    }
    assert len(keys) == 5
    assert choice_key('a', packages[::-1], None, 32, None) in keys


def test_a_key_is_that_of_threads_and_of_what_conversions_need(small, monkeypatch):
    """pnnx that is installed later makes ncnn one of those to choose from."""
    keys = []
    monkeypatch.setattr(engine_choice, 'choose', lambda openers, key, batch_size: keys.append(key))

    def ask(checkpoint=small.checkpoint):
        engine_choice.open_engine('auto', find_model(checkpoint), batch_size=8, image_shape=SHAPE)

    ask()
    ask()
    assert len(set(keys)) == 1
    original = metadata.version
    for package in ('pnnx', 'onnx', 'facesymbols', 'openvino'):
        monkeypatch.setattr(metadata, 'version', lambda name, of=package: name == of or original(name))
        ask()
    monkeypatch.setattr(metadata, 'version', original)
    monkeypatch.setenv('OMP_NUM_THREADS', '77')
    ask()
    assert len(set(keys)) == 6


def test_a_package_of_another_name_is_no_fault():
    """`import mxnet` may come from mxnet-cu112."""
    assert choice_key('a', ['no-such-package']) != choice_key('a', [])


def test_one_that_cannot_be_remembered_for_want_of_a_home_is_chosen(monkeypatch, openers, caplog):
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)

    def homeless():
        raise RuntimeError('Could not determine home directory.')

    monkeypatch.setattr(Path, 'home', homeless)
    assert choose(openers, 'key', 2).name == 'b'
    assert 'set the variable XDG_CACHE_HOME' in caplog.text


def test_auto_takes_those_that_are_installed(cache, small, monkeypatch, caplog):
    with caplog.at_level(logging.INFO):
        first = Embedder.load(small.onnx)
    assert caplog.text.count('images/s') == 2
    with caplog.at_level(logging.INFO):
        assert Embedder.load(small.onnx).engine == first.engine
    assert caplog.text.count('images/s') == 2  # not timed again
    monkeypatch.setitem(sys.modules, first.engine, None)
    (other,) = {'onnxruntime', 'openvino'} - {first.engine}
    assert Embedder.load(small.onnx).engine == other


def test_auto_on_a_checkpoint_without_other_engines_is_mxnet(cache, small, monkeypatch):
    for engine in ENGINES.values():
        if engine.name != 'mxnet':
            monkeypatch.setitem(sys.modules, engine.package, None)
    assert Embedder.load(small.checkpoint, image_shape=SHAPE).engine == 'mxnet'


def test_bfloat16_is_never_chosen(small, cache, monkeypatch):
    """It computes something else than float32, which is the user's to decide."""
    opened = []

    class Watched(ENGINES['openvino-bf16']):
        def __init__(self, *given):
            opened.append(given)
            super().__init__(*given)

    monkeypatch.setitem(ENGINES, 'openvino-bf16', Watched)
    Embedder.load(small.onnx, 'auto', image_shape=SHAPE).close()
    assert not opened
    Embedder.load(small.onnx, 'openvino-bf16', image_shape=SHAPE).close()
    assert opened
