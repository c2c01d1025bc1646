"""Graph passes: batch norms folded or frozen, forms of PReLU, segments for gradient checkpointing."""

from __future__ import annotations

from symbols.passes.fold_batch_norm import fold_norms
from symbols.passes.frozen_norms import freeze_norms
from symbols.passes.optimize import optimize
from symbols.passes.prelu import as_operators, for_training
from symbols.passes.segments import Segment, cut

__all__ = ['Segment', 'as_operators', 'cut', 'fold_norms', 'for_training', 'freeze_norms', 'optimize']
