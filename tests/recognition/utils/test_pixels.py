"""Pixels, by what numpy makes of the operators in a row."""

from __future__ import annotations

import numpy as np
import pytest

from recognition.utils.pixels import CENTRED, RAW, Pixels

FUNCTIONS = {'Sub': np.subtract, 'Add': np.add, 'Mul': np.multiply, 'Div': np.divide}
EACH = (0.5, 2.0, 4.0)


@pytest.mark.parametrize('turned', [0, 2, 4])
def test_operators_in_a_row_are_one_formula(turned):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    expected, pixels = images.astype(np.float64), RAW
    for number, (operator, constant) in enumerate(
        [('Sub', 100.0), ('Mul', EACH), ('Add', EACH), ('Div', 8.0)]
    ):
        if number == turned:
            expected, pixels = expected[..., ::-1], pixels.turned()
        expected, pixels = FUNCTIONS[operator](expected, constant), pixels.then(operator, constant)
    assert pixels.order == ('rgb' if turned == 4 else 'bgr')
    np.testing.assert_allclose(pixels.planes(images), expected.transpose(0, 3, 1, 2), rtol=1e-6, atol=1e-5)


def test_one_number_where_all_channels_have_the_same():
    assert RAW.then('Sub', (127.5, 127.5, 127.5)).then('Div', (127.5,)) == CENTRED
    assert RAW.then('Sub', 127.5).then('Mul', 0.0078125).words() == '(x - 127.5) * 0.0078125'
    assert Pixels((1.0, 2.0, 3.0), 0.5).turned().words() == '(x - (3, 2, 1)) * 0.5 of BGR'
