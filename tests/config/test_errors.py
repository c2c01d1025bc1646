from __future__ import annotations

import pytest

from config.errors import first_few, nearest


@pytest.mark.parametrize(
    ('names', 'most', 'text'),
    [
        ([], 3, ''),
        (['a', 'b', 'c'], 3, 'a, b, c'),
        ('abcd', 3, 'a, b, c and 1 more'),
        (map(repr, range(7)), 1, '0 and 6 more'),
    ],
)
def test_of_many_names_the_first_few_are_told(names, most, text):
    assert first_few(names, most) == text


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('resnet5', "; did you mean 'resnet'?"),
        ('ResNet', "; did you mean 'resnet'?"),
        ('42', ''),
        ('zzz', ''),
    ],
)
def test_the_nearest_name_is_suggested_where_one_is_near(name, hint):
    assert nearest(name, ['resnet', 'resnet_v2', 'xception']) == hint


@pytest.mark.parametrize('name', ['tinynet', 'tinynets', '1', 1])
def test_a_name_that_was_given_is_never_suggested(name):
    assert nearest(name, ['tinynet', 'tinynets', 'TinyNet', 1]) == ''
