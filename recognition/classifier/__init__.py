"""The classifier over identities in training: whole, or split over devices and sampled (partial FC)."""

from __future__ import annotations

from recognition.classifier.base import Classifier
from recognition.classifier.partial_fc import PartialFC, build_classifier

__all__ = ['Classifier', 'PartialFC', 'build_classifier']
