"""Every key of the config, once: its default, what it may be, and one line of help.

InsightFace's whole key set is here. Keys under `accepted` steer InsightFace's own scripts and mean nothing to the
networks; they are taken so that an InsightFace config passes as it is.
"""

from __future__ import annotations

from typing import Dict

from config.network_keys import FAMILY_NAMES as FAMILY_NAMES
from config.network_keys import HEAD_NAMES as HEAD_NAMES
from config.network_keys import NETWORK, Key, group
from config.network_keys import OWN_KEYS as OWN_KEYS
from config.rules import choice, flag, integer, or_word, real, sequence, text
from config.training_keys import TRAIN

LOSS_NAMES = (
    *('softmax', 'margin_softmax', 'curricularface', 'adaface', 'magface'),
    *('triplet', 'atriplet', 'cross_entropy'),
)

DATA = group(
    'data',
    dataset=('', text(), 'name of the data set preset'),
    dataset_path=(
        '',
        text(),
        'folder with train.rec, property and the sets to verify on; a:b joins two',
    ),
    num_classes=(
        1000,
        integer(0),
        'identities (or classes of the classifier head); 0 reads it from `property`',
    ),
    val_targets=(
        (),
        sequence(text()),
        'sets to verify on: <name>.bin (pairs) or <name>.rec (labelled images) in the data set folder',
    ),
    data_rand_mirror=(True, flag(), 'mirror half of the training images'),
    data_shift=(0.0, real(0.0, 64.0), 'largest random shift of a training image, in pixels'),
    data_rotate=(0.0, real(0.0, 180.0), 'largest random rotation of a training image, in degrees'),
    data_crop=(0.0, real(0.0, 0.9), 'largest share of the sides that a random crop cuts off'),
    data_brightness=(0.0, real(0.0, 1.0), 'largest random change of brightness, as a share'),
    data_contrast=(0.0, real(0.0, 1.0), 'largest random change of contrast, as a share'),
    data_saturation=(0.0, real(0.0, 1.0), 'largest random change of saturation, as a share'),
    data_color=(
        0,
        integer(0),
        'InsightFace: 1 changes brightness, contrast and saturation by 0.125; 2 also encodes half as JPEG',
    ),
    data_grey=(0.0, real(0.0, 1.0), 'share of the training images that lose their colours'),
    data_blur=(0.0, real(0.0, 1.0), 'share of the training images that are blurred'),
    data_jpeg=(0.0, real(0.0, 1.0), 'share of the training images that are encoded as JPEG again'),
    data_jpeg_quality=((20, 90), sequence(integer(1, 100), 2), 'lowest and highest quality of that JPEG'),
    data_cutoff=(
        0,
        integer(0, 65535, flags=True),
        'InsightFace: side of a square, in pixels, that is cut out of every second training image',
    ),
    is_shuffled_rec=(False, flag(), 'read the records in the order of the file, without the index'),
    data_images_filter=(0, integer(0), 'identities with fewer images are left out'),
    data_sampler=(
        'shuffle',
        choice(('shuffle', 'balanced')),
        'order of images; balanced: in groups of an identity',
    ),
    images_per_identity=(5, integer(1), 'images of one identity in a group of the balanced order'),
    data_faults=(0, integer(0), 'images that cannot be read and are replaced by others before the run stops'),
    data_workers=(1, integer(0, 256), 'processes that decode images; 0 decodes in the training process'),
)

LOSS = group(
    'loss',
    loss=('', text(), 'name of the loss preset'),
    loss_name=('softmax', choice(LOSS_NAMES), 'kind of loss'),
    loss_s=(64.0, real(0.001), 'scale of the cosines'),
    loss_m1=(1.0, real(1.0, 10.0), 'SphereFace margin: factor on the angle'),
    loss_m2=(0.0, real(0.0, 3.14159), 'ArcFace margin: added to the angle, in radians'),
    loss_m3=(0.0, real(0.0, 2.0), 'CosFace margin: taken off the cosine'),
    loss_centres=(
        1,
        integer(1, 64),
        'centres of each identity, of which the nearest counts; sub-centre ArcFace has 3',
    ),
    adaface_m=(0.4, real(0.0, 1.5), 'AdaFace: margin, in radians and in cosine'),
    adaface_h=(0.333, real(0.0, 10.0), 'AdaFace: how far the quality of an image moves its margin'),
    adaface_mom=(0.99, real(0.0, 1.0), 'AdaFace: momentum of the moving mean and deviation of the lengths'),
    magface_la=(10.0, real(0.001), 'MagFace: least length of an embedding'),
    magface_ua=(110.0, real(0.001), 'MagFace: greatest length of an embedding'),
    magface_lm=(0.45, real(0.0, 1.5), 'MagFace: margin at the least length, in radians'),
    magface_um=(0.8, real(0.0, 1.5), 'MagFace: margin at the greatest length, in radians'),
    magface_lambda=(35.0, real(0.0), 'MagFace: weight of the pull on the lengths'),
    triplet_alpha=(
        0.3,
        real(0.0),
        'margin of the triplet loss: squared distance, for atriplet an angle in radians',
    ),
    triplet_max_ap=(0.0, real(0.0), 'largest distance of anchor and positive in a triplet; 0: no limit'),
    label_smoothing=(
        0.0,
        real(0.0, 0.999),
        'cross_entropy: share of the target that is spread evenly over all classes',
    ),
    class_weights=(
        (),
        or_word('balanced', sequence(real(1e-6))),
        'cross_entropy: a weight for each class; balanced: by how rare it is, n / (classes * n of the class)',
    ),
    sample_rate=(
        1.0,
        real(0.0001, 1.0),
        "partial FC: share of the identities that a step sees, the batch's own and others at random; 1: all",
    ),
    fc7_lr_mult=(1.0, real(0.0), "factor on the classifier weight's learning rate"),
    fc7_wd_mult=(1.0, real(0.0), "factor on the classifier weight's decay"),
    fc7_no_bias=(False, flag(), 'softmax classifier without a bias'),
)


ACCEPTED = group(
    'accepted',
    workspace=(256, integer(0), 'scratch memory of a convolution in MB; no effect on a CPU'),
    ckpt_embedding=(True, flag(), 'InsightFace: save the embedding network without the classifier'),
    ce_loss=(True, flag(), 'InsightFace: report the cross-entropy'),
    count_flops=(True, flag(), 'InsightFace: print the FLOPs'),
    memonger=(False, flag(), 'InsightFace: recompute activations (does not work there either)'),
    batch_size=(0, integer(0), 'InsightFace: images per step over all devices'),
    num_workers=(1, integer(1), 'InsightFace: machines that train together'),
    flip_noise_prob=(0.0, real(0.0, 1.0), 'InsightFace: share of wrong labels; its scripts do not read it'),
    triplet_bag_size=(7200, integer(1), 'InsightFace: images in a bag of triplets; here a batch is the bag'),
)

KEYS: Dict[str, Key] = {**NETWORK, **DATA, **LOSS, **TRAIN, **ACCEPTED}

# InsightFace keeps these in `default`, the command line's defaults, and the rest in `config`.
DEFAULT_KEYS = tuple(name for name, key in KEYS.items() if key.group == 'train' and name != 'max_steps')
# The presets that its scripts train with unless they are given others; `config` has those of the network that it holds.
DEFAULT_PRESETS = {'dataset': 'emore', 'loss': 'arcface'}
