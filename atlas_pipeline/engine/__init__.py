"""The engine: takes steps, makes artefacts. It knows nothing of atlases.

stage.py, declaration.py        stages, steps, jobs; what a stage declares
fingerprint.py, values.py       the identity of an artefact
location.py -> atomic_files.py -> part.py -> manifest.py -> artefact.py, store.py    files on disk or at a URL
survey.py -> plan.py, reason.py                         which artefacts exist; why a step would run
agenda.py -> execute.py -> group.py -> unfinished.py    which artefacts to make; making them
task.py -> executor.py -> growing_executor.py; hardware.py -> lanes.py; threads.py -> worker.py;
lanes.py, worker.py -> dask_executor.py; nanny.py -> cluster.py    where tasks run
lock.py, repair.py, force.py, clean.py, progress.py, bars.py, reporters.py    locks, repair, removal, progress
"""

from atlas_pipeline.engine.clean import Reach, reach_of, reachable, remove, unreachable
from atlas_pipeline.engine.declaration import FILES, Column, MemoryNeed, Needs, Publishes, Vector, ViewerFacts
from atlas_pipeline.engine.execute import run
from atlas_pipeline.engine.executor import Executor, InlineExecutor
from atlas_pipeline.engine.fingerprint import canonical_json, ordered
from atlas_pipeline.engine.plan import StepState, artefact_of, artefacts_of, left, plan
from atlas_pipeline.engine.progress import PlainReporter, Reporter, SilentReporter
from atlas_pipeline.engine.repair import verify
from atlas_pipeline.engine.reporters import open_reporter
from atlas_pipeline.engine.run_report import RunReport, StepReport
from atlas_pipeline.engine.stage import Artefact, Job, Notes, Output, Runtime, Stage, Step, Task, describe
from atlas_pipeline.engine.store import Store

__all__ = [
    "FILES",
    "Artefact",
    "Column",
    "Executor",
    "InlineExecutor",
    "Job",
    "MemoryNeed",
    "Needs",
    "Notes",
    "Output",
    "PlainReporter",
    "Publishes",
    "Reach",
    "Reporter",
    "RunReport",
    "Runtime",
    "SilentReporter",
    "Stage",
    "Step",
    "StepReport",
    "StepState",
    "Store",
    "Task",
    "Vector",
    "ViewerFacts",
    "artefact_of",
    "artefacts_of",
    "canonical_json",
    "describe",
    "left",
    "open_reporter",
    "ordered",
    "plan",
    "reach_of",
    "reachable",
    "remove",
    "run",
    "unreachable",
    "verify",
]
