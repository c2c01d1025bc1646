"""An embedder among threads and processes: equal numbers, and an end."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from config.errors import ConfigError
from recognition.embed import Embedder
from recognition.engines import ENGINES
from recognition.verification.lfw import normalise
from tests.helpers.small_network import SHAPE
from tests.helpers.training import ROOT

pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture(scope='module')
def images():
    return np.random.default_rng(1).integers(0, 256, (7, *SHAPE), dtype=np.uint8)


def load(small, engine, **settings):
    path = {'checkpoint': small.checkpoint, 'onnx': small.onnx, 'ncnn': small.ncnn}[ENGINES[engine].reads]
    return Embedder.load(path, engine, image_shape=SHAPE, **settings)


def test_eight_threads_get_what_one_gets(small):
    images = np.random.default_rng(2).integers(0, 256, (96, *SHAPE), dtype=np.uint8)
    expected = normalise(small.values.embed(images) + small.values.embed(images[:, :, ::-1]))
    for engine in ENGINES:
        with load(small, engine, batch_size=16) as embedder, ThreadPoolExecutor(8) as pool:
            parts = np.array_split(np.arange(96), 32)
            found = list(pool.map(lambda part: embedder(images[part]), parts))
        atol = 1e-5 if ENGINES[engine].exact else 0.02
        np.testing.assert_allclose(np.concatenate(found), expected, atol=atol, err_msg=engine)


def test_a_closed_embedder_says_so(small, images):
    embedder = load(small, 'mxnet')
    embedder.close()
    embedder.close()  # once more is no fault
    with pytest.raises(ConfigError, match='closed'):
        embedder(images)


def test_an_embedder_that_is_sent_to_another_process_says_so(small):
    with load(small, 'mxnet') as embedder, pytest.raises(ConfigError, match='load it in each'):
        pickle.dumps(embedder)


@pytest.mark.parametrize('engine', ENGINES)
def test_the_threads_end_with_the_embedder(small, images, engine):
    load(small, engine).close()  # a library may start threads of its own: OpenVINO's telemetry
    before = set(threading.enumerate())  # of these, some may end meanwhile
    embedder = load(small, engine, threads=2)
    embedder(images)
    started = set(threading.enumerate()) - before
    assert started
    del embedder
    gc.collect()
    deadline = time.monotonic() + 10
    for thread in started:
        thread.join(max(deadline - time.monotonic(), 0))
    assert not [thread for thread in started if thread.is_alive()]


def test_a_forked_process_is_told_to_load_its_own(small, images):
    embedder = load(small, 'onnxruntime')
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            embedder(images)
            words = 'none'
        except ConfigError as error:
            words = str(error)
        os.write(writing, words.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert 'load it in each, after the fork' in told.read()
    os.waitpid(child, 0)


FORKS = """if True:
    import os, sys, threading
    import numpy as np
    from recognition.embed import Embedder

    shape = tuple(map(int, sys.argv[2].split(',')))
    embedder, stopped = Embedder.load(sys.argv[1], 'mxnet', image_shape=shape), threading.Event()

    def work():
        while not stopped.is_set():
            embedder(np.zeros((8, *embedder.image_shape), np.uint8))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
    stopped.set()
    for thread in threads:
        thread.join()
"""


def test_a_fork_waits_for_the_thread_that_works(small):
    """MXNet stops its engine in a fork, and waited for ever for the thread that used it."""
    shape = ','.join(map(str, SHAPE))
    command = [sys.executable, '-W', 'ignore', '-c', FORKS, small.checkpoint, shape]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
