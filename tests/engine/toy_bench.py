"""A workspace for toy runs, with a log of the tasks that ran and orders that make tasks fail or wait."""

import shutil
from pathlib import Path

import toy_stages

from atlas_pipeline.engine import Store, artefact_of, run


class Bench:
    """Toy runs whose log and orders are in a folder.

    workspace: a path or URL; None: `work` in that folder.
    """

    def __init__(self, folder: Path, workspace: str | None = None) -> None:
        self.store = Store(workspace or folder / "work")
        self.log = folder / "log"
        self.orders = folder / "orders"
        self.orders.mkdir()

    def steps(self, settings=None, **config):
        own = {"log": str(self.log), "orders": str(self.orders)}
        return toy_stages.steps({**own, **(settings or {})}, **config)

    def run(self, steps=None, **options):
        """Run the steps; returns the tasks of this run alone, each as `stage number labels`."""
        self.log.write_text("")
        run(self.steps() if steps is None else steps, self.store, **options)
        return self.ran()

    def ran(self):
        return self.log.read_text().splitlines()

    def order(self, task, how):
        (self.orders / task).write_text(how)

    def values(self, steps=None):
        """(stage, layer, view, grid) -> rows of the artefact, or None if it is not done."""
        found = {}
        for step in self.steps() if steps is None else steps:
            artefact = artefact_of(step, self.store)
            key = (step.stage.name, step.layer, step.view, step.grid)
            found[key] = artefact and artefact.read().to_pylist()
        return found

    def folder(self, stage, layer=None, steps=None):
        step = next(s for s in steps or self.steps() if (s.stage.name, s.layer) == (stage, layer))
        return artefact_of(step, self.store).folder

    def wipe(self):
        shutil.rmtree(self.store.root)
