"""Multiply-accumulates of one forward pass, operator by operator.

One multiply-accumulate (MAC) is a multiplication whose product is added to a running sum; "FLOPs" in this
project always means MACs. A bias is added, not multiplied, and costs nothing. By convention element-wise
arithmetic, activations, normalisation, pooling, reductions, look-ups and reshaping count 0 (`FREE`): their
work grows with the activations, not with activations times weights. An operator that is in neither table has
an unknown cost, which is reported as None and never as 0.

The names are MXNet's canonical operator names, as `Symbol.tojson` writes them.
"""

from __future__ import annotations

from math import prod
from typing import Callable, Mapping, Optional, Sequence, Tuple

from symbols.ir.nodes import Attributes, flag

Shape = Tuple[int, ...]
Rule = Callable[[Attributes, Sequence[Shape], Sequence[Shape]], int]


def _convolution(weight: int) -> Rule:
    """Return the rule of a convolution whose weight is input `weight` (filters first, in every layout)."""

    def rule(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
        return prod(outputs[0]) * prod(inputs[weight][1:])

    return rule


def _deconvolution(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    # every input value meets one whole filter; the weight's first axis is the input channel in every layout
    return prod(inputs[0]) * prod(inputs[1][1:])


def _fully_connected(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return prod(outputs[0]) * inputs[1][1]


def _dot(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return prod(outputs[0]) * inputs[0][0 if flag(attributes, 'transpose_a', False) else -1]


def _batch_dot(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return prod(outputs[0]) * inputs[0][-2 if flag(attributes, 'transpose_a', False) else -1]


def _gemm(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    rows = int(attributes.get('axis', '-2'))
    return prod(outputs[0]) * inputs[0][rows if flag(attributes, 'transpose_a', False) else -1]


def _syrk(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return prod(outputs[0]) * inputs[0][-2 if flag(attributes, 'transpose', False) else -1]


def _upsampling(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    if attributes.get('sample_type') != 'bilinear':
        return 0
    return _deconvolution(
        attributes, inputs, outputs
    )  # mxnet runs it as one, with its weight as second input


GATES = {'rnn_relu': 1, 'rnn_tanh': 1, 'lstm': 4, 'gru': 3}


def _rnn(attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    steps, batch, width = inputs[0]
    hidden = int(attributes['state_size'])
    projection = attributes.get('projection_size', 'None')
    state = hidden if projection == 'None' else int(projection)
    directions = 2 if flag(attributes, 'bidirectional', False) else 1
    weights = 0
    for _ in range(int(attributes['num_layers'])):
        cell = GATES[attributes['mode']] * hidden * (width + state)
        weights += directions * (cell + (0 if projection == 'None' else hidden * state))
        width = directions * state
    return steps * batch * weights


RULES: Mapping[str, Rule] = {
    'Convolution': _convolution(1),
    'Convolution_v1': _convolution(1),
    '_contrib_DeformableConvolution': _convolution(2),
    '_contrib_ModulatedDeformableConvolution': _convolution(3),
    'Deconvolution': _deconvolution,
    'FullyConnected': _fully_connected,
    'dot': _dot,
    'batch_dot': _batch_dot,
    '_linalg_gemm': _gemm,
    '_linalg_gemm2': _gemm,
    '_linalg_syrk': _syrk,
    'UpSampling': _upsampling,
    'RNN': _rnn,
}

_ELEMENTWISE = """
    elemwise_add elemwise_sub elemwise_mul elemwise_div add_n _grad_add
    _plus_scalar _minus_scalar _rminus_scalar _mul_scalar _div_scalar _rdiv_scalar _mod_scalar _rmod_scalar
    _power _power_scalar _rpower_scalar _hypot _hypot_scalar _mod
    _maximum _minimum _maximum_scalar _minimum_scalar
    _equal _not_equal _greater _greater_equal _lesser _lesser_equal _logical_and _logical_or _logical_xor
    _equal_scalar _not_equal_scalar _greater_scalar _greater_equal_scalar _lesser_scalar _lesser_equal_scalar
    _logical_and_scalar _logical_or_scalar _logical_xor_scalar
    broadcast_add broadcast_sub broadcast_mul broadcast_div broadcast_mod broadcast_power broadcast_hypot
    broadcast_maximum broadcast_minimum broadcast_equal broadcast_not_equal broadcast_greater
    broadcast_greater_equal broadcast_lesser broadcast_lesser_equal
    broadcast_logical_and broadcast_logical_or broadcast_logical_xor
    abs sign negative reciprocal square sqrt rsqrt cbrt rcbrt exp expm1 log log10 log2 log1p
    round rint ceil floor trunc fix clip sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh
    arctanh degrees radians erf erfinv gamma gammaln logical_not smooth_l1 where
    _npi_add _npi_subtract _npi_multiply _npi_true_divide _npi_add_scalar _npi_subtract_scalar
    _npi_rsubtract_scalar _npi_multiply_scalar _npi_true_divide_scalar _npi_rtrue_divide_scalar
    _npi_exp _npi_log _npi_sqrt _npi_square _npi_tanh _npi_negative _npi_absolute _contrib_div_sqrt_dim
"""
_ACTIVATION = """
    Activation LeakyReLU relu sigmoid hard_sigmoid softsign _npx_relu _npx_sigmoid
    softmax softmin log_softmax SoftmaxActivation Dropout
"""
_NORMALISATION = """
    BatchNorm BatchNorm_v1 _contrib_SyncBatchNorm _contrib_BatchNormWithReLU
    LayerNorm InstanceNorm GroupNorm L2Normalization LRN _image_normalize
"""
_POOLING_AND_REDUCTION = """
    Pooling Pooling_v1 _contrib_AdaptiveAvgPooling2D ROIPooling _contrib_ROIAlign
    sum mean max min prod nansum nanprod norm moments argmax argmin argmax_channel _square_sum
    topk sort argsort _np_cumsum _np_sum _np_max _np_min _npi_mean
"""
_SHAPE_AND_COPY = """
    Flatten Reshape reshape_like expand_dims squeeze transpose SwapAxis slice slice_axis slice_like
    SliceChannel _split_v2 Concat _rnn_param_concat stack tile repeat reverse Pad Crop broadcast_to
    broadcast_axis broadcast_like depth_to_space space_to_depth diag im2col col2im Cast amp_cast amp_multicast
    cast_storage _copy BlockGrad _copyto _CrossDeviceCopy _identity_with_attr_like_rhs shape_array size_array
    _npx_reshape _np_transpose _npi_concatenate _np_squeeze _np_copy SequenceMask SequenceLast SequenceReverse
"""
_LOOKUP_AND_CONSTANT = """
    Embedding _contrib_SparseEmbedding take batch_take pick gather_nd scatter_nd one_hot
    _zeros _ones _full _arange _linspace _eye zeros_like ones_like _contrib_arange_like _zeros_without_dtype
    _random_uniform _random_normal _random_uniform_like _random_normal_like
"""
_LOSS = """
    SoftmaxOutput LinearRegressionOutput LogisticRegressionOutput MAERegressionOutput SVMOutput MakeLoss
    make_loss softmax_cross_entropy CTCLoss IdentityAttachKLSparseReg
"""

FREE = frozenset(
    ' '.join(
        (
            _ELEMENTWISE,
            _ACTIVATION,
            _NORMALISATION,
            _POOLING_AND_REDUCTION,
            _SHAPE_AND_COPY,
            _LOOKUP_AND_CONSTANT,
            _LOSS,
        )
    ).split()
)


def count_macs(
    operator: str, attributes: Attributes, inputs: Sequence[Shape], outputs: Sequence[Shape]
) -> Optional[int]:
    """Return the multiply-accumulates of one operator, 0 for those in `FREE`, None for one without a rule.

    `inputs` and `outputs` are the full shapes, batch axis and parameters included, for the count of
    that batch.
    """
    if operator in FREE:
        return 0
    rule = RULES.get(operator)
    return None if rule is None else rule(attributes, inputs, outputs)
