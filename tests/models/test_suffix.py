"""Networks are cut after a layer wherever no value of the image bypasses it, and replayed where one does."""

import pytest
import torch
from backward_passes import assert_close, by_backward
from small_networks import Around, Convolutions, Stages, num_hooks, small_network
from torch import nn

from atlas_pipeline.models.ablation import ablation
from atlas_pipeline.models.attribution import attribution, path_points
from atlas_pipeline.models.attribution_mode import attribution_mode
from atlas_pipeline.models.calibrate import noise_images, seeded
from atlas_pipeline.models.capture import layer_outputs
from atlas_pipeline.models.layer_override import can_replay
from atlas_pipeline.models.replay import Recording
from atlas_pipeline.models.shared_trial import shared_pass
from atlas_pipeline.models.suffix import suffix

# Four positions of each of three images, in maps of at least 8 x 8.
POSITIONS = torch.tensor(
    [[[3, 4], [0, 0], [7, 2], [5, 5]], [[1, 6], [2, 2], [4, 0], [7, 7]], [[6, 3], [0, 7], [2, 5], [3, 3]]]
)


class BatchOfInput(Stages):
    """As EfficientNet's common port does."""

    def forward(self, x):
        batch = x.size(0)
        return self.head(self.tail(self.body(x)).view(batch, -1))


