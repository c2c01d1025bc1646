"""InsightFace's own config object, and what it has that is not built here."""

from __future__ import annotations

import copy
import json
from itertools import chain, product

import pytest
from easydict import EasyDict

import config as config_module
from config import ConfigError, complete, resolve
from config.checks import check_training
from config.keys import KEYS
from config.presets import NOT_BUILT
from symbols import get_symbol


@pytest.mark.parametrize('name', sorted(set(chain(*NOT_BUILT.values()))))
def test_what_insightface_has_and_is_not_built_here_gets_no_hint(name):
    told = "is InsightFace's, and not built here"
    for key in (key for key, names in NOT_BUILT.items() if name in names):
        with pytest.raises(ConfigError, match=told) as caught:
            resolve(**{'net_name': {'net_name': name}}.get(key, {f'{key}_name': name}))
        assert 'did you mean' not in str(caught.value)
        assert repr(name) in str(caught.value)


@pytest.mark.parametrize('network', ['r18', 'd121', 'y1'])
def test_what_earlier_networks_left_in_insightfaces_config_does_not_count(network):
    theirs = EasyDict({**insightface_config(), **config_module.network[network], 'net_multiplier': 0.5})
    assert complete(theirs).net_multiplier == 1.0
    assert complete({**theirs, 'head_channels': 512}).net_multiplier == 1.0  # added by hand, for its GDC
    assert complete({**theirs, 'net_blocks': [1, 4, 6, 2, 9]}).net_blocks == (1, 4, 6, 2)


@pytest.mark.parametrize('network', ['m05', 'mnas025', 'vargfacenet'])
def test_the_width_of_networks_that_insightface_scales_does(network):
    row = config_module.network[network]
    assert complete(EasyDict({**insightface_config(), **row})).net_multiplier == row['net_multiplier'] != 1.0


def test_a_width_that_is_set_here_counts():
    plain = {'net_name': 'fresnet', 'num_layers': 18, 'net_multiplier': 0.25}
    own = resolve('r18', net_multiplier=0.25)
    assert complete(plain).net_multiplier == complete(dict(own)).net_multiplier == 0.25
    assert complete(json.loads(json.dumps(own))).net_multiplier == complete(own).net_multiplier == 0.25


FIRST_RECIPE = {'log_dir': './models/', 'loss_s': -1.0, 'loss_m1': 0.0, 'loss_name': 'softmax'}
SUBCENTER = {'loss_K': 3, 'flip_noise_prob': 0.0}
PARTIAL_FC = EasyDict(
    embedding_size=256, bn_mom=0.9, workspace=256, net_se=0, net_act='prelu', net_unit=3, net_input=1, net_output='FC',
    frequent=20, verbose=2000, image_size=112, memonger=False, debug=0, fp16=False, batch_size=64, backbone_lr=0.2,
    memory_bank_lr=0.1, sample_ratio=0.1, loss_s=64.0, loss_m1=1.0, loss_m2=0.5, loss_m3=0.0, net_name='resnet',
    lr_steps='200000,400000,500000,550000', val_targets=['agedb_30', 'calfw', 'cfp_ff', 'cfp_fp', 'cplfw', 'lfw'],
    rec='/train_tmp/glint360k/train.rec', num_classes=360232, max_update=600000, num_layers=50,
)  # fmt: skip


