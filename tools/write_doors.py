"""Write docs/doors.md: which networks go out to which forms and come back, how equal, and whether they train then.

Every cell is measured, with random weights: a network is exported, imported, and trained for a few steps. A whole run
takes about ten minutes and needs the package MNN; --networks and --forms measure some cells anew and leave the others.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from recognition.cli import run
from config import Config, resolve
from config.errors import CheckpointError, ConfigError
from recognition.checkpoint import load_embedding, load_network, save_network
from recognition.checkpoint.initialize import prepare
from recognition.checkpoint.matching import as_numpy, set_parameters
from recognition.checkpoint.network import arrays_of, wrap_symbol
from recognition.checkpoint.run_files import write_json
from recognition.commands.import_weights import main as import_weights
from recognition.data.images import channels_first
from recognition.export import (
    Options,
    export_keras,
    export_ncnn,
    export_onnx,
    export_pytorch,
    export_safetensors,
)
from recognition.export.onnx.builder import load_onnx
from recognition.export.onnx_export import run_mxnet
from recognition.export.parity import draw_probes
from recognition.utils.checksums import sum_of
from recognition.utils.files import read_json, write_whole
from recognition.utils.packages import require
from recognition.utils.run_paths import config_path, params_path
from recognition.weights.conversion import as_option
from symbols import get_block, get_symbol

import mxnet as mx

ARCFACE_TORCH = ('r18', 'r34', 'r50', 'r100', 'r200')
KERAS = {'image_shape': (112, 112, 3)}
NETWORKS: Dict[str, Dict[str, Any]] = {
    **{name: {} for name in ARCFACE_TORCH},
    'r200': {'num_layers': 198},  # arcface_torch's
    'r50 with SE': {'net_se': True},
    'y1': {},
    'm1': {'net_multiplier': 0.5},  # at least: its head has 512 groups
    'd121': {},
    'vargfacenet': {},
    **dict.fromkeys(('keras_densenet121', 'keras_resnet50', 'keras_resnet50_elu', 'keras_xception'), KERAS),
}
WIDTH = {'net_multiplier': 0.25}  # a sixteenth of the arithmetic, the same layers
EPOCH, STEPS, RATE = 1, 3, 1e-3
CONVERT = 'import sys, MNN, _tools; _tools.mnnconvert(["mnnconvert", *sys.argv[1:]])'
EXACT = 'equal'
NONE, MISSING = '-', 'n/a'  # no such network in that form; not measured
LEAST_WINOGRAD = (3, 0)  # MNN's hint WINOGRAD_MEMORY_LEVEL: the smallest tiles, which round the least
PATH = 'docs/doors.md'
HEAD = """# Formats out and in

Each network is exported to each format and imported again. A cell has up to three entries:

- the largest difference between the file's outputs and MXNet's, as a share of the largest value ('equal': the weights
  read back from the file are the same to the bit);
- the checkpoint that `facesymbols import-weights` makes of the file: 'equal' to the bit, or the largest difference of
  its outputs;
- 'trains', if a few steps of gradient descent on that checkpoint lower a loss.

'-': the format does not have that network, or is not imported; 'n/a': not measured.

Measured by `python tools/write_doors.py` with random weights, whose batch norms have the statistics of noise, on images
of 112x112, on noise and photographs of faces in batches of 1 and 4 (in MNN one by one: MNN 3.6.1 crashes on batches of
4 in `keras_xception`), on a CPU. The networks have a quarter of their channels (`m1` half), but all of them in the
column of PyTorch, since arcface_torch has no others. `r200` is arcface_torch's (num_layers=198). MNN runs with the hint
WINOGRAD_MEMORY_LEVEL at 0: with its own choice of tiles rounding grows in networks of full width (`d121`: 1e-03, and
6e-06 with the hint; `r34`: 2e-04 and 4e-06).

