"""Train a face-embedding network with MXNet's Module and its fit, in the manner of InsightFace's own script.

The folder is InsightFace's: train.rec, train.idx, property. The checkpoints are Module's, and the tools here read them.
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import Optional, Sequence

from recognition.cli import run
from config import config, default, generate_config
from config.errors import CheckpointError
from config.schema import parse_value
from recognition.checkpoint.network import save_network
from recognition.data.dataset import FaceDataset, FaceLoader
from recognition.utils.run_paths import check_prefix, checkpoint_files
from symbols import get_symbol

import mxnet as mx

NEAR_ONE = 1 - 1e-6  # a rounded cosine may exceed 1, and at 1 the sine's gradient is infinite


class Batches(mx.io.DataIter):
    """The loader's batches for Module; mx.io.ImageRecordIter aborts on the identity records of such a folder."""

    def __init__(self, loader: FaceLoader) -> None:
        super().__init__(loader.batch_size)
        height, width, channels = loader.dataset.image_shape
        self.provide_data = [mx.io.DataDesc('data', (self.batch_size, channels, height, width))]
        self.provide_label = [mx.io.DataDesc('softmax_label', (self.batch_size,))]
        self.loader, self.epoch = loader, 0
        self.batches = loader.epoch(0)

    def reset(self) -> None:
        """Begin the next pass over the images, in another order."""
        self.epoch += 1
        self.batches = self.loader.epoch(self.epoch)

    def next(self) -> mx.io.DataBatch:
        """Return the next batch."""
        images, labels = next(self.batches)
        return mx.io.DataBatch([mx.nd.array(images, dtype='float32')], [mx.nd.array(labels)], pad=0)


def with_classifier(embedding: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the softmax over the identities that the loss preset names."""
    label = mx.sym.var('softmax_label')
    weight = mx.sym.var(
        'fc7_weight',
        shape=(config.num_classes, config.emb_size),
        lr_mult=config.fc7_lr_mult,
        wd_mult=config.fc7_wd_mult,
        init=mx.init.Normal(0.01),
    )
    if config.loss_name == 'softmax':
        logits = mx.sym.FullyConnected(
            embedding, weight, num_hidden=config.num_classes, no_bias=config.fc7_no_bias, name='fc7'
        )
    else:
        logits = margin_logits(embedding, weight, label)
    return mx.sym.SoftmaxOutput(logits, label, name='softmax')


def margin_logits(embedding: mx.sym.Symbol, weight: mx.sym.Symbol, label: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return scaled cosines, with cos(theta + m2) - m3 at the own identity (Deng et al. 2019, ArcFace)."""
    m2 = config.loss_m2
    unit = mx.sym.L2Normalization(embedding, mode='instance', name='fc1n')
    identities = mx.sym.L2Normalization(weight, mode='instance')
    cosines = mx.sym.FullyConnected(unit, identities, num_hidden=config.num_classes, no_bias=True, name='fc7')
    cos = mx.sym.clip(mx.sym.pick(cosines, label, axis=1, keepdims=True), -NEAR_ONE, NEAR_ONE)
    shifted = cos * math.cos(m2) - mx.sym.sqrt(1 - cos * cos) * math.sin(m2)  # cos(theta + m2) without arccos
    falling = cos + (math.cos(m2) - 1)  # past theta + m2 = pi, where the cosine would rise again
    target = mx.sym.where(cos > -math.cos(m2), shifted, falling) - config.loss_m3
    own = mx.sym.one_hot(label, depth=config.num_classes)
    return (cosines + mx.sym.broadcast_mul(own, target - cos)) * config.loss_s


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Train, and save a checkpoint after each epoch."""
    parser = argparse.ArgumentParser(prog='module_fit.py', description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('folder', help='with train.rec, train.idx and property')
    parser.add_argument('--network', default='r50', help='network preset (default: %(default)s)')
    parser.add_argument(
        '--loss',
        default='arcface',
        help='arcface, cosface, combined, nsoftmax, softmax (default: %(default)s)',
    )
    parser.add_argument('--batch-size', default='64', help='images in a step (default: %(default)s)')
    parser.add_argument('--lr', default='0.1', help='learning rate (default: %(default)s)')
    parser.add_argument('--steps', default='0', help='in an epoch (default: one pass over the images)')
    parser.add_argument('--epochs', default='1', help='passes over the images (default: %(default)s)')
    parser.add_argument('--prefix', default='module', help='of the checkpoints (default: %(default)s)')
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format='%(message)s')

    generate_config(args.network, 'folder', args.loss)
    check_prefix(args.prefix)
    for path in checkpoint_files(Path(args.prefix)):
        raise CheckpointError(f'{path} already exists; choose another --prefix')
    options = {
        'per_batch_size': args.batch_size,
        'lr': args.lr,
        'max_steps': args.steps,
        'end_epoch': args.epochs,
    }
    batch, rate, steps, epochs = (parse_value(key, text) for key, text in options.items())
    dataset = FaceDataset(args.folder)
    config.num_classes, config.image_shape = dataset.num_classes, dataset.image_shape
    with FaceLoader(dataset, batch) as loader:  # its worker is forked before mxnet has threads
        module = mx.mod.Module(with_classifier(get_symbol()))
        module.fit(
            mx.io.ResizeIter(Batches(loader), steps or loader.batches_per_epoch),
            num_epoch=epochs,
            eval_metric=['acc', 'ce'],
            initializer=mx.init.Xavier(rnd_type='gaussian', factor_type='out', magnitude=2),
            optimizer_params={'learning_rate': rate, 'momentum': default.mom, 'wd': default.wd},
            batch_end_callback=mx.callback.Speedometer(batch, default.frequent),
            epoch_end_callback=lambda epoch, *network: save_network(args.prefix, epoch + 1, *network),
        )


if __name__ == '__main__':
    run(main)
