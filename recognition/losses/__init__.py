"""Losses for face embeddings and for class scores."""

from __future__ import annotations

from recognition.losses.adaptive_margin import AdaFace, CurricularFace, MagFace
from recognition.losses.class_scores import CrossEntropy
from recognition.losses.factory import build_loss, has_classifier
from recognition.losses.margin import ArcFace, CombinedMargin, CosFace, NormalizedSoftmax, Softmax
from recognition.losses.triplet import AngularTriplet, Triplet

__all__ = [
    'AdaFace',
    'AngularTriplet',
    'ArcFace',
    'CombinedMargin',
    'CosFace',
    'CrossEntropy',
    'CurricularFace',
    'MagFace',
    'NormalizedSoftmax',
    'Softmax',
    'Triplet',
    'build_loss',
    'has_classifier',
]
