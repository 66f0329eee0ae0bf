"""Reporters show the progress of a run."""

import io

import toy_stages

from atlas_pipeline.engine import PlainReporter, SilentReporter, open_reporter
from atlas_pipeline.engine import progress as progress_module
from atlas_pipeline.engine.bars import BarsReporter
from atlas_pipeline.engine.step_progress import duration, rate_text


class Listener(SilentReporter):
    """Records every bar: label, unit, total, units done at the start, units since, whether it finished."""

    def __init__(self):
        self.bars = []

    def bar(self, label, unit, *, total, done, **_):
        self.bars.append([label, unit, total, done, 0, None])
        return _Heard(self.bars[-1])


class _Heard:
    def __init__(self, bar):
        self._bar = bar

    def advance(self, units):
        self._bar[4] += units

    def close(self, finished):
        self._bar[5] = finished


def test_a_bar_a_group_that_ends_full(bench):
    listener = Listener()
    bench.run(reporter=listener)
    assert listener.bars == [
        ["list", "rows", 1, 0, 1, True],
        ["sample a, b", "rows", 20, 0, 20, True],
        ["project a all", "rows", 1, 0, 1, True],
        ["bin a all 2, 3", "rows", 1, 0, 1, True],
        ["project b all", "rows", 1, 0, 1, True],
        ["bin b all 2, 3", "rows", 1, 0, 1, True],
    ]


def test_a_resumed_bar_begins_where_the_last_one_ended(bench):
    bench.run()
    folder = bench.folder("sample", "a")
    (folder / "manifest.json").unlink()
    (folder / "part-00003.parquet").unlink()
    listener = Listener()
    bench.run(reporter=listener)
    assert listener.bars == [["sample a", "rows", 20, 18, 2, True]]


def test_a_stage_that_counts_too_much_does_not_overfill_its_bar(bench, monkeypatch):
    monkeypatch.setattr(toy_stages, "begin", lambda stage, index, jobs, runtime: runtime.advance(5))
    listener = Listener()
    bench.run(reporter=listener)
    assert [(bar[2], bar[4]) for bar in listener.bars][:2] == [(1, 1), (20, 20)]


def test_plain_lines_every_few_seconds_and_at_the_end(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    bar = PlainReporter(stream).bar("sample mixed4", "images", total=20_000, done=5_000)
    now[0] = 100.0
    bar.advance(0)  # the first task begins; until now the step waited for a worker
    for second in range(101, 113):
        now[0] = second
        bar.advance(1_000)
    bar.close(finished=True)
    assert stream.getvalue().splitlines() == [
        "sample mixed4: 10,000 of 20,000 images, 1,000 images/s, 0:10 left",
        "sample mixed4: 15,000 of 20,000 images, 1,000 images/s, 0:05 left",
        "sample mixed4: 17,000 of 20,000 images, 1,000 images/s, done after 0:12",
    ]


def test_steps_that_run_at_once_take_turns_in_a_log(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    reporter = PlainReporter(stream)
    bars = [reporter.bar(f"invert {layer}", "icons", total=100, done=0) for layer in "abcd"]
    for bar in bars[:3]:
        bar.advance(0)
    for second in range(1, 31):
        now[0] = second
        for bar in bars[:3]:
            bar.advance(1)
    lines = stream.getvalue().splitlines()
    # As many lines as one step alone would give. The fourth step waits for a worker.
    assert [line.split(":")[0] for line in lines] == ["invert a", "invert b", "invert c"] * 2
    bars[0].close(finished=True)
    bars[1].close(finished=True)
    now[0] = 35
    bars[2].advance(1)
    assert stream.getvalue().splitlines()[-1].startswith("invert c: 31 of 100 icons")


def test_a_step_that_waits_for_a_worker_has_no_bar():
    stream = io.StringIO()
    stream.isatty = lambda: True
    with open_reporter(stream=stream) as reporter:
        waiting = reporter.bar("tiles mixed4", "bands", total=3, done=0)
        (task,) = reporter._progress.tasks
        assert not task.visible
        waiting.advance(0)
        assert task.visible


def test_bars_on_a_terminal_show_label_count_and_rate():
    stream = io.StringIO()
    stream.isatty = lambda: True
    reporter = open_reporter(stream=stream)
    assert isinstance(reporter, BarsReporter)
    with reporter:
        bar = reporter.bar("bin mixed4 all 20", "cells", total=400, done=100)
        bar.advance(300)
        bar.close(finished=True)
        reporter.say("[one] line")
    shown = stream.getvalue()
    assert "bin mixed4 all 20" in shown
    assert "400 of 400 cells" in shown
    assert "cells/s" in shown
    assert "[one] line" in shown


def test_where_lines_go():
    assert type(open_reporter(quiet=True)) is SilentReporter
    assert type(open_reporter(stream=io.StringIO())) is PlainReporter


def test_numbers_for_people():
    assert (duration(42), duration(3909)) == ("0:42", "1:05:09")
    assert (rate_text(312.4, "images"), rate_text(0.4231, "icons")) == ("312 images/s", "0.42 icons/s")
