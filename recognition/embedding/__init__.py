"""Embedding at speed: the choice of an engine, batching, saved embeddings, galleries; free of mxnet."""

from __future__ import annotations

from recognition.embedding.engine_choice import check_engine, open_engine
from recognition.embedding.gallery import Gallery
from recognition.embedding.storage import load_embeddings, save_embeddings

__all__ = ['Gallery', 'check_engine', 'load_embeddings', 'open_engine', 'save_embeddings']
