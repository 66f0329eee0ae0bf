"""Which common architectures can be opened, cut and proven, and at what price their attributions come.

    python -m scripts.measurements.architectures sweep.json                         # all: an hour or two
    python -m scripts.measurements.architectures sweep.json --only resnet18 swin_t  # only these
    python -m scripts.measurements.architectures sweep.json --table sweep.md        # also write the table

Weights are random and nothing is downloaded. A small member represents each family. Each architecture is
opened in a separate process with one thread and a time limit; one that crashes or hangs becomes a row of the
table. Up to ten of its layers, evenly spaced from input to output, are proven on noise images, as
`atlas check` does on the images of a run. For the same layers, `prices` has the way by which attributions are
computed, and the CPU seconds of a position as a multiple of those of a forward pass. The JSON is written
after every architecture; those already in it are not tried again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

TORCHVISION = """
alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t
mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnext50_32x4d
shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vit_b_32 wide_resnet50_2
"""

TIMM = """
bat_resnext26ts beit_base_patch16_224 botnet26t_256 cait_xxs24_224 coat_lite_tiny coatnet_pico_rw_224
convformer_s18 convit_tiny convmixer_1024_20_ks9_p14 convnext_atto convnextv2_atto crossvit_tiny_240
cs3darknet_s csatv2 cspdarknet53 cspresnet50 darknet53 davit_tiny deit_tiny_distilled_patch16_224
densenet121 dla46_c dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_lite0
efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim eva02_tiny_patch14_224 fasternet_t0 fastvit_t8
fbnetc_100 focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_050 gmixer_12_224 gmlp_ti16_224 halonet26t
hgnet_tiny hgnetv2_b0 hiera_tiny_224 hrnet_w18_small inception_next_atto inception_resnet_v2 inception_v4
lambda_resnet26t lcnet_035 legacy_seresnet18 levit_128s levit_conv_128s mambaout_femto
maxvit_rmlp_pico_rw_256 mixer_s32_224 mixnet_s mobilenetv1_100 mobilenetv4_conv_small mobileone_s0
mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nextvit_small nf_resnet26 nfnet_l0 pit_ti_224
poolformer_s12 poolformerv2_s12 pvt_v2_b0 rdnet_tiny regnetz_005 repghostnet_050 repvgg_a0 repvit_m1
res2net50_14w_8s resmlp_12_224 resnest14d resnetv2_18 rexnet_100 samvit_base_patch16_224 sebotnet33ts_256
selecsls42 semnasnet_050 sequencer2d_s shvit_s1 skresnet18 starnet_s1 swiftformer_xs swinv2_cr_tiny_224
tf_efficientnet_b0 tiny_vit_5m_224 tinynet_e tnt_s_patch16_224 tresnet_m twins_pcpvt_small
twins_svt_small visformer_tiny vit_medium_patch16_gap_240 vit_relpos_small_patch16_224
vit_tiny_patch16_224 vitamin_small_224 volo_d1_224 vovnet39a xception41 xcit_nano_12_p16_224
"""

NUM_IMAGES = 4
NUM_POSITIONS = 8
_ONE = "--one"


def main() -> None:
    """Sweep and print the table; with ``--one``, print one architecture as JSON."""
    if _ONE in sys.argv:
        source, name, num_layers = sys.argv[-3:]
        print(json.dumps(one(source, name, int(num_layers))))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path, help="file of the results")
    parser.add_argument("--only", nargs="+", help="names (default: all in the lists of this script)")
    parser.add_argument("--layers", type=int, default=10, help="layers tried of each (default: %(default)s)")
    parser.add_argument("--limit-s", type=float, default=600, help="time limit per architecture in seconds")
    parser.add_argument("--table", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    cases = [("torchvision", name) for name in TORCHVISION.split()] + [
        ("timm", name) for name in TIMM.split()
    ]
    found = json.loads(options.json.read_text()) if options.json.exists() else []
    known = {(row["source"], row["name"]) for row in found}
    for source, name in cases:
        if (options.only and name not in options.only) or (source, name) in known:
            continue
        found.append(in_own_process(source, name, options.layers, options.limit_s))
        options.json.write_text(json.dumps(found, indent=1))
        print(line_of(found[-1]), file=sys.stderr, flush=True)
    table = table_of(found)
    print(table)
    if options.table:
        options.table.write_text(table + "\n")


def in_own_process(source: str, name: str, num_layers: int, limit_s: float) -> dict[str, Any]:
    """Try one architecture in a separate process; a crash or time-out becomes an ``error`` row."""
    start = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "scripts.measurements.architectures",
        _ONE,
        source,
        name,
        str(num_layers),
    ]
    failed: dict[str, Any] = {"source": source, "name": name}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, env=environment)
    except subprocess.TimeoutExpired:
        return failed | {"error": f"takes more than {limit_s:.0f} s"}
    took = {"seconds": round(time.monotonic() - start, 1)}
    if done.returncode < 0:
        return failed | took | {"error": f"the process died of signal {-done.returncode}"}
    if done.returncode:
        return failed | took | {"error": (done.stderr.strip().splitlines() or ["no reason"])[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1])) | took


def one(source: str, name: str, num_layers: int) -> dict[str, Any]:
    """Open one architecture, list its layers, prove some of them and price their attributions.

    Returns: a row that converts to JSON, with ``error`` if the architecture cannot be opened.
    """
    import torch

    from atlas_pipeline.errors import AtlasError
    from atlas_pipeline.models.calibrate import noise_images, seeded
    from atlas_pipeline.models.cut import cut
    from atlas_pipeline.models.open import open_network
    from atlas_pipeline.models.proof import prove
    from atlas_pipeline.models.proof_of_layer import LayerUse
    from atlas_pipeline.models.spec import ModelSpec

    torch.set_num_threads(1)
    row: dict[str, Any] = {"source": source, "name": name}
    start = time.monotonic()
    try:
        network = open_network(ModelSpec(source=source, name=name, weights="random"))
    except AtlasError as error:
        return row | {"error": str(error)}
    row["opening_s"] = round(time.monotonic() - start, 1)
    offered = [layer for layer, run in network.runs.items() if run.is_map]
    row |= {"offered": len(offered), "refused": _refusals(network)}
    size_px = network.preprocess.crop
    chosen = _evenly(offered, num_layers)
    start = time.monotonic()
    with seeded(0):
        use = LayerUse(maxpool_gradient="smooth", size_px=size_px)
        images = noise_images(size_px, 0, NUM_IMAGES)
        proof = prove(network, images, dict.fromkeys(chosen, use), partial(cut, network))
    row["proof_s"] = round(time.monotonic() - start, 1)
    failing = {r.layer for r in proof.rows if r.verdict == "fails"}
    row |= {
        "size_px": size_px,
        "proven": [layer for layer in chosen if not failing & {layer, ""}],
        "of": chosen,
        "verdicts": Counter(r.verdict for r in proof.rows),
        "said": [
            {"layer": r.layer, "check": r.check, "verdict": r.verdict, "said": r.said}
            for r in proof.rows
            if r.verdict != "ok"
        ],
        "prices": [price(network, images, layer) for layer in chosen if not failing & {layer, ""}],
    }
    return row


def price(network: Any, images: Any, layer: str) -> dict[str, Any]:
    """How a layer's attributions are computed, and CPU seconds as multiples of those of a forward pass.

    Returns: way: "shared pass"; or a product for each position: "from the layer", "replay", "whole network";
             or "class by class". of_position: for each further one. of_image: with ``NUM_POSITIONS``.
    """
    import numpy as np
    import torch

    from atlas_pipeline.models.attribution_mode import attribution_mode
    from atlas_pipeline.models.layer_override import can_replay
    from atlas_pipeline.models.layer_samples import AttributionRequest, LayerRequest, layer_samples, map_shape
    from atlas_pipeline.models.shared_trial import shared_pass

    how = AttributionRequest(method="gradient", maxpool_gradient="smooth")
    _, rows, columns = map_shape(network, layer)

    def sampled(num_positions: int) -> None:
        places = np.arange(num_positions) % (rows * columns)
        positions = np.stack([places // columns, places % columns], axis=1)
        positions = np.broadcast_to(positions, (len(images), num_positions, 2))
        layer_samples(network, images, [LayerRequest(layer=layer, positions=positions, attribution=how)])

    def seconds(run: Callable[[], Any]) -> float:
        started = time.process_time()
        run()
        return time.process_time() - started

    found, mode = shared_pass(network, layer, "smooth"), attribution_mode(network, None, layer, "smooth")
    if not isinstance(found, str):
        way = "shared pass"
    elif mode.mode == "backward":
        # A pass a class takes too long to be timed.
        return {"layer": layer, "way": "class by class", "why": mode.remark}
    elif mode.through_suffix:
        way = "from the layer"
    else:
        way = "replay" if can_replay(network, layer) else "whole network"
    sampled(1)
    with torch.no_grad():
        times = [
            (
                seconds(lambda: network.logits(images)),
                seconds(lambda: sampled(1)),
                seconds(lambda: sampled(NUM_POSITIONS)),
            )
            for _ in range(3)
        ]
    forward, first, all_positions = (statistics.median(each) for each in zip(*times, strict=True))
    return {
        "layer": layer,
        "way": way,
        "why": found if isinstance(found, str) else None,
        "of_position": (all_positions - first) / (NUM_POSITIONS - 1) / forward,
        "of_image": all_positions / forward,
    }


def _refusals(network: Any) -> dict[str, int]:
    """Count the modules that run but are not offered as layers, by reason."""
    runs = [run for run in network.runs.values() if not run.is_map]
    return dict(Counter(run.refusal or f"gives shape {run.shape}" for run in runs).most_common())


def _evenly(layers: Sequence[str], most: int) -> list[str]:
    if len(layers) <= most:
        return list(layers)
    return [layers[round(k * (len(layers) - 1) / (most - 1))] for k in range(most)]


def line_of(row: Mapping[str, Any]) -> str:
    """One architecture as a row of the Markdown table."""
    if "error" in row:
        cells = [row["source"], row["name"], "", "", "", "", "", "", f"**{row['error']}**"]
        return f"| {' | '.join(cells)} |"
    said = list(dict.fromkeys(f"{r['check']}: {r['said']}" for r in row["said"]))
    remark = said[0] if said else ""
    if len(said) > 1:
        remark += f" (and {len(said) - 1} more)"
    cells = [
        row["source"],
        row["name"],
        f"{row['opening_s']:.1f}",
        f"{row['offered']} of {row['offered'] + sum(row['refused'].values())}",
        f"{len(row['proven'])} of {len(row['of'])}",
        f"{row['proof_s']:.1f}",
        *_price_cells(row["prices"]),
        remark.replace("|", "\\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _price_cells(prices: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ways of attribution with their number of layers; the range of prices over the layers."""
    ways = Counter(one["way"] for one in prices)
    known = [one["of_position"] for one in prices if "of_position" in one]
    return [
        ", ".join(f"{way} {count}" for way, count in ways.most_common()),
        f"{min(known):.2f} to {max(known):.2f}" if known else "",
    ]


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The Markdown table, with totals below it."""
    opened = [row for row in rows if "error" not in row]
    whole = [row for row in opened if len(row["proven"]) == len(row["of"])]
    proven, tried = (sum(len(row[key]) for row in opened) for key in ("proven", "of"))
    head = ["source", "name", "opening s", "layers offered", "proven", "proof s"]
    head += ["attributions by", "forwards a position", "first remark"]
    return "\n".join(
        [
            f"| {' | '.join(head)} |",
            "|---|---|---:|---:|---:|---:|---|---:|---|",
            *map(line_of, rows),
            "",
            f"{len(rows)} architectures: {len(opened)} opened, {len(whole)} proven in all layers tried; "
            f"{proven} of {tried} layers.",
        ]
    )


if __name__ == "__main__":
    main()
