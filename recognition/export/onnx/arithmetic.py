"""MXNet's arithmetic in ONNX, a rule for each as in `recognition.export.onnx.layers`."""

from __future__ import annotations

from functools import partial
from math import log, pi, sqrt
from typing import Any, Dict, List, Union

import numpy as np

from recognition.export.onnx.builder import BOOL, FLOAT, Call, Draft, Formula, Steps
from recognition.export.onnx.layers import Rule, scalar


def _same(draft: Draft, call: Call) -> str:
    """Leave out an operator that changes nothing outside of training."""
    return call.inputs[0]


def _dropout(draft: Draft, call: Call) -> str:
    if call.get('mode', 'training') != 'training':
        raise call.refuse('it drops values outside of training, too')
    return call.inputs[0]


def _elementwise(function: Union[str, Formula], draft: Draft, call: Call) -> str:
    if isinstance(function, str):
        return draft.operator(function, call.inputs, call.name)
    return draft.finish(call, function)


def _scalar(function: Union[str, Formula], draft: Draft, call: Call, *, first: bool = False) -> str:
    """Compute a function of a tensor and a number; first: the number is the left one."""
    (data,), number = call.inputs, float(call.get('scalar'))
    if isinstance(function, str):
        return scalar(draft, function, data, number, call.name, first=first)
    held = draft.constant(f'{call.name}_scalar', number)
    return draft.finish(call, function, *((held, data) if first else (data, held)))


def _float(formula: Formula) -> Formula:
    """Give what is true or false as 1 or 0, as MXNet does."""
    return lambda do, *inputs: do('Cast', formula(do, *inputs), to=FLOAT)


def _compare(op: str) -> Formula:
    return _float(lambda do, a, b: do(op, a, b))


def _logical(op: str) -> Formula:
    return _float(lambda do, *inputs: do(op, *(do('Cast', each, to=BOOL) for each in inputs)))


def _mod(do: Steps, a: str, b: str) -> str:
    """Return the rest, which has the sign of the divisor, not of the dividend as ONNX's."""
    rest = do('Mod', a, b, fmod=1)
    return do('Where', do('Less', do('Mul', rest, b), 0.0), do('Add', rest, b), rest)


def _hypot(do: Steps, a: str, b: str) -> str:
    return do('Sqrt', do('Add', do('Mul', a, a), do('Mul', b, b)))


# of two tensors, or one and a number
BINARY: Dict[str, Union[str, Formula]] = {
    **{'add': 'Add', 'sub': 'Sub', 'mul': 'Mul', 'div': 'Div'},
    **{'maximum': 'Max', 'minimum': 'Min', 'power': 'Pow', 'mod': _mod, 'hypot': _hypot},
    **{'equal': _compare('Equal'), 'greater': _compare('Greater'), 'lesser': _compare('Less')},
    **{'greater_equal': _compare('GreaterOrEqual'), 'lesser_equal': _compare('LessOrEqual')},
    'not_equal': _float(lambda do, a, b: do('Not', do('Equal', a, b))),
    **{f'logical_{word.lower()}': _logical(word) for word in ('And', 'Or', 'Xor')},
}
TENSORS = {word: f'elemwise_{word}' for word in ('add', 'sub', 'mul', 'div')}  # all others: _word
NUMBERS = {'add': 'plus', 'sub': 'minus'}
REFLECTED = ('sub', 'div', 'power', 'mod')


def _cube_root(do: Steps, data: str) -> str:
    return do('Mul', do('Sign', data), do('Pow', do('Abs', data), 1 / 3))


def _round(do: Steps, data: str) -> str:
    """Round halves away from zero, where ONNX rounds them to the even number."""
    size = do('Abs', data)
    whole = do('Floor', size)
    up = do('Cast', do('GreaterOrEqual', do('Sub', size, whole), 0.5), to=FLOAT)
    return do('Mul', do('Sign', data), do('Add', whole, up))


def _rint(do: Steps, data: str) -> str:
    """Round halves down."""
    whole = do('Floor', data)
    return do('Add', whole, do('Cast', do('Greater', do('Sub', data, whole), 0.5), to=FLOAT))


def _truncate(do: Steps, data: str) -> str:
    return do('Mul', do('Sign', data), do('Floor', do('Abs', data)))


