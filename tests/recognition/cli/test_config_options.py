"""The config's keys as options of a command line."""

from __future__ import annotations

import argparse

import pytest

from config import resolve
from config.errors import CheckpointError, ConfigError
from config.keys import KEYS
from recognition.cli.config_options import PRESETS, add_config_options, config_from
from recognition.cli.standard_options import config_settings
from recognition.utils.run_paths import parse_checkpoint

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


def test_regular_expressions_are_given_one_by_one():
    words = ['--freeze', 'stage1_conv{1,2}', '--freeze', 'conv0', '--kernel-l2', '1e-4']
    words += ['--lr-mult', 'stage2_=0.1', '--kernel-l2-factors', 'fc1_=0.5', '--kernel-l2-factors', 'conv=0']
    cfg = config_from(parser().parse_args([*R18, *words]))
    assert cfg.freeze == ('stage1_conv{1,2}', 'conv0')
    assert (cfg.lr_mult, cfg.kernel_l2_factors) == (('stage2_=0.1',), ('fc1_=0.5', 'conv=0'))
    with pytest.raises(ConfigError, match=r'lr_mult=.* each REGEX=NUMBER'):
        config_from(parser().parse_args([*R18, '--lr-mult', 'stage2_']))


def test_the_help_may_list_some_keys_alone():
    help_text = parser(shown=('lr',)).format_help()
    assert '--lr ' in help_text
    assert '--wd' not in help_text
    assert config_from(parser(shown=('lr',)).parse_args([*R18, '--wd', '0.5'])).wd == 0.5


def test_an_alias_takes_the_name_of_a_key_that_means_nothing_here():
    args = parser(aliases={'per_batch_size': '--batch-size'}).parse_args([*R18, '--batch-size', '7'])
    assert config_from(args).per_batch_size == 7


def test_a_second_name_means_the_same():
    args = parser(aliases={'verbose': '--verify-every'}).parse_args([*R18, '--verify-every', '7'])
    assert config_from(args).verbose == 7


def test_a_bad_value_is_named():
    with pytest.raises(ConfigError, match="emb_size='wide'"):
        config_from(parser().parse_args(['--emb-size', 'wide']))


def test_a_checkpoint_is_prefix_and_epoch():
    assert parse_checkpoint('--model', 'run/a,b,12') == ('run/a,b', 12)


@pytest.mark.parametrize(
    ('text', 'hint'),
    [
        ('nope,x', 'model,7 stands for'),
        (',3', 'model,7 stands for'),
        ('model', 'model,7 stands for'),
        ('run/model-0001.params', 'that file is run/model,1$'),
        ('backbone.pth', '`facesymbols import-weights arcface_torch` makes a checkpoint of such a file$'),
        ('net.weights.h5', '`facesymbols import-weights keras` makes a checkpoint of such a file$'),
        ('a/net.safetensors', '`facesymbols import-weights safetensors` makes a checkpoint of such a file$'),
        ('net.onnx', '`facesymbols import-weights onnx` makes a checkpoint of such a file$'),
    ],
)
def test_a_checkpoint_of_another_form_is_refused(text, hint):
    with pytest.raises(CheckpointError, match=f"^--model '{text}' is not PREFIX,EPOCH: {hint}"):
        parse_checkpoint('--model', text)


def test_keys_without_effect_are_named_in_one_line_and_change_nothing_else(caplog):
    """With one of them the settings looked like InsightFace's own, whose ResNets do not read net_multiplier."""
    words = [*R18, '--net-multiplier', '0.125', '--num-workers', '2', '--memonger', '--batch-size', '16']
    cfg = config_from(parser().parse_args(words))
    assert cfg == resolve('r18', net_multiplier=0.125)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        'warning: memonger (recompute does it), batch_size (per_batch_size is '
    )
    assert ' have no effect here' in record.getMessage()
    caplog.clear()
    assert config_settings(['net_multiplier=0.5', 'workspace=512']) == {'net_multiplier': 0.5}
    assert [each.getMessage().partition(':')[2] for each in caplog.records] == [
        " workspace has no effect here: taken so that InsightFace's settings pass"
    ]
    caplog.clear()
    assert config_settings(['net_multiplier=0.5']) == {'net_multiplier': 0.5}
    assert not caplog.records
