"""The true size of a network: parameters, multiply-accumulates, memory."""

from __future__ import annotations

from symbols.audit.core import AUXILIARY, FIXED, TRAINABLE, Audit, Layer, Parameter, Total, audit, audit_block
from symbols.audit.flops import count_macs
from symbols.audit.memory import Memory, estimate_memory
from symbols.audit.print_summary_check import SummaryCheck, check_summary

__all__ = [
    'AUXILIARY',
    'FIXED',
    'TRAINABLE',
    'Audit',
    'Layer',
    'Memory',
    'Parameter',
    'SummaryCheck',
    'Total',
    'audit',
    'audit_block',
    'check_summary',
    'count_macs',
    'estimate_memory',
]