UNARY: Dict[str, Union[str, Formula]] = {
    **{'relu': 'Relu', 'sigmoid': 'Sigmoid', 'tanh': 'Tanh', 'softsign': 'Softsign', 'erf': 'Erf'},
    **{'sqrt': 'Sqrt', 'exp': 'Exp', 'log': 'Log', 'abs': 'Abs', 'negative': 'Neg', 'add_n': 'Sum'},
    **{'sign': 'Sign', 'floor': 'Floor', 'ceil': 'Ceil', 'reciprocal': 'Reciprocal'},
    **{'_contrib_sign_ste': 'Sign', 'sin': 'Sin', 'cos': 'Cos', 'tan': 'Tan'},
    **{'arcsin': 'Asin', 'arccos': 'Acos', 'arctan': 'Atan', 'sinh': 'Sinh', 'cosh': 'Cosh'},
    **{'arcsinh': 'Asinh', 'arccosh': 'Acosh', 'arctanh': 'Atanh'},
    'square': lambda do, x: do('Mul', x, x),
    'rsqrt': lambda do, x: do('Reciprocal', do('Sqrt', x)),
    'cbrt': _cube_root,
    'rcbrt': lambda do, x: do('Reciprocal', _cube_root(do, x)),
    'log2': lambda do, x: do('Mul', do('Log', x), 1 / log(2)),
    'log10': lambda do, x: do('Mul', do('Log', x), 1 / log(10)),
    'log1p': lambda do, x: do('Log', do('Add', x, 1.0)),
    'expm1': lambda do, x: do('Sub', do('Exp', x), 1.0),
    'degrees': lambda do, x: do('Mul', x, 180 / pi),
    'radians': lambda do, x: do('Mul', x, pi / 180),
    **dict.fromkeys(('round', '_contrib_round_ste'), _round),
    'rint': _rint,
    **dict.fromkeys(('fix', 'trunc'), _truncate),
    'logical_not': _logical('Not'),
    'hard_sigmoid': lambda do, x: do(
        'HardSigmoid', x, alpha=float(do.call.get('alpha', 0.2)), beta=float(do.call.get('beta', 0.5))
    ),
    '_contrib_div_sqrt_dim': lambda do, x: do('Div', x, sqrt(do.call.shapes[0][-1] or 1)),
}


def _clip(draft: Draft, call: Call) -> str:
    bounds = [draft.constant(f'{call.name}_{key}', np.float32(call.get(key))) for key in ('a_min', 'a_max')]
    return draft.operator('Clip', [*call.inputs, *bounds], call.name)


def _normalise(draft: Draft, call: Call) -> str:
    """Subtract the mean of each channel and divide by its deviation, (N, C, H, W) to the same."""
    values = {key: np.expand_dims(call.get(key), (-2, -1)) for key in ('mean', 'std')}
    mean, deviation = (draft.constant(f'{call.name}_{key}', value) for key, value in values.items())
    centred = draft.operator('Sub', [*call.inputs, mean], f'{call.name}_centred')
    return draft.operator('Div', [centred, deviation], call.name)


def _axes(call: Call) -> List[int]:
    """Return the axes that a reduction is over."""
    count, given = len(call.shapes[0]), call.get('axis')
    axes = list(range(count)) if given in (None, ()) else [given] if isinstance(given, int) else list(given)
    if call.flag('exclude'):
        axes = [axis for axis in range(count) if axis not in {each % count for each in axes}]
    return axes


def _reduce(op: str, draft: Draft, call: Call, *, axes_read: bool = False) -> str:
    """Reduce over the axes; MXNet keeps one axis where all are reduced. axes_read: ONNX takes them as an input."""
    axes, keep = _axes(call), call.flag('keepdims')
    whole = not keep and len(axes) == len(call.shapes[0])
    name = f'{call.name}_whole' if whole else call.name
    if axes_read:
        over = draft.constant(f'{call.name}_axes', axes, np.int64)
        reduced = draft.operator(op, [*call.inputs, over], name, keepdims=int(keep))
    else:
        reduced = draft.operator(op, call.inputs, name, axes=axes, keepdims=int(keep))
    return draft.reshape(call, reduced, (1,), call.name) if whole else reduced


