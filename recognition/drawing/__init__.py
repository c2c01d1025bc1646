"""Pictures of a network: SVG, PNG, PDF, DOT and web pages."""

from __future__ import annotations

from recognition.drawing.render import write_picture
from recognition.drawing.web_page import write_page

__all__ = ['write_page', 'write_picture']
