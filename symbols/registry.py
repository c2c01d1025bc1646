"""A table from name to builder, filled by the files of `symbols` as their names are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from config.errors import ConfigError, nearest

PACKAGE = 'symbols'


class Registry:
    """Builders by name; `rows` are the names that the config's table holds, each with its aliases.

    A builder that has not been registered yet is looked for in the file of its name: `symbols/<name>.py` is imported,
    which registers it. `name` is the registry's own and `table` that of its table in config/presets.py, for errors.
    """

    def __init__(
        self, key: str, rows: Mapping[str, Sequence[str]], *, name: str, table: Optional[str] = None
    ) -> None:
        self._key, self._name, self._table = key, name, table or name
        self._rows = dict(rows)
        self._long_name = {row: row for row in rows}
        self._long_name.update({alias: row for row, aliases in rows.items() for alias in aliases})
        self._builders: Dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that registers a class or function under `name`, which the config's table must hold."""
        if name not in self._rows:
            raise ConfigError(f'{self._key} {name!r} has no row in {self._table} of config/presets.py')
        if name in self._builders:
            raise ConfigError(f'{self._key} {name!r} is registered twice')

        def add(builder: Callable[..., Any]) -> Callable[..., Any]:
            self._builders[name] = builder
            return builder

        return add

    def get(self, name: str) -> Callable[..., Any]:
        """Return the builder of `name` (or of the name it is an alias of); raise ConfigError when there is none."""
        long_name = self._long_name.get(name)
        if long_name is None:
            known = ', '.join(self._rows)
            raise ConfigError(
                f'{self._key}={name!r} is not known{nearest(name, self._long_name)} (known: {known})'
            )
        if long_name not in self._builders:
            self._load(long_name)
        return self._builders[long_name]

    def names(self) -> List[str]:
        """Return the long names in the order of the config's table."""
        return list(self._rows)

    def _load(self, name: str) -> None:
        """Import the file that registers `name`; raise ConfigError where it is missing or does not register it."""
        module, fault = f'{PACKAGE}.{name}', 'does not register it: put'
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            fault = 'is missing: write it, with'
        if name not in self._builders:
            raise ConfigError(
                f'{self._key}={name!r} has a row in {self._table} of config/presets.py, but {PACKAGE}/{name}.py '
                f'{fault} @{self._name}.register({name!r}) above the class or function that builds it'
            )
