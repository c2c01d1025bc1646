"""Face verification and identification: the LFW protocol, templates, ROC curves; free of mxnet."""

from __future__ import annotations

from recognition.data.pair_sets import load_bin
from recognition.verification.lfw import Verification, embed, normalise, verify
from recognition.verification.templates import identify, template_embeddings, verify_templates

__all__ = [
    'Verification',
    'embed',
    'identify',
    'load_bin',
    'normalise',
    'template_embeddings',
    'verify',
    'verify_templates',
]
