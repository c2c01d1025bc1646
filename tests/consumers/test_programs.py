"""What other programs make of exported networks: MXNet's embeddings of the same faces, by their usual calls."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from .conftest import least

PRESETS = ('r18', 'r50', 'y1', 'd121')
BATCH = 10
SIZE = (112, 112)
MEAN, SCALE = {'inside': 0.0, 'outside': 127.5}, {'inside': 1.0, 'outside': 1 / 127.5}
LEAST = 0.99999


def planes(faces, pixels):
    """As arrays are given to a network: float32 (N, 3, 112, 112) in RGB."""
    return (faces.transpose(0, 3, 1, 2).astype(np.float32) - MEAN[pixels]) * SCALE[pixels]


def bgr(faces):
    return [np.ascontiguousarray(face[..., ::-1]) for face in faces]


def insightface(path, pixels, folder):
    """It decides by itself which pixels a file takes."""
    from insightface.model_zoo import get_model

    model = get_model(str(path), providers=['CPUExecutionProvider'])
    return lambda faces: model.get_feat(bgr(faces))


def insightface_aligned(path, pixels, folder):
    """As its FaceAnalysis does once a face is detected, with faces at twice the size in larger images."""
    from insightface.app.common import Face
    from insightface.model_zoo import get_model
    from insightface.utils.face_align import arcface_dst

    model = get_model(str(path), providers=['CPUExecutionProvider'])

    def embed(faces):
        rows = []
        for face in bgr(faces):
            photograph = np.full((300, 320, 3), 90, np.uint8)
            photograph[40:264, 56:280] = face.repeat(2, axis=0).repeat(2, axis=1)
            detected = Face(bbox=np.array([56.0, 40, 280, 264]), kps=arcface_dst * 2 + (56, 40))
            rows.append(model.get(photograph, detected))
        return np.stack(rows)

    return embed


def uniface(path, pixels, folder):
    from uniface.recognition import arcface
    from uniface.recognition.base import PreprocessConfig

    arcface.verify_model_weights = lambda name: str(path)  # which would download its own
    config = None if pixels == 'outside' else PreprocessConfig(input_mean=0.0, input_std=1.0)
    model = arcface.ArcFace(preprocessing=config, providers=['CPUExecutionProvider'])
    return lambda faces: np.concatenate([model.get_embedding(face) for face in bgr(faces)])


def opencv(path, pixels, folder):
    net = cv2.dnn.readNetFromONNX(str(path))

    def embed(faces):
        net.setInput(
            cv2.dnn.blobFromImages(bgr(faces), SCALE[pixels], SIZE, (MEAN[pixels],) * 3, swapRB=True)
        )
        return net.forward().copy()

    return embed


def onnxruntime(path, pixels, folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return lambda faces: session.run(None, {session.get_inputs()[0].name: planes(faces, pixels)})[0]


def openvino(path, pixels, folder):
    """With its own preprocessing of decoded images put in front."""
    from openvino import Core, Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    core = Core()
    steps = PrePostProcessor(core.read_model(path))
    tensor = steps.input().tensor()
    tensor.set_element_type(Type.u8).set_layout(Layout('NHWC')).set_color_format(ColorFormat.BGR)
    steps.input().model().set_layout(Layout('NCHW'))
    order = steps.input().preprocess().convert_element_type(Type.f32).convert_color(ColorFormat.RGB)
    order.mean(MEAN[pixels]).scale(1 / SCALE[pixels])
    model = core.compile_model(steps.build(), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    return lambda faces: np.array(model(np.stack(bgr(faces)))[0])


def ncnn(path, pixels, folder):
    """Converted by pnnx, as its documentation has it."""
    import ncnn
    import pnnx

    program = Path(pnnx.__file__).with_name('pnnx')
    (folder / 'net.onnx').write_bytes(path.read_bytes())
    words = [str(program), 'net.onnx', 'inputshape=[1,3,112,112]', 'fp16=0']
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    net = ncnn.Net()
    net.opt.use_bf16_storage = net.opt.use_fp16_storage = net.opt.use_fp16_packed = False
    net.load_param(str(folder / 'net.ncnn.param'))
    net.load_model(str(folder / 'net.ncnn.bin'))

    def embed(face):
        image = ncnn.Mat.from_pixels(face, ncnn.Mat.PixelType.PIXEL_BGR2RGB, *SIZE)
        image.substract_mean_normalize([MEAN[pixels]] * 3, [SCALE[pixels]] * 3)
        extractor = net.create_extractor()
        extractor.input('in0', image)
        return np.array(extractor.extract('out0')[1])

    return lambda faces: np.stack([embed(face) for face in bgr(faces)])


CONVERT = 'import sys, _tools; _tools.mnnconvert(["mnnconvert", *sys.argv[1:]])'


def mnn(path, pixels, folder):
    """Converted by what its mnnconvert calls; that program itself installs a package and reports to its maker."""
    import MNN

    out = folder / 'net.mnn'
    words = ['-f', 'ONNX', '--modelFile', str(path), '--MNNModel', str(out), '--bizCode', 'facesymbols']
    command = [sys.executable, '-c', f'import MNN; {CONVERT}', *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # it leaves a file where it runs
    module = MNN.nn.load_module_from_file(str(out), ['data'], ['embedding'])

    def embed(faces):
        data = planes(faces, pixels)
        found = module.forward([MNN.expr.const(data, list(data.shape), MNN.expr.NCHW, MNN.expr.float)])[0]
        return np.array(MNN.expr.convert(found, MNN.expr.NCHW).read())

    return embed


def onnx2torch(path, pixels, folder):
    import torch

    for name in ('torchvision', 'torchvision.ops'):  # wanted for detectors alone, and by PyPI for CUDA alone
        sys.modules.setdefault(name, ModuleType(name)).roi_align = None
    from onnx2torch import convert

    module = convert(str(path)).eval()

    def embed(faces):
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(planes(faces, pixels)))).numpy()

    return embed


# Which pixels each program's usual calls give.
PROGRAMS = {
    insightface: 'inside',
    insightface_aligned: 'inside',
    uniface: 'outside',
    opencv: 'outside',
    onnxruntime: 'inside',
    openvino: 'outside',
    ncnn: 'outside',
    mnn: 'outside',
    onnx2torch: 'inside',
}


def cosines(found, wanted):
    one, other = (each.astype(np.float64) for each in (found, wanted))
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def in_batches(embed, faces):
    return np.concatenate([embed(faces[start : start + BATCH]) for start in range(0, len(faces), BATCH)])


def assert_embedded(program, preset, form, models, held, folder):
    embed = program(models / f'{preset}-{form}.onnx', form.partition('-')[0], folder)
    found = cosines(in_batches(embed, held['faces']), held[preset])
    key = program.__name__, preset
    least[key] = min(found.min(), least.get(key, 1))
    assert len(found) == 100
    assert found.min() >= LEAST


@pytest.mark.parametrize('fold', ['', '-fold'])
@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('program', PROGRAMS)
def test_the_embeddings_are_mxnets(program, preset, fold, models, held, tmp_path):
    assert_embedded(program, preset, PROGRAMS[program] + fold, models, held, tmp_path)


@pytest.mark.parametrize('program', PROGRAMS)
def test_with_the_other_pixels(program, models, held, tmp_path):
    """Which insightface finds by itself, and the others are told."""
    other = {'inside': 'outside', 'outside': 'inside'}[PROGRAMS[program]]
    for fold in ('', '-fold'):
        assert_embedded(program, 'y1', other + fold, models, held, tmp_path)


def test_wrong_pixels_and_wrong_channels_are_seen(models, held, tmp_path):
    """The faces and networks here would show them."""
    few = held['faces'][:BATCH]
    for preset in PRESETS:
        embed = partial(onnxruntime, models / f'{preset}-inside.onnx')
        for pixels, faces in (('outside', few), ('inside', few[..., ::-1])):
            found = cosines(embed(pixels, tmp_path)(faces), held[preset][:BATCH])
            assert found.max() < 0.999
