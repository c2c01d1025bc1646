"""Verify and identify by templates, several images of a person, as NIST's IJB sets have them: 1:1 and 1:N.

The images are aligned faces. Lists are InsightFace's: lines `image template medium`, and `template template 0|1` of
pairs; --gallery and --probes have lines `template person`.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from config.errors import ConfigError, DataError
from recognition.cli.embed_options import MODELS
from recognition.cli.parser import Parser, command_parser
from recognition.cli.standard_options import add_image_size, add_json, add_model
from recognition.cli.verify_options import Embed, add_verify_options, check_model, open_network
from recognition.data.image_sources import read_image
from recognition.data.images import load_cv2
from recognition.engines.model import find_model
from recognition.utils.progress_bar import progress_bar
from recognition.verification.templates import (
    Identification,
    TemplateVerification,
    identify,
    read_media,
    read_template_pairs,
    read_template_people,
    template_embeddings,
    template_rows,
    verify_templates,
)

AT_ONCE = 2048  # images in memory
EXAMPLE = '--model models/r100,0 --images faces --media face_tid_mid.txt --pairs pair_label.txt'


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = command_parser('verify-templates', __doc__, EXAMPLE)
    add = parser.add_argument
    add_model(parser, MODELS, 'MODEL')
    add('--images', required=True, metavar='FOLDER', help='of the images that --media names')
    add('--media', required=True, metavar='FILE', help='lines: image template medium')
    add('--pairs', metavar='FILE', help='lines: template template 0|1')
    add('--gallery', metavar='FILE', help='lines: template person, each person once')
    add('--probes', metavar='FILE', help='lines: template person, of people in the gallery and of others')
    add_image_size(parser, 'in pixels (default: as the files of the network record it, or 112,112)')
    add('--resize', action='store_true', help='resize images of another size')
    add_verify_options(parser)
    add_json(parser, 'print one JSON object')
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    """Embed the images, make the templates, judge and print."""
    args = build_parser().parse_args(argv)
    if not args.pairs and not (args.gallery and args.probes):
        raise ConfigError('nothing to judge by: give --pairs, or --gallery and --probes')
    model = find_model(args.model)
    check_model(model)
    names, templates, media = read_media(args.media)
    pairs = read_template_pairs(args.pairs) if args.pairs else None
    searched = [read_template_people(path) for path in (args.gallery, args.probes) if path]
    files = [Path(args.images) / name for name in names]
    with ExitStack() as stack:
        network = open_network(model, args, args.image_size, stack)
        rows = _embed_files(files, network.image_shape[:2], args.resize, network.embed)
    known, rows = template_embeddings(rows, templates, media)
    found: Dict[str, Any] = {'images': len(files), 'templates': len(known)}
    if pairs:
        found['verification'] = verify_templates(known, rows, *pairs)
    if len(searched) == 2:
        (gallery, people), (probes, sought) = searched
        found['identification'] = identify(
            rows[template_rows(known, gallery)], people, rows[template_rows(known, probes)], sought
        )
    _print(found, as_json=args.json)
    return None


def _embed_files(files: List[Path], size: Tuple[int, int], resize: bool, embed: Embed) -> np.ndarray:
    """Return the embeddings of image files, which need not all be in memory."""
    parts = []
    with progress_bar(total=len(files), unit='images') as bar:
        for start in range(0, len(files), AT_ONCE):
            images = [_read(file, size, resize) for file in files[start : start + AT_ONCE]]
            parts.append(embed(np.stack(images).transpose(0, 3, 1, 2)))
            bar.update(len(images))
    return np.concatenate(parts)


def _read(file: Path, size: Tuple[int, int], resize: bool) -> np.ndarray:
    image = read_image(file)
    if image.shape[:2] == size:
        return image
    if not resize:
        raise DataError(
            f'{file} is {image.shape[0]}x{image.shape[1]} where {size[0]}x{size[1]} is wanted (--resize)'
        )
    return np.asarray(load_cv2().resize(image, size[::-1]))


def _print(found: Dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({key: _plain(value) for key, value in found.items()}))
        return
    print(f'{found["images"]:,} images, {found["templates"]:,} templates')
    pairs: Optional[TemplateVerification] = found.get('verification')
    if pairs:
        print(f'1:1, {pairs.pairs:,} pairs: EER {100 * pairs.eer:.2f} %, AUC {pairs.auc:.4f}')
        for far, tar in pairs.tar_at_far.items():
            low, high = pairs.tar_intervals[far]
            print(
                f'  TAR at FAR {far:<6g} {100 * tar:6.2f} %, 95 % interval {100 * low:.2f} to {100 * high:.2f} %'
            )
    search: Optional[Identification] = found.get('identification')
    if search:
        print(f'1:N, {search.mated:,} probes of people in the gallery and {search.others:,} others')
        for rank, share in search.rank.items():
            print(f'  rank {rank:<11} {100 * share:6.2f} %')
        for fpir, share in search.tpir_at_fpir.items():
            print(f'  TPIR at FPIR {fpir:<4g} {100 * share:6.2f} %')


def _plain(value: Any) -> Any:
    if isinstance(value, (TemplateVerification, Identification)):
        return {key: _plain(each) for key, each in vars(value).items() if not isinstance(each, np.ndarray)}
    return {f'{key:g}': each for key, each in value.items()} if isinstance(value, dict) else value
