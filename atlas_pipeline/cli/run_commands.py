"""The commands that compute: a whole run, a group of stages, figures, patch tests, the check."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atlas_pipeline.cli.options import config_options, load, no_deps_option, pipeline_option, run_options
from atlas_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from atlas_pipeline.runs.commands import RunResult

# Stages name the commands that bring them up to date: `Stage.commands`.
STAGE_COMMANDS = {
    "index": "List the images in a fixed order, identified by their content.",
    "sample": "Sample activations at random positions, with their attributions.",
    "select": "Choose the activations of class atlases and comparisons.",
    "project": "Lay the activations out in the plane.",
    "bin": "Lay grids over the layout and average each cell.",
    "invert": "Make the icon of every cell by feature inversion.",
    "stitch": "Assemble the icons: atlas images, JSON, viewer.",
    "units": "Make the pages of single units: patches, icons, classes, weights.",
    "tuning": "Find families of units that are rotations of each other.",
    "directions": "Take layers apart into atoms: NMF, dictionaries, decoders.",
}


@click.command(short_help="Run every stage of CONFIG that is not done.")
@config_options
@pipeline_option
@run_options
@click.option("--verify", is_flag=True, help="First read all finished artefacts; make damaged ones again.")
def run(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
    """Run every stage of CONFIG that is not already done."""
    _run(config, overrides, pipeline, **options)


def _run(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
    from atlas_pipeline.cli.printing import print_next, print_result
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides, options.pop("device"), options.pop("workers"))
    result = commands.run(loaded, pipeline, **options)
    print_result(result)
    if result.tasks_run and not options["quiet"]:
        print_next(_next_commands(config, overrides, result))


def _next_commands(config: str, overrides: tuple[str, ...], result: RunResult) -> list[str]:
    """The commands that show what a run has made."""
    page, atlases = result.published.page, result.published.atlases
    if page is None:
        return []
    named = shlex.join([config, *(word for text in overrides for word in ("--set", text))])
    if overrides and isinstance(page, Path):
        # The run's folder holds the config with its overrides.
        named = shlex.quote(str(page.parent))
    shown = [f"atlas view {named}"]
    if atlases:
        shown.append(f"atlas figure {named} --layer {shlex.quote(atlases[-1].layer)}")
    return shown


def stage_command(name: str, words: str) -> click.Command:
    """A command that brings up to date the stages that name it in `Stage.commands`."""

    @click.command(name, help=words, short_help=words)
    @config_options
    @pipeline_option
    @run_options
    @no_deps_option
    def command(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
        _run(config, overrides, pipeline, command=name, **options)

    return command


def own_command(name: str) -> click.Command:
    """A command for the stages of a user's own pipeline that name it in `Stage.commands`."""

    @click.command(name, help=f"Bring up to date the stages of your own pipeline that name `{name}`.")
    @config_options
    @pipeline_option
    @run_options
    @no_deps_option
    def command(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
        from atlas_pipeline.cli.printing import print_files
        from atlas_pipeline.runs import commands

        loaded = load(config, overrides, options.pop("device"), options.pop("workers"))
        if not commands.has_command(loaded, pipeline, name):
            raise ConfigError(
                f"no stage of pipeline '{pipeline}' belongs to a command '{name}'; name it in a stage's "
                "commands, or see: atlas --help"
            )
        print_files(commands.run(loaded, pipeline, command=name, **options))

    return command


def _class_options(command: Any) -> Any:
    for option in (
        click.option("--class", "name", metavar="CLASS", help="The class by name, index or WordNet id."),
        click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Default: all of the run's."),
    ):
        command = option(command)
    return command


@click.command(short_help="Highlight one class in the layer atlases.")
@config_options
@pipeline_option
@run_options
@no_deps_option
@_class_options
@click.option(
    "--sign",
    type=click.Choice(["+", "-", "positive", "negative"]),
    help="Show + (default) the evidence for the class, or - the evidence against it.",
)
def highlight(sign: str | None, **options: Any) -> None:
    """Highlight one class in the layer atlases: the class named, or those that CONFIG lists.

    The opacity of an icon shows its cell's mean attribution to the class. No new icons are made.
    """
    entry = {"sign": {"+": "positive", "-": "negative"}.get(sign, sign)} if sign else {}
    _figures("highlight", "highlights", entry, **options)


@click.command(short_help="Show the icons that a class's attribution comes from.")
@config_options
@pipeline_option
@run_options
@no_deps_option
@_class_options
def vocabulary(**options: Any) -> None:
    """Show, layer by layer, the icons that a class's attribution comes from.

    Without --class, all classes that CONFIG lists are shown.
    """
    _figures("vocabulary", "vocabularies", {}, **options)


def _figures(
    command: str,
    section: str,
    entry: dict[str, str],
    *,
    config: str,
    overrides: tuple[str, ...],
    pipeline: str | None,
    name: str | None,
    layers: tuple[str, ...],
    **options: Any,
) -> None:
    from atlas_pipeline.cli.printing import print_files
    from atlas_pipeline.runs import commands

    hardware = (options.pop("device"), options.pop("workers"))
    wanted: dict[str, Any] = {**entry, **({"layers": layers} if layers else {})}
    if wanted and name is None:
        raise ConfigError(f"--layer and --sign need --class to make a {command}; name a class too")
    requested = None
    if name is not None:
        # Keep letters unescaped: YAML reads JSON's escape of a letter beyond 16 bits as two letters.
        entries = json.dumps([{"class": name, **wanted}], ensure_ascii=False)
        requested = load(config, (*overrides, f"{section}={entries}"), *hardware)
    loaded = load(config, overrides, *hardware)
    result = commands.figures(loaded, pipeline, command=command, requested=requested, **options)
    print_files(result, ".png")


@click.command(short_help="Make a page of each picture: atlas, attributions, groups.")
@config_options
@click.argument("pictures", nargs=-1, metavar="PICTURE...")
@pipeline_option
@run_options
@no_deps_option
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="CLASS",
    help="A class to attribute to, beside those of the highest logits.",
)
def image(
    config: str,
    overrides: tuple[str, ...],
    pictures: tuple[str, ...],
    classes: tuple[str, ...],
    **options: Any,
) -> None:
    """Make the page of each PICTURE, a path or a glob; without any, of those that CONFIG lists.

    For each layer: where the picture's positions lie on the atlas, what they say for a class and against it,
    and groups of neurons that fire together. Missing atlases are made too.
    """
    from atlas_pipeline.cli.printing import print_files
    from atlas_pipeline.runs import commands

    hardware = (options.pop("device"), options.pop("workers"))
    asked = [
        f"image.{key}={json.dumps(names, ensure_ascii=False)}"
        for key, names in (("pictures", pictures), ("classes", classes))
        if names
    ]
    loaded = load(config, overrides, *hardware)
    requested = load(config, (*overrides, *asked), *hardware) if asked else None
    print_files(commands.pictures(loaded, requested=requested, **options), ".html")


