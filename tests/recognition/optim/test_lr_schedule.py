from __future__ import annotations

import math
import pickle
import random

import numpy as np
import pytest

from config.errors import ConfigError
from recognition.optim.lr_schedule import build_schedule, check_schedule, parse_steps, total_steps


def config(**changes):
    base = {'lr': 0.1, 'lr_schedule': 'step', 'lr_steps': '10,20', 'lr_factor': 0.1, 'warmup_steps': 0}
    return {**base, **changes}


def insightface_rates(steps, total, lr=0.1):
    """Return the rate of each batch where it falls at the end of batch number `step`, counted from 1."""
    rates = []
    for batch in range(1, total + 1):
        rates.append(lr)
        if batch in steps:
            lr *= 0.1
    return rates


def test_the_step_after_s_updates_is_the_first_with_the_lower_rate():
    rate = build_schedule(config(), 30)
    assert rate(9) == pytest.approx(0.1)
    assert rate(10) == pytest.approx(0.01)
    assert rate(19) == pytest.approx(0.01)
    assert rate(20) == pytest.approx(0.001)
    np.testing.assert_allclose([rate(step) for step in range(30)], insightface_rates({10, 20}, 30))


def test_warm_up_is_linear_and_ends_at_lr():
    rate = build_schedule(config(warmup_steps=5), 30)
    np.testing.assert_allclose([rate(step) for step in range(7)], [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1])


def test_cosine_falls_from_lr_to_zero():
    rate = build_schedule(config(lr_schedule='cosine', warmup_steps=10), 110)
    assert rate(9) == rate(10) == pytest.approx(0.1)
    assert rate(60) == pytest.approx(0.05)
    assert rate(109) == pytest.approx(0.05 * (1 + math.cos(math.pi * 0.99)))
    assert rate(110) == rate(10_000) == 0
    rates = [rate(step) for step in range(10, 111)]
    assert (np.diff(rates) < 0).all()


def test_cosine_all_warm_up():
    rate = build_schedule(config(lr_schedule='cosine', warmup_steps=4), 4)
    np.testing.assert_allclose([rate(step) for step in range(5)], [0.025, 0.05, 0.075, 0.1, 0])


@pytest.mark.parametrize('name', ['step', 'cosine'])
def test_any_order_of_calls_gives_the_same_rates(name):
    settings = config(lr_schedule=name, warmup_steps=4)
    expected = [build_schedule(settings, 40)(step) for step in range(60)]  # a new one for each step
    rate = build_schedule(settings, 40)
    order = [*range(60), *range(59, -1, -1), *random.Random(0).choices(range(60), k=300)]
    assert [rate(step) for step in order] == [expected[step] for step in order]


def test_the_config_is_read_once():
    settings = config()
    rate = build_schedule(settings, 30)
    settings.update(lr=7.0, lr_steps='1', lr_factor=0.5)
    assert [rate(0), rate(10)] == pytest.approx([0.1, 0.01])


@pytest.mark.parametrize(
    ('text', 'steps'),
    [
        ('100000,160000', (100000, 160000)),
        (' 5, 9 ', (5, 9)),
        ('1', (1,)),
        ('', ()),
        ([3, 4], (3, 4)),
        ((), ()),
    ],
)
def test_lr_steps_are_read(text, steps):
    assert parse_steps(text) == steps


@pytest.mark.parametrize(
    'text', ['20,10', '10,10', '0,5', '-3', '1.5', 'a,b', '10,', ',', '1e4', ' ', None, 5, [1.5]]
)
def test_bad_lr_steps_are_refused(text):
    with pytest.raises(ConfigError, match='lr_steps='):
        build_schedule(config(lr_steps=text), 30)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'lr_schedule': 'cosin'}, "did you mean 'cosine'"),
        ({'warmup_steps': 31}, 'warmup_steps=31.*30 steps'),
        ({'warmup_steps': -1}, 'warmup_steps=-1'),
    ],
)
def test_bad_settings_are_named(changes, words):
    with pytest.raises(ConfigError, match=words):
        build_schedule(config(**changes), 30)


def test_a_step_below_zero_is_refused():
    with pytest.raises(ValueError, match='-1'):
        build_schedule(config(), 30)(-1)


def test_rates_are_plain_floats():
    assert all(type(build_schedule(config(lr_schedule=name), 30)(3)) is float for name in ('step', 'cosine'))
    assert pickle.loads(pickle.dumps(build_schedule(config(), 30)(3))) == pytest.approx(0.1)


def test_a_schedule_is_checked_without_the_length_of_the_run():
    check_schedule(config(warmup_steps=10**9))
    with pytest.raises(ConfigError, match='lr_steps='):
        check_schedule(config(lr_steps='20,10'))


@pytest.mark.parametrize(
    ('most', 'batches', 'steps'), [(0, 9, 9 * 4), (5, 9, 5), (100, 9, 36), (0, 4, 4 * 4)]
)
def test_a_run_has_all_its_epochs_unless_steps_are_bounded(most, batches, steps):
    assert total_steps({'end_epoch': 4, 'max_steps': most}, batches) == steps


@pytest.mark.parametrize(('power', 'rates'), [(2, [0.1, 0.025, 0.001, 0]), (1, [0.1, 0.05, 0.01, 0])])
def test_poly_falls_as_the_power_of_what_is_left(power, rates):
    rate = build_schedule(config(lr_schedule='poly', lr_power=power), 100)
    assert [rate(step) for step in (0, 50, 90, 100)] == pytest.approx(rates)
    warm = build_schedule(config(lr_schedule='poly', lr_power=power, warmup_steps=10), 110)
    assert [warm(step) for step in (4, 9, 10, 60, 100, 110)] == pytest.approx([0.05, 0.1, *rates])
