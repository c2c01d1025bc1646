"""Parameters that a training leaves as they are (`freeze`), and factors on the learning rate of others (`lr_mult`)."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Set

from config.errors import ConfigError
from config.patterns import as_factors, fitting, spread

from mxnet import gluon


def freeze(parameters: Mapping[str, gluon.Parameter], cfg: Any) -> Set[str]:
    """Take the network's parameters that `cfg.freeze` names out of the training, and return their names.

    Moving statistics are parameters, too: where the mean or the variance of a batch norm is named, neither moves, and
    the batch norm normalises by them. Raises ConfigError for a pattern that fits no name, and where nothing is left.
    """
    frozen = {name for pattern in cfg.freeze for name in fitting(pattern, parameters)}
    for name in frozen:
        parameters[name].grad_req = 'null'
    if frozen and all(each.grad_req == 'null' for each in parameters.values()):
        raise ConfigError(f'freeze={list(cfg.freeze)} leaves nothing of the network to train')
    return frozen


def scale_rates(parameters: Mapping[str, gluon.Parameter], cfg: Any) -> None:
    """Multiply the factors on the parameters' learning rates by those of `cfg.lr_mult`; errors as in `spread`."""
    factors: Dict[str, float] = spread(as_factors(cfg.lr_mult), list(parameters))
    for name, factor in factors.items():
        parameters[name].lr_mult *= factor
