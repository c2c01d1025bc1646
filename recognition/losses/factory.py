"""The objective of a training that the config names, from a table of builders."""

from __future__ import annotations

from typing import Any, Callable, Dict

from config.errors import ConfigError, nearest
from recognition.losses.adaptive_margin import AdaFace, CurricularFace, MagFace
from recognition.losses.class_scores import CrossEntropy
from recognition.losses.margin import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax, Softmax
from recognition.losses.triplet import AngularTriplet, Triplet

from mxnet.gluon import HybridBlock


def build_loss(cfg: Any) -> HybridBlock:
    """Build the objective: `loss, scores, *states = block(embedding (N, D), label (N,))`, not yet initialised.

    Reads loss_name and the keys of that loss; for one with a classifier also num_classes, emb_size, fc7_lr_mult and
    fc7_wd_mult. The cross-entropy is of class scores (N, C), its class_weights numbers. Raises ConfigError for another
    loss_name, or a scale, margin or size out of range.
    """
    name = cfg['loss_name']
    if name not in LOSSES:
        raise ConfigError(f'loss_name={name!r} is not one of {", ".join(LOSSES)}{nearest(name, LOSSES)}')
    return LOSSES[name](cfg)


def has_classifier(cfg: Any) -> bool:
    """Whether the loss that the config names classifies over the identities."""
    return cfg['loss_name'] not in ('triplet', 'atriplet')


def _classifier(cfg: Any) -> Dict[str, Any]:
    sizes = {key: int(cfg[key]) for key in ('num_classes', 'emb_size')}
    for key, size in sizes.items():
        if size < 1:
            raise ConfigError(f'{key}={size} must be at least 1')
    return {**sizes, 'lr_mult': float(cfg['fc7_lr_mult']), 'wd_mult': float(cfg['fc7_wd_mult'])}


def _scaled(cfg: Any) -> Dict[str, Any]:
    scale = float(cfg['loss_s'])
    if not scale > 0:
        raise ConfigError(f'loss_s={scale!r} must be above 0')
    return {**_classifier(cfg), 'scale': scale, 'centres': int(cfg['loss_centres'])}


def _softmax(cfg: Any) -> Softmax:
    return Softmax(no_bias=bool(cfg['fc7_no_bias']), **_classifier(cfg))


def _margin(cfg: Any) -> Softmax:
    m1, m2, m3 = (float(cfg[key]) for key in ('loss_m1', 'loss_m2', 'loss_m3'))
    options = _scaled(cfg)
    if m1 != 1.0:
        return CombinedMargin(m1=m1, m2=m2, m3=m3, **options)
    if m2 != 0.0:
        return ArcFace(m2=m2, m3=m3, **options)
    return CosFace(m3=m3, **options) if m3 != 0.0 else NormalizedSoftmax(**options)


def _curricular(cfg: Any) -> Softmax:
    return CurricularFace(m2=float(cfg['loss_m2']), **_scaled(cfg))


def _adaface(cfg: Any) -> Softmax:
    return AdaFace(
        m=float(cfg['adaface_m']),
        h=float(cfg['adaface_h']),
        momentum=float(cfg['adaface_mom']),
        **_scaled(cfg),
    )


def _magface(cfg: Any) -> Softmax:
    keys = {'least': 'magface_la', 'greatest': 'magface_ua', 'low': 'magface_lm', 'high': 'magface_um'}
    values = {name: float(cfg[key]) for name, key in keys.items()}
    if not values['least'] < values['greatest'] or not values['low'] <= values['high']:
        raise ConfigError(
            f'magface_la={values["least"]:g}, magface_ua={values["greatest"]:g}, magface_lm={values["low"]:g}, '
            f'magface_um={values["high"]:g}: each lower bound must be below its upper one'
        )
    options: Dict[str, Any] = {**values, **_scaled(cfg)}
    return MagFace(weight=float(cfg['magface_lambda']), **options)


def _triplet(cfg: Any) -> Triplet:
    return Triplet(alpha=float(cfg['triplet_alpha']), max_ap=float(cfg['triplet_max_ap']))


def _angular_triplet(cfg: Any) -> Triplet:
    return AngularTriplet(alpha=float(cfg['triplet_alpha']), max_ap=float(cfg['triplet_max_ap']))


def _cross_entropy(cfg: Any) -> CrossEntropy:
    return CrossEntropy(smoothing=float(cfg['label_smoothing']), weights=tuple(cfg['class_weights']))


LOSSES: Dict[str, Callable[[Any], HybridBlock]] = {
    'softmax': _softmax,
    'margin_softmax': _margin,
    'curricularface': _curricular,
    'adaface': _adaface,
    'magface': _magface,
    'triplet': _triplet,
    'atriplet': _angular_triplet,
    'cross_entropy': _cross_entropy,
}
