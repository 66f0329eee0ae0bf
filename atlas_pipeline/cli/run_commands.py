"""The commands that make something: all of a run, a group of stages, single figures, the check."""

from __future__ import annotations

import json
from typing import Any

import click

from atlas_pipeline.cli.options import config_options, load, no_deps_option, pipeline_option, run_options
from atlas_pipeline.errors import ConfigError

# Which stages a command brings up to date, the stages say themselves.
STAGE_COMMANDS = {
    "index": "List the images in a fixed order, known by their content.",
    "sample": "Sample one activation an image, with its attributions.",
    "select": "Choose the activations of class atlases and comparisons.",
    "project": "Lay the activations out in the plane.",
    "bin": "Lay grids over the layout and average each cell.",
    "invert": "Make the icon of every cell by feature inversion.",
    "stitch": "Put the icons together: atlas images, JSON, viewer.",
}


@click.command(short_help="Run every stage of CONFIG that is not done.")
@config_options
@pipeline_option
@run_options
@click.option(
    "--verify", is_flag=True, help="First read all that is done through; make again what is damaged."
)
def run(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
    """Run every stage of CONFIG that is not already done."""
    _run(config, overrides, pipeline, **options)


def _run(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
    from atlas_pipeline.cli.printing import print_result
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides, options.pop("device"), options.pop("workers"))
    print_result(commands.run(loaded, pipeline, **options))


def stage_command(name: str, words: str) -> click.Command:
    """A command that brings the stages up to date that name it in `Stage.commands`."""

    @click.command(name, help=words, short_help=words)
    @config_options
    @pipeline_option
    @run_options
    @no_deps_option
    def command(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
        _run(config, overrides, pipeline, command=name, **options)

    return command


def own_command(name: str) -> click.Command:
    """A command that stages of a user's own pipeline name."""

    @click.command(name, help=f"Make what `{name}` stands for in a pipeline of your own.")
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
        click.option("--class", "name", metavar="CLASS", help="A name, an index or a WordNet id."),
        click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Default: all of the run's."),
    ):
        command = option(command)
    return command


@click.command(short_help="Light one class up in the layer atlases.")
@config_options
@pipeline_option
@run_options
@no_deps_option
@_class_options
@click.option(
    "--sign",
    type=click.Choice(["+", "-", "positive", "negative"]),
    help="What lights: + (default) what speaks for the class, - what speaks against it.",
)
def highlight(sign: str | None, **options: Any) -> None:
    """Light one class up in the layer atlases: the one named, or those that CONFIG lists.

    Opacity is the cells' mean attribution to the class. Icons are read, not made again.
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

    The class is the one named, or those that CONFIG lists.
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

    on = (options.pop("device"), options.pop("workers"))
    wanted: dict[str, Any] = {**entry, **({"layers": layers} if layers else {})}
    if wanted and name is None:
        raise ConfigError(f"--layer and --sign say which {command} of --class; name a class too")
    asked = None
    if name is not None:
        # YAML reads JSON's escape of a letter beyond 16 bits as two letters.
        entries = json.dumps([{"class": name, **wanted}], ensure_ascii=False)
        asked = load(config, (*overrides, f"{section}={entries}"), *on)
    loaded = load(config, overrides, *on)
    result = commands.figures(loaded, pipeline, command=command, asked=asked, **options)
    print_files(result, ".png")


@click.command(name="patch-test", short_help="Test a comparison: paste its patches onto images.")
@config_options
@pipeline_option
@run_options
@no_deps_option
@click.option("--compare", metavar="LEFT,RIGHT", help="Two classes, by name, index or WordNet id.")
@click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Default: the comparison's own.")
@click.option("--num-images", type=click.IntRange(1), help="Images of LEFT that patches are pasted onto.")
def patch_test(config: str, overrides: tuple[str, ...], **options: Any) -> None:
    """Paste patches of a comparison's cells onto images: how often does the answer change?

    The comparison is the one named, or those that CONFIG marks with patch_test: true.
    """
    from atlas_pipeline.cli.printing import print_patch_tests
    from atlas_pipeline.runs import commands

    if options["layers"] and options["compare"] is None:
        raise ConfigError("--layer says where to test --compare; name two classes too")
    loaded = load(config, overrides, options.pop("device"), options.pop("workers"))
    print_patch_tests(*commands.patch_tests(loaded, **options))


@click.command(short_help="Check the network and layers of CONFIG on a few images.")
@config_options
@pipeline_option
@run_options
def check(config: str, overrides: tuple[str, ...], pipeline: str | None, **options: Any) -> None:
    """Prove the network and the layers of CONFIG on a few images: can its atlas be made, and trusted?

    A run does so before it samples. Exit code 2 where something fails.
    """
    from atlas_pipeline.cli.printing import print_check
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides, options.pop("device"), options.pop("workers"))
    result = commands.check(loaded, pipeline, **options)
    print_check(result)
    result.refuse()
