"""The keys of the config that steer training: for each its default, its rule and one line of help."""

from __future__ import annotations

from config.network_keys import group
from config.rules import choice, flag, integer, patterns, real, rising, text

KVSTORES = ('local', 'device', 'nccl', 'dist_sync', 'dist_device_sync', 'dist_async')  # MXNet's names

TRAIN = group(
    'train',
    network=('r100', text(), 'name of the network preset'),
    lr=(0.1, real(0.0), 'learning rate'),
    lr_schedule=('step', choice(('step', 'poly', 'cosine')), 'how the learning rate falls after the warm-up'),
    lr_steps=(
        '100000,160000,220000',
        rising(),
        'steps after which the learning rate is multiplied by lr_factor',
    ),
    lr_factor=(0.1, real(0.0, 1.0), 'factor on the learning rate at each of lr_steps'),
    lr_power=(2.0, real(0.01, 100.0), 'power of the poly schedule'),
    warmup_steps=(0, integer(0), 'steps in which the learning rate rises to lr'),
    wd=(0.0005, real(0.0), 'weight decay'),
    mom=(0.9, real(0.0, 1.0), 'momentum of SGD and NAG'),
    optimizer=('sgd', choice(('sgd', 'nag', 'adamw')), 'how weights follow their gradients'),
    adam_beta1=(0.9, real(0.0, 0.9999999), "AdamW's decay of the mean gradient"),
    adam_beta2=(0.999, real(0.0, 0.9999999), "AdamW's decay of the mean squared gradient"),
    clip_norm=(
        0.0,
        real(0.0),
        'longest gradient over all parameters; a longer one is scaled down to it; 0: no limit',
    ),
    accumulate=(1, integer(1, 65536), 'batches whose gradients are added up before a step'),
    ema=(
        0.0,
        real(0.0, 0.9999999),
        'decay of the moving average of the weights, which is then verified and saved; 0: none',
    ),
    max_skipped=(
        10,
        integer(0),
        'steps in a row that are left out where loss or gradient is not finite; one more ends the run',
    ),
    best=(
        '',
        text(),
        "what the best network is judged by: a set's name (accuracy), or name:eer, name:auc, name:tar@0.001; of "
        'labelled images name:top1, name:top5, name:loss',
    ),
    per_batch_size=(128, integer(1), 'images per device and step'),
    end_epoch=(10000, integer(1), 'epochs to train'),
    max_steps=(0, integer(0), 'steps to train; 0 sets no limit'),
    frequent=(20, integer(1), 'steps between two lines of the log'),
    verbose=(2000, integer(0), 'steps between two verifications; 0 verifies at the end alone'),
    verify_epochs=(0, integer(0), 'epochs between two verifications, besides those of verbose; 0: none'),
    ckpt=(3, integer(0, 3), 'InsightFace: 0 saves nothing, 1 when better, 2 always, 3 always over the last'),
    models_root=('./models', text(), 'folder of the checkpoints'),
    pretrained=('', text(), 'prefix of a checkpoint to start from'),
    pretrained_epoch=(1, integer(0), 'its epoch'),
    pretrained_part=(
        'network',
        choice(('network', 'body', 'fitting')),
        'what of it is loaded: network, all, which must fit; body, all but the head; fitting, whatever fits',
    ),
    pretrained_fc7=(
        'auto',
        choice(('auto', 'keep', 'drop', 'resize')),
        'its classifier: auto, taken where it fits; keep, which must fit; drop; resize, the rows of the same labels',
    ),
    freeze=(
        (),
        patterns(),
        "the network's parameters whose names begin so are not trained, nor do their batch norms' statistics move",
    ),
    lr_mult=(
        (),
        patterns(real(0.0)),
        "factors on the learning rate of the network's parameters whose names begin so: REGEX=0.1; the first that "
        'fits counts, and the classifier has fc7_lr_mult',
    ),
    teacher=(
        '',
        text(),
        'network to distil from, PREFIX,EPOCH or NET.onnx; it sees the images without augmentation but mirroring',
    ),
    distill=(0.5, real(0.0, 1.0), 'weight of what the teacher says in the loss; its own part has the rest'),
    distill_temperature=(4.0, real(0.01, 1000.0), 'what class scores are divided by for distillation'),
    fp16_scale=(
        128.0,
        real(0.0, 2.0**24),
        'first factor on the loss under fp16; it halves on overflow, and doubles after 2000 good steps; 0: none',
    ),
    tensorboard=(
        False,
        flag(),
        'write event files for TensorBoard: figures, training faces, ROC curves (needs tensorboardX)',
    ),
    recompute=(
        False,
        flag(),
        'train in less memory: what is inside a network is not kept for its gradient, but computed again',
    ),
    fc7_sharded=(
        False,
        flag(),
        'split the classifier over all devices of all workers, as sample_rate below 1 does',
    ),
    kvstore=('device', choice(KVSTORES), 'how gradients of several devices are added'),
    seed=(1, integer(0, 2**31 - 1), 'seed of everything random'),
)
