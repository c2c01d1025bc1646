"""The rules: what they take, the normal form they give, and what they refuse."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest

from config.rules import choice, flag, integer, one_or_three, optional, real, rising, sequence, text

INF, NAN = float('inf'), float('nan')

TAKEN = [
    (integer(1), 3, 3),
    (integer(1), 3.0, 3),
    (integer(1), np.int64(3), 3),
    (integer(1), np.float32(3), 3),
    (integer(-2, 2), -2, -2),
    (integer(-2, 2), 2, 2),
    (real(0), 0, 0.0),
    (real(0, 1), 1, 1.0),
    (real(0, 1), np.float64(0.5), 0.5),
    (real(0, 1), Fraction(1, 4), 0.25),
    (flag(), True, True),
    (flag(), 0, False),
    (flag(), np.int32(1), True),
    (text(), '', ''),
    (text(), 'a b', 'a b'),
    (choice(('a', 'b')), 'b', 'b'),
    (sequence(integer(1)), [1, 2.0], (1, 2)),
    (sequence(integer(1)), (), ()),
    (sequence(text(), 2), ('a', 'b'), ('a', 'b')),
    (rising(), '100000,160000,220000', '100000,160000,220000'),
    (rising(), ' 10, 20 ', '10,20'),
    (rising(), [1, 2.0, np.int64(3)], '1,2,3'),
    (rising(), '', ''),
    (rising(), (), ''),
    (optional(integer(1)), None, None),
    (optional(integer(1)), 4.0, 4),
    (one_or_three(real(0)), 1, 1.0),
    (one_or_three(real(0)), [1, 2, np.float64(3)], (1.0, 2.0, 3.0)),
]

RISING = "whole numbers of at least 1, each above the one before it, as '1000,2000'"

REFUSED = [
    *((rising(), value, RISING) for value in ('3,2', '2,2', '0,1', '1,', 'a', '-1', '1.5', '1_0', 7, None)),
    *((rising(), value, RISING) for value in ([2, 1], [0], [True], ['1'], {1, 2})),
    (integer(1), 0, 'a whole number of at least 1'),
    (integer(1, 4), 5, 'a whole number from 1 to 4'),
    (integer(1), 1.5, 'a whole number of at least 1'),
    (integer(1), True, 'a whole number of at least 1'),
    (integer(1), '1', 'a whole number of at least 1'),
    (integer(1), None, 'a whole number of at least 1'),
    (integer(1), 1 + 0j, 'a whole number of at least 1'),
    (real(0), -1e-9, 'a number of at least 0'),
    (real(0), INF, 'a number of at least 0'),
    (real(0), NAN, 'a number of at least 0'),
    (real(0, 0.5), 0.6, 'a number from 0 to 0.5'),
    (real(0), True, 'a number of at least 0'),
    (real(0), '1', 'a number of at least 0'),
    (flag(), 2, 'True or False'),
    (flag(), 'true', 'True or False'),
    (flag(), None, 'True or False'),
    (flag(), 1.0, 'True or False'),
    (text(), 1, 'text'),
    (text(), b'a', 'text'),
    (choice(('a', 'b')), 'c', 'one of a, b'),
    (choice(('a', 'b')), ['a'], 'one of a, b'),
    (sequence(integer(1), 2), (1,), 'a list of 2 values, each a whole number of at least 1'),
    (sequence(integer(1)), (1, 0), 'a list of values, each a whole number of at least 1'),
    (sequence(text()), 'abc', 'a list of values, each text'),
    (optional(integer(1)), 0, 'a whole number of at least 1, or None'),
    *(
        (one_or_three(real(0)), value, 'a number of at least 0, or three of them')
        for value in (-1, (1, 2), (1, 2, -3), '1', None)
    ),
]


@pytest.mark.parametrize(('rule', 'value', 'normal'), TAKEN)
def test_taken_values_get_their_normal_form(rule, value, normal):
    checked = rule.check(value)
    assert checked == normal
    assert type(checked) is type(normal)
    assert rule.check(checked) == checked


@pytest.mark.parametrize(('rule', 'value', 'allowed'), REFUSED)
def test_refused_values(rule, value, allowed):
    with pytest.raises(ValueError, match=re.escape(allowed)) as caught:
        rule.check(value)
    assert str(caught.value) == rule.allowed == allowed


@pytest.mark.parametrize('value', [INF, -INF, NAN, 10**400])
@pytest.mark.parametrize('rule', [integer(1), optional(integer(1)), sequence(integer(1)), real(0)])
def test_numbers_beyond_all_bounds(rule, value):
    with pytest.raises((ValueError, OverflowError)):  # the schema answers both alike
        rule.check([value] if rule.type_name == 'list' else value)


@pytest.mark.parametrize(
    ('rule', 'line', 'value'),
    [
        (integer(1), '12', 12),
        (real(0), '1e-3', 0.001),
        (flag(), 'True', True),
        (flag(), 'off', False),
        (flag(), '1', True),
        (text(), 'a, b', 'a, b'),
        (choice(('a', 'b')), 'a', 'a'),
        (sequence(integer(1)), '1, 4,6,2', (1, 4, 6, 2)),
        (one_or_three(real(0)), '127.5', 127.5),
        (one_or_three(real(0)), '1, 2,3e-2', (1.0, 2.0, 0.03)),
        (sequence(text()), '', ()),
        (optional(integer(1)), 'None', None),
        (optional(integer(1)), '7', 7),
    ],
)
def test_text_of_a_command_line(rule, line, value):
    assert rule.parse(line) == value
    assert rule.check(rule.parse(line)) == value


@pytest.mark.parametrize(
    ('rule', 'line'),
    [(integer(1), 'a'), (real(0), 'x'), (flag(), '2'), (flag(), ''), (sequence(integer(1)), '1,b')],
)
def test_text_that_is_no_value(rule, line):
    with pytest.raises(ValueError):  # noqa: PT011  (the schema gives it its text)
        rule.parse(line)


def test_a_choice_shows_its_names_for_the_nearest_one():
    assert choice(('a', 'b')).choices == optional(choice(('a', 'b'))).choices == ('a', 'b')
    assert integer(1).choices == ()
