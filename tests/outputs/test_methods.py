"""The methods paragraph and its bibliography agree with the config and the provenance."""

import json
import re

import pytest
import yaml

from atlas_pipeline.figure.bibliography import bibliography_of
from atlas_pipeline.figure.facts import Facts
from atlas_pipeline.figure.methods import methods_of
from atlas_pipeline.reader import open_run


@pytest.fixture
def written(made_run):
    """`written(view, sample={...}, invert={...}, ...)` returns the paragraph and BibTeX of such a run."""

    def write(view="all", sample=(), invert=(), project=(), selection=(), model=(), **run):
        folder = made_run(**run)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["sample"] |= dict(sample)
        config["model"] |= dict(model)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        path = folder / "conv2" / view / "atlas-6.json"
        document = json.loads(path.read_text())
        inputs = document["provenance"]["inputs"]
        inputs["invert"]["config"]["invert"] |= dict(invert)
        inputs["project"]["config"] |= dict(project)
        if selection:
            document["selection"] |= dict(selection)
        path.write_text(json.dumps(document))
        opened = open_run(folder)
        facts = Facts(opened, opened.atlas("conv2", view, 6))
        methods = methods_of(facts)
        return methods, bibliography_of(facts, methods)

    return write


def test_a_layer_atlas_is_told_from_images_to_icons(written):
    methods, _ = written(sample={"edge": 1})
    atlas_of = "an activation atlas [@carter2019atlas] of layer `conv2` of demo [@model]"
    told = (
        f"We made {atlas_of} (weights: file with sha256 0123456789abcdef) with atlas-pipeline 0.1.0",
        r"images (photos/train) we kept the activation, the channel vector, at one spatial position drawn",
        "(seed 0) from the feature map, away from its border",
        "UMAP (20 neighbours, minimum distance 0.1, cosine; trustworthiness 0.951, neighbour recall 0.200)",
        "a grid of 6 × 6",
        "cells of at least 4 activations",
        "96 steps of Adam [@kingma2015adam], at first under random transforms",
        "8 × 8 px",
        "Median fidelity, the cosine of icon and mean activation: 0.85",
        "the logit's gradient at its position, with relaxed max-pooling [@olah2018blocks].",
        "`feedfacefeedface`",
    )
    places = [methods.find(words) for words in told]
    assert -1 not in places, told[places.index(-1)]
    assert places[2] < places[3] < places[4] < places[6]


@pytest.mark.parametrize(
    ("selection", "rule"),
    [
        ({"filter": "rank", "sign": "positive"}, r"that have their highest attribution to cost \$5 or \$6."),
        ({"filter": "magnitude"}, r"that are among those of highest attribution to cost \$5 or \$6."),
        ({"filter": "both", "sign": "negative"}, r"have their lowest attribution to cost \$5 or \$6, or are"),
    ],
)
def test_a_class_atlas_says_how_its_activations_were_chosen(written, selection, rule):
    methods, _ = written("class-cost-5-or-6", selection=selection)
    # Dollar signs in a label do not start a formula in Markdown either.
    assert rule in methods
    assert "We made a class atlas" in methods
    assert "In each of 999 images" in methods


def test_a_comparison_says_what_its_axis_is(written):
    methods, _ = written("compare-ant-dog")
    assert "attribution to dog minus that to ant" in methods
    assert "(0.9 logits)" in methods
    assert "in one dimension" in methods


@pytest.mark.parametrize(
    ("options", "words", "key"),
    [
        ({"invert": {"image": "maco"}}, "phases", "fel2023maco"),
        ({"project": {"method": "tsne"}}, "t-SNE", "vandermaaten2008tsne"),
        ({"sample": {"attribution_method": "integrated"}}, "8 points", "sundararajan2017axiomatic"),
        (
            {"invert": {"warm_steps": 24}},
            "24 steps of Adam [@kingma2015adam], from the icon",
            "kingma2015adam",
        ),
        ({"invert": {"whitening": 1, "objective": "dot"}}, "in the whitened metric", "olah2017feature"),
    ],
)
def test_settings_change_what_is_said_and_cited(written, options, words, key):
    methods, bibliography = written(**options)
    assert words in methods
    assert f"[@{key}]" in methods
    assert re.search(rf"^@\w+{{{key},", bibliography, re.MULTILINE)


@pytest.mark.parametrize(
    ("model", "title", "note"),
    [
        ({"source": "demo"}, "The demo network of atlas-pipeline", "model demo, file"),
        ({"source": "timm", "name": "resnet50.a1_in1k"}, "{PyTorch} Image Models", "model resnet50.a1"),
        ({"source": "inception_v1", "name": "lucent"}, "Going Deeper", r"model inception\_v1 (lucent), file"),
        # The path of the file depends on the machine, so it is left out.
        ({"source": "python", "name": "my/nets/resnet.py:build"}, "resnet", "model resnet, file"),
    ],
)
def test_a_network_is_cited_as_its_makers_ask_by_its_name(written, model, title, note):
    _, bibliography = written(model=model)
    (entry,) = re.findall(r"^@\w+{model,\n.*?^}", bibliography, re.MULTILINE | re.DOTALL)
    assert f"title = {{{title}" in entry
    assert f"note = {{{note}" in entry


def test_only_what_is_cited_is_in_the_bibliography(written):
    methods, bibliography = written(sample={"attribution_method": "ablation"}, classes=True)
    assert "what the logit loses without it." in methods
    assert "olah2018blocks" not in bibliography
    assert "vandermaaten" not in bibliography
    methods, _ = written(classes=False)
    assert "attribution" not in methods
