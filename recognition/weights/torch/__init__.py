"""PyTorch checkpoints, read without PyTorch."""

from __future__ import annotations

from recognition.weights.torch.state_dict import read_state_dict

__all__ = ['read_state_dict']
