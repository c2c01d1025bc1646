"""MXNet's operators that make maps larger or smaller, a rule for each as in `recognition.export.onnx.layers`."""

from __future__ import annotations

from typing import Dict

import numpy as np

from recognition.export.onnx.builder import Call, Dims, Draft, Steps, known
from recognition.export.onnx.layers import Rule


def _up_sampling(draft: Draft, call: Call) -> str:
    """Repeat the pixels of each map up to the size of the output, or convolve transposed by the weight given."""
    if call.get('sample_type') == 'bilinear':
        return _transposed(draft, call)
    joined = call.get('multi_input_mode', 'concat')

    def formula(do: Steps, *maps: str) -> str:
        near = {'mode': 'nearest', 'coordinate_transformation_mode': 'asymmetric', 'nearest_mode': 'floor'}
        wide = [
            do('Resize', each, '', _scales(dims, call.outputs[0]), **near)
            for each, dims in zip(maps, call.shapes)
        ]
        if len(wide) == 1:
            return wide[0]
        return do('Sum', *wide) if joined == 'sum' else do('Concat', *wide, axis=1)

    return draft.finish(call, formula)


def _transposed(draft: Draft, call: Call) -> str:
    """Convolve each channel transposed, with the kernel, stride and padding that MXNet makes of the scale."""
    scale, channels = call.get('scale'), call.shapes[0][1]
    pads = [-(-(scale - 1) // 2)] * 4
    return draft.operator(
        'ConvTranspose', call.inputs, call.name, strides=[scale] * 2, pads=pads, group=channels
    )


def _bilinear(draft: Draft, call: Call) -> str:
    """Interpolate between pixels, with the outermost ones on each other or half a pixel inside."""
    # pytorch_half_pixel, as MXNet, takes the first pixel where there is to be one alone
    where = 'align_corners' if call.flag('align_corners', True) else 'pytorch_half_pixel'
    scales = _scales(call.shapes[0], call.outputs[0])
    return draft.finish(
        call,
        lambda do, x: do('Resize', x, '', scales, mode='linear', coordinate_transformation_mode=where),
        call.inputs[0],
    )


def _scales(dims: Dims, wanted: Dims) -> np.ndarray:
    """Return factors for each axis; their product with the sides, rounded down, is what is wanted."""
    sides, sizes = (np.array([1, 1, *known(each[2:])]) for each in (dims, wanted))
    exact = (sizes / sides).astype(np.float32)
    return np.where(exact.astype(np.float64) * sides < sizes, np.nextafter(exact, np.float32(np.inf)), exact)


RESIZING: Dict[str, Rule] = {
    'UpSampling': _up_sampling,
    '_contrib_BilinearResize2D': _bilinear,
}