def insightface_config():
    """Return a config as InsightFace's scripts hold it after generate_config and the start of train.py."""
    # fmt: off
    return EasyDict(
        bn_mom=0.9, workspace=256, emb_size=512, ckpt_embedding=True, net_se=0, net_act='prelu', net_unit=3,
        net_input=1, net_blocks=[1, 4, 6, 2], net_output='E', net_multiplier=1.0, ce_loss=True,
        fc7_lr_mult=1.0, fc7_wd_mult=1.0, fc7_no_bias=False, max_steps=0, data_rand_mirror=True,
        data_cutoff=False, data_color=0, data_images_filter=0, count_flops=True, memonger=False,
        is_shuffled_rec=False, fp16=False, fp16_scale=1.0, net_name='fresnet', num_layers=18,
        densenet_dropout=0.0, dataset='emore', image_shape=[112, 112, 3],
        dataset_path='../datasets/faces_emore', num_classes=85742, val_targets=['lfw', 'cfp_fp', 'agedb_30'],
        loss='arcface', loss_name='margin_softmax', loss_s=64.0, loss_m1=1.0, loss_m2=0.5, loss_m3=0.0,
        images_per_identity=5, triplet_alpha=0.3, triplet_bag_size=7200, triplet_max_ap=0.0, network='r18',
        pretrained='', pretrained_epoch=1, frequent=20, verbose=2000, kvstore='device', end_epoch=10000,
        lr=0.1, wd=0.0005, mom=0.9, per_batch_size=128, ckpt=3, lr_steps='100000,160000,220000',
        models_root='./models', num_workers=1, batch_size=128,
    )
    # fmt: on


def test_insightfaces_own_config_builds_the_same_network():
    theirs = insightface_config()
    before = copy.deepcopy(theirs)
    assert get_symbol(theirs).tojson() == get_symbol(resolve('r18')).tojson()
    assert theirs == before


def test_each_of_insightfaces_keys_has_its_value_in_the_whole_config():
    theirs = insightface_config()
    whole = complete(theirs)
    assert whole.keys() == KEYS.keys()
    for name, value in theirs.items():
        assert whole[name] == (tuple(value) if isinstance(value, list) else value), name


THEIR_NETWORKS = [
    'r100',
    'r100fc',
    'r50',
    'r50v1',
    'd169',
    'd201',
    'y1',
    'y2',
    'm1',
    'm05',
    'mnas',
    'mnas05',
    'mnas025',
    'vargfacenet',
]
THEIR_LOSSES = ['softmax', 'nsoftmax', 'arcface', 'cosface', 'combined', 'triplet', 'atriplet']
NETWORK_KEYS = [name for name, key in KEYS.items() if key.group == 'network']


def test_each_network_and_loss_of_train_parall_is_the_preset():
    for name, loss in product(THEIR_NETWORKS, THEIR_LOSSES):
        rows = {**config_module.loss[loss], **config_module.network[name]}
        rows.pop('head_channels', None)
        theirs = EasyDict(
            {**insightface_config(), 'num_layers': None, **rows, 'fp16': False, 'fp16_scale': 0.0}
        )
        whole, preset = complete(theirs), resolve(name, 'emore', loss)
        built = {key for key in NETWORK_KEYS if whole[key] != preset[key]}
        assert built <= {'head_channels'}, (name, loss)
        assert whole.head_channels == ('insightface' if not name.startswith('mnas') else None)


def test_the_keys_of_its_subcentres_and_of_its_first_recipe():
    theirs = EasyDict({**insightface_config(), **SUBCENTER, 'fp16_scale': 0.0})
    whole = complete(theirs)
    assert (whole.loss_centres, whole.loss_K, whole['loss_K'], whole.fp16_scale) == (3, 3, 3, 0.0)
    assert get_symbol(theirs).tojson() == get_symbol(resolve('r18')).tojson()
    first = complete({**insightface_config(), **FIRST_RECIPE})
    assert (first.loss_s, first.loss_m1) == (64.0, 1.0)
    for name in ('nsoftmax', 'arcface', 'cosface', 'combined'):
        assert complete({**insightface_config(), 'loss_name': name}).loss_name == 'margin_softmax'
    with pytest.raises(ConfigError, match=r'loss_s=-1\.0 is not allowed'):
        complete({**insightface_config(), 'loss_s': -1.0})


