"""Settings that build a network, and with which none can be trained."""

from __future__ import annotations

from typing import Any, Mapping

from config.errors import ConfigError
from config.keys import HEAD_NAMES, KEYS

CHANNELS = (1, 3)  # of images: grey, RGB
EMBEDDING, CLASS_SCORES, FEATURE_MAP = 'embedding', 'class scores', 'feature map'  # kinds of output
KINDS = {
    'classifier': CLASS_SCORES,
    'map': FEATURE_MAP,
    'bn_dropout': FEATURE_MAP,
}  # by head; else an embedding
WHOLE_ONLY = {  # losses that cannot be computed in parts, and why
    'curricularface': 'compares every identity with the own one of a sample',
    'triplet': 'has no classifier',
    'atriplet': 'has no classifier',
    'cross_entropy': "is computed from the network's own classifier",
}
CLASSES_ONLY = ('label_smoothing', 'class_weights')  # keys that no other loss than cross_entropy reads


def check_training(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError for settings that contradict each other in training."""
    channels = cfg['image_shape'][2]
    if channels not in CHANNELS:
        raise ConfigError(
            f'image_shape={tuple(cfg["image_shape"])} has {channels} channels; images are read as grey, 1 channel, or '
            'RGB, 3 channels'
        )
    check_objective(cfg)
    check_partial(cfg)
    if cfg['flip_noise_prob']:
        raise ConfigError(
            f'flip_noise_prob={cfg["flip_noise_prob"]:g} is not supported; it must be 0, as labels are changed neither '
            "here nor in InsightFace's scripts"
        )
    for key in ('pretrained_part', 'pretrained_fc7'):
        if cfg[key] != KEYS[key].default and not cfg['pretrained']:
            raise ConfigError(f'{key}={cfg[key]!r} needs pretrained, the checkpoint to start from')
    for key in ('distill', 'distill_temperature'):
        if cfg[key] != KEYS[key].default and not cfg['teacher']:
            raise ConfigError(f'{key}={cfg[key]:g} needs teacher, the network to distil from')
    heat = cfg['distill_temperature']
    if heat != KEYS['distill_temperature'].default and output_kind(cfg) != CLASS_SCORES:
        raise ConfigError(
            f'distill_temperature={heat:g} softens class scores, and this run distils embeddings, by their angle'
        )


def output_kind(cfg: Mapping[str, Any]) -> str:
    """Return the kind of output of a config's network: EMBEDDING, CLASS_SCORES or FEATURE_MAP."""
    return KINDS.get(HEAD_NAMES.get(cfg['net_output'], ''), EMBEDDING)


def trains_classes(cfg: Mapping[str, Any]) -> bool:
    """Return whether the loss is the cross-entropy of the network's own class scores."""
    return bool(cfg['loss_name'] == 'cross_entropy')


def check_objective(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError for a head whose output the loss cannot read, and for keys that it does not read."""
    head, kind = cfg['net_output'], output_kind(cfg)
    if trains_classes(cfg) and kind != CLASS_SCORES:
        raise ConfigError(
            f"loss_name='cross_entropy' needs class scores, which net_output='classifier' gives, and the output of "
            f'net_output={head!r} is of another kind: {kind}'
        )
    if not trains_classes(cfg) and kind == CLASS_SCORES:
        raise ConfigError(
            f'net_output={head!r} gives a score for each class, and loss_name={cfg["loss_name"]!r} needs a head that '
            'gives an embedding, bn_dropout_fc_bn say; --loss classes trains a classifier'
        )
    for key in CLASSES_ONLY:
        if cfg[key] != KEYS[key].default and not trains_classes(cfg):
            raise ConfigError(
                f'{key}={cfg[key]!r} needs --loss classes, and the loss is {cfg["loss_name"]!r}'
            )


def is_partial(cfg: Mapping[str, Any]) -> bool:
    """Return whether the classifier is computed in parts."""
    return bool(cfg['sample_rate'] < 1.0 or cfg['fc7_sharded'])


def check_partial(cfg: Mapping[str, Any]) -> None:
    """Raise ConfigError for a loss that cannot be computed in parts where the config wants it so."""
    why = WHOLE_ONLY.get(cfg['loss_name'])
    if why and is_partial(cfg):
        setting = f'sample_rate={cfg["sample_rate"]:g}' if cfg['sample_rate'] < 1.0 else 'fc7_sharded=True'
        raise ConfigError(f'{setting} does not go with loss_name={cfg["loss_name"]!r}, which {why}')
