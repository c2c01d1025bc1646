"""The commands that write something, as the campaign of full disks runs them."""

from __future__ import annotations

from typing import NamedTuple


class Task(NamedTuple):
    """A command. words: {made}, {out} are folders; before: words of a command that is run first, with room."""

    words: str
    before: str = ''
    piecewise: bool = False  # what was saved may stay
    cache: bool = False  # it is the cache that is full


TRAIN = (
    'train --network r18 --loss cosface --net-multiplier 0.0625 --emb-size 16 --image-shape 32,32,3 --per-batch-size 6 '
    '--dataset-path {made}/faces --lr-steps= --data-workers 0 --output {out}/model --max-steps '
)
MODEL = '--model {made}/run/model,1'
TASKS = {
    'train': Task(f'{TRAIN} 16 --end-epoch 2', piecewise=True),
    'train --resume': Task(f'{TRAIN} 16 --resume', f'{TRAIN} 8', piecewise=True),
    'train --overwrite': Task(f'{TRAIN} 8 --overwrite', f'{TRAIN} 8', piecewise=True),
    'report': Task('report {out}/model --overwrite', f'{TRAIN} 8'),
    'pack': Task('pack {made}/photos -o {out}/set --image-size 32,32'),
    'pack classes': Task('pack {made}/photos -o {out}/set --image-size 32,32 --test-share 0.3'),
    'pack --pairs': Task('pack --pairs {made}/pairs.txt -o {out}/pairs.bin --image-size 32,32'),
    'clean': Task(
        'clean --model {made}/centres/model,1 --dataset-path {made}/faces -o {out}/set --degrees 89'
    ),
    **{
        f'export {form}': Task(f'export {MODEL} --format {form} -o {{out}}/{name} --image-size 32,32')
        for form, name in {
            'onnx': 'net.onnx',
            'ncnn': 'net.ncnn.param',
            'safetensors': 'net.safetensors',
            'mxnet': 'other',
        }.items()
    },
    **{
        f'export {form}': Task(
            f'export --model {{made}}/{form}/model,1 --format {form} -o {{out}}/net{suffix}'
        )
        for form, suffix in (('keras', '.weights.h5'), ('pytorch', '.pth'))
    },
    'optimize': Task(f'optimize {MODEL} -o {{out}}/fast --image-size 32,32'),
    'quantize': Task(
        'quantize --model {made}/net.onnx --faces {made}/photos --pairs {made}/faces/val.bin --most-lost 1 '
        '-o {out}/int8.onnx'
    ),
    'import-weights': Task('import-weights safetensors {made}/net.safetensors -o {out}/model'),
    **{
        f'embed {kind}': Task(f'embed {{made}}/photos {MODEL} --engine mxnet -o {{out}}/a{kind}')
        for kind in ('.npz', '.npy', '.parquet', '.safetensors')
    },
    'verify --roc': Task(f'verify {MODEL} --pairs {{made}}/faces/val.bin --folds 3 --roc {{out}}/roc.png'),
    'evaluate': Task(
        'evaluate {made}/photos --model {made}/classes/model,1 --engine mxnet -o {out}/wrong.csv'
    ),
    'predict': Task(
        'predict {made}/photos --model {made}/classes/model,1 --engine mxnet -o {out}/classes.csv'
    ),
    **{
        f'plot {kind}': Task(f'plot {{made}}/run/model-symbol.json --shape 1,3,32,32 -o {{out}}/net{kind}')
        for kind in ('.svg', '.html', '.pdf', '.png', '.dot')
    },
    'audit': Task('audit {made}/run/model-symbol.json --shape 1,3,32,32 --format html -o {out}/audit.html'),
    'cache': Task(
        f'embed {{made}}/photos {MODEL} --engine onnxruntime -o {{made}}/e.npz --overwrite', cache=True
    ),
}
