"""InsightFace's own configs (ArcFace, SubCenter-ArcFace, partial FC, in MXNet) in the keys and values of this one."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from config.keys import ACCEPTED, FAMILY_NAMES, KEYS, OWN_KEYS
from config.presets import FAMILIES, LOSSES

BLOCKS = 4  # values of net_blocks that are read
NAMES_HERE = {
    'loss_K': 'loss_centres',
    'embedding_size': 'emb_size',
    'sample_ratio': 'sample_rate',
    'max_update': 'max_steps',
    'backbone_lr': 'lr',
}
# Of partial FC, and of the first recipe: nothing here reads them (rec is dataset_path, memory_bank_lr fc7_lr_mult).
LEFT_OUT = ('image_size', 'rec', 'memory_bank_lr', 'debug', 'log_dir')
# Whose GDC and SFC have 512 groups there whatever the map's width; MnasNet's head reads it.
FIXED_HEADS = ('resnet', 'densenet', 'mobilefacenet', 'mobilenet', 'vargfacenet')


def renamed(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Return settings with the keys that only InsightFace has under their names here."""
    return {NAMES_HERE.get(name, name): value for name, value in settings.items()}


def as_here(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings, by their names here, so that an InsightFace config means what it means there.

    A config is InsightFace's when it has a key of InsightFace's scripts and none that is known here alone. Its
    generate_config leaves what earlier networks have set, m05's net_multiplier say, and the next one does not look.
    """
    theirs = any(key in settings for key in ACCEPTED) and not any(key in settings for key in OWN_KEYS)
    if not theirs:
        return settings
    family = FAMILY_NAMES.get(settings.get('net_name', KEYS['net_name'].default), '')
    ignored = {*LEFT_OUT, *(FAMILIES[family].ignored_there if family else ())}
    here = {key: value for key, value in settings.items() if key not in ignored}
    if isinstance(here.get('net_blocks'), (list, tuple)):
        here['net_blocks'] = here['net_blocks'][:BLOCKS]
    if family in FIXED_HEADS:
        here.setdefault('head_channels', 'insightface')
    if 'image_size' in settings:
        here.setdefault('image_shape', (settings['image_size'], settings['image_size'], 3))
    here.update(_loss(here))
    return here


def _loss(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """Return what the first recipes called otherwise: each margin softmax a loss_name, and no scale -1."""
    name = settings.get('loss_name')
    margins = {key for key, row in LOSSES.items() if row['loss_name'] == 'margin_softmax'}
    if name in margins:
        return {'loss_name': 'margin_softmax'}
    if name == 'softmax' and settings.get('loss_s') == -1:
        return {key: KEYS[key].default for key in ('loss_s', 'loss_m1')}
    return {}
