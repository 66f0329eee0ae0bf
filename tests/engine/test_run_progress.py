"""The progress of steps and of a whole run: counts, rates, and times that move."""

import io

import pytest

from atlas_pipeline.engine import PlainReporter, open_reporter
from atlas_pipeline.engine import step_progress as step_module
from atlas_pipeline.engine.run_progress import RunProgress, about
from atlas_pipeline.engine.step_progress import StepProgress


@pytest.fixture
def now(monkeypatch):
    """The clock, in seconds, as a list of one number."""
    clock = [0.0]
    monkeypatch.setattr(step_module.time, "monotonic", lambda: clock[0])
    return clock


def step_of(now, stage="invert", total=80, unit="icons", num_steps=1):
    step = StepProgress(f"{stage} mixed4", unit, total, 0, stage, num_steps)
    step.begin()
    return step


def test_fractions_of_icons_are_shown_in_percent(now):
    step = step_of(now)
    for _ in range(10):
        now[0] += 1
        step.add(80 * 1 / 64)
    assert step.line() == "invert mixed4: 16 % of 80 icons, 1.2 icons/s, 0:54 left"


def test_at_the_end_fractions_are_whole_icons(now):
    step = step_of(now, total=7)
    for _ in range(21):
        now[0] += 1
        step.add(1 / 3)
    assert step.last_line(True) == "invert mixed4: 7 of 7 icons, 0.33 icons/s, done after 0:21"


def test_the_time_left_counts_down_between_reports_and_no_further(now):
    step = step_of(now, total=100, unit="rows")
    now[0] = 10
    step.add(20)
    assert step.left() == "0:40 left"
    now[0] = 13
    assert step.left() == "0:37 left"
    # Another 20 rows were due after 10 seconds; they are late.
    now[0] = 60
    assert step.left() == "0:30 left"


def test_the_time_left_forgets_a_slow_start_and_a_suspension(now):
    step = step_of(now, total=10_000, unit="rows")
    now[0] = 600
    step.add(10)
    for _ in range(130):
        now[0] += 1
        step.add(10)
    assert step.line() == "invert mixed4: 1,310 of 10,000 rows, 10 rows/s, 14:29 left"
    now[0] += 3600
    for _ in range(130):
        now[0] += 1
        step.add(10)
    assert step.line() == "invert mixed4: 2,610 of 10,000 rows, 10 rows/s, 12:19 left"
    # The whole is told at the end.
    assert step.last_line(False) == "invert mixed4: 2,610 of 10,000 rows, 0.59 rows/s, stopped after 1:14:20"


def test_rare_reports_are_averaged_over_more_than_two_minutes(now):
    step = step_of(now, total=100, unit="rows")
    for seconds in (200, 400, 200, 400):
        now[0] += seconds
        step.add(10)
    assert step.line() == "invert mixed4: 40 of 100 rows, 0.033 rows/s, 30:00 left"


def test_before_the_first_report_the_time_so_far_is_shown(now):
    step = step_of(now, total=20_000, unit="rows")
    now[0] = 42
    assert step.line() == "invert mixed4: 0 of 20,000 rows, for 0:42"


def test_a_step_of_one_unit_has_neither_count_nor_rate(now):
    step = step_of(now, stage="index", total=1, unit="listing")
    now[0] = 41
    step.add(1)
    assert step.last_line(True) == "index mixed4: done after 0:41"
    few = step_of(now, stage="tiles", total=4, unit="bands")
    now[0] += 10
    few.add(4)
    assert few.last_line(True) == "tiles mixed4: 4 of 4 bands, done after 0:10"


def test_steps_to_come_take_as_long_as_those_of_their_stage(now):
    run = RunProgress()
    assert run.line() == ""
    run.expect(["sample", "sample", "invert", "invert", "invert"])
    sample = step_of(now, "sample", total=100, unit="images", num_steps=2)
    run.begin(sample)
    now[0] = 60
    sample.add(50)
    # Nothing is known of icons yet.
    assert run.line() == "0 of 5 steps done, at least a minute left"
    now[0] = 120
    sample.add(50)
    run.end(sample, finished=True)
    assert run.line() == "2 of 5 steps done"
    icons = step_of(now, "invert")
    run.begin(icons)
    now[0] += 30
    icons.add(8)
    # A tenth took half a minute: this step takes 4.5 minutes more, and each of the other two takes 5.
    assert run.line() == "2 of 5 steps done, about 14 minutes left"
    run.end(icons, finished=True)
    other = step_of(now, "invert")
    run.begin(other)
    # An ended step of its stage is known, and this one has told nothing yet.
    assert run.line() == "3 of 5 steps done, about a minute left"


def test_steps_that_run_at_once_share_the_time(now):
    run = RunProgress()
    run.expect(["invert"] * 2)
    steps = [step_of(now), step_of(now)]
    for step in steps:
        run.begin(step)
    now[0] = 60
    for step in steps:
        step.add(8)
    assert run.line() == "0 of 2 steps done, about 9 minutes left"


def test_a_failed_step_is_not_done_and_one_made_before_is(now):
    run = RunProgress()
    run.expect(["bin", "bin"])
    failed = step_of(now, "bin")
    run.begin(failed)
    run.end(failed, finished=False)
    run.end(step_of(now, "bin"), finished=True)
    assert run.line() == "1 of 2 steps done"


def test_logs_and_terminals_show_the_whole_run(now):
    stream = io.StringIO()
    reporter = PlainReporter(stream)
    reporter.expect(["invert", "stitch"])
    bar = reporter.bar("invert mixed4", "icons", total=80, done=0, stage="invert")
    bar.advance(0)
    now[0] = 6
    bar.advance(8)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("8 of 80 icons, 1.3 icons/s, 0:54 left; 0 of 2 steps done, at least a minute left")

    terminal = io.StringIO()
    terminal.isatty = lambda: True
    with open_reporter(stream=terminal) as bars:
        bars.expect(["invert", "stitch"])
        bar = bars.bar("invert mixed4", "icons", total=80, done=0, stage="invert")
        bar.advance(0)
        bar.advance(0.5)
        bars._progress.refresh()
        bar.close(finished=True)
        bars._progress.refresh()
    assert "0 of 2 steps done" in terminal.getvalue()
    assert "1 of 2 steps done" in terminal.getvalue()


def test_durations_in_words():
    assert [about(seconds) for seconds in (10, 100, 240, 9000)] == [
        "a minute",
        "2 minutes",
        "4 minutes",
        "2.5 hours",
    ]
