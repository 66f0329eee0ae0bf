"""What a reader of a run's results must know beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from atlas_pipeline.config.network import model_config
from atlas_pipeline.config.sections import Config
from atlas_pipeline.engine import Artefact, Step, Store, artefacts_of
from atlas_pipeline.models.network_name import has_random_weights, weights_note
from atlas_pipeline.patch_test.patch_report import remarks_on
from atlas_pipeline.stages.atlas.bin import why_empty
from atlas_pipeline.stages.atlas.project import lowered_perplexity, many_equal
from atlas_pipeline.stages.atlas.select import nothing_selected
from atlas_pipeline.stages.figures.highlight import nothing_lit
from atlas_pipeline.stages.figures.vocabulary import silent_layers
from atlas_pipeline.stages.sampling.check import rows_of
from atlas_pipeline.stages.sampling.index import remarks_on_images
from atlas_pipeline.stages.sampling.sample import attribution_remark, edge_fallback, num_bad


def remarks(config: Config, steps: Sequence[Step], store: Store) -> list[str]:
    """What a reader of a run's results must know, a line each."""
    lines = []
    model = model_config(config)
    if has_random_weights(model):
        lines.append(f"{weights_note(model)}: nobody trained this network; every picture says so")
    made = artefacts_of(steps, store)
    lines += _image_remarks(made)
    checks = [artefact for step, artefact in made.items() if step.stage.name == "check"]
    for row in rows_of(checks):
        if row["verdict"] == "note":
            lines.append(f"{row['layer'] or 'the network'}: {row['said']}")
    samples = [(step.layer, artefact) for step, artefact in made.items() if step.stage.name == "sample"]
    for _, artefact in samples[:1]:
        if bad := num_bad(artefact):
            lines.append(f"{bad} images could not be read and were left out; sample's manifest names them")
    for layer, artefact in samples:
        if lost := edge_fallback(artefact):
            lines.append(f"{layer}: {lost}")
        if said := attribution_remark(artefact):
            lines.append(f"{layer}: {said}")
    return lines + _view_remarks(made) + _figure_remarks(made)


def image_remarks(steps: Sequence[Step], store: Store) -> list[str]:
    """Remarks on the images that are listed; none before they are."""
    return _image_remarks(artefacts_of([step for step in steps if step.stage.name == "index"], store))


def _image_remarks(made: Mapping[Step, Artefact]) -> list[str]:
    indices = [artefact for step, artefact in made.items() if step.stage.name == "index"]
    return remarks_on_images(indices[0]) if indices else []


def _figure_remarks(made: Mapping[Step, Artefact]) -> list[str]:
    """Figures of a class that nothing speaks for; patch tests with fewer patches than asked for."""
    remarks = []
    for step, artefact in made.items():
        if step.stage.name == "patch_report":
            remarks += [f"{step.layer}, {step.view}: {remark}" for remark in remarks_on(artefact)]
        elif step.stage.name == "highlight" and (reason := nothing_lit(artefact)):
            remarks.append(f"{step.layer}, grid {step.grid}: nothing is lit, for {reason}")
        elif step.stage.name == "vocabulary" and (layers := silent_layers(artefact)):
            remarks.append(
                f"vocabulary of {step.config['label']}: no cell speaks for it in {', '.join(layers)}"
            )
    return remarks


def _view_remarks(made: Mapping[Step, Artefact]) -> list[str]:
    """Selections that are empty, or too small for what was asked of them."""
    remarks, silent = [], set()
    for step, artefact in made.items():
        where = (step.layer, step.view)
        if where in silent:
            continue
        if step.stage.name == "select" and not artefact.num_rows:
            silent.add(where)
            remarks.append(f"{step.layer}, {step.view}: {nothing_selected(artefact)}")
        elif step.stage.name == "bin" and (reason := why_empty(artefact)):
            remarks.append(f"no icons: {reason}")
        elif step.stage.name == "project":
            remarks += [f"{step.layer}, {step.view}: {remark}" for remark in _layout_remarks(artefact)]
    return remarks


def _layout_remarks(artefact: Artefact) -> list[str]:
    """A layout of fewer points than there are activations, and what else is less than was asked for."""
    remarks = []
    if (used := lowered_perplexity(artefact)) is not None:
        remarks.append(
            f"t-SNE's perplexity lowered to {used:.3g}, for there are only "
            f"{artefact.notes['quality']['num_distinct']} distinct activations"
        )
    if equal := many_equal(artefact):
        remarks.append(equal)
    return remarks
