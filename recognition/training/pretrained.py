"""Starting a training from a checkpoint: what of it is taken, and what is drawn fresh.

The config says it: `pretrained` and `pretrained_epoch` which checkpoint, `pretrained_part` how much of the embedding
network, `pretrained_fc7` what becomes of the classifier over the identities.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import numpy as np

from config.checks import CLASS_SCORES, output_kind
from config.errors import CheckpointError, ConfigError, first_few
from recognition.checkpoint.layer_diff import describe, differences
from recognition.checkpoint.matching import (
    CLASSIFIER,
    FITTING,
    WHOLE,
    Report,
    Values,
    as_numpy,
    check_fit,
    compare,
    load_part,
    only_head_differs,
    parts_of,
    require,
    without_classifier,
)
from recognition.checkpoint.network import Saved, input_channels, load_embedding
from recognition.checkpoint.training_state import load_state
from recognition.classifier.base import Classifier
from recognition.utils.files import PathLike
from recognition.utils.run_paths import params_path, state_path, symbol_path
from symbols import get_symbol

import mxnet as mx
from mxnet import gluon

logger = logging.getLogger(__name__)

TARGET = 'the network of this run'

Rows = Optional[Dict[str, Any]]  # values of a classifier; None: it stays as it was drawn


def load_pretrained(net: gluon.Block, classifier: Classifier, cfg: Mapping[str, Any]) -> Report:
    """Give a network and a classifier, both initialised, what `cfg` takes from its checkpoint; log it.

    Returns the report on the embedding network. Raises CheckpointError, before anything is changed in the network,
    where something does not fit that `pretrained_part` asks for, or the layers of the saved symbol compute something
    else than those of the same name here; and where the classifier does not fit that `pretrained_fc7` asks for.
    """
    prefix, epoch, part = cfg['pretrained'], cfg['pretrained_epoch'], cfg['pretrained_part']
    source = params_path(prefix, epoch)
    saved = load_embedding(prefix, epoch)
    check_pair(saved, prefix, epoch, cfg['image_shape'], part)
    own = get_symbol(cfg) if part != 'body' else parts_of(cfg).body
    check_layers(saved.symbol, own, part, source=source, target=TARGET)
    held = saved.classifier or classifier_of_run(prefix, epoch, saved.values)
    fresh = classifier.values()
    rows = CLASSIFIERS[cfg['pretrained_fc7']](fresh, held, source)
    _check_not_body(saved.values, cfg, source)
    report = load_part(net, saved.values, cfg, part, source=source, target=TARGET)
    if cfg['pretrained_fc7'] == 'auto' and (report.missing or report.misshaped):
        rows = None  # it was trained on other embeddings
    if rows:
        classifier.load(rows)
    words = [str(report), *([_classifier_in_words(rows, held)] if fresh else [])]
    logger.info('starting from %s\n%s', source, '\n'.join(words))
    return report


def _classifier_in_words(rows: Rows, held: Mapping[str, Any]) -> str:
    if not rows:
        return f'the classifier is drawn fresh{"" if held else ", for there is none"}'
    (new, old), *_ = ((len(rows[name]), len(held[name])) for name in rows)
    return f'the classifier of {min(old, new)} identities' + (
        f', and {new - old} fresh ones' if new > old else ''
    )


def _check_not_body(values: Values, cfg: Mapping[str, Any], source: object) -> None:
    """Raise CheckpointError where the whole network is asked for and its body alone would fit, and say so."""
    if cfg['pretrained_part'] != WHOLE:
        return
    own = parts_of(cfg)
    report = compare({**own.backbone, **own.head}, without_classifier(values))
    if not only_head_differs(report, own):
        return
    if output_kind(cfg) == CLASS_SCORES and report.misshaped and not (report.missing or report.extra):
        (held, *_), (wanted, *_) = next(iter(report.misshaped.values()))
        raise CheckpointError(
            f'{source} has {held} classes, and this run has {wanted}; --pretrained-part body draws the head fresh'
        )
    raise CheckpointError(
        f"{source} does not fit {TARGET}: {report.faults}; pretrained_part='body' takes all but the head"
    )


def check_pair(
    saved: Saved, prefix: PathLike, epoch: int, image_shape: Sequence[int], part: str = WHOLE
) -> None:
    """Raise CheckpointError where the parameters of a checkpoint are not those of its own symbol, or take other images.

    Not for 'fitting'.
    """
    if part != FITTING:
        held, wanted = input_channels(saved), image_shape[2]
        if held != wanted:
            count = '1 channel' if held == 1 else f'{held} channels'
            raise CheckpointError(
                f'{params_path(prefix, epoch)} takes images of {count}, and this run has {wanted}; image_shape '
                '(--image-size H,W,C) sets that'
            )
        source, target = params_path(prefix, epoch), symbol_path(prefix)
        check_fit(saved.symbol, saved.values, image_shape=image_shape, source=source, target=target)


def check_layers(
    saved: mx.sym.Symbol, own: mx.sym.Symbol, part: str, *, source: object, target: object
) -> None:
    """Raise CheckpointError where layers of the same name compute something else; 'fitting' has it logged."""
    found = differences(saved, own)
    if not found:
        return
    words = f'{source} does not fit {target}: {describe(found)}'
    if part != FITTING:
        raise CheckpointError(words)
    logger.warning('%s', words)


def classifier_of_run(prefix: PathLike, epoch: int, values: Values) -> Dict[str, np.ndarray]:
    """Return the classifier's values from the training state beside a checkpoint of ours, {} where there is none.

    values: of the network in that checkpoint. CheckpointError where the state has others, and thus is another run's.
    """
    source = state_path(prefix, epoch)
    if not source.exists():
        return {}
    state = load_state(prefix, epoch, only=('param:', 'ema:'))
    other = state.differing(values)
    if other:
        raise CheckpointError(
            f'{source} holds another network than {params_path(prefix, epoch)}: {first_few(other)}; its classifier '
            'is not taken, move the state away to go on without it'
        )
    return {name: value for name, value in state.group('param').items() if name.startswith(CLASSIFIER)}


def _keep(fresh: Mapping[str, np.ndarray], held: Mapping[str, Any], source: object) -> Rows:
    """Take the classifier as it is; CheckpointError where it does not fit."""
    wanted = {name: value.shape for name, value in fresh.items()}
    require(compare(wanted, held), source=f'the classifier of {source}', target="this run's")
    return dict(held)


def _auto(fresh: Mapping[str, np.ndarray], held: Mapping[str, Any], source: object) -> Rows:
    """Take it where it fits."""
    fits = compare({name: value.shape for name, value in fresh.items()}, held).ok
    return dict(held) if fits else None


def _drop(fresh: Mapping[str, np.ndarray], held: Mapping[str, Any], source: object) -> Rows:
    """Take nothing of it."""
    return None


def _resize(fresh: Mapping[str, np.ndarray], held: Mapping[str, Any], source: object) -> Rows:
    """Take the rows of the identities that stay, those with the same label."""
    wanted = {name: (len(held.get(name, value)), *value.shape[1:]) for name, value in fresh.items()}
    require(compare(wanted, held), source=f'the classifier of {source}', target="this run's")
    return resize_classifier(fresh, {name: as_numpy(value) for name, value in held.items()})


CLASSIFIERS: Dict[str, Callable[[Mapping[str, np.ndarray], Mapping[str, Any], object], Rows]] = {
    'auto': _auto,
    'keep': _keep,
    'drop': _drop,
    'resize': _resize,
}


def resize_classifier(
    fresh: Mapping[str, np.ndarray],
    held: Mapping[str, np.ndarray],
    stays: Optional[Sequence[int]] = None,
) -> Dict[str, np.ndarray]:
    """Return a classifier's values for another number of identities: rows that stay, and fresh ones for the rest.

    fresh, held: by name (fc7_weight (C, D), fc7_bias (C,)), of the new and of the old number of identities C.
    stays: for each new identity its old label, -1 where it had none; the same label when None. Raises ConfigError
    for a label that is none of the old ones.
    """
    resized = {}
    for name, value in fresh.items():
        old, new = len(held[name]), len(value)
        labels = np.arange(new) if stays is None else np.asarray(stays, dtype=np.int64)
        if stays is not None and (labels.shape != (new,) or np.max(labels, initial=-1) >= old):
            raise ConfigError(
                f'stays must give one of the {old} old labels, or -1, for each of {new} identities'
            )
        kept = np.flatnonzero((labels >= 0) & (labels < old))
        resized[name] = value.copy()
        resized[name][kept] = held[name][labels[kept]]
    return resized
