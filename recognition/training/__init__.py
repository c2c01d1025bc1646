"""The training loop, from what it refuses to what it leaves."""

from __future__ import annotations

from recognition.training.loop import Loop
from recognition.training.trainer import StepResult, Trainer

__all__ = ['Loop', 'StepResult', 'Trainer']
