"""MobileFaceNet as arcface_torch has it, in PyTorch."""

from __future__ import annotations

# of a stage: the bottleneck that halves the size with its inner channels, then residual ones; factor on 64 channels
STAGES = ((1, 128, 128), (2, 256, 256), (2, 512, 256))


def build_mobilefacenet(torch, emb_size, *, blocks=(1, 4, 6, 2), scale=2):
    """Return the network of Chen et al. 2018, table 1, with arcface_torch's widths."""
    nn = torch.nn

    def conv(inputs, outputs, kernel, *, stride=1, pad=0, groups=1, act=True):
        layers = [
            nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        return nn.Sequential(*layers, *([nn.PReLU(outputs)] if act else []))

    class Bottleneck(nn.Module):
        def __init__(self, inputs, outputs, inner, stride=1):
            super().__init__()
            self.residual = stride == 1
            self.layers = nn.Sequential(
                conv(inputs, inner, 1),
                conv(inner, inner, 3, stride=stride, pad=1, groups=inner),
                conv(inner, outputs, 1, act=False),
            )

        def forward(self, x):
            return x + self.layers(x) if self.residual else self.layers(x)

    width = 64 * scale
    layers = [conv(3, width, 3, stride=2, pad=1), conv(width, width, 3, pad=1, groups=64)]
    for (factor, halving, inner), count in zip(STAGES, blocks[1:]):
        layers.append(Bottleneck(width, 64 * factor * scale, halving, stride=2))
        width = 64 * factor * scale
        layers += [Bottleneck(width, width, inner) for _ in range(count)]
    return nn.Sequential(
        *layers,
        conv(width, 512, 1),
        conv(512, 512, 7, groups=512, act=False),
        nn.Flatten(),
        nn.Linear(512, emb_size, bias=False),
        nn.BatchNorm1d(emb_size),
    )