"""


class Form(NamedTuple):
    """One column: writes a checkpoint to a path and returns the difference; the words of `import-weights` for it.

    full: at full width where arcface_torch has the network.
    """

    suffix: str
    write: Callable[[Path, Path], Optional[float]]
    read: Sequence[str] = ()
    full: bool = False


def _onnx(pixels: str) -> Callable[[Path, Path], Optional[float]]:
    options = Options(pixels=pixels)
    return lambda prefix, path: export_onnx(prefix, EPOCH, path, options=options).difference


def _mnn(prefix: Path, path: Path) -> float:
    """Convert an ONNX file by what MNN's mnnconvert calls; that program itself installs a package and reports on it."""
    MNN: Any = require('MNN', '', 'the column of MNN', command='pip install --no-deps MNN==3.6.1')
    source, shape = path.with_suffix('.onnx'), read_json(config_path(prefix))['image_shape']
    export_onnx(prefix, EPOCH, source)
    words = ['-f', 'ONNX', '--modelFile', str(source), '--MNNModel', str(path), '--bizCode', 'facesymbols']
    command = [sys.executable, '-c', CONVERT, *words]
    subprocess.run(
        command, cwd=path.parent, check=True, capture_output=True
    )  # it leaves a file where it runs
    (output,) = load_onnx().load(str(source)).graph.output
    runtime = MNN.nn.create_runtime_manager(({'precision': 'high', 'numThread': 1},))
    runtime.set_hint(*LEAST_WINOGRAD)
    module = MNN.nn.load_module_from_file(str(path), ['data'], [output.name], runtime_manager=runtime)

    def forward(images: np.ndarray) -> np.ndarray:
        batches = np.split(np.ascontiguousarray(channels_first(images), np.float32), len(images))
        ports = [MNN.expr.const(one, list(one.shape), MNN.expr.NCHW, MNN.expr.float) for one in batches]
        found = [MNN.expr.convert(module.forward([port])[0], MNN.expr.NCHW) for port in ports]
        return np.concatenate([np.array(each.read()) for each in found])

    reference = run_mxnet(load_network(prefix, EPOCH, image_shape=shape))
    pairs = ((forward(images), reference(images)) for images in draw_probes(shape).sets)
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)


def _same(export: Callable[..., Any]) -> Callable[[Path, Path], Optional[float]]:
    """Return a writer of a format whose export compares to the bit."""

    def write(prefix: Path, path: Path) -> None:
        export(prefix, EPOCH, path)

    return write


FORMS: Dict[str, Form] = {
    'MXNet': Form('', lambda prefix, path: None, ('insightface',)),
    'ONNX, pixels inside': Form('.onnx', _onnx('inside'), ('onnx',)),
    'ONNX, pixels outside': Form('.onnx', _onnx('outside'), ('onnx',)),
    'PyTorch': Form(
        '.pth',
        lambda prefix, path: export_pytorch(prefix, EPOCH, path).difference,
        ('arcface_torch',),
        full=True,
    ),
    'safetensors': Form('.safetensors', _same(export_safetensors), ('safetensors',)),
    'Keras': Form('.keras', _same(export_keras), ('keras', '--preprocessing', 'none')),
    'MNN': Form('.mnn', _mnn),
    'ncnn': Form('.ncnn.param', lambda prefix, path: export_ncnn(prefix, EPOCH, path).difference),
}


def settings_of(name: str, form: Form) -> Dict[str, Any]:
    """Return the settings of a row's preset."""
    return {**({} if form.full and name in ARCFACE_TORCH else WIDTH), **NETWORKS[name]}


def draw(cfg: Config, prefix: Path) -> None:
    """Write a checkpoint with random weights and its config."""
    net, rng = get_block({**cfg, 'bn_mom': 0.0}), np.random.RandomState(1)
    for parameter, each in net.collect_params().items():
        if each.grad_req == 'null':
            continue
        if parameter.endswith('_weight'):
            values = rng.randn(*each.shape) * np.sqrt(2 / np.prod(each.shape[1:]))
        else:  # slopes and gammas, and what is added
            values = (
                rng.uniform(0.3, 1.2, each.shape)
                if parameter.endswith('_gamma')
                else rng.randn(*each.shape) / 10
            )
        set_parameters(net, {parameter: values})
    for each in net.collect_params().values():
        if each._data is None:
            each.initialize()
    height, width, channels = cfg.image_shape
    with mx.autograd.record():
        output = net(mx.nd.array(rng.uniform(0, 255, (2, channels, height, width))))
    output.backward()  # mxnet moves the statistics here
    symbol = get_symbol(cfg)
    save_network(prefix, EPOCH, symbol, *arrays_of(net, symbol))
    write_json(config_path(prefix), cfg)


def measure(name: str, folder: Path, forms: Sequence[str] = tuple(FORMS)) -> List[str]:
    """Return the cells of a row."""
    return [_cell(name, FORMS[form], folder) for form in forms]


