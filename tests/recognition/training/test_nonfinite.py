"""Steps that are left out, and the loss scale of half precision."""

from __future__ import annotations

import pytest

from config.errors import FaceSymbolsError
from recognition.training.nonfinite import GROWTH_INTERVAL, Guard, LossScale


def test_as_many_as_the_limit_are_left_out():
    guard = Guard(2)
    guard.bad('the loss became nan', 5, 0.1)
    guard.bad('the loss became nan', 6, 0.1)
    guard.good()
    assert (guard.skipped, guard.in_a_row) == (2, 0)
    guard.bad('the loss became nan', 8, 0.1)
    guard.bad('the loss became inf', 9, 0.1)
    with pytest.raises(
        FaceSymbolsError,
        match=r'^the gradient became nan at step 10 with learning rate 0\.1, the last of 3 such steps in a row; train',
    ):
        guard.bad('the gradient became nan', 10, 0.1)


def test_a_run_may_not_end_in_a_step_that_was_left_out():
    guard = Guard(5)
    guard.end()
    guard.bad('the loss became nan', 3, 0.1)
    with pytest.raises(FaceSymbolsError, match='the loss became nan at step 3 with learning rate'):
        guard.end()


def test_the_count_goes_on():
    guard, other = Guard(1), Guard(1)
    guard.bad('the loss became nan', 1, 0.1)
    other.restore(guard.state())
    assert (other.skipped, other.in_a_row) == (1, 0)


def test_the_loss_scale_halves_and_doubles():
    scale = LossScale(8.0, on=True)
    assert [scale.overflow() for _ in range(5)] == [True, True, True, False, False]
    assert scale.value == 1.0
    for _ in range(GROWTH_INTERVAL - 1):
        scale.good()
    other = LossScale(8.0, on=True)
    other.restore(scale.state())
    assert other.value == 1.0
    other.good()
    assert other.value == 2.0


@pytest.mark.parametrize(('first', 'on'), [(128.0, False), (0.0, True)])
def test_without_half_precision_or_with_the_factor_0_the_loss_is_not_scaled(first, on):
    scale = LossScale(first, on=on)
    for _ in range(GROWTH_INTERVAL + 1):
        scale.good()
    assert scale.value == 1.0
    assert not scale.overflow()


def test_an_overflow_begins_the_count_of_good_steps_anew():
    scale = LossScale(8.0, on=True)
    for _ in range(1999):
        scale.good()
    scale.overflow()
    for _ in range(1999):
        scale.good()
    assert scale.value == 4.0
    scale.good()
    assert scale.value == 8.0


def test_the_loss_scale_stays_within_float32():
    scale = LossScale(2.0**23, on=True)
    for _ in range(3 * 2000):
        scale.good()
    assert scale.value == 2.0**24
