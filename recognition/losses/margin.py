"""Classifiers over the identities of a training set: a plain softmax and the margins on the hypersphere.

The base class normalises, scales, picks the cosine of each sample's own identity and puts its successor in
place; a margin is its delta only, `target(F, cos) -> cos'`. Parameters and nodes have fixed names,
InsightFace's where it has one (`fc7_weight`, `fc7_bias`, `fc1n`, `fc7`), whatever was built before in the
process. Margins that depend on the embedding's length or on the batch stand in `adaptive_margin`, losses
without a classifier in `recognition.losses.triplet`; `recognition.losses` chooses by the config.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Tuple

import numpy as np

from config.errors import ConfigError, DataError

import mxnet as mx
from mxnet.gluon import HybridBlock


class Softmax(HybridBlock):
    """Classify embeddings (N, D) over C identities by a fully connected layer.

    `loss, logits, *states = block(embedding, label)`: loss (N,) the cross-entropy of each sample, logits (N, C), and
    the next values of `self.states`, parameters that no gradient changes; most classifiers have none.
    Labels (N,) are integers in [0, C), of any type. One outside goes unnoticed here, since the operators
    clip it to the nearest identity and leave its margin out: `check_labels` finds it.
    Source: InsightFace's loss_name 'softmax'.
    """

    def __init__(
        self,
        num_classes: int,
        emb_size: int,
        *,
        lr_mult: float = 1.0,
        wd_mult: float = 1.0,
        no_bias: bool,
    ) -> None:
        super().__init__(prefix='')
        self.states: Tuple[Any, ...] = ()
        self.num_classes = num_classes
        self.fc7_weight = self.params.get(
            'fc7_weight',
            shape=(num_classes, emb_size),
            init=mx.init.Normal(0.01),
            lr_mult=lr_mult,
            wd_mult=wd_mult,
        )
        if not no_bias:
            self.fc7_bias = self.params.get(
                'fc7_bias', shape=(num_classes,), init='zeros', lr_mult=2.0, wd_mult=0.0
            )

    def hybrid_forward(self, F: Any, embedding: Any, label: Any, **params: Any) -> Tuple[Any, ...]:
        """Return (loss (N,), logits (N, C)), and the next values of the states."""
        states = self.next_states(F, embedding, **params)
        logits = self.logits(F, embedding, label, **{**params, **states})
        loss, pull = self.cross_entropy(F, logits, label), self.pull(F, embedding)
        return (loss if pull is None else loss + pull, logits, *states.values())

    def next_states(self, F: Any, embedding: Any, **params: Any) -> Dict[str, Any]:
        """Return the next values of the states by the names of their attributes, in the order of `self.states`."""
        return {}

    def pull(self, F: Any, embedding: Any) -> Any:
        """Return what the loss (N,) has on top of the cross-entropy, a function of the embedding alone, or None."""
        return None

    def cross_entropy(self, F: Any, logits: Any, label: Any) -> Any:
        """Return the cross-entropy (N,) of each sample."""
        log_probability = F.log_softmax(logits, axis=1, name='log_softmax')
        own = F.pick(log_probability, label, axis=1, name='log_probability')
        return F.negative(own, name='loss')

    @staticmethod
    def predictions(logits: mx.nd.NDArray, labels: np.ndarray) -> np.ndarray:
        """Return the identity (N,) that each sample is taken for, by the greatest logit."""
        return np.asarray(logits.argmax(axis=1).asnumpy())

    def logits(self, F: Any, embedding: Any, label: Any, fc7_weight: Any, fc7_bias: Any = None) -> Any:
        """Return the logits (N, C) that the cross-entropy sees.

        With rows of the weight that belong to some of the identities, the labels are positions among those rows; a
        sample whose own is not among them has -1.
        """
        inputs = [embedding, fc7_weight] + ([] if fc7_bias is None else [fc7_bias])
        return F.FullyConnected(*inputs, num_hidden=self.num_classes, no_bias=fc7_bias is None, name='fc7')


class NormalizedSoftmax(Softmax):
    """Classify by cosines alone: logits = scale * cos(embedding, identity), no bias.

    centres: how many each identity has, rows of fc7_weight (C * centres, D) side by side; the nearest counts (Deng et
    al. 2020, 'Sub-center ArcFace', equation 2). A zero embedding has the cosine 0 to every identity (the normalisation
    adds 1e-10 to the squared norm).
    Source: NormFace (Wang et al. 2017); InsightFace's loss preset 'nsoftmax'.
    """

    def __init__(
        self, num_classes: int, emb_size: int, *, scale: float, centres: int = 1, **options: Any
    ) -> None:
        super().__init__(num_classes * centres, emb_size, no_bias=True, **options)
        self.num_classes, self.scale, self.centres = num_classes, scale, centres

    def logits(self, F: Any, embedding: Any, label: Any, fc7_weight: Any, fc7_bias: Any = None) -> Any:
        """Return scale * cosines (N, C), changed by `adjust`."""
        scaled = self.cosines(F, embedding, fc7_weight)
        with mx.name.Prefix('fc7_margin_'):
            return self.adjust(F, scaled, label)

    def cosines(self, F: Any, embedding: Any, fc7_weight: Any) -> Any:
        """Return scale * cosines (N, C); of an identity with several centres, that of the nearest."""
        unit = F.L2Normalization(embedding, mode='instance', name='fc1n')
        identities = F.L2Normalization(fc7_weight, mode='instance', name='fc7_weight_norm')
        # A prefix opens a fresh counter of names, so plain arithmetic has the same node names every time.
        with mx.name.Prefix('fc1n_'):
            unit = unit * self.scale  # the scale on (N, D) costs less than on (N, C)
        scaled = F.FullyConnected(
            unit, identities, num_hidden=self.num_classes * self.centres, no_bias=True, name='fc7'
        )
        if self.centres == 1:
            return scaled
        centres = F.reshape(scaled, shape=(0, -4, self.num_classes, self.centres), name='fc7_centres')
        return F.max(centres, axis=2, name='fc7_nearest')

    def adjust(self, F: Any, scaled: Any, label: Any) -> Any:
        """Return the logits (N, C) made of the scaled cosines (N, C)."""
        return scaled


class Margin(NormalizedSoftmax):
    """The base of every margin: replaces the cosine of a sample's own identity by `target(F, cos)`.

    Float32 cosines of unit vectors exceed 1 by rounding, so `target` gets them clipped to [-1, 1]. Beyond
    the ends the gradient is 0: a cosine at its extremum passes none on to the embedding anyway.
    """

    def target(self, F: Any, cos: Any) -> Any:
        """Return what takes the place of the cosines `cos` (N, 1), each in [-1, 1]."""
        raise NotImplementedError

    def adjust(self, F: Any, scaled: Any, label: Any) -> Any:
        """Return the scaled cosines with the margin applied at each sample's own identity."""
        return self.replace(F, scaled, label, self.target(F, self.own(F, scaled, label)))

    def own(self, F: Any, scaled: Any, label: Any) -> Any:
        """Return the cosines (N, 1) of each sample's own identity, clipped to [-1, 1]."""
        return F.clip(F.pick(scaled, label, axis=1, keepdims=True) / self.scale, -1.0, 1.0)

    def replace(self, F: Any, scaled: Any, label: Any, cos: Any) -> Any:
        """Return the scaled cosines (N, C) with `cos` (N, 1) in the places of each sample's own identity."""
        own = F.broadcast_like(cos * self.scale, scaled)
        # Chosen, not added as a difference: no rounding, and the mask's type need not be the embedding's.
        return F.where(F.one_hot(label, depth=self.num_classes), own, scaled, name='logits')


