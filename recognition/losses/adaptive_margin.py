"""Margins that follow the embedding's length or how far the training is: AdaFace, MagFace, CurricularFace."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from recognition.losses.margin import ArcFace, Margin, sine

import mxnet as mx

LEAST, GREATEST = 1e-3, 100.0  # AdaFace's bounds of a length


def shifted_cosine(F: Any, cos: Any, margin: Any) -> Any:
    """Return cos(theta + margin) for cosines (N, 1) and margins (N, 1) in (-pi/2, pi), never falling as cos rises.

    Past pi a line of slope 1 goes on from -1, as ArcFace's does here; where a negative margin would take the angle
    below 0, the cosine is 1.
    """
    turn = F.cos(margin)
    inside = cos * turn - sine(F, cos) * F.sin(margin)
    bounded = F.where(cos >= -turn, inside, cos + turn - 1.0)
    below = (margin < 0) * (cos > turn)
    return F.where(below, F.ones_like(cos), bounded)


def length(F: Any, embedding: Any) -> Any:
    """Return the lengths (N, 1) of embeddings (N, D), with a finite gradient at 0."""
    return F.sqrt(F.sum(F.square(embedding), axis=1, keepdims=True) + 1e-12)


class AdaFace(Margin):
    """A margin by image quality, for which the embedding's length stands: cos(theta - m q) - m (1 + q).

    q = h (length - mean) / (deviation + 0.001), clipped to [-1, 1], with a moving mean and a moving deviation of the
    lengths, for which that of a batch of n is divided by n - 1; no gradient flows through q.
    Source: Kim et al. 2022, 'AdaFace', equations 13 to 16, and their code for the constants and the deviation.
    """

    def __init__(
        self, num_classes: int, emb_size: int, *, m: float, h: float, momentum: float, **options: Any
    ) -> None:
        super().__init__(num_classes, emb_size, **options)
        self.m, self.h, self.momentum = m, h, momentum
        first = {'fc7_norm_mean': 20.0, 'fc7_norm_std': 100.0}
        self.norm_mean, self.norm_std = (
            self.params.get(name, shape=(1, 1), init=mx.init.Constant(value), grad_req='null')
            for name, value in first.items()
        )
        self.states = (self.norm_mean, self.norm_std)

    def next_states(self, F: Any, embedding: Any, **params: Any) -> Dict[str, Any]:
        """Return the next mean (1, 1) and deviation (1, 1) of the lengths."""
        with mx.name.Prefix('fc7_norm_'):
            lengths = F.clip(F.BlockGrad(length(F, embedding)), LEAST, GREATEST)
            mean = F.mean(lengths, axis=0, keepdims=True)
            squares = F.sum(F.square(F.broadcast_sub(lengths, mean)), axis=0, keepdims=True)
            others = F.sum(F.ones_like(lengths), axis=0, keepdims=True) - 1
            squares = squares / F.maximum(
                others, 1
            )  # of a single length the deviation is 0; theirs is not a number
            mean = mean * (1 - self.momentum) + params['norm_mean'] * self.momentum
            deviation = F.sqrt(squares) * (1 - self.momentum) + params['norm_std'] * self.momentum
        return {'norm_mean': mean, 'norm_std': deviation}

    def logits(
        self, F: Any, embedding: Any, label: Any, fc7_weight: Any, fc7_bias: Any = None, **params: Any
    ) -> Any:
        """Return the logits (N, C); `norm_mean` and `norm_std` (1, 1) are those of the lengths."""
        scaled = self.cosines(F, embedding, fc7_weight)
        with mx.name.Prefix('fc7_margin_'):
            lengths = F.clip(F.BlockGrad(length(F, embedding)), LEAST, GREATEST)
            quality = (
                F.broadcast_div(F.broadcast_sub(lengths, params['norm_mean']), params['norm_std'] + 1e-3)
                * self.h
            )
            quality = F.clip(quality, -1.0, 1.0)
            cos = shifted_cosine(F, self.own(F, scaled, label), quality * -self.m)
            return self.replace(F, scaled, label, cos - (quality + 1) * self.m)


class MagFace(Margin):
    """A margin that grows with the embedding's length a, which thereby becomes the image's quality: cos(theta + m(a)).

    m(a) rises linearly from `low` at `least` to `high` at `greatest`, between which a is clipped; the loss has
    weight * (a / greatest^2 + 1 / a) on top, which pulls lengths up.
    Source: Meng et al. 2021, 'MagFace', equations 3 to 5, and their code for the linear m and g.
    """

    def __init__(
        self,
        num_classes: int,
        emb_size: int,
        *,
        least: float,
        greatest: float,
        low: float,
        high: float,
        weight: float,
        **options: Any,
    ) -> None:
        super().__init__(num_classes, emb_size, **options)
        self.least, self.greatest, self.low, self.weight = least, greatest, low, weight
        self.slope = (high - low) / (greatest - least)

    def pull(self, F: Any, embedding: Any) -> Any:
        """Return the pull on the lengths (N,)."""
        with mx.name.Prefix('fc7_norm_'):
            a = F.reshape(self._clipped(F, embedding), shape=(-1,))
            return (a / self.greatest**2 + 1 / a) * self.weight

    def logits(self, F: Any, embedding: Any, label: Any, fc7_weight: Any, fc7_bias: Any = None) -> Any:
        """Return the logits (N, C)."""
        scaled = self.cosines(F, embedding, fc7_weight)
        with mx.name.Prefix('fc7_margin_'):
            margin = (self._clipped(F, embedding) - self.least) * self.slope + self.low
            return self.replace(F, scaled, label, shifted_cosine(F, self.own(F, scaled, label), margin))

    def _clipped(self, F: Any, embedding: Any) -> Any:
        return F.clip(length(F, embedding), self.least, self.greatest)


class CurricularFace(ArcFace):
    """ArcFace whose hard negatives, those above the own target, count more as training goes on: cos (t + cos).

    t is a moving mean of the own cosines, 0 at first. Every negative is compared with the own target, so all logits
    of a sample have to be at one place: it cannot be sharded.
    Source: Huang et al. 2020, 'CurricularFace', equations 5 to 8.
    """

    MOMENTUM = 0.99

    def __init__(self, num_classes: int, emb_size: int, **options: Any) -> None:
        super().__init__(num_classes, emb_size, **options)
        self.hardness = self.params.get('fc7_hardness', shape=(1, 1), init='zeros', grad_req='null')
        self.states = (self.hardness,)

    def hybrid_forward(self, F: Any, embedding: Any, label: Any, **params: Any) -> Tuple[Any, ...]:
        """Return (loss (N,), logits (N, C), the next t (1, 1))."""
        scaled = self.cosines(F, embedding, params['fc7_weight'])
        with mx.name.Prefix('fc7_margin_'):
            own = self.own(F, scaled, label)
            mean = F.mean(F.BlockGrad(own), axis=0, keepdims=True)
            hardness = mean * (1 - self.MOMENTUM) + params['hardness'] * self.MOMENTUM
            target = self.target(F, own)
            hard = F.broadcast_greater(scaled, target * self.scale)
            raised = scaled * F.broadcast_add(scaled / self.scale, hardness)
            logits = self.replace(F, F.where(hard, raised, scaled), label, target)
        return self.cross_entropy(F, logits, label), logits, hardness
