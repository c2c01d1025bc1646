"""The config's keys as options of a command line."""

from __future__ import annotations

import argparse

import pytest

from config import resolve
from config.errors import ConfigError
from config.schema import KEYS
from recognition.options import PRESETS, add_config_options, config_from

R18 = ['--network', 'r18']


def parser(**options):
    made = argparse.ArgumentParser(allow_abbrev=False)
    for name in PRESETS:
        made.add_argument(f'--{name}')
    add_config_options(made, **options)
    return made


def test_every_key_is_an_option_with_help():
    help_text = parser().format_help()
    missing = [name for name in KEYS if '--' + name.replace('_', '-') not in help_text]
    assert missing == []


def test_options_beat_presets_and_settings_beat_options():
    words = '--network d121 --loss arcface --loss-m2 0.3 --fp16 no --image-shape 64,64,3 --num-layers 169'
    args = parser().parse_args(words.split())
    cfg = config_from(args, emb_size=64)
    expected = resolve(
        'd121', None, 'arcface', loss_m2=0.3, fp16=False, image_shape=(64, 64, 3), num_layers=169, emb_size=64
    )
    assert cfg == expected


def test_a_switch_needs_no_value():
    assert config_from(parser().parse_args([*R18, '--fc7-no-bias'])).fc7_no_bias is True
    assert config_from(parser().parse_args([*R18, '--data-rand-mirror', 'false'])).data_rand_mirror is False


def test_a_second_name_means_the_same():
    args = parser(aliases={'verbose': '--verify-every'}).parse_args([*R18, '--verify-every', '7'])
    assert config_from(args).verbose == 7


def test_a_key_may_be_left_out():
    with pytest.raises(SystemExit):
        parser(leave_out=['lr']).parse_args(['--lr', '1'])


def test_a_bad_value_is_named():
    with pytest.raises(ConfigError, match="emb_size='wide'"):
        config_from(parser().parse_args(['--emb-size', 'wide']))
