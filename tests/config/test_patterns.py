"""Regular expressions for names of parameters: which of them fit, and the factors that they give."""

from __future__ import annotations

import pytest

from config import resolve
from config.errors import ConfigError
from config.patterns import as_factors, fitting, spread

NAMES = ['conv0_weight', 'stage1_conv_weight', 'stage1_bn_gamma', 'stage2_conv_weight']


def test_a_name_has_to_begin_with_a_pattern():
    assert fitting('stage1_', NAMES) == NAMES[1:3]
    assert fitting('conv', NAMES) == NAMES[:1]
    assert fitting('.*weight', NAMES) == [NAMES[0], NAMES[1], NAMES[3]]
    assert fitting('(?!stage)', NAMES) == NAMES[:1]


def test_the_first_pattern_that_fits_gives_the_factor():
    factors = as_factors(['stage1_bn=0', 'stage=0.5', 'stage2=7', 'stage=9'])
    assert factors == {'stage1_bn': 0.0, 'stage': 0.5, 'stage2': 7.0}
    assert spread(factors, NAMES) == {NAMES[1]: 0.5, NAMES[2]: 0.0, NAMES[3]: 0.5}
    assert as_factors(['(?<=x)=a=0.5']) == {'(?<=x)=a': 0.5}


@pytest.mark.parametrize(
    ('pattern', 'words'),
    [
        (
            'stage3',
            "^no parameter has a name that begins with 'stage3'; there are conv0_weight, .* and 1 more$",
        ),
        ('a(', "^'a\\(' is not a regular expression: "),
    ],
)
def test_a_pattern_that_fits_nothing_is_refused_with_the_first_names(pattern, words):
    with pytest.raises(ConfigError, match=words):
        fitting(pattern, NAMES)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'freeze': 'stage1_'}, 'must be a list of texts, each a regular expression'),
        ({'freeze': ['a(']}, 'each a regular expression'),
        ({'freeze': ['']}, 'each a regular expression'),
        ({'lr_mult': ['stage1_']}, 'each REGEX=NUMBER with a number of at least 0'),
        ({'lr_mult': ['stage1_=-1']}, 'each REGEX=NUMBER with a number of at least 0'),
        ({'lr_mult': ['=1']}, 'each REGEX=NUMBER'),
        ({'kernel_l2_factors': ['fc1_=1e-3']}, '^kernel_l2_factors needs kernel_l2'),
        (
            {'kernel_l2': 0.0, 'kernel_l2_factors': ['fc1_=1e-3'], 'wd': 0},
            'kernel_l2 does not go with wd=0.0',
        ),
    ],
)
def test_a_bad_list_of_them_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        resolve('r18', **settings)