@click.command(name="patch-test", short_help="Test a comparison: paste its icons onto images.")
@config_options
@pipeline_option
@run_options
@no_deps_option
@click.option("--compare", metavar="LEFT,RIGHT", help="Two classes, by name, index or WordNet id.")
@click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Default: the comparison's own.")
@click.option("--num-images", type=click.IntRange(1), help="Images of LEFT that patches are pasted onto.")
def patch_test(config: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Paste patches of a comparison's cells onto images, and count how often the answer changes.

    Without --compare, all comparisons that CONFIG marks with patch_test: true are tested.
    """
    from atlas_pipeline.cli.printing import print_patch_tests
    from atlas_pipeline.runs import commands

    if options["layers"] and options["compare"] is None:
        raise ConfigError("--layer needs --compare; name two classes too")
    loaded = load(config, overrides, options.pop("device"), options.pop("workers"))
    print_patch_tests(*commands.patch_tests(loaded, **options))


@click.command(short_help="Make DeepDreams of layers, and caricatures of pictures.")
@config_options
@click.argument("pictures", nargs=-1, metavar="[PICTURE]...")
@click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Default: the config's.")
@pipeline_option
@run_options
@no_deps_option
def dream(
    config: str,
    overrides: tuple[str, ...],
    pictures: tuple[str, ...],
    layers: tuple[str, ...],
    pipeline: str | None,
    **options: Any,
) -> None:
    """Make pictures in which a layer of CONFIG's network finds more of everything that it detects.

    Each PICTURE (a path or a glob) becomes a DeepDream and a caricature. Without one, the pictures of the
    config's section `dream` are made: by default a dream of each layer that begins with noise.
    """
    from atlas_pipeline.cli.printing import print_files
    from atlas_pipeline.runs import commands

    hardware = (options.pop("device"), options.pop("workers"))
    loaded = load(config, overrides, *hardware)
    wanted: dict[str, Any] = {"layers": list(layers)} if layers else {}
    if pictures:
        wanted |= {"pictures": list(pictures), "noise": 0}
    requested = None
    if wanted or loaded.dream is None:
        section = {} if loaded.dream is None else loaded.dream.model_dump(mode="json")
        section = json.dumps({**section, **wanted}, ensure_ascii=False)
        requested = load(config, (*overrides, f"dream={section}"), *hardware)
    print_files(commands.run(loaded, pipeline, command="dream", requested=requested, **options), ".png")


@click.command(short_help="Check the network and layers of CONFIG on a few images.")
@config_options
@pipeline_option
@run_options
def check(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
    """Check on a few images that atlases of the network and layers of CONFIG can be made and trusted.

    A run does the same before it samples. The exit code is 2 if a check fails.
    """
    from atlas_pipeline.cli.printing import print_check
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides, options.pop("device"), options.pop("workers"))
    result = commands.check(loaded, pipeline, **options)
    print_check(result)
    result.refuse()