class CosFace(Margin):
    """cos - m3 at the target. Source: CosFace (Wang et al. 2018), equation 4; InsightFace's loss_m3."""

    def __init__(self, num_classes: int, emb_size: int, *, m3: float, **options: Any) -> None:
        super().__init__(num_classes, emb_size, **options)
        self.m3 = m3

    def target(self, F: Any, cos: Any) -> Any:
        """Return cos - m3."""
        return cos - self.m3


class ArcFace(CosFace):
    """cos(theta + m2) - m3 at the target.

    Past theta + m2 = pi the cosine would rise again and push a sample away from its own identity.
    InsightFace's MXNet code does nothing about it; other code drops to cos - m2 sin(m2), with a jump. Here
    a line of slope 1 goes on from the turning point, `cos - turn - 1`: continuous, rising with cos, with a
    finite gradient down to cos = -1.
    Source: ArcFace (Deng et al. 2019), equation 3; InsightFace's loss_m2.
    """

    def __init__(
        self, num_classes: int, emb_size: int, *, m2: float, m1: float = 1.0, m3: float = 0.0, **options: Any
    ) -> None:
        if not (m1 > 0 and 0 <= m2 < math.pi):
            raise ConfigError(
                f'loss_m1={m1!r}, loss_m2={m2!r}: loss_m1 must be above 0 and loss_m2 in [0, pi) radians'
            )
        super().__init__(num_classes, emb_size, m3=m3, **options)
        self.m1, self.m2 = m1, m2
        self.turn = math.cos(min(math.pi, (math.pi - m2) / m1))  # the cosine at m1 * theta + m2 = pi

    def shifted(self, F: Any, cos: Any) -> Any:
        """Return cos(theta + m2), by the addition theorem."""
        return cos * math.cos(self.m2) - sine(F, cos) * math.sin(self.m2)

    def target(self, F: Any, cos: Any) -> Any:
        """Return cos(m1 * theta + m2) - m3, continued by a line past pi."""
        body = F.where(cos >= self.turn, self.shifted(F, cos), cos - (self.turn + 1.0))
        return super().target(F, body)


