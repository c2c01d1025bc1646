"""What the rules for ONNX are tried on beside the layers: arithmetic, shapes, look-ups, sizes, normalisations."""

from __future__ import annotations

from tests.helpers.onnx_numbers import S, column, data, pool


def positive():
    return S.abs(data()) + 0.5


def halves():
    """Return whole numbers and what lies in the middle between them, where roundings differ."""
    return S.floor(data() * 4) / 2


def ones(*shape):
    return S.ones(shape)


def constant(name, *shape):
    """Return a parameter that is drawn within -1..1."""
    return S.var(name, shape=shape)


def indices():
    """Return (N, 4) numbers of -9..9, out of the range of most axes."""
    return S.mean(data() * 10, axis=(2, 3)) * 3


def within(low, high):
    """Return values of an interval that the logistic function maps the images to."""
    return S.sigmoid(data()) * (high - low) + low


BINARY = ('add', 'sub', 'mul', 'div', 'maximum', 'minimum', 'power', 'mod', 'hypot')
TRUTHS = ('equal', 'not_equal', 'greater', 'greater_equal', 'lesser', 'lesser_equal')
LOGICS = tuple(f'logical_{word}' for word in ('and', 'or', 'xor'))
ELEMENTWISE = {
    **{
        f'broadcast_{word}': lambda w=word: getattr(S, f'broadcast_{w}')(positive(), column() + 2)
        for word in BINARY
    },
    **{
        f'broadcast_{word}': lambda w=word: getattr(S, f'broadcast_{w}')(halves(), S.floor(column() * 8) / 2)
        for word in TRUTHS
    },
    **{
        f'_{word}': lambda w=word: getattr(S._internal, f'_{w}')(positive(), within(1, 2))
        for word in ('maximum', 'minimum', 'power', 'mod', 'hypot')
    },
    **{
        f'_{word}': lambda w=word: getattr(S._internal, f'_{w}')(halves(), S.reverse(halves(), axis=3))
        for word in TRUTHS
    },
    **{
        f'_{word}_scalar': lambda w=word: getattr(S._internal, f'_{w}_scalar')(halves(), scalar=0.5)
        for word in TRUTHS
    },
    **{
        f'_{word}': lambda w=word: getattr(S._internal, f'_{w}')(data() > 0, S.reverse(data(), axis=3) > 0)
        for word in LOGICS
    },
    **{
        f'_{word}_scalar': lambda w=word: getattr(S._internal, f'_{w}_scalar')(data() > 0, scalar=2)
        for word in LOGICS
    },
    **{
        f'broadcast_{word}': lambda w=word: getattr(S, f'broadcast_{w}')(data() > 0, column() > 0)
        for word in LOGICS
    },
    '_mod_scalar': lambda: S._internal._mod_scalar(data(), scalar=0.7),
    '_mod_scalar, negative': lambda: S._internal._mod_scalar(data(), scalar=-0.7),
    '_rmod_scalar': lambda: S._internal._rmod_scalar(positive(), scalar=-2),
    'broadcast_mod of both signs': lambda: S.broadcast_mod(data(), S.floor(column() * 8) / 2 + 0.25),
    '_hypot_scalar': lambda: S._internal._hypot_scalar(data(), scalar=2),
}

UNARY = {
    **{
        word: lambda w=word: getattr(S, w)(positive())
        for word in ('rsqrt', 'reciprocal', 'log2', 'log10', 'log1p', 'rcbrt')
    },
    **{
        word: lambda w=word: getattr(S, w)(data())
        for word in ('sin', 'cos', 'arctan', 'sinh', 'cosh', 'arcsinh', 'cbrt', 'expm1', 'degrees', 'radians')
    },
    **{
        f'{word} of halves': lambda w=word: getattr(S, w)(halves())
        for word in ('sign', 'floor', 'ceil', 'round', 'rint', 'fix', 'trunc', 'logical_not')
    },
    'round of what is almost a half': lambda: S.round(S.sign(data()) * 0.49999997),
    'contrib round_ste, sign_ste': lambda: S.contrib.round_ste(halves()) + S.contrib.sign_ste(halves()),
    'arcsin, arccos': lambda: S.arcsin(within(-1, 1)) - 2 * S.arccos(within(-1, 1)),
    'arctanh': lambda: S.arctanh(within(-0.9, 0.9)),
    'arccosh': lambda: S.arccosh(within(1, 4)),
    'tan': lambda: S.tan(within(-1.3, 1.3)),
    'hard_sigmoid': lambda: S.hard_sigmoid(data()),
    'hard_sigmoid, its own slope': lambda: S.hard_sigmoid(data(), alpha=0.5, beta=0.25),
    'hard swish': lambda: data() * S.clip(data() + 3, a_min=0, a_max=6) / 6,
    'div_sqrt_dim': lambda: S.contrib.div_sqrt_dim(data()),
    'gradientmultiplier': lambda: S.contrib.gradientmultiplier(data(), scalar=-1),
    'losses': lambda: S.MakeLoss(S.LinearRegressionOutput(data()) + S.MAERegressionOutput(data())),
    'LogisticRegressionOutput': lambda: S.LogisticRegressionOutput(data()),
}

