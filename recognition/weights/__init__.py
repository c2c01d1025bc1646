"""Weights from elsewhere: InsightFace's checkpoints, arcface_torch, Keras."""

from __future__ import annotations

from recognition.checkpoint.matching import Report, load_weights
from recognition.weights.arcface_torch import read_arcface_torch
from recognition.weights.conversion import convert
from recognition.weights.keras.mapping import read_keras

__all__ = ['Report', 'convert', 'load_weights', 'read_arcface_torch', 'read_keras']
