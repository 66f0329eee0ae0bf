"""A small pipeline for the tests: list -> sample (layers together) -> project -> bin (grids together).

Its settings are never fingerprinted:
    log: a file that gets one line per task.
    orders: a folder. Its file `<stage>-<task>` or `<stage>-<task>-<labels>` says how that task fails or what
        it waits for.
    bad: the number of bad images per task of sample.
    max_bad: the number of bad images that a run accepts.
"""

import logging
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from atlas_pipeline.engine import Output, Stage, Step
from atlas_pipeline.errors import AtlasError, ImagesError

NUM_ROWS = 20
CHANNELS = 4


def steps(settings=None, *, layers=("a", "b"), grids=(2, 3), stamp="", seed=0, dist=0.01, size=6, version=1):
    """The steps of the toy pipeline, inputs first."""
    settings = settings or {}
    listed = Step(stage=LIST, config={"seed": seed, "stamp": stamp}, settings=settings)
    found = [listed]
    for layer in layers:
        sample = Step(
            stage=SAMPLE,
            config={"layer": layer, "shard_size": size},
            inputs={"list": listed},
            settings=settings,
            layer=layer,
            shared="layers",
        )
        project = Step(
            stage=stage_of("project", one_task, project_task, version=version),
            config={"min_dist": dist},
            inputs={"sample": sample},
            settings=settings,
            layer=layer,
            view="all",
        )
        found += [sample, project]
        for grid in grids:
            inputs = {"sample": sample, "layout": project}
            labels = {"layer": layer, "view": "all", "grid": grid, "shared": "grids"}
            found.append(Step(stage=BIN, config={"grid": grid}, inputs=inputs, settings=settings, **labels))
    return found


def one_task(job):
    return [{}]


def list_task(task, jobs, runtime):
    begin("list", 0, jobs, runtime)
    ids = np.arange(NUM_ROWS) + jobs[0].config["seed"]
    return [Output(table=pa.table({"image_id": ids, "read_by": [jobs[0].config["stamp"]] * NUM_ROWS}))]


def sample_split(job):
    rows, size = job.inputs["list"].num_rows, job.config["shard_size"]
    return [{"start": start, "stop": min(start + size, rows)} for start in range(0, rows, size)]


def sample_task(task, jobs, runtime):
    begin("sample", task["start"] // jobs[0].config["shard_size"], jobs, runtime)
    ids = jobs[0].inputs["list"].rows(task["start"], task["stop"], ["image_id"])["image_id"].to_numpy()
    outputs = []
    for job in jobs:
        seeds = [(int(image), ord(job.config["layer"])) for image in ids]
        drawn = np.stack([np.random.default_rng(seed).normal(size=CHANNELS) for seed in seeds]).astype("f2")
        lists = pa.FixedSizeListArray.from_arrays(pa.array(drawn.ravel()), CHANNELS)
        table = pa.table({"image_id": ids, "activation": lists})
        outputs.append(Output(table=table, notes={"rows": len(ids), "bad": job.settings.get("bad", 0)}))
    runtime.advance(len(ids))
    return outputs


def sample_summary(job, notes):
    bad = sum(note["bad"] for note in notes)
    if bad > job.settings.get("max_bad", 1):
        raise ImagesError(f"{bad} bad images; mend them, or raise images.max_bad")
    return {"rows": sum(note["rows"] for note in notes)}


def project_task(task, jobs, runtime):
    begin("project", 0, jobs, runtime)
    (job,) = jobs
    sums = [
        np.stack(part["activation"].to_numpy()).astype(float)[:, :2] * (1 + job.config["min_dist"])
        for part in job.inputs["sample"].parts(["activation"])
    ]
    xy = np.concatenate(sums)
    return [Output(table=pa.table({"x": xy[:, 0], "y": xy[:, 1]}))]


def bin_task(task, jobs, runtime):
    begin("bin", 0, jobs, runtime)
    x = jobs[0].inputs["layout"].read(["x"])["x"].to_numpy()
    counts = [np.histogram(x, job.config["grid"])[0] for job in jobs]
    return [Output(table=pa.table({"count": count})) for count in counts]


def begin(stage, index, jobs, runtime):
    """Log the task, then follow the orders given for it."""
    settings = jobs[0].settings
    labels = ",".join(f"{job.layer or ''}{job.grid or ''}" for job in jobs)
    if "log" not in settings:
        return
    log = Path(settings["log"])
    with log.open("a") as file:
        file.write(f"{stage} {index} {labels}\n")
    for name in (f"{stage}-{index}", f"{stage}-{index}-{labels}"):
        order = Path(settings["orders"]) / name
        if order.exists():
            obey(order, f"{stage} {index}", log)


def obey(order, task, log):
    how = order.read_text()
    if how == "hold":  # until the order is removed
        wait_until(lambda: not order.exists())
    elif how == "meet":  # until two such tasks have begun
        wait_until(lambda: log.read_text().count(f"{task} ") == 2)
    elif how == "interrupt":
        raise KeyboardInterrupt
    elif how == "starve Dask once":
        order.unlink()
        logging.getLogger("distributed.protocol.core").critical("cannot send", exc_info=MemoryError())
        wait_until(lambda: False)
    elif how.startswith("kill"):
        if how == "kill once":
            order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        raise {"user": ImagesError, "atlas": AtlasError, "bug": ZeroDivisionError}[how](task)


def wait_until(condition, timeout_s=120):
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError
        time.sleep(0.02)


def size_of(task):
    return task.get("stop", 1) - task.get("start", 0)


def stage_of(name, split, compute, **more):
    return Stage(
        **{"name": name, "version": 1, "unit": "rows", "size": size_of, **more}, split=split, compute=compute
    )


LIST = stage_of("list", one_task, list_task, identity=("image_id",))
SAMPLE = stage_of("sample", sample_split, sample_task, summarise=sample_summary)
BIN = stage_of("bin", one_task, bin_task)
