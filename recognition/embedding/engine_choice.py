"""How a network is opened in an engine, by its name or in the fastest."""

from __future__ import annotations

from functools import partial
from typing import Optional

from config.errors import CheckpointError, ConfigError, nearest
from recognition.embedding.agreement import COUNT, check_agreement, trial_images
from recognition.embedding.autotune import choice_key, choose
from recognition.embedding.conversion_cache import PACKAGES, as_kind, can_convert
from recognition.engines import ENGINES
from recognition.engines.base import Engine, Wanted, checked_embed
from recognition.engines.model import KINDS, Model
from recognition.engines.mxnet_engine import Reference
from recognition.engines.mxnet_threads import settle_threads
from recognition.engines.record import shape_of

AUTO = 'auto'


def check_engine(name: str) -> None:
    """Raise ConfigError unless `name` is one of ENGINES, or 'auto'."""
    if name not in ENGINES and name != AUTO:
        known = (AUTO, *ENGINES)
        raise ConfigError(f'engine={name!r} is not one of {", ".join(known)}{nearest(name, known)}')


def open_engine(
    name: str,
    model: Model,
    *,
    batch_size: int,
    image_shape: Wanted = None,
    threads: Optional[int] = None,
    reference: Optional[Model] = None,
) -> Engine:
    """Open a network in an engine of ENGINES, or in the fastest one of float32 where `name` is 'auto'.

    reference: a checkpoint; an engine that disagrees with MXNet on it is refused. Raises CheckpointError for that and
    for a damaged file, ConfigError for an engine that cannot read the network, MissingExtra for one not installed.
    """
    check_engine(name)
    if model.kind == 'checkpoint' or reference:  # mxnet is to be imported
        settle_threads(threads)
    if model.kind == 'checkpoint':
        image_shape = shape_of(model, image_shape)
    opener = partial(
        _open, model=model, image_shape=image_shape, threads=threads, reference=_Reference(reference)
    )
    if name != AUTO:
        return opener(name)
    able = {
        each: engine for each, engine in ENGINES.items() if engine.exact and can_convert(model, engine.reads)
    }
    present = {each: engine for each, engine in able.items() if engine.present()}
    if not present:
        commands = ' or '.join(engine.how_to_install() for engine in able.values())
        raise ConfigError(f'no engine for {KINDS[model.kind]} is installed: {commands}')
    packages = [*PACKAGES, *(engine.package for engine in present.values())]
    key = choice_key(model.content_key(), packages, image_shape, batch_size, threads)
    return choose({each: partial(opener, each) for each in present}, key, batch_size)


class _Reference:
    """The checkpoint's network as it is saved, loaded when the first engine is compared with it; or none."""

    def __init__(self, model: Optional[Model]) -> None:
        self.model = model
        self._engine: Optional[Engine] = None

    def check(self, engine: Engine) -> None:
        """Raise CheckpointError where an engine disagrees, or without a network, where it gives no embeddings."""
        if self.model is None:
            checked_embed(engine, trial_images(engine.image_shape, COUNT))
            return
        if self._engine is None:
            self._engine = Reference(self.model, engine.image_shape)
        check_agreement(engine, self._engine, self.model)


def _open(
    name: str, *, model: Model, image_shape: Wanted, threads: Optional[int], reference: _Reference
) -> Engine:
    kind = ENGINES[name]
    if not kind.present():
        kind.load_package()  # says what is missing, before a conversion that may take long
    file = as_kind(model, kind.reads, image_shape, name)

    def checked() -> Engine:
        engine = kind(file, image_shape, threads)
        reference.check(engine)
        return engine

    try:
        return checked()
    except CheckpointError:
        if file == model:
            raise
    # what was kept of an earlier conversion may be damaged, and is made anew
    file.files[0].unlink(missing_ok=True)
    as_kind(model, kind.reads, image_shape, name)
    return checked()
