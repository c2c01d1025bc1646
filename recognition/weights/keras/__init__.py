"""Keras weight files, read without TensorFlow."""

from __future__ import annotations

from recognition.weights.keras.mapping import read_keras

__all__ = ['read_keras']
