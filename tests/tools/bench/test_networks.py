from __future__ import annotations

import numpy as np
import pytest

from config.errors import ConfigError
from tools.bench.networks import SLOPES, draw_network


def test_values_are_for_every_parameter_and_slopes_are_slopes():
    drawn = draw_network('d121', {'net_multiplier': 0.125})
    names = {*drawn.symbol.list_arguments(), *drawn.symbol.list_auxiliary_states()} - {'data'}
    assert set(drawn.values) == names
    slopes = [value for name, value in drawn.values.items() if name.endswith('_alpha')]
    assert len(slopes) == 119
    assert all(SLOPES[0] <= value.min() <= value.max() <= SLOPES[1] for value in slopes)
    assert drawn.faces(3).shape == (3, 112, 112, 3)
    np.testing.assert_array_equal(drawn.faces(3), drawn.faces(3))


def test_flops_count_multiplication_and_addition():
    assert draw_network('r50', {}).flops == pytest.approx(2 * 6.3e9, rel=0.02)


def test_dropout_may_be_left_out():
    for dropout, rate in ((True, '0.4'), (False, '0')):
        drawn = draw_network('r18', {'net_multiplier': 0.125}, dropout=dropout)
        for symbol in (drawn.symbol, drawn.own):
            assert symbol.attr_dict()['dropout0']['p'] == rate


def test_an_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match='r19'):
        draw_network('r19', {})