REDUCTIONS = {
    'prod': lambda: S.prod(within(0.5, 1.5), axis=(1, 2)),
    **{
        f'{word} of all': lambda w=word: getattr(S, w)(within(0.9, 1.1))
        for word in ('sum', 'prod', 'max', 'min')
    },
    'norm of order 1': lambda: S.norm(data(), ord=1, axis=(2, 3), keepdims=True),
    'norm of all': lambda: S.norm(data()),
    **{
        f'{word} over {axis}': lambda w=word, a=axis: getattr(S, w)(data(), axis=a, keepdims=a == 2)
        for word in ('argmax', 'argmin')
        for axis in (1, -1, 2)
    },
    'argmax of equal values': lambda: S.argmax(S.floor(data()), axis=3),
    'argmax, argmin of all': lambda: S.argmax(data()) + S.argmin(data()) * 1000,
    'argmax_channel': lambda: S.argmax_channel(S.Flatten(data())),
    'cumsum': lambda: S.cumsum(data(), axis=2),
    'dot': lambda: S.dot(S.Flatten(data()), constant('w', 168, 3)),
    'dot of rows': lambda: S.dot(data(), constant('w', 5, 6), transpose_b=True),
    'dot, turned': lambda: S.dot(data(), S.dot(constant('w', 7, 6), constant('v', 7, 3), transpose_a=True)),
    'batch_dot': lambda: S.batch_dot(rows(), rows(), transpose_b=True),
    'batch_dot, turned': lambda: S.batch_dot(rows(), rows() * 2, transpose_a=True),
    'linalg_gemm2': lambda: S.linalg.gemm2(data(), data() + 1, transpose_b=True, alpha=0.5),
}


def square():
    return S.slice_axis(data(), axis=2, begin=0, end=6)


def rows():
    return S.Reshape(data(), shape=(0, 0, -1))


SHAPES = {
    'Concat of batch-free constants': lambda: S.Concat(
        data(), S.ones_like(data()), S.zeros_like(data()), dim=1
    ),
    'stack': lambda: S.stack(data(), data() * 2, axis=1),
    'stack behind': lambda: S.stack(data(), data() * 2, axis=-1),
    'reshape_like': lambda: S.reshape_like(data(), S.Flatten(data())),
    'SliceChannel, squeezed': lambda: S.SliceChannel(data(), num_outputs=4, squeeze_axis=True)[2],
    'SliceChannel of rows': lambda: S.SliceChannel(data(), num_outputs=3, axis=-1)[1] * 2,
    'split_v2 at indices': lambda: S.split_v2(data(), indices_or_sections=(1, 5), axis=2)[1],
    'split_v2 in sections, squeezed': lambda: S.split_v2(
        data(), indices_or_sections=4, axis=1, squeeze_axis=True
    )[3],
    'slice_like': lambda: S.slice_like(data(), S.Pooling(data(), kernel=(2, 2), stride=(2, 2))),
    'slice_like of an axis': lambda: S.slice_like(
        data(), S.Pooling(data(), kernel=(2, 2), stride=(2, 2)), axes=(-1,)
    ),
    'Crop': lambda: S.Crop(data(), offset=(2, 1), h_w=(3, 4), num_args=1),
    'Crop in the middle': lambda: S.Crop(data(), h_w=(4, 3), num_args=1, center_crop=True),
    'Crop like': lambda: S.Crop(data(), pool(), num_args=2, offset=(1, 0)),
    **{
        f'Pad {mode}': lambda m=mode: S.Pad(data(), mode=m, pad_width=(0, 0, 0, 0, 1, 2, 3, 1))
        for mode in ('edge', 'reflect', 'constant')
    },
    'Pad with a value': lambda: S.Pad(
        data(), mode='constant', pad_width=(0, 0, 0, 0, 1, 2, 2, 1), constant_value=0.5
    ),
    'broadcast_like of some axes': lambda: (
        S.broadcast_like(column(), data(), lhs_axes=(2, 3), rhs_axes=(2, 3)) * data()
    ),
    'broadcast_to': lambda: S.broadcast_to(column(), shape=(0, 0, 7, 6)),
    'broadcast_axis of one': lambda: S.broadcast_axis(column(), axis=3, size=5),
    'tile': lambda: S.tile(data(), reps=(2, 1, 3)),
    'tile of one number': lambda: S.tile(data(), reps=2),
    'tile, a new axis': lambda: S.tile(data(), reps=(2, 1, 1, 1, 3)),
    'repeat': lambda: S.repeat(data(), repeats=3, axis=2),
    'repeat behind': lambda: S.repeat(data(), repeats=2, axis=-1),
    'repeat all': lambda: S.repeat(data(), repeats=2),
    'depth_to_space': lambda: S.depth_to_space(data(), block_size=2),
    'space_to_depth': lambda: S.space_to_depth(square(), block_size=2),
}

