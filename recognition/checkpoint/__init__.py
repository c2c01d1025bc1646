"""Checkpoints in MXNet's layout, and the training state beside them."""

from __future__ import annotations

from recognition.checkpoint.network import Saved, load_embedding, load_network, save_network
from recognition.checkpoint.training_state import TrainingState, load_state

__all__ = ['Saved', 'TrainingState', 'load_embedding', 'load_network', 'load_state', 'save_network']
