"""Every fault of a data set in one pass."""

from __future__ import annotations

from recognition.data.validation.dataset import Checked, check_data
from recognition.data.validation.report import ValidationReport

__all__ = ['Checked', 'ValidationReport', 'check_data']
