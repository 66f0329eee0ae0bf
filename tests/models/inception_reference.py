"""InceptionV1 written operation by operation, and its weights under the names of two PyTorch ports."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from atlas_pipeline.models.calibrate import seeded

# Input channels, then output channels of 1x1, 3x3 bottleneck, 3x3, 5x5 bottleneck, 5x5 and pool reduce
# (Szegedy et al., 2014, except for the 204 of mixed4a).
BLOCKS = {
    "mixed3a": (192, 64, 96, 128, 16, 32, 32),
    "mixed3b": (256, 128, 128, 192, 32, 96, 64),
    "mixed4a": (480, 192, 96, 204, 16, 48, 64),
    "mixed4b": (508, 160, 112, 224, 24, 64, 64),
    "mixed4c": (512, 128, 128, 256, 24, 64, 64),
    "mixed4d": (512, 112, 144, 288, 32, 64, 64),
    "mixed4e": (528, 256, 160, 320, 32, 128, 128),
    "mixed5a": (832, 256, 160, 320, 48, 128, 128),
    "mixed5b": (832, 384, 192, 384, 48, 128, 128),
}
STEM = {"conv2d0": (64, 3, 7, 7), "conv2d1": (64, 64, 1, 1), "conv2d2": (192, 64, 3, 3)}


def graph_shapes():
    """Map each name in the TensorFlow graph to the shape of its weights."""
    shapes = dict(STEM)
    for block, (n, one, three_in, three, five_in, five, pool) in BLOCKS.items():
        shapes |= {
            f"{block}_1x1": (one, n, 1, 1),
            f"{block}_3x3_bottleneck": (three_in, n, 1, 1),
            f"{block}_3x3": (three, three_in, 3, 3),
            f"{block}_5x5_bottleneck": (five_in, n, 1, 1),
            f"{block}_5x5": (five, five_in, 5, 5),
            f"{block}_pool_reduce": (pool, n, 1, 1),
        }
    return shapes


def lucent_key(name):
    return f"{name}_pre_relu_conv"


def captum_key(name):
    if name in STEM:
        return f"conv{int(name[-1]) + 1}"
    block, _, branch = name.partition("_")
    branch = branch.replace("bottleneck", "reduce")
    return f"{block}.pool_proj" if branch == "pool_reduce" else f"{block}.conv_{branch}"


def random_parameters():
    """Map each name in the graph to random (weights, bias), large enough for the response norms to matter."""
    with seeded(3):
        parameters = {
            name: (
                torch.randn(shape) * (2 / torch.Size(shape[1:]).numel()) ** 0.5,
                torch.randn(shape[0]) / 10,
            )
            for name, shape in graph_shapes().items()
        }
        parameters["head"] = (torch.randn(1008, 1024) / 32, torch.randn(1008))
    return parameters


def state_dict(parameters, key_of, head):
    keys = {name: head if name == "head" else key_of(name) for name in parameters}
    return {
        f"{key}.{kind}": tensor
        for name, key in keys.items()
        for kind, tensor in zip(("weight", "bias"), parameters[name], strict=True)
    }


LUCENT = (lucent_key, "softmax2_pre_activation_matmul")
CAPTUM = (captum_key, "fc")
# Size, alpha and k as torch defines them: for the original graph (radius 5, bias 2, alpha 1e-4 per channel)
# and for lucent.
NORMS = {"original": (11, 11e-4, 2.0), "lucent": (9, 1e-4, 1.0)}


def written_out(parameters, images, norm):
    """Compute all layers of the graph, operation by operation; image sides must be multiples of 32."""
    layers = {}

    def conv(name, x, stride=1):
        weight, bias = parameters[name]
        before = (weight.shape[2] - stride) // 2
        after = weight.shape[2] - stride - before
        layers[name] = F.conv2d(F.pad(x, (before, after, before, after)), weight, bias, stride).relu()
        return layers[name]

    def halve(x):
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)

    def respond(x):
        size, alpha, k = NORMS[norm]
        return F.local_response_norm(x, size, alpha, 0.5, k)

    x = respond(halve(conv("conv2d0", images * 255 - 117, stride=2)))
    x = halve(respond(conv("conv2d2", conv("conv2d1", x))))
    for block in BLOCKS:
        if block in ("mixed4a", "mixed5a"):
            x = halve(x)
        pooled = F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 1)
        branches = [
            conv(f"{block}_1x1", x),
            conv(f"{block}_3x3", conv(f"{block}_3x3_bottleneck", x)),
            conv(f"{block}_5x5", conv(f"{block}_5x5_bottleneck", x)),
            conv(f"{block}_pool_reduce", pooled),
        ]
        x = layers[block] = torch.cat(branches, dim=1)
    weight, bias = parameters["head"]
    layers["logits"] = x.mean(dim=(2, 3)) @ weight.T + bias
    return layers
