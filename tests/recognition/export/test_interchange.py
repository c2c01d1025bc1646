"""Checkpoints written here are read by MXNet, by Gluon and in InsightFace's way, with the same embedding to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from easydict import EasyDict

from config import network, resolve
from recognition.checkpoint.network import arrays_of, load_network, save_network
from symbols import get_symbol

import mxnet as mx
from mxnet import gluon

FIRST = ('r18', 'd121', 'xception', 'y1', 'vargfacenet')  # of each family for faces, but of those like y1
WHOLE = ('vargfacenet', 'd2l_densenet')  # a quarter of their channels does not split into their groups
PRESETS = [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in network]


def by_mxnet(prefix, images):
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 3)
    executor = symbol.bind(mx.cpu(), {**args, 'data': images}, aux_states=auxs, grad_req='null')
    return executor.forward(is_train=False)[0].asnumpy()


def by_gluon(prefix, images):
    block = gluon.SymbolBlock.imports(f'{prefix}-symbol.json', ['data'], f'{prefix}-0003.params')
    return block(images).asnumpy()


def by_insightface(prefix, images):
    """As its verification and its face models load a network."""
    symbol, args, auxs = mx.model.load_checkpoint(prefix, 3)
    symbol = symbol.get_internals()['fc1_output']
    module = mx.mod.Module(symbol, label_names=None)
    module.bind(data_shapes=[('data', images.shape)], for_training=False)
    module.set_params(args, auxs)
    module.forward(mx.io.DataBatch([images]), is_train=False)
    return module.get_outputs()[0].asnumpy()


def by_this_project(prefix, images):
    return load_network(prefix, 3, image_shape=(*images.shape[2:], images.shape[1]))(images).asnumpy()


@pytest.mark.parametrize('preset', PRESETS)
def test_every_reader_gets_the_same_embedding(preset, tmp_path, make_network, make_images):
    narrow = {} if preset in WHOLE else {'net_multiplier': 0.25}
    cfg = resolve(preset, bn_mom=0.0, **narrow)
    net, images, symbol = make_network(cfg), make_images(cfg.image_shape), get_symbol(cfg)
    expected = net(images).asnumpy()
    prefix = str(tmp_path / 'model')
    save_network(prefix, 3, symbol, *arrays_of(net, symbol))
    assert np.isfinite(expected).all()
    assert expected.std() > 0
    for read in (by_mxnet, by_gluon, by_insightface, by_this_project):
        assert np.array_equal(read(prefix, images), expected), read.__name__


# The keys of InsightFace's sample configuration, as its generate_config leaves them; per-preset ones come on top.
SAMPLE = {
    'bn_mom': 0.9,
    'workspace': 256,
    'emb_size': 512,
    'ckpt_embedding': True,
    'net_se': 0,
    'net_act': 'prelu',
    'net_unit': 3,
    'net_input': 1,
    'net_blocks': [1, 4, 6, 2],
    'net_output': 'E',
    'net_multiplier': 1.0,
    'val_targets': ['lfw', 'cfp_fp', 'agedb_30'],
    'ce_loss': True,
    'fc7_lr_mult': 1.0,
    'fc7_wd_mult': 1.0,
    'fc7_no_bias': False,
    'max_steps': 0,
    'data_rand_mirror': True,
    'data_cutoff': False,
    'data_color': 0,
    'data_images_filter': 0,
    'count_flops': True,
    'memonger': False,
    'is_shuffled_rec': False,
    'fp16': False,
    'dataset': 'emore',
    'dataset_path': '../datasets/faces_emore',
    'num_classes': 85742,
    'image_shape': [112, 112, 3],
    'loss': 'arcface',
    'loss_name': 'margin_softmax',
    'loss_s': 64.0,
    'loss_m1': 1.0,
    'loss_m2': 0.5,
    'loss_m3': 0.0,
    'num_workers': 1,
    'batch_size': 512,
    'per_batch_size': 128,
}
THEIRS = {
    'r100': {'net_name': 'fresnet', 'num_layers': 100},
    'r100fc': {'net_name': 'fresnet', 'num_layers': 100, 'net_output': 'FC'},
    'r50': {'net_name': 'fresnet', 'num_layers': 50},
    'r50v1': {'net_name': 'fresnet', 'num_layers': 50, 'net_unit': 1},
    'd169': {'net_name': 'fdensenet', 'num_layers': 169, 'densenet_dropout': 0.0},
    'd201': {'net_name': 'fdensenet', 'num_layers': 201, 'densenet_dropout': 0.0},
    'y1': {'net_name': 'fmobilefacenet', 'emb_size': 128, 'net_output': 'GDC'},
    'y2': {'net_name': 'fmobilefacenet', 'emb_size': 256, 'net_output': 'GDC', 'net_blocks': [2, 8, 16, 4]},
    'm1': {'net_name': 'fmobilenet', 'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 1.0},
    'm05': {'net_name': 'fmobilenet', 'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 0.5},
    'mnas': {'net_name': 'fmnasnet', 'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 1.0},
    'mnas05': {'net_name': 'fmnasnet', 'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 0.5},
    'mnas025': {'net_name': 'fmnasnet', 'emb_size': 256, 'net_output': 'GDC', 'net_multiplier': 0.25},
    'vargfacenet': {'net_name': 'vargfacenet', 'net_multiplier': 1.25, 'emb_size': 512, 'net_output': 'J'},
}


@pytest.mark.parametrize('preset', THEIRS)
def test_insightfaces_config_objects_are_taken_as_they_are(preset):
    theirs = EasyDict({**SAMPLE, **THEIRS[preset]})
    before = EasyDict(theirs)
    assert get_symbol(theirs).tojson() == get_symbol(resolve(preset)).tojson()
    assert theirs == before
