"""The public names of every room, and the imports that users have in their programs today."""

from __future__ import annotations

import importlib

import pytest

from tests.helpers.source import TREES

ROOMS = sorted(m[: -len('.__init__')] for m in TREES if m.endswith('.__init__') and not m.startswith('tools'))
STABLE = {
    'config': 'Config ConfigError CheckpointError DataError MissingExtra complete config default generate_config '
    'network dataset loss resolve',
    'symbols': 'get_symbol get_block list_backbones list_heads list_activations',
    'symbols.audit': 'audit audit_block Audit Layer',
    'symbols.graph': 'build_graph',
    'symbols.passes': 'optimize',
    'symbols.optimize': 'optimize',
    'recognition.train': 'train TrainResult main',
    'recognition.embed': 'Embedder Settings',
    'recognition.predict': 'Predictor Prediction',
    'recognition.quantize': 'quantize',
    'recognition.cleaning': 'clean write_cleaned',
    'recognition.data': 'FaceDataset JoinedDataset FaceLoader open_faces split_path Augmentation load_bin read_pairs '
    'write_records write_pairs',
    'recognition.data.validation': 'check_data ValidationReport',
    'recognition.losses': 'build_loss has_classifier ArcFace CosFace CombinedMargin NormalizedSoftmax Softmax AdaFace '
    'MagFace CurricularFace Triplet AngularTriplet',
    'recognition.verification': 'verify embed normalise Verification load_bin verify_templates identify '
    'template_embeddings',
    'recognition.weights': 'load_weights read_arcface_torch read_keras convert Report',
    'recognition.export': 'export_onnx export_ncnn export_optimized Options Check read_metadata check_origin '
    'export_pytorch export_safetensors export_keras',
    'recognition.checkpoint': 'load_network load_embedding save_network Saved TrainingState load_state',
    'recognition.classifier': 'build_classifier Classifier PartialFC',
    'recognition.engines': 'ENGINES Engine',
    'recognition.embedding': 'open_engine save_embeddings load_embeddings Gallery',
    'recognition.optim': 'build_optimizer build_schedule AdamW NAG KernelL2',
    'recognition.distributed': 'Job Plan KVStoreGroup',
    'recognition.training': 'Trainer Loop StepResult',
    'recognition.reports': 'print_summary print_audit audit_report roc_picture',
    'recognition.drawing': 'write_picture write_page',
    'recognition.summary': 'print_summary',
    'recognition.regularizer': 'KernelL2',
    'recognition.commands': 'main',
    'recognition.cli': 'run',
}


@pytest.mark.parametrize('module', STABLE)
def test_what_users_import_today_can_be_imported(module):
    found = importlib.import_module(module)
    assert [name for name in STABLE[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_lists_its_public_names(room):
    found = importlib.import_module(room)
    assert len(set(found.__all__)) == len(found.__all__)
    assert [name for name in found.__all__ if not hasattr(found, name)] == []
    missing = {*STABLE.get(room, '').split()} - {*found.__all__} - {'main'}
    assert missing == set()


def test_an_alias_is_the_thing_itself():
    for alias, name, place in (
        ('recognition.summary', 'print_summary', 'recognition.reports'),
        ('recognition.regularizer', 'KernelL2', 'recognition.optim'),
        ('symbols.optimize', 'optimize', 'symbols.passes'),
    ):
        held = [getattr(importlib.import_module(module), name) for module in (alias, place)]
        assert held[0] is held[1]
