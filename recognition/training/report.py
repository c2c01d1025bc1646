"""The report of one training run, `prefix-report.html`, made from the files that the run left."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from config import resolve
from config.errors import CheckpointError, FaceSymbolsError
from config.reading import refusing
from recognition.checkpoint.run_files import Start, read_json
from recognition.data.class_names import read_classes
from recognition.reports.html import Block, Section, paragraph, picture, settings, table, write_report
from recognition.reports.plots import epochs_picture, training_picture
from recognition.training.progress import Record, read_history
from recognition.utils.files import PathLike
from recognition.utils.run_paths import (
    classes_path,
    config_path,
    curves_path,
    environment_path,
    history_path,
    report_path,
)

SHOWN = 20  # steps that were left out
PRESETS = ('network', 'dataset', 'loss')


def write_run_report(prefix: PathLike, output: Optional[PathLike] = None) -> Path:
    """Write `prefix-report.html`, or `output`, and `prefix-curves.png`; return the former, also of a killed run.

    Raises CheckpointError where there is no run at the prefix or its files are damaged, MissingExtra without
    matplotlib.
    """
    prefix = Path(prefix)
    cfg, starts = read_json(config_path(prefix)), read_json(environment_path(prefix))
    if not isinstance(cfg, dict) or not isinstance(starts, list) or not starts:
        raise CheckpointError(f'{config_path(prefix)} or {environment_path(prefix)} is not what a run writes')
    history = read_history(history_path(prefix))
    with refusing(prefix, CheckpointError, 'is a run whose history, config or environment is damaged'):
        title, sections, summary = _content(prefix, cfg, starts, history)
    path = report_path(prefix) if output is None else Path(output)
    return write_report(path.parent, title, sections, summary, name=path.name)


def _content(
    prefix: Path, cfg: Dict[str, Any], starts: Sequence[Start], history: Sequence[Record]
) -> Tuple[str, List[Section], str]:
    """Return the title, the sections and the summary of a report."""
    steps = [record for record in history if 'loss' in record]
    sections = [
        Section('Verification', _verifications(prefix, history)),
        Section('Training', [*_ended(starts), *_left_out(history)]),
    ]
    if steps:
        sections.insert(1, Section('Curves', [_curves(prefix, history)]))
    sections += [
        Section('Settings', [settings(_changed(cfg), 'what differs from the presets and defaults')]),
        Section('Environment', [settings(_flat(starts[-1]), 'of the last start')]),
    ]
    title = f'{cfg.get("network") or cfg.get("net_name")} with {cfg.get("loss") or cfg.get("loss_name")}'
    return title, sections, _summary(steps, starts)


def _summary(steps: Sequence[Record], starts: Sequence[Start]) -> str:
    if not steps:
        return 'No step was done.'
    last = steps[-1]
    return (
        f'{last["step"]:,} steps in {last["epoch"]} epochs, the last with a loss of {last["loss"]:.3f}; '
        f'{starts[-1].get("ended", "killed, or still running")}.'
    )


def _verifications(prefix: Path, history: Sequence[Record]) -> List[Block]:
    """Return the last verification of each set as a table, and the best accuracy with its step."""
    records = [record for record in history if 'verification' in record]
    if not records:
        return [paragraph('The network was not verified.')]
    last = records[-1]
    if _judges_classes(last):
        return _classifications(prefix, records)
    rows = []
    for name, figures in last['verification'].items():
        tars = [f'{100 * tar:.2f} at {far}' for far, tar in figures['tar_at_far'].items()]
        rows.append(
            [
                name,
                _share(figures['accuracy'], figures['accuracy_interval']),
                f'{100 * figures["eer"]:.2f}',
                f'{figures["auc"]:.4f}',
                ', '.join(tars) or '-',
                _best_accuracy(records, name),
            ]
        )
    head = ['set', 'accuracy (%), 95 % interval', 'EER (%)', 'AUC', 'TAR (%) at FAR', 'best accuracy (%)']
    return [table(head, rows, f'after step {last["step"]:,}')]


def _best_accuracy(records: Sequence[Record], name: str) -> str:
    best = max(
        (record for record in records if name in record['verification']),
        key=lambda record: record['verification'][name]['accuracy'],
    )
    return f'{100 * best["verification"][name]["accuracy"]:.2f} at step {best["step"]:,}'


def _judges_classes(record: Record) -> bool:
    return any('top1' in figures for figures in record.get('verification', {}).values())


def _curves(prefix: Path, history: Sequence[Record]) -> Block:
    if any(map(_judges_classes, history)):
        return picture(epochs_picture(curves_path(prefix), history), 'Loss and accuracies over the epochs')
    drawn = training_picture(curves_path(prefix), history)
    return picture(drawn, 'Loss, accuracy and learning rate over the steps')


def _classifications(prefix: Path, records: Sequence[Record]) -> List[Block]:
    """Return the last figures of each set of labelled images as a table, and its confusion matrix as another."""
    last = records[-1]
    rows, matrices = [], []
    for name, figures in last['verification'].items():
        shares = [_share(figures[key], figures[f'{key}_interval']) for key in ('top1', 'top5')]
        best = _best_accuracy(records, name)
        rows.append([name, figures['images'], f'{figures["loss"]:.4f}', *shares, best])
        if 'confusion' in figures:
            matrices.append(_confusion(prefix, name, figures['confusion']))
    head = [
        'set',
        'images',
        'loss',
        'top-1 (%), 95 % interval',
        'top-5 (%), 95 % interval',
        'best accuracy (%)',
    ]
    return [table(head, rows, f'after step {last["step"]:,}'), *matrices]


def _share(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f'{100 * value:.2f} ({100 * low:.2f} to {100 * high:.2f})'


def _confusion(prefix: Path, name: str, confusion: Sequence[Sequence[int]]) -> Block:
    path = classes_path(prefix)
    names = read_classes(path, len(confusion)) if path.exists() else [*map(str, range(len(confusion)))]
    rows = [[own, *counts] for own, counts in zip(names, confusion)]
    return table(['true class', *names], rows, f'images of {name} by true class (rows) and predicted class')


def _ended(starts: Sequence[Start]) -> List[Block]:
    """Return a row for each start of the run."""
    rows = [
        [
            start.get('started', '?'),
            start.get('until', '-'),
            start.get('ended', 'killed, or still running'),
            f'{start["steps"]:,} of {start["of"]:,}' if 'steps' in start else '-',
            start.get('images_replaced', 0),
        ]
        for start in starts
    ]
    return [table(['started', 'until', 'ended', 'steps', 'unreadable images'], rows)]


def _left_out(history: Sequence[Record]) -> List[Block]:
    skipped = [record for record in history if 'skipped' in record]
    if not skipped:
        return [paragraph('No step was left out.')]
    rows = [[f'{record["step"]:,}', record['skipped']] for record in skipped[:SHOWN]]
    more = f', the first {SHOWN}' if len(skipped) > SHOWN else ''
    return [table(['step', 'left out because'], rows, f'{len(skipped):,} steps were left out{more}')]


def _changed(cfg: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the presets, and the keys whose values are not theirs."""
    presets = {key: cfg.get(key) for key in PRESETS}
    try:
        usual: Mapping[str, Any] = resolve(*(presets[key] or None for key in PRESETS))
    except FaceSymbolsError:  # the config of another version
        usual = {}
    changed = {key: value for key, value in cfg.items() if _plain(usual.get(key, usual)) != _plain(value)}
    return {**presets, **changed}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _flat(start: Start) -> Dict[str, Any]:
    """Return what a start says, one value in a row."""
    flat: Dict[str, Any] = {}
    for key, value in start.items():
        if isinstance(value, dict):
            flat.update({f'{key}: {name}': inner for name, inner in value.items()})
        else:
            flat[key] = ' '.join(map(str, value)) if isinstance(value, list) else value
    return flat
