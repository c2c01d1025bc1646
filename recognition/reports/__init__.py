"""Reports: audits as tables, HTML pages, curves."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recognition.reports.plots import roc_picture, training_picture

if TYPE_CHECKING:
    from recognition.reports.audit import audit_report, print_audit
    from recognition.reports.summary import print_summary

__all__ = ['audit_report', 'print_audit', 'print_summary', 'roc_picture', 'training_picture']

# Imported when they are asked for: an audit needs mxnet, curves do not.
_FILES = {'audit_report': 'audit', 'print_audit': 'audit', 'print_summary': 'summary'}


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f'{__name__}.{_FILES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