LOOKUPS = {
    'take': lambda: S.take(data(), indices(), axis=2),
    'take around': lambda: S.take(data(), indices(), axis=-1, mode='wrap'),
    'Embedding': lambda: S.Embedding(indices(), constant('w', 5, 3), input_dim=5, output_dim=3),
    'pick': lambda: S.pick(data(), S.argmax(data(), axis=1), axis=1),
    'pick, kept': lambda: S.pick(S.mean(data(), axis=3), indices(), axis=-1, keepdims=True),
    'pick around': lambda: S.pick(S.mean(data(), axis=3), indices(), axis=2, mode='wrap'),
    'one_hot': lambda: S.one_hot(indices(), depth=5),
    'one_hot of values': lambda: S.one_hot(indices(), depth=5, on_value=2, off_value=-1),
    'where': lambda: S.where(data() > 0, data(), data() * 0.1),
    'where by image': lambda: S.where(S.mean(data(), axis=(1, 2, 3)) > 0, data(), data() * 0.1),
    'zeros, ones, full': lambda: S.broadcast_add(
        data(), ones(1, 4, 1, 1) + S.full((1, 4, 1, 1), 3) + S.zeros((1, 4, 1, 1))
    ),
    'zeros of an inferred shape': lambda: S.broadcast_add(
        data(), S.Reshape(S.zeros((0, 4)) + S.ones((1, 4)), shape=(1, 4, 1, 1))
    ),
    'arange': lambda: S.broadcast_mul(data(), S.Reshape(S.arange(1, 4, 0.5, repeat=1), shape=(1, 1, 1, 6))),
    'eye, linspace': lambda: S.dot(
        S.dot(data(), S.eye(6, 6, 1)), S.Reshape(S.linspace(0, 1, 6), shape=(6, 1))
    ),
    'MultiBoxPrior': lambda: S.broadcast_add(
        S.Reshape(column(), shape=(-1, 1, 4)),
        S.contrib.MultiBoxPrior(pool(), sizes=(0.5, 0.2), ratios=(1, 2)),
    ),
}

