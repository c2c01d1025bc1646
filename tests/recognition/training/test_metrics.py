from __future__ import annotations

import math

import numpy as np
import pytest

from recognition.training.metrics import Throughput, TrainingMetrics


def test_means_over_the_window_and_since_the_start_weigh_samples():
    metrics = TrainingMetrics(window=2)
    metrics.update(np.array([8.0, 8.0]), np.array([0, 0]), np.array([1, 1]))
    metrics.update(np.array([1.0, 2.0, 3.0]), np.array([5, 6, 7]), np.array([5, 6, 0]))
    metrics.update(np.array([4.0]), np.array([2.0], 'float32'), np.array([2]))
    assert metrics.loss == pytest.approx(10 / 4)
    assert metrics.accuracy == pytest.approx(3 / 4)
    assert metrics.total_loss == pytest.approx(26 / 6)
    assert metrics.total_accuracy == pytest.approx(3 / 6)


def test_nothing_counted_is_nan():
    metrics, throughput = TrainingMetrics(), Throughput()
    values = (metrics.loss, metrics.accuracy, metrics.total_loss, metrics.total_accuracy)
    assert all(math.isnan(v) for v in (*values, throughput.images_per_second, throughput.seconds_left(5)))


def test_float32_losses_are_added_in_float64():
    metrics = TrainingMetrics(window=1)
    losses = np.concatenate([[2.0**25], np.ones(1000)]).astype('float32')
    metrics.update(losses, np.zeros(1001), np.zeros(1001))
    assert metrics.loss * 1001 == pytest.approx(2**25 + 1000, abs=1e-3)


def test_logits_in_place_of_predictions_are_refused():
    with pytest.raises(ValueError, match=r'\(4, 3\)'):
        TrainingMetrics().update(np.zeros(4), np.zeros((4, 3)), np.zeros(4))


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_rate_over_the_window_and_since_the_start():
    clock = Clock()
    throughput = Throughput(window=2, clock=clock)
    for seconds in (10, 1, 1):
        clock.now += seconds
        throughput.update(32)
    assert throughput.images_per_second == pytest.approx(32)
    assert throughput.total_images_per_second == pytest.approx(8)
    assert throughput.seconds_left(320) == pytest.approx(10)
    assert throughput.seconds == pytest.approx(12)


def test_the_first_batch_counts_from_construction():
    clock = Clock()
    throughput = Throughput(clock=clock)
    clock.now += 4
    throughput.update(32)
    assert throughput.images_per_second == pytest.approx(8)


def test_a_pause_is_left_out_even_when_it_ends_in_an_error():
    clock = Clock()
    throughput = Throughput(window=5, clock=clock)
    clock.now += 1
    throughput.update(10)

    def fail():
        with throughput.paused():
            clock.now += 1000
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    clock.now += 1
    throughput.update(10)
    assert throughput.images_per_second == pytest.approx(10)
    assert throughput.seconds == pytest.approx(2)


def test_no_time_passed_is_no_rate():
    throughput = Throughput(clock=Clock())
    throughput.update(10)
    assert math.isnan(throughput.images_per_second)
