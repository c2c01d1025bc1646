"""The table of backbones: each family's file registers its network here under its name in config/presets.py."""

from config.presets import FAMILIES
from symbols.registry import Registry

BACKBONES = Registry(
    'net_name',
    {name: (family.alias,) if family.alias else () for name, family in FAMILIES.items()},
    name='BACKBONES',
    table='FAMILIES',
)