RESIZED = {
    'UpSampling': lambda: S.UpSampling(data(), scale=2, sample_type='nearest'),
    'UpSampling of two maps': lambda: S.UpSampling(
        square(), S.relu(column()), scale=2, sample_type='nearest', num_args=2
    ),
    'UpSampling of two maps, summed': lambda: S.UpSampling(
        square(), column(), scale=2, sample_type='nearest', num_args=2, multi_input_mode='sum'
    ),
    **{
        f'UpSampling bilinear by {scale}': lambda s=scale: S.UpSampling(
            data(), S.var('w'), scale=s, sample_type='bilinear', num_filter=4, num_args=2
        )
        for scale in (2, 3)
    },
    **{
        f'BilinearResize2D to {size}, {corners}': lambda size=size, c=corners: S.contrib.BilinearResize2D(
            data(), height=size[0], width=size[1], align_corners=c
        )
        for size in ((14, 12), (3, 5), (1, 1), (13, 11), (7, 6))
        for corners in (True, False)
    },
    'BilinearResize2D like': lambda: S.contrib.BilinearResize2D(pool(), data(), mode='like'),
    **{
        f'BilinearResize2D {mode}': lambda m=mode: S.contrib.BilinearResize2D(
            data(), mode=m, scale_height=2.0, scale_width=1.5
        )
        for mode in ('odd_scale', 'to_even_down', 'to_even_up', 'to_odd_down', 'to_odd_up')
    },
    **{
        f'AdaptiveAvgPooling2D to {size}': lambda s=size: S.contrib.AdaptiveAvgPooling2D(
            data(), output_size=s
        )
        for size in (1, (7, 3), (1, 2), (3, 4), 9, (2, 6))
    },
    'AdaptiveAvgPooling2D, no size': lambda: S.contrib.AdaptiveAvgPooling2D(data()),
    **{
        f'Deconvolution {settings}': lambda s=settings: S.Deconvolution(data(), num_filter=6, **s)
        for settings in (
            {'kernel': (4, 4), 'stride': (2, 2), 'pad': (1, 1)},
            {'kernel': (3, 3), 'stride': (2, 2), 'pad': (1, 1), 'adj': (1, 1), 'no_bias': False},
            {'kernel': (3, 3), 'stride': (2, 2), 'target_shape': (14, 12), 'pad': (1, 1), 'adj': (1, 1)},
            {'kernel': (3, 3), 'dilate': (2, 1), 'num_group': 2},
            {'kernel': (4, 4), 'stride': (2, 2), 'target_shape': (14, 12), 'pad': (1, 1), 'num_group': 2},
        )
    },
    'Pooling sum': lambda: pool(pool_type='sum'),
    'Pooling sum, full': lambda: pool(pool_type='sum', pooling_convention='full', kernel=(4, 4)),
    'Pooling global sum': lambda: S.Pooling(data(), global_pool=True, pool_type='sum'),
    'Pooling lp of 2': lambda: pool(pool_type='lp', p_value=2, pooling_convention='full', kernel=(4, 4)),
    'Pooling lp of 1': lambda: pool(pool_type='lp', p_value=1),
    'Pooling global lp': lambda: S.Pooling(data(), global_pool=True, pool_type='lp', p_value=2),
    'Pooling in one dimension': lambda: S.Pooling(rows(), kernel=(3,), stride=(2,), pool_type='avg'),
    'Convolution in one dimension': lambda: S.Convolution(
        rows(), kernel=(3,), num_filter=4, num_group=4, pad=(1,)
    ),
    'Convolution in three dimensions': lambda: S.Convolution(
        S.expand_dims(data(), axis=1), kernel=(2, 3, 3), num_filter=2
    ),
    'Convolution_v1': lambda: S.Convolution_v1(data(), kernel=(3, 3), num_filter=4, pad=(1, 1)),
}

NORMS = {
    'BatchNorm_v1': lambda: S.BatchNorm_v1(data(), fix_gamma=False),
    'SyncBatchNorm': lambda: S.contrib.SyncBatchNorm(data(), fix_gamma=False, key='a'),
    'BatchNormWithReLU': lambda: S.contrib.BatchNormWithReLU(data(), fix_gamma=False),
    'InstanceNorm': lambda: S.InstanceNorm(data(), S.var('gamma'), S.var('beta'), eps=0.01),
    'GroupNorm': lambda: S.GroupNorm(data(), num_groups=2, eps=0.01),
    'LayerNorm': lambda: S.LayerNorm(data(), eps=0.01),
    'LayerNorm of an axis': lambda: S.LayerNorm(data(), axis=1),
    'LRN': lambda: S.LRN(data(), nsize=3),
    'LRN of its own': lambda: S.LRN(data(), nsize=5, alpha=0.1, beta=0.5, knorm=1),
    'LeakyReLU rrelu': lambda: S.LeakyReLU(data(), act_type='rrelu')[0],
    'softmax of a temperature': lambda: S.softmax(data(), axis=1, temperature=3.0),
    'softmin': lambda: S.softmin(data(), axis=2),
    'log_softmax': lambda: S.log_softmax(data(), axis=1),
    'log_softmax of a temperature': lambda: S.log_softmax(data(), temperature=0.5),
    'SoftmaxActivation': lambda: S.SoftmaxActivation(S.Flatten(data())),
    'SoftmaxActivation of channels': lambda: S.SoftmaxActivation(data(), mode='channel'),
    'SoftmaxOutput': lambda: S.SoftmaxOutput(S.Flatten(data())),
    'SoftmaxOutput of rows': lambda: S.SoftmaxOutput(data(), preserve_shape=True),
    'SoftmaxOutput of channels': lambda: S.SoftmaxOutput(data(), multi_output=True),
    'L2Normalization of rows': lambda: S.L2Normalization(rows(), mode='spatial'),
}

MORE: dict = {**ELEMENTWISE, **UNARY, **REDUCTIONS, **SHAPES, **LOOKUPS, **RESIZED, **NORMS}
