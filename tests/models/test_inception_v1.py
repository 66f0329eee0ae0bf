"""InceptionV1 with weights files of two PyTorch ports, compared with the network written out."""

import json

import pytest
import torch
import torch.nn.functional as F
from inception_reference import BLOCKS, CAPTUM, LUCENT, STEM, random_parameters, state_dict, written_out
from torch import fx

from atlas_pipeline.errors import ModelError
from atlas_pipeline.models import feature_maps, open_network
from atlas_pipeline.models.attribution import attribution
from atlas_pipeline.models.calibrate import noise_images
from atlas_pipeline.models.cut import cut
from atlas_pipeline.models.identity import model_identity
from atlas_pipeline.models.inception_v1_network import ConvRelu, HalvingPool, InceptionV1
from atlas_pipeline.models.labels import class_labels
from atlas_pipeline.models.spec import ModelSpec
from atlas_pipeline.models.suffix import suffix


@pytest.fixture(scope="module")
def parameters():
    return random_parameters()


def opened(tmp_path, state, **options):
    torch.save(state, tmp_path / "w.pth")
    return open_network(
        ModelSpec(source="inception_v1", weights=str(tmp_path / "w.pth"), preprocess={"crop": 64}, **options)
    )


def assert_same(actual, expected):
    assert actual.shape == expected.shape
    assert float((actual - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("port", "name", "norm"),
    [(LUCENT, None, "original"), (LUCENT, "lucent", "lucent"), (CAPTUM, None, "original")],
)
def test_a_ports_state_dict_loads_and_gives_the_graphs_activations(
    tmp_path, parameters, images, port, name, norm
):
    network = opened(tmp_path, state_dict(parameters, *port), name=name)
    expected = written_out(parameters, images, norm)
    inner = {"mixed4c_3x3": "mixed4c.3x3", "mixed4c_5x5_bottleneck": "mixed4c.5x5_bottleneck"}
    layers = {known: known for known in (*STEM, *BLOCKS)} | inner
    actual = feature_maps(network, images, list(layers.values()))
    for known, layer in layers.items():
        assert_same(actual[layer], expected[known])
    assert_same(network.logits(images), expected["logits"])


def test_our_own_state_dict_and_heads_of_no_account(tmp_path, parameters, images):
    network = opened(tmp_path, state_dict(parameters, *CAPTUM))
    heads = {"aux1.loss_fc.weight": torch.zeros(2), "head1_bottleneck_pre_relu_conv.bias": torch.zeros(2)}
    again = opened(tmp_path, dict(network.module.state_dict()) | heads)
    assert torch.equal(again.logits(images), network.logits(images))


def test_a_fine_tuned_head_brings_its_own_number_of_classes(tmp_path, parameters):
    weight, bias = parameters["head"]
    tuned = parameters | {"head": (weight[:10], bias[:10])}
    assert opened(tmp_path, state_dict(tuned, *LUCENT)).num_classes == 10


def test_a_file_of_another_network_is_refused_key_by_key(tmp_path, parameters):
    state = state_dict(parameters, *LUCENT)
    state["mixed6a_1x1_pre_relu_conv.weight"] = state.pop("mixed5b_1x1_pre_relu_conv.weight")
    with pytest.raises(
        ModelError, match=r"1 missing: mixed5b.1x1.pre_relu.weight; 1 unexpected: mixed6a_1x1_pre_relu_conv"
    ):
        opened(tmp_path, state)


def test_the_input_range_is_the_graphs(inception_v1):
    pixels = torch.tensor([0, 117, 255], dtype=torch.uint8).repeat(3, 1).view(1, 3, 1, 3)
    expected = torch.tensor([-117.0, 0.0, 138.0])
    assert torch.allclose(inception_v1.normalise(pixels)[0, 0, 0], expected, atol=1e-4)


@pytest.mark.parametrize("side", [5, 6, 7, 8, 13, 16])
def test_padding_is_tensorflows_same(side):
    """The output has ceil(side / 2) positions; an odd padding puts its extra pixel last."""
    x = torch.randn(1, 3, side, side)
    num = -(-side // 2)
    conv, pool = ConvRelu(3, 4, 7, stride=2), HalvingPool()
    for size, module in ((7, conv), (3, pool)):
        lacking = max((num - 1) * 2 + size - side, 0)
        ends = (lacking // 2, lacking - lacking // 2) * 2
        if module is conv:
            expected = F.conv2d(F.pad(x, ends), conv.pre_relu.weight, conv.pre_relu.bias, 2).relu()
        else:
            expected = F.max_pool2d(F.pad(x, ends, value=-torch.inf), 3, 2)
        assert expected.shape[2:] == (num, num)
        assert torch.allclose(module(x), expected, atol=1e-6)


def test_random_weights_keep_the_activations_alive(inception_v1):
    images = noise_images(64, seed=11, num_images=4)
    for layer, h in feature_maps(inception_v1, images, [*STEM, *BLOCKS]).items():
        assert 0.2 < float(h.square().mean().sqrt()) < 5, layer
    assert inception_v1.weights_note == "RANDOM WEIGHTS (seed 0)"


def test_random_weights_depend_on_the_seed_alone(inception_v1, images):
    spec = {"source": "inception_v1", "weights": "random", "preprocess": {"crop": 64}}
    torch.manual_seed(9)
    assert torch.equal(open_network(ModelSpec(**spec)).logits(images), inception_v1.logits(images))
    assert not torch.allclose(
        open_network(ModelSpec(**spec, seed=1)).logits(images), inception_v1.logits(images)
    )


def test_it_is_cut_and_attributed_like_any_other(inception_v1, images):
    part = cut(inception_v1, "mixed4c")
    assert isinstance(part.body, fx.GraphModule)
    whole = feature_maps(inception_v1, images, ["mixed4c"])["mixed4c"]
    assert torch.allclose(part(images), whole, rtol=1e-4, atol=1e-5)
    # Tracing must not fix the image size: odd sides work too.
    assert part(torch.rand(1, 3, 75, 75)).shape[2:] == (5, 5)
    assert suffix(inception_v1, "mixed4c") is not None
    positions = torch.tensor([[1, 1], [0, 2]])
    h = whole.clone().requires_grad_()
    logits = suffix(inception_v1, "mixed4c")(h)
    (gradient,) = torch.autograd.grad(logits[:, 7].sum(), h)
    at = (torch.arange(2), slice(None), positions[:, 0], positions[:, 1])
    expected = (gradient[at] * h.detach()[at]).sum(dim=1)
    actual = attribution(inception_v1, images, "mixed4c", positions, "exact", classes=[7])[:, 0]
    assert torch.allclose(actual, expected, rtol=1e-3, atol=1e-6)
    smooth = attribution(inception_v1, images, "mixed4c", positions, "smooth", classes=[7])[:, 0]
    assert bool(smooth.isfinite().all())
    assert not torch.allclose(smooth, expected, rtol=1e-2)


def test_classes_without_names_are_called_by_their_index(inception_v1, tmp_path):
    assert inception_v1.labels is None
    assert inception_v1.class_names[1007] == "class 1007"
    (tmp_path / "synsets.txt").write_text("n02119789 1 kit fox\nn02100735 2 English setter\n")
    spec = ModelSpec(source="inception_v1", weights="random", labels=str(tmp_path / "synsets.txt"))
    labels = class_labels(spec, 1008)
    assert labels[:4] == ("class 0", "kit fox", "English setter", "class 3")
    assert len(labels) == 1008


def test_what_stands_in_fingerprints(tmp_path):
    one, other, seeded_one = (
        model_identity(ModelSpec(source="inception_v1", weights="random", **options))
        for options in ({}, {"name": "lucent"}, {"seed": 1})
    )
    assert json.dumps(one) != json.dumps(other) != json.dumps(seeded_one)
    assert one == model_identity(ModelSpec(source="inception_v1", weights="random", name="original"))


@pytest.mark.parametrize("ask", [model_identity, open_network])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"comes without weights; set model.weights to the file inception5h.pth .*'random'"),
        ({"name": "lucnet", "weights": "random"}, r"'lucnet' is not in inception_v1; nearest: 'lucent'"),
        ({"weights": "nowhere/w.pth"}, r"no file 'nowhere/w.pth'"),
    ],
)
def test_mistakes(ask, options, message):
    with pytest.raises(ModelError, match=message) as caught:
        ask(ModelSpec(source="inception_v1", **options))
    assert "\n" not in str(caught.value)


def test_the_network_without_its_config():
    assert InceptionV1(7)(torch.zeros(1, 3, 40, 40)).shape == (1, 7)
