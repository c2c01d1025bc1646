from __future__ import annotations

import pytest

from config.errors import first_few


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
