"""A table from name to builder: a second registration raises, an unknown name suggests the nearest one."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Sequence

from config.errors import ConfigError, nearest


class Registry:
    """Builders by name; `names` is the config's table of the names that may be registered, each with its aliases."""

    def __init__(self, key: str, names: Mapping[str, Sequence[str]]) -> None:
        self._key = key
        self._names = dict(names)
        self._long_name = {name: name for name in names}
        self._long_name.update({alias: name for name, aliases in names.items() for alias in aliases})
        self._builders: Dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that registers a class or function under `name`, which the config's table must hold."""
        if name not in self._names:
            raise ConfigError(f'{self._key} {name!r} has no row in config/presets.py')
        if name in self._builders:
            raise ConfigError(f'{self._key} {name!r} is registered twice')

        def add(builder: Callable[..., Any]) -> Callable[..., Any]:
            self._builders[name] = builder
            return builder

        return add

    def get(self, name: str) -> Callable[..., Any]:
        """Return the builder of `name` (or of the name it is an alias of); raise ConfigError when there is none."""
        long_name = self._long_name.get(name)
        if long_name not in self._builders:
            known = ', '.join(self.names())
            raise ConfigError(
                f'{self._key}={name!r} is not known{nearest(name, self._long_name)} (known: {known})'
            )
        return self._builders[long_name]

    def names(self) -> List[str]:
        """Return the registered long names in the order of the config's table."""
        return [name for name in self._names if name in self._builders]
