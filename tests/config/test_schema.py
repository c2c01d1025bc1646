"""The schema: every key once, with a default that keeps its own rule and a line of help."""

from __future__ import annotations

import pytest

from config import ConfigError
from config.keys import DEFAULT_KEYS, FAMILY_NAMES, HEAD_NAMES, KEYS
from config.schema import check_value, parse_value

GROUPS = {'network', 'data', 'loss', 'train', 'accepted'}


def as_text(value):
    """Return a value as it stands on a command line."""
    return ','.join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize('name', KEYS)
def test_each_key_has_help_and_a_default_that_keeps_its_rule(name):
    key = KEYS[name]
    assert name.isidentifier()
    assert key.group in GROUPS
    assert key.help == key.help.strip() != ''
    assert len(key.help.splitlines()) == 1
    assert not key.help.endswith('.')
    checked = check_value(name, key.default)
    assert checked == key.default
    assert type(checked) is type(key.default)


@pytest.mark.parametrize('name', KEYS)
def test_each_key_reads_its_default_from_text(name):
    default = KEYS[name].default
    parsed = parse_value(name, as_text(default))
    assert parsed == default
    assert type(parsed) is type(default)


@pytest.mark.parametrize('name', KEYS)
def test_each_key_refuses_what_is_no_value_at_all(name):
    with pytest.raises(ConfigError, match=f'^{name}=.* is not allowed: it must be '):
        check_value(name, object())


@pytest.mark.parametrize('name', [n for n, key in KEYS.items() if key.rule.choices])
def test_each_choice_is_taken_and_a_slip_in_it_is_named(name):
    for value in KEYS[name].rule.choices:
        assert check_value(name, value) == parse_value(name, value) == value
    longest = max(KEYS[name].rule.choices, key=len)
    with pytest.raises(ConfigError, match=f'did you mean {longest!r}'):
        check_value(name, longest + 'x')


@pytest.mark.parametrize(
    ('name', 'line', 'message'),
    [
        ('emb_size', 'wide', "emb_size='wide' is not allowed: it must be a whole number from 1 to 16777216"),
        ('emb_size', '0', 'emb_size=0 is not allowed'),
        ('net_se', 'maybe', "net_se='maybe' is not allowed: it must be True or False"),
        ('input_mean', '1,2', 'input_mean=\\(1.0, 2.0\\) is not allowed: .* from 0 to 255, or three of them'),
        ('image_shape', '112,112', 'image_shape=\\(112, 112\\) is not allowed'),
        ('net_act', 'rleu', "did you mean 'relu'"),
        ('emb_sise', '1', "'emb_sise' is not a key of the config; did you mean 'emb_size'"),
    ],
)
def test_bad_text_is_one_clear_sentence(name, line, message):
    with pytest.raises(ConfigError, match=message):
        parse_value(name, line)


def test_names_and_aliases_of_families_and_heads_do_not_clash():
    for names in (FAMILY_NAMES, HEAD_NAMES):
        assert set(names.values()) <= set(names)
        assert all(names[long_name] == long_name for long_name in names.values())


def test_insightfaces_defaults_are_keys_of_the_command_line():
    theirs = ['network', 'pretrained', 'pretrained_epoch', 'frequent', 'verbose', 'kvstore', 'end_epoch']
    theirs += ['lr', 'wd', 'mom', 'per_batch_size', 'ckpt', 'lr_steps', 'models_root']
    assert set(theirs) <= set(DEFAULT_KEYS)