def test_the_keys_of_its_partial_fc():
    whole = complete(PARTIAL_FC)
    expected = resolve('r50', net_output='FC', emb_size=256, image_shape=(112, 112, 3))
    assert get_symbol(PARTIAL_FC).tojson() == get_symbol(expected).tojson()
    assert (whole.sample_rate, whole.max_steps, whole.lr, whole.num_classes) == (0.1, 600000, 0.2, 360232)
    assert complete({**PARTIAL_FC, 'image_size': 96}).image_shape == (96, 96, 3)
    with pytest.raises(ConfigError, match="net_name='fresnext' is InsightFace's, and not built here"):
        complete({**PARTIAL_FC, 'net_name': 'fresnext'})


def test_its_names_are_taken_wherever_a_key_is():
    cfg = resolve('r18', None, 'subcenter_arcface', loss_K=5)
    assert cfg.loss_centres == 5
    cfg.loss_K = 2
    assert (cfg.loss_centres, cfg['loss_K']) == (2, 2)
    assert 'loss_K' not in cfg
    with pytest.raises(KeyError, match='loss_Q'):
        cfg['loss_Q']
    with pytest.raises(ConfigError, match='loss_centres=0 is not allowed'):
        cfg.loss_K = 0


def test_labels_are_not_made_wrong():
    check_training(resolve('r18', flip_noise_prob=0.0))
    with pytest.raises(ConfigError, match=r'flip_noise_prob=0\.1 is not supported'):
        check_training(resolve('r18', flip_noise_prob=0.1))


@pytest.mark.parametrize(
    ('settings', 'groups'),
    [
        ({'net_name': 'fmobilenet'}, 512),
        ({'net_name': 'fmobilenet', 'net_multiplier': 0.75}, 768),
        ({'net_name': 'fdensenet', 'num_layers': 121}, 512),
        ({'net_name': 'fdensenet', 'num_layers': 169}, 1664),
        ({'net_name': 'fmnasnet'}, 1024),
        ({'net_name': 'fxception'}, 2048),  # ours
    ],
)
def test_its_gdc_has_512_groups_wherever_that_builds(settings, groups):
    theirs = {**settings, 'net_output': 'GDC', 'workspace': 256}
    assert filters(get_symbol(theirs)) == groups
    whole = complete(theirs)
    assert filters(get_symbol({**whole, 'head_channels': None})) >= groups


def filters(symbol):
    attributes = symbol.get_internals()['conv_6dw7_7_conv2d_output'].attr_dict()['conv_6dw7_7_conv2d']
    assert attributes['num_group'] == attributes['num_filter']
    return int(attributes['num_filter'])


def test_m1_is_insightfaces_and_depthwise_on_request():
    assert filters(get_symbol(resolve('m1'))) == 512
    assert filters(get_symbol(resolve('m1', head_channels=None))) == 1024
    assert filters(get_symbol(resolve('m1', net_multiplier=0.25))) == 256
    with pytest.raises(
        ConfigError, match=r'head_channels=768 must divide the 1024 channels .* head_channels=None is'
    ):
        get_symbol(resolve('m1', head_channels=768))


@pytest.mark.parametrize('loss_name', ['triplet', 'atriplet'])
def test_the_triplets_rows_are_insightfaces(loss_name):
    cfg = resolve('r100', 'emore', loss_name)
    assert (cfg.images_per_identity, cfg.per_batch_size, cfg.lr) == (5, 60, 0.05)
    assert (cfg.triplet_bag_size, cfg.triplet_max_ap) == (7200, 0.0)


def test_a_key_of_insightfaces_scripts_leaves_a_preset_as_it_is():
    plain = resolve('d121', net_output='GDC', net_multiplier=0.5)
    assert resolve('d121', net_output='GDC', net_multiplier=0.5, batch_size=4) == {**plain, 'batch_size': 4}


def test_insightfaces_config_may_hold_what_its_network_does_not_read():
    """As there: the same object has been through other presets."""
    left = {'net_se': True, 'fp16': True, 'net_unit': 1, 'head_channels': 512}
    plain = {'net_name': 'fmobilefacenet', 'net_output': 'E'}
    assert get_symbol({**plain, **left}).tojson() == get_symbol(plain).tojson()
