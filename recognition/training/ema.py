"""The exponential moving average of a network's parameters, which is what is verified and saved where it is on."""

from __future__ import annotations

from typing import Dict, Mapping

import numpy as np

from recognition.checkpoint.matching import compare, require

import mxnet as mx
from mxnet import gluon

KIND = 'ema:'
WARM_UP = 10.0


class Average:
    """The moving average of parameters on one device: average <- d * average + (1 - d) * value after each update.

    d is the smaller of `decay` (0 to 1) and (1 + n) / (10 + n) after n updates, so that the first values, which are
    random, are forgotten at once. Moving statistics are averaged as weights are, as timm's ModelEmaV2 has it; the
    warm-up is TensorFlow's ExponentialMovingAverage(num_updates).
    """

    def __init__(self, parameters: Mapping[str, gluon.Parameter], decay: float, context: mx.Context) -> None:
        self._parameters, self._decay, self._context = dict(parameters), decay, context
        self.values = {name: each.data(context).copy() for name, each in self._parameters.items()}

    def update(self, count: int) -> None:
        """Take in the parameters after update number `count`, 1 for the first."""
        decay = min(self._decay, (1 + count) / (WARM_UP + count))
        for name, average in self.values.items():
            average *= decay
            average += (1 - decay) * self._parameters[name].data(self._context)

    def arrays(self) -> Dict[str, np.ndarray]:
        """Return the averages by 'ema:name'."""
        return {KIND + name: value.asnumpy() for name, value in self.values.items()}

    def restore(self, arrays: Mapping[str, np.ndarray], *, source: object) -> None:
        """Go on with `arrays` by 'ema:name'; CheckpointError where they are another network's."""
        wanted = {KIND + name: value.shape for name, value in self.values.items()}
        require(compare(wanted, arrays), source=source, target="this run's moving average (ema)")
        for name, value in self.values.items():
            value[:] = arrays[KIND + name]
