"""ONNX files of networks here, rewritten as other exporters have them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from recognition.export.onnx_export import Options, export_onnx


def exported(prefix, path, image_shape, **options):
    """Export a checkpoint of epoch 1, and return the model."""
    export_onnx(prefix, 1, path, options=Options(**options), image_shape=image_shape)
    return onnx.load(str(path))


def bare(model):
    """Drop the metadata."""
    del model.metadata_props[:]
    return model


def outside(model):
    """Leave the pixels to the caller: drop what comes before the first layer."""
    nodes = model.graph.node
    while nodes[0].op_type in ('Sub', 'Mul'):
        for node in nodes[1:]:
            node.input[:] = ['data' if name == nodes[0].output[0] else name for name in node.input]
        del nodes[0]
    return model


def arrays(model):
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def put(model, **changes):
    """Replace initializers, or add them."""
    held = {**arrays(model), **changes}
    del model.graph.initializer[:]
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in held.items())
    return model


def fold(model):
    """Multiply each batch norm into the convolution or dense layer before it, where nothing else reads that."""
    nodes, held = model.graph.node, arrays(model)
    readers = Counter(name for node in nodes for name in node.input)
    makers = {node.output[0]: node for node in nodes}
    for norm in [node for node in nodes if node.op_type == 'BatchNormalization']:
        layer = makers.get(norm.input[0])
        if layer is None or layer.op_type not in ('Conv', 'Gemm') or readers[norm.input[0]] != 1:
            continue
        gamma, beta, mean, variance = (held[name].astype(np.float64) for name in norm.input[1:])
        factor = gamma / np.sqrt(variance + norm.attribute[0].f)
        weight = held[layer.input[1]]
        held[layer.input[1]] = (weight.T * factor).T.astype(np.float32)
        bias = held[layer.input[2]] if len(layer.input) > 2 else np.zeros(len(mean))
        del layer.input[2:]
        layer.input.append(f'{norm.name}_folded')
        held[layer.input[2]] = (beta + (bias - mean) * factor).astype(np.float32)
        layer.output[0] = norm.output[0]
        nodes.remove(norm)
    return put(model, **held)


def numbered(model):
    """Call every tensor and node by a number, as torch.onnx does."""
    ports = {each.name for each in (*model.graph.input, *model.graph.output)}
    names: dict = {}

    def number(name):
        return name if name in ports or not name else names.setdefault(name, str(len(names) + 300))

    for node in model.graph.node:
        node.input[:], node.output[:] = map(number, node.input), map(number, node.output)
        node.name = f'{node.op_type}_{number(node.output[0])}'
    for each in model.graph.initializer:
        each.name = number(each.name)
    return model


def spelled_out(model):
    """Write constants as nodes, Gemm as MatMul and Add, Flatten as a Reshape to a computed shape, with an Identity."""
    held, nodes = arrays(model), []
    for node in model.graph.node:
        (output,) = node.output
        if node.op_type == 'Flatten':
            made = [
                helper.make_node('Shape', [node.input[0]], [f'{output}_shape']),
                helper.make_node('Gather', [f'{output}_shape', 'zero'], [f'{output}_count'], axis=0),
                helper.make_node('Unsqueeze', [f'{output}_count', 'axes'], [f'{output}_counts']),
                helper.make_node('Concat', [f'{output}_counts', 'rest'], [f'{output}_sizes'], axis=0),
                helper.make_node('Reshape', [node.input[0], f'{output}_sizes'], [output]),
            ]
        elif node.op_type == 'Gemm':
            data, weight, bias = node.input
            made = [
                helper.make_node('Transpose', [weight], [f'{weight}_turned'], perm=[1, 0]),
                helper.make_node('MatMul', [data, f'{weight}_turned'], [f'{output}_product']),
                helper.make_node('Add', [bias, f'{output}_product'], [f'{output}_sum']),
                helper.make_node('Identity', [f'{output}_sum'], [output]),
            ]
        else:
            made = [node]
        nodes += made
    held.update(zero=np.int64(0), axes=np.int64([0]), rest=np.int64([-1]))
    constants = [
        helper.make_node('Constant', [], [name], value=numpy_helper.from_array(np.asarray(value)))
        for name, value in held.items()
    ]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend([*constants, *nodes])
    return model


def save(model, path):
    """Write a model that onnx takes, and return its path."""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def run(path, images):
    """Return what onnxruntime gives for images (N, C, H, W), or (N, H, W, C), as the file takes them."""
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, {session.get_inputs()[0].name: images})[0]
