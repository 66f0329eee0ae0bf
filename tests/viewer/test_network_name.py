import pytest

from atlas_pipeline.models.network_name import network_name


@pytest.mark.parametrize(
    ("source", "name", "called"),
    [
        ("python", "scripts/training/cifar10.py:build", "cifar10"),
        ("python", "my_package.resnets:model", "resnets"),
        ("python", r"networks\small.py:net", "small"),
        ("python", "networks/resnet.py:resnet50", "resnet50"),
        ("torchvision", "googlenet", "googlenet"),
        ("demo", None, "demo"),
    ],
)
def test_a_network_is_called_by_what_says_most(source, name, called):
    assert network_name(source, name) == called