def _norm(draft: Draft, call: Call) -> str:
    return _reduce({1: 'ReduceL1', 2: 'ReduceL2'}[call.get('ord', 2)], draft, call)


def _index(op: str, draft: Draft, call: Call) -> str:
    """Return where the largest or smallest value is, the first of equal ones, as float32."""
    axis, keep = call.get('axis'), call.flag('keepdims')
    if axis is None and keep:
        raise call.refuse('it finds one index among all values and keeps their axes')

    def formula(do: Steps, data: str) -> str:
        searched = do('Reshape', data, [-1]) if axis is None else data
        return do('Cast', do(op, searched, axis=axis or 0, keepdims=int(keep or axis is None)), to=FLOAT)

    return draft.finish(call, formula)


def _cumulate(draft: Draft, call: Call) -> str:
    if call.get('axis') is None:
        raise call.refuse('it sums up images of the batch with each other')
    return draft.finish(call, lambda do, x: do('CumSum', x, np.int64(call.get('axis'))))


def _dot(draft: Draft, call: Call) -> str:
    """Multiply matrices, or the rows of a tensor by one."""
    axes = [len(shape) for shape in call.shapes]
    if axes[1] != 2 or axes[0] < 2 or (call.flag('transpose_a') and axes[0] > 2):
        raise call.refuse(f'tensors of {axes[0]} and {axes[1]} axes are not supported')
    return draft.finish(call, _product)


def _gemm2(draft: Draft, call: Call) -> str:
    if call.get('axis', -2) != -2:
        raise call.refuse('its matrices are not in the last two axes')
    alpha = float(call.get('alpha', 1))
    return draft.finish(
        call, _product if alpha == 1 else lambda do, a, b: do('Mul', _product(do, a, b), alpha)
    )


def _product(do: Steps, *inputs: str) -> str:
    """Multiply the matrices that the last two axes hold, each turned where it is to be."""
    factors = []
    for each, shape, side in zip(inputs, do.call.shapes, 'ab'):
        *before, rows, columns = range(len(shape))
        turned = do.call.flag(f'transpose_{side}')
        factors.append(do('Transpose', each, perm=[*before, columns, rows]) if turned else each)
    return do('MatMul', *factors)


def _both(rule: Any, table: Dict[str, Union[str, Formula]], names: Dict[str, str]) -> Dict[str, Rule]:
    return {names.get(word, f'_{word}'): partial(rule, function) for word, function in table.items()}


ARITHMETIC: Dict[str, Rule] = {
    **dict.fromkeys(('BlockGrad', 'make_loss', 'MakeLoss', '_contrib_gradientmultiplier'), _same),
    **dict.fromkeys(('LinearRegressionOutput', 'MAERegressionOutput'), _same),
    'LogisticRegressionOutput': lambda draft, call: draft.operator('Sigmoid', call.inputs[:1], call.name),
    'Dropout': _dropout,
    **{word: partial(_elementwise, function) for word, function in UNARY.items()},
    **_both(_elementwise, BINARY, TENSORS),
    **_both(_elementwise, BINARY, {word: f'broadcast_{word}' for word in BINARY}),
    **_both(_scalar, BINARY, {word: f'_{NUMBERS.get(word, word)}_scalar' for word in BINARY}),
    **{
        f'_r{NUMBERS.get(word, word)}_scalar': partial(_scalar, BINARY[word], first=True)
        for word in REFLECTED
    },
    'mean': partial(_reduce, 'ReduceMean'),
    'sum': partial(_reduce, 'ReduceSum', axes_read=True),
    'prod': partial(_reduce, 'ReduceProd'),
    'max': partial(_reduce, 'ReduceMax'),
    'min': partial(_reduce, 'ReduceMin'),
    'norm': _norm,
    'argmax': partial(_index, 'ArgMax'),
    'argmin': partial(_index, 'ArgMin'),
    'argmax_channel': lambda draft, call: draft.finish(
        call, lambda do, x: do('Cast', do('ArgMax', x, axis=1, keepdims=0), to=FLOAT)
    ),
    '_np_cumsum': _cumulate,
    'dot': _dot,
    'batch_dot': lambda draft, call: draft.finish(call, _product),
    '_linalg_gemm2': _gemm2,
    '_image_normalize': _normalise,
    'clip': _clip,
}