class ShapeOfInput(Stages):
    def forward(self, x):
        shape = x.shape
        batch, _, height, width = shape
        side = height // 4
        x = self.body(x).reshape(batch, 8, side * (width // 4)).relu()
        return self.head(x.cumsum(2).square().mean(2).view(shape[:1] + torch.Size([8])))


class WindowsOfInput(Stages):
    """The number of windows of all images is read before the layer and used after it."""

    def forward(self, x):
        windows = x.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        num_windows, batch = windows.shape[0], x.shape[0]
        x = self.after(self.body(x).relu()).unfold(2, 4, 4).unfold(3, 4, 4)
        x = x.permute(0, 2, 3, 1, 4, 5).reshape(num_windows, 8, 16).square().mean(2)
        return self.head(x.view(batch, 4, 8).amax(1))


class SharedTable(Stages):
    """A table from parameters alone is made first and used in every block, as relative positions are."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(2, 4))

    def forward(self, x):
        bias = self.table.flatten().sigmoid().view(1, 8, 1, 1).expand(x.size(0), -1, -1, -1)
        x = self.body(x + bias.mean())
        return self.head((self.tail(x * bias) + bias).flatten(1))


class ClassToken(Stages):
    """A token without a position goes along with the others."""

    def __init__(self):
        super().__init__()
        self.token, self.mix = nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(8, 8)
        self.block = nn.LayerNorm(8)

    def forward(self, x):
        batch = x.shape[0]
        tokens = self.body(x).flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat([self.token.expand(batch, -1, -1), tokens], dim=1))
        tokens = tokens + self.mix(tokens).relu().mean(1, keepdim=True)
        return self.head(tokens.square()[:, :1].reshape(batch, -1))


CUT = {
    BatchOfInput: "layer",
    ShapeOfInput: "layer",
    WindowsOfInput: "layer",
    SharedTable: "layer",
    ClassToken: "block",
}


class Residual(Stages):
    """A value of the image bypasses the layer."""

    def forward(self, x):
        early = self.stem(x).relu()
        return self.head((self.tail(self.layer(early)) + early.mean(dim=(1, 2, 3), keepdim=True)).flatten(1))


class Untraced(Residual):
    def forward(self, x):
        return super().forward(x * 2 if float(x.sum()) > 1e9 else x)


class Twice(Untraced):
    """The layer runs twice, within a block that runs twice; the first run ends before the last begins."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True))

    def tail(self, x):
        return super().tail(self.block(self.block(x)))


class Buffered(Stages):
    """A buffer that keeps values of the image carries them past the layer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(1))

    def forward(self, x):
        self.kept.copy_(x.mean())
        return self.head((self.tail(self.body(x)) + self.kept).flatten(1))


def made(module_class):
    with seeded(2):
        module = module_class()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.running_var, 0.5, 2)
                nn.init.normal_(part.weight)
    return small_network(module)


def oracle(network, images, layer, kind="exact"):
    """(B, P, K) by backward passes through the whole network, class by class and position by position."""
    token = network.runs[layer].form.num_left_out if network.runs[layer].form.is_tokens else None
    found = []
    for k in range(POSITIONS.shape[1]):
        at = POSITIONS[:, k]
        if token is None:
            found.append(by_backward(network, images, layer, at, kind, range(5)))
        else:
            found.append(of_tokens(network, images, layer, token + 8 * at[:, 0] + at[:, 1]))
    return torch.stack(found, dim=1)


def of_tokens(network, images, layer, tokens):
    kept = []
    hook = network.module.get_submodule(layer).register_forward_hook(
        lambda _, __, output: kept.append(output.detach().requires_grad_()) or kept[0] * 1
    )
    logits, index = network.logits(images), (torch.arange(len(images)), tokens)
    hook.remove()
    columns = [torch.autograd.grad(logits[:, c].sum(), kept, retain_graph=True)[0][index] for c in range(5)]
    return torch.stack([(column * kept[0][index]).sum(1) for column in columns], dim=1).detach()


def ablated(network, images, layer):
    """(B, P, K) by whole forward passes."""
    (output,) = layer_outputs(network, images, [layer]).values()
    form, runs = network.runs[layer].form, network.runs[layer].times
    kept, found = network.logits(images), []
    for k in range(POSITIONS.shape[1]):
        changed = output.clone()
        changed[form.place(changed, POSITIONS[:, k])] = 0
        # The last run of the layer counts.
        left = [None] * (runs - 1) + [changed]
        hook = network.module.get_submodule(layer).register_forward_hook(lambda *_, left=left: left.pop(0))
        found.append(kept - network.logits(images))
        hook.remove()
    return torch.stack(found, dim=1)


def assert_same(actual, expected):
    assert_close(actual.flatten(0, 1), expected.flatten(0, 1))


@pytest.mark.parametrize(("module_class", "layer"), CUT.items())
def test_sizes_and_parameters_do_not_bypass_a_layer(tiny_images, module_class, layer):
    network = made(module_class)
    assert suffix(network, layer) is not None
    assert attribution_mode(network, None, layer, "exact").through_suffix
    (output,) = layer_outputs(network, tiny_images, [layer]).values()
    expected = oracle(network, tiny_images, layer)
    assert_same(attribution(network, tiny_images, layer, POSITIONS, output=output), expected)
    assert_same(
        ablation(network, tiny_images, layer, POSITIONS, output), ablated(network, tiny_images, layer)
    )


@pytest.mark.parametrize("module_class", CUT)
def test_a_suffix_takes_any_number_of_images(module_class):
    network, layer = made(module_class), CUT[module_class]
    tail = suffix(network, layer)
    for num in (1, 4, 7):
        images = noise_images(32, seed=num, num_images=num)
        (output,) = layer_outputs(network, images, [layer]).values()
        torch.testing.assert_close(tail(output), network.logits(images))


def test_images_of_another_size_take_the_whole_network():
    network, images = made(BatchOfInput), noise_images(48, seed=0, num_images=3)
    (output,) = layer_outputs(network, images, ["layer"]).values()
    with Convolutions() as convolutions:
        found = ablation(network, images, "layer", POSITIONS, output)
    assert convolutions.count > len(POSITIONS[0]) + 1
    assert_same(found, ablated(network, images, "layer"))


@pytest.mark.parametrize("module_class", [Residual, Untraced, Buffered, Around])
def test_values_of_the_image_that_bypass_a_layer_close_the_suffix(module_class):
    assert suffix(made(module_class), "layer") is None


@pytest.mark.parametrize(
    ("module_class", "layer"),
    [(Residual, "layer"), (Untraced, "layer"), (Twice, "block.0"), (Twice, "block")],
)
def test_reruns_replay_what_lies_before_the_layer(tiny_images, module_class, layer):
    network = made(module_class)
    assert can_replay(network, layer)
    assert_same(attribution(network, tiny_images, layer, POSITIONS), oracle(network, tiny_images, layer))
    assert_same(ablation(network, tiny_images, layer, POSITIONS), ablated(network, tiny_images, layer))
    assert num_hooks(network.module) == 0
    assert not any("forward" in vars(part) for part in network.module.modules())


@pytest.mark.parametrize(
    ("module_class", "first", "further"),
    [(BatchOfInput, 1, 1), (Untraced, 3, 1), (Around, 3, 3)],
)
def test_each_position_computes_the_rest_of_the_network_alone(tiny_images, module_class, first, further):
    network = made(module_class)
    (output,) = layer_outputs(network, tiny_images, ["layer"]).values()
    ablation(network, tiny_images, "layer", POSITIONS, output)
    with Convolutions() as convolutions:
        ablation(network, tiny_images, "layer", POSITIONS, output)
    assert convolutions.count == first + 4 * further


def test_code_that_keeps_values_aside_is_run_as_a_whole(tiny_images):
    network = made(Around)
    assert not can_replay(network, "layer")
    assert_same(attribution(network, tiny_images, "layer", POSITIONS), oracle(network, tiny_images, "layer"))


@pytest.mark.parametrize("module_class", [BatchOfInput, Untraced])
def test_a_path_has_many_points_from_one_record(tiny_images, module_class):
    network, path = made(module_class), path_points("integrated", 3)
    (output,) = layer_outputs(network, tiny_images, ["layer"]).values()
    found = attribution(network, tiny_images, "layer", POSITIONS, output=output, path=path)
    for k in range(4):
        at = POSITIONS[:, k]
        by_point = [
            by_backward(network, tiny_images, "layer", at, "exact", range(5), share) for share in path
        ]
        assert_close(found[:, k], torch.stack(by_point).mean(0))


def test_the_own_forward_of_an_instance_is_put_back():
    network = made(Untraced)
    own = network.module.stem.forward = lambda x: nn.Conv2d.forward(network.module.stem, x) * 2
    recording = Recording(network.module, "layer", 1)
    images = noise_images(32, seed=0, num_images=2)
    with recording.recorded():
        expected = network.logits(images)
    with recording.replayed(), Convolutions() as convolutions:
        assert torch.equal(network.logits(images), expected)
    assert convolutions.count == 1
    assert network.module.stem.forward is own


def test_convolutions_with_a_forward_of_their_own_are_folded(tiny_images):
    """As those that pad as TensorFlow does, before batch norms with a forward of their own."""

    class Padded(nn.Conv2d):
        def forward(self, x):
            x = nn.functional.pad(x, (0, 1, 0, 1))
            return nn.functional.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)

    class Normed(nn.BatchNorm2d):
        def forward(self, x):
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps
            )

    class Net(BatchOfInput):
        def __init__(self):
            super().__init__()
            self.after, self.norm = Padded(8, 8, 2, groups=2), Normed(8)

    network = made(Net)
    shared = shared_pass(network, "layer", "exact")
    assert not isinstance(shared, str)
    assert len(shared.folded) == 1
    found = shared.derivatives(
        tiny_images, {"a": ("layer", torch.clone), "b": ("stem", torch.clone)}, "exact"
    )
    for layer, along in zip(("layer", "stem"), found.values(), strict=True):
        rows, columns = network.runs[layer].shape[1:]
        every = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).expand(3, -1, -1)
        whole = attribution(network, tiny_images, layer, every).sum(dim=1)
        assert_close(along, whole)