class CombinedMargin(ArcFace):
    """cos(m1 * theta + m2) - m3 at the target, SphereFace with m2 = m3 = 0.

    Past pi it goes on as SphereFace does: (-1)^k cos(phi) - 2k for phi = m1 * theta + m2 in [k pi, (k + 1) pi], which
    is continuous and falls with theta whatever m1 is.
    Source: ArcFace (Deng et al. 2019), equation 4; SphereFace (Liu et al. 2017), equation 7.
    """

    def target(self, F: Any, cos: Any) -> Any:
        """Return (-1)^k cos(phi) - 2k - m3."""
        phi = angle(F, cos) * self.m1 + self.m2
        turns = F.floor(phi / math.pi)
        odd = turns - 2 * F.floor(turns / 2)
        return F.cos(phi) * (1 - 2 * odd) - 2 * turns - self.m3


def sine(F: Any, cos: Any) -> Any:
    """Return sin(arccos(cos)) in [0, 1] for cosines in [-1, 1], with a finite gradient everywhere.

    The true slope -cos / sin is infinite at -1 and 1. There, and only there, 0 stands for it: the
    embedding's gradient is the slope times a vector of length sin = 0, so it is 0 whatever finite slope is
    chosen. One float32 step inside the ends the slope is 2.9e3 and the vector 3.5e-4 long, so nothing else
    needs a bound.
    """
    squared = (1 - cos) * (1 + cos)  # 1 - cos * cos would lose digits near the ends
    inside = squared > 0
    return F.sqrt(squared + (1 - inside)) * inside  # sqrt sees 1, never 0, at the ends


def angle(F: Any, cos: Any) -> Any:
    """Return arccos(cos) in [0, pi] for cosines in [-1, 1], with a finite gradient everywhere.

    By the half angle, tan(theta / 2) = sin / (1 + cos), taken from the nearer end: no denominator is below
    1. The slope at -1 and 1 themselves is 0, as the sine's.
    """
    near_zero = cos >= 0
    half = F.arctan(sine(F, cos) / F.where(near_zero, 1 + cos, 1 - cos))
    return F.where(near_zero, 2 * half, math.pi - 2 * half)


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Raise DataError, naming the first offender, unless every label is an integer in [0, num_classes).

    The operators of the classifiers would clip such a label silently and train on another identity.
    """
    labels = np.asarray(labels).ravel()
    wrong = ~((labels >= 0) & (labels < num_classes) & (labels == np.floor(labels)))  # NaN is wrong too
    if wrong.any():
        position = int(wrong.argmax())
        raise DataError(
            f'label {labels[position]:g} at position {position} of the batch is not one of the '
            f'{num_classes} identities; labels are integers from 0 to {num_classes - 1}'
        )
