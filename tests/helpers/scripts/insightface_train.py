"""A training script in the structure of InsightFace's train.py, with its networks and config from here.

It parses in two steps, builds margin and losses on `fc1_output`, counts the FLOPs, and trains with Module.fit, whose
batch callback saves the embedding network.
"""

from __future__ import annotations

import argparse
import json
import os
from math import prod

import numpy as np

import symbols
from config import config, default, generate_config

import mxnet as mx

fresnet = fmobilefacenet = fmobilenet = fdensenet = symbols  # in place of the script's own modules
COUNTED = ('Convolution', 'FullyConnected')


def parse_args(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument('--dataset', default=default.dataset)
    parser.add_argument('--network', default=default.network)
    parser.add_argument('--loss', default=default.loss)
    args, _ = parser.parse_known_args(argv)
    generate_config(args.network, args.dataset, args.loss)
    for key in ('models_root', 'pretrained', 'kvstore', 'lr_steps'):
        parser.add_argument(f'--{key.replace("_", "-")}', default=default[key])
    for key in ('per_batch_size', 'verbose', 'end_epoch', 'ckpt'):
        parser.add_argument(f'--{key.replace("_", "-")}', type=int, default=default[key])
    for key in ('lr', 'wd', 'mom'):
        parser.add_argument(f'--{key}', type=float, default=default[key])
    return parser.parse_args(argv)


def classify(embedding, label):
    """Return the scores of all identities, with the margin that the loss row names."""
    names = {'lr_mult': config.fc7_lr_mult, 'wd_mult': config.fc7_wd_mult, 'init': mx.init.Normal(0.01)}
    weight = mx.sym.Variable('fc7_weight', shape=(config.num_classes, config.emb_size), **names)
    dense = {'num_hidden': config.num_classes, 'name': 'fc7'}
    if config.loss_name == 'softmax':
        bias = mx.sym.Variable('fc7_bias', lr_mult=2.0, wd_mult=0.0)
        return mx.sym.FullyConnected(data=embedding, weight=weight, bias=bias, **dense)
    scale = config.loss_s
    weight = mx.sym.L2Normalization(weight, mode='instance')
    unit = mx.sym.L2Normalization(embedding, mode='instance', name='fc1n') * scale
    fc7 = mx.sym.FullyConnected(data=unit, weight=weight, no_bias=True, **dense)
    one_hot = {'depth': config.num_classes, 'off_value': 0.0}
    if config.loss_m1 == 1.0 and config.loss_m2 == 0.0:
        return (
            fc7 - mx.sym.one_hot(label, on_value=scale * config.loss_m3, **one_hot) if config.loss_m3 else fc7
        )
    own = mx.sym.pick(fc7, label, axis=1)
    angle = mx.sym.arccos(own / scale) * config.loss_m1 + config.loss_m2
    moved = (mx.sym.cos(angle) - config.loss_m3) * scale - own
    return fc7 + mx.sym.broadcast_mul(
        mx.sym.one_hot(label, on_value=1.0, **one_hot), mx.sym.expand_dims(moved, 1)
    )


def triplet_loss(embedding, batch):
    """Return the mean loss of a batch whose thirds are anchors, positives and negatives."""
    unit = mx.sym.L2Normalization(embedding, mode='instance', name='fc1n')
    ends = [part * batch // 3 for part in range(4)]
    anchor, *others = (mx.sym.slice_axis(unit, axis=0, begin=b, end=e) for b, e in zip(ends, ends[1:]))
    if config.loss_name == 'triplet':
        near, far = (mx.sym.sum(mx.sym.square(anchor - each), axis=1, keepdims=1) for each in others)
    else:
        near, far = (mx.sym.arccos(mx.sym.sum(anchor * each, axis=1, keepdims=1)) for each in others)
    return mx.sym.MakeLoss(mx.sym.mean(mx.sym.Activation(near - far + config.triplet_alpha, act_type='relu')))


def get_symbol(args):
    embedding = globals()[config.net_name].get_symbol()
    label = mx.sym.Variable('softmax_label')
    outputs = [mx.sym.BlockGrad(embedding)]
    if 'triplet' in config.loss_name:
        return mx.sym.Group([*outputs, mx.sym.BlockGrad(label), triplet_loss(embedding, args.per_batch_size)])
    fc7 = classify(embedding, label)
    outputs.append(mx.sym.SoftmaxOutput(data=fc7, label=label, name='softmax', normalization='valid'))
    if config.ce_loss:
        body = mx.sym.log(mx.sym.SoftmaxActivation(data=fc7))
        minus = mx.sym.one_hot(label, depth=config.num_classes, on_value=-1.0, off_value=0.0)
        outputs.append(mx.sym.BlockGrad(mx.sym.sum(body * minus) / args.per_batch_size))
    return mx.sym.Group(outputs)


def count_flops(symbol, **shapes):
    """Count as InsightFace's flops_counter, which reads four axes of what each layer reads."""
    internals = symbol.get_internals()
    known = dict(zip(internals.list_outputs(), internals.infer_shape(**shapes)[1]))
    nodes = json.loads(symbol.tojson())['nodes']
    flops = 0
    for node in (node for node in nodes if node['op'] in COUNTED):
        attributes, (source, *_) = node['attrs'], node['inputs'][0]
        _, channels, height, width = known[nodes[source]['name'] + '_output']
        made, no_bias = known[node['name'] + '_output'], attributes.get('no_bias') == 'True'
        if node['op'] == 'Convolution':
            height, width = map(int, attributes['kernel'].strip('()').split(','))
        each = 2 * channels * height * width - no_bias
        flops += each * prod(made[1:]) // int(attributes.get('num_group', 1))
    return flops


class LastOutput(mx.metric.EvalMetric):
    """The loss, which is the last output, of each batch."""

    def __init__(self):
        self.values = []
        super().__init__('lossvalue')

    def update(self, labels, preds):
        self.values.append(float(preds[-1].asnumpy().mean()))
        self.sum_metric, self.num_inst = self.values[-1], 1


def train_net(args, batches, contexts):
    """Train; return the module, the losses of all batches and the FLOPs."""
    prefix = os.path.join(args.models_root, f'{args.network}-{args.loss}-{args.dataset}', 'model')
    os.makedirs(os.path.dirname(prefix), exist_ok=True)
    config.batch_size = args.per_batch_size * len(contexts)
    config.per_batch_size = args.per_batch_size
    symbol = get_symbol(args)
    height, width, channels = config.image_shape
    inner = symbol.get_internals()['fc1_output']
    flops = count_flops(inner, data=(1, channels, height, width)) if config.count_flops else 0
    model = mx.mod.Module(symbol, context=contexts)
    optimizer = mx.optimizer.SGD(
        learning_rate=args.lr, momentum=args.mom, wd=args.wd, rescale_grad=1.0 / len(contexts)
    )
    steps, seen = [int(step) for step in args.lr_steps.split(',')], [0]

    def batch_callback(param):
        seen[0] += 1
        if seen[0] in steps:
            optimizer.lr *= 0.1
        if seen[0] % args.verbose == 0 and args.ckpt:
            arguments, states = model.get_params()
            kept = {name: value for name, value in arguments.items() if not name.startswith('fc7')}
            saved = model.symbol.get_internals()['fc1_output']
            mx.model.save_checkpoint(prefix, 1, saved, kept, states)

    loss = LastOutput()
    model.fit(
        batches,
        num_epoch=args.end_epoch,
        eval_metric=loss,
        kvstore=args.kvstore,
        optimizer=optimizer,
        initializer=mx.init.Xavier(rnd_type='gaussian', factor_type='out', magnitude=2),
        allow_missing=True,
        batch_end_callback=batch_callback,
    )
    return model, loss.values, flops, prefix


def main(argv, devices=1):
    """Train on a batch of noise, a colour for each identity, in thirds as the triplets are."""
    args, contexts = parse_args(argv), [mx.cpu(number) for number in range(devices)]
    height, width, channels = config.image_shape
    batch = args.per_batch_size * len(contexts)
    labels = np.tile(np.repeat([0, 0, 1], args.per_batch_size // 3), len(contexts)).astype('float32')
    noise = np.random.RandomState(1).uniform(0, 200, (batch, channels, height, width))
    images = noise + 20 * labels[:, None, None, None]
    batches = mx.io.NDArrayIter(images.astype('float32'), labels, batch_size=batch)
    mx.random.seed(1)
    np.random.seed(1)  # by which MXNet's initialisers draw
    return (*train_net(args, batches, contexts), images)
