"""Reports: audits as tables, HTML pages, curves."""

from __future__ import annotations

from recognition.reports.audit import audit_report, print_audit
from recognition.reports.plots import roc_picture, training_picture
from recognition.reports.summary import print_summary

__all__ = ['audit_report', 'print_audit', 'print_summary', 'roc_picture', 'training_picture']
