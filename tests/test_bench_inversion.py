"""Arithmetic of the inversion benchmark: time to a fidelity, roofline, shares."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from atlas_pipeline.models import ModelSpec
from atlas_pipeline.pictures.png_codec import pngs_of
from atlas_pipeline.tables.columns import matrix_column
from atlas_pipeline.tables.icon_bank import write_bank
from scripts.benchmarks.inversion.cases import timing_case
from scripts.benchmarks.inversion.engines import Engine, our_engine
from scripts.benchmarks.inversion.options import numbers, parse
from scripts.benchmarks.inversion.peers import PeerUse, as_icons, centre_scores
from scripts.benchmarks.inversion.profiling import difference, part_of, shares
from scripts.benchmarks.inversion.race import race, seconds_to, time_to_end
from scripts.benchmarks.inversion.roofline import Operation, OperationLog, account, bound_seconds, total_flops
from scripts.benchmarks.inversion.sheet import CAPTION_PX, GAP_PX, sheet
from scripts.benchmarks.report import plain_table


def _row(engine, steps, seconds, fidelity):
    return {"engine": engine, "steps": steps, "seconds": seconds, "fidelity": fidelity}


def test_time_to_a_fidelity_is_the_shortest_run_that_ends_there():
    curve = [(1.0, 0.80), (4.0, 0.92), (2.0, 0.91), (8.0, 0.89)]
    assert seconds_to(curve, 0.90) == 2.0
    assert seconds_to(curve, 0.91) == 2.0
    assert seconds_to(curve, 0.95) is None
    assert seconds_to([], 0.5) is None


def test_a_peer_is_held_to_the_end_of_its_longest_run():
    rows = [
        _row("ours", 8, 2.0, 0.85),
        _row("ours", 16, 4.0, 0.90),
        _row("lucent-cosine", 512, 200.0, 0.90),
        _row("lucent-cosine", 128, 50.0, 0.91),
        _row("captum-power", 512, 100.0, 0.97),
    ]
    lucent, captum = time_to_end(rows, "ours")
    assert (lucent["steps"], lucent["ends_at"], lucent["ours_s"]) == (512, 0.90, 4.0)
    assert (lucent["end_over_ours"], lucent["earliest_over_ours"]) == (50.0, 12.5)
    assert (captum["earliest_s"], captum["ours_s"], captum["end_over_ours"]) == (100.0, None, None)


def test_an_operation_waits_for_arithmetic_or_for_memory():
    operations = [Operation("conv", 400.0, 10.0), Operation("relu", 0.0, 30.0)]
    assert bound_seconds(operations, flops_per_s=100.0, bytes_per_s=10.0) == 4.0 + 3.0
    assert bound_seconds(operations, flops_per_s=1e9, bytes_per_s=10.0) == 1.0 + 3.0


def test_one_step_is_the_difference_of_two_runs():
    step = [Operation("conv", 800.0, 40.0)]
    before = [Operation("conv", 100.0, 1.0)]
    rates = {"tf32": 1000.0, "bytes_per_s": 100.0}
    row = account((before + 3 * step, before + 2 * step, 2), rates, "tf32", seconds=0.8)
    assert row["gflop_per_icon_step"] == pytest.approx(400e-9)
    assert row["share_of_ceiling"] == pytest.approx(0.5)
    assert row["bound_ms"] == pytest.approx(400.0)
    assert row["bound_over_measured"] == pytest.approx(0.5)
    assert row["icons_per_s_at_512"] == pytest.approx(1 / (512 * 0.8))


def test_the_log_counts_both_ways_as_torch_does():
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 2, 1))
    layers.requires_grad_(False)
    images = torch.rand(2, 3, 8, 8, requires_grad=True)

    def both_ways():
        layers(images).sum().backward()

    with OperationLog() as log:
        both_ways()
    with FlopCounterMode(display=False) as counter:
        both_ways()
    # Two convolutions at 36 positions, forward and backward to the image.
    assert total_flops(log.operations) == counter.get_total_flops() == 2 * 2 * 2 * 36 * (27 * 4 + 4 * 2)


def test_views_move_nothing_and_copies_read_and_write():
    matrix = torch.zeros(4, 8)
    with OperationLog() as log:
        matrix.t().view(8, 4)[:2]
        matrix.clone()
    assert [(o.name, o.num_bytes) for o in log.operations] == [("clone", 2 * 4 * 8 * 4)]


def test_operations_belong_to_parts():
    assert part_of("aten::convolution_backward") == "convolutions"
    assert part_of("aten::cudnn_grid_sampler_backward") == "transforms"
    assert part_of("aten::_fft_c2r") == "Fourier"
    assert part_of("aten::bmm") == "matrix products"
    assert part_of("autograd::engine::evaluate_function: ReluBackward0") == "ReLU"
    assert part_of("aten::cat") == "concatenation, copies"
    assert part_of("aten::scatter_add") == "other"


def test_a_profile_is_of_the_steps_alone():
    long = [
        {"operation": "conv", "calls": 9, "seconds": 5.0},
        {"operation": "sqrt", "calls": 3, "seconds": 1.0},
        {"operation": "once", "calls": 1, "seconds": 0.5},
    ]
    short = [
        {"operation": "conv", "calls": 3, "seconds": 2.0},
        {"operation": "once", "calls": 1, "seconds": 0.6},
    ]
    table = shares(difference(long, short))
    assert table["parts"] == [
        {"part": "convolutions", "share": 0.75},
        {"part": "other", "share": 0.25},
    ]
    assert [row["calls"] for row in table["operations"]] == [6, 3, 0]


def test_peers_names_and_scores():
    assert PeerUse.of(["power", "frozen"]) == PeerUse(power=True, frozen=True)
    with pytest.raises(ValueError, match="fast"):
        PeerUse.of(["fast"])
    feature_map = torch.zeros(2, 2, 4, 4)
    feature_map[0, :, 2, 2] = torch.tensor([3.0, 4.0])
    feature_map[1, :, 2, 2] = torch.tensor([0.0, -2.0])
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert centre_scores(feature_map, directions, power=False).tolist() == pytest.approx([0.6, -1.0])
    assert centre_scores(feature_map, directions, power=True).tolist() == pytest.approx([3 * 0.6**4, -2e-4])


def test_icons_are_rounded_to_the_nearest_level():
    image = torch.tensor([0.0, 0.4 / 255, 0.6 / 255, 1.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert as_icons(image)[0, :, :, 0].tolist() == [[0, 0], [1, 255]]


def test_the_sheet_has_a_row_an_engine_and_keeps_pixels_whole():
    icons = np.arange(3 * 32 * 32 * 3, dtype=np.uint8).reshape(3, 32, 32, 3)
    picture = np.asarray(sheet([("ours", icons), ("lucent", icons[::-1])], num_columns=2))
    pitch = 64 + GAP_PX
    assert picture.shape == (2 * (pitch + CAPTION_PX), 2 * pitch - GAP_PX, 3)
    assert (picture[CAPTION_PX : CAPTION_PX + 64 : 2, pitch : pitch + 64 : 2] == icons[1]).all()
    second = pitch + 2 * CAPTION_PX
    assert (picture[second : second + 64 : 2, 1:64:2] == icons[2]).all()


def test_options_and_plain_table():
    assert numbers("4,8") == [4, 8]
    options = parse(None, ["race", "run.yaml", "--set", "a.b=1", "--own-steps", "4"])
    assert (options.bench, options.config, options.overrides, options.own_steps) == (
        "race",
        "run.yaml",
        ["a.b=1"],
        "4",
    )
    assert plain_table(["a", "long"], [["12", "3"]]) == "a   long\n12  3"


def test_an_engine_starts_from_the_nearest_banked_icons(tmp_path):
    """After one step, an icon still looks like the one that it started from."""
    case = timing_case(ModelSpec(source="demo", weights="random"), "mixed3", 16, 3, "cpu")
    num_channels = case.directions.shape[1]
    icons = np.zeros((2, 16, 16, 3), np.uint8) + np.array([60, 190], np.uint8)[:, None, None, None]
    table = pa.table(
        {
            "direction": matrix_column(
                np.stack([-np.ones(num_channels), np.ones(num_channels)]).astype("f4")
            ),
            "icon": pa.array(pngs_of(icons), pa.binary()),
            "fidelity": np.ones(2, np.float32),
        }
    )
    bank = write_bank(tmp_path, {}, 16, 3, {"mixed3": table})
    made = our_engine(case, ["bank"], "cpu", bank.folder)(case.directions, 1).float()
    assert (made.mean((1, 2, 3)) - 190).abs().max() < 25
    cold = our_engine(case, [], "cpu")(case.directions, 1).float()
    assert (cold.mean((1, 2, 3)) - 128).abs().max() < 25
    with pytest.raises(SystemExit, match="--bank"):
        our_engine(case, ["bank"], "cpu")
    with pytest.raises(SystemExit, match="has no icons of mixed4"):
        our_engine(type(case)(**{**vars(case), "layer": "mixed4"}), ["bank"], "cpu", bank.folder)


def test_a_race_counts_the_seconds_of_its_clock():
    case = timing_case(ModelSpec(source="demo", weights="random"), "mixed3", 16, 2, "cpu")
    case = type(case)(**{**vars(case), "crops": torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8)})
    ticks = iter(range(0, 1000, 7))
    engine = Engine("ours", lambda directions, steps: torch.zeros(len(directions), 16, 16, 3).byte())
    rows, _ = race(case, [engine], {"ours": [1]}, "cpu", 1, clock=lambda: next(ticks))
    assert rows[0]["seconds"] == 7