def _cell(name: str, form: Form, folder: Path) -> str:
    preset, settings = name.partition(' ')[0], settings_of(name, form)
    prefix, back, path = folder / '-'.join(['net', *settings]), folder / 'back', folder / f'file{form.suffix}'
    if not config_path(prefix).is_file():
        draw(resolve(preset, **settings), prefix)
    try:
        difference = form.write(prefix, path)
    except (CheckpointError, ConfigError):
        return NONE
    out = EXACT if difference is None else f'{difference:.0e}'
    if not form.read:
        return f'{out}, {NONE}'
    source = str(path) if form.suffix else f'{prefix},{EPOCH}'
    words = [form.read[0], source, *form.read[1:], '--network', preset, '--epoch', str(EPOCH)]
    for key, value in settings.items():
        words += ['--config', f'{key}={as_option(value)}']
    try:
        with redirect_stdout(io.StringIO()):
            import_weights([*words, '--overwrite', '-o', str(back)])
    except (CheckpointError, ConfigError):
        return f'{out}, {NONE}'
    return f'{out}, {_equality(prefix, back)}, {_training(back, sum_of(params_path(back, EPOCH)))}'


def _equality(prefix: Path, back: Path) -> str:
    """Return EXACT, or how far the outputs are apart."""
    held, found = (load_embedding(each, EPOCH).values for each in (prefix, back))
    if held.keys() == found.keys() and all(
        as_numpy(held[name]).tobytes() == as_numpy(found[name]).tobytes() for name in held
    ):
        return EXACT
    shape = read_json(config_path(prefix))['image_shape']
    images = draw_probes(shape).sets[0][:2]
    both = [run_mxnet(load_network(each, EPOCH, image_shape=shape))(images) for each in (prefix, back)]
    return f'{np.abs(both[0] - both[1]).max() / np.abs(both[0]).max():.0e}'


@cache
def _training(prefix: Path, digest: str) -> str:
    """Return whether a few steps of Adam bring the outputs of four images nearer to random ones.

    digest: of the values, for each of which that is done once.
    """
    saved, shape = load_embedding(prefix, EPOCH), read_json(config_path(prefix))['image_shape']
    net = wrap_symbol(saved.symbol)
    prepare(net, saved.symbol, image_shape=shape, ctx=mx.cpu())
    set_parameters(net, saved.values)
    trainer = mx.gluon.Trainer(net.collect_params(), 'adam', {'learning_rate': RATE})
    images = mx.nd.array(channels_first(draw_probes(shape).sets[0]))
    output = net(images)
    scale, target = output.abs().max(), mx.nd.random.uniform(-1, 1, output.shape)
    losses: List[float] = []
    for _ in range(STEPS):
        mx.random.seed(0)  # the same dropout in every step
        with mx.autograd.record():
            loss = ((net(images) / scale - target) ** 2).mean()
        loss.backward()
        trainer.step(1)
        losses.append(loss.asscalar())
    return 'trains' if losses[-1] < losses[0] else 'does not train'


def rows_of(text: str) -> Dict[str, Dict[str, str]]:
    """Return the cells of a written table by network and form."""
    lines = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| ')]
    (_, *forms), *rows = [[cell.strip(' `') for cell in line] for line in lines] or [['']]
    return {name: dict(zip(forms, cells)) for name, *cells in rows if name in NETWORKS}


def document(rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page."""
    lines = [
        ['network', *FORMS],
        ['---'] * (len(FORMS) + 1),
        *([f'`{name}`', *(rows[name][form] for form in FORMS)] for name in NETWORKS),
    ]
    return HEAD + ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog='write_doors.py', description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('page', nargs='?', default=PATH, help='file to write (default: %(default)s)')
    parser.add_argument(
        '--networks', nargs='*', default=list(NETWORKS), choices=NETWORKS, help='rows to measure'
    )
    parser.add_argument('--forms', nargs='*', default=list(FORMS), choices=FORMS, help='columns to measure')
    args = parser.parse_args(argv)
    path = Path(args.page)
    held = rows_of(path.read_text('utf-8')) if path.is_file() else {}
    rows = {name: {**dict.fromkeys(FORMS, MISSING), **held.get(name, {})} for name in NETWORKS}
    for name in args.networks:
        with tempfile.TemporaryDirectory() as folder:
            rows[name].update(zip(args.forms, measure(name, Path(folder), args.forms)))
        print(name, *rows[name].values(), sep=' | ', flush=True)
        write_whole(path, document(rows).encode())
    return None


if __name__ == '__main__':
    run(main)
