"""Deprecated alias of `recognition.reports.print_summary`, for one release."""

from recognition.reports.summary import print_summary

__all__ = ['print_summary']
