"""The commands of `atlas`: options in, one call, a table or a path out. No logic of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from atlas_pipeline import __version__
from atlas_pipeline.cli.options import config_options, load
from atlas_pipeline.cli.output_commands import export, figure
from atlas_pipeline.errors import AtlasError, ConfigError, TasksFailedError, UserError

EXIT_USER, EXIT_TASKS, EXIT_INTERRUPTED = 2, 3, 130

# What is seen of a layout before it has icons; what comes after the layout brings them up to date too.
_OF_A_LAYOUT = ("keys", "plot", "places")
# What a command brings up to date; a stage without a command of its own goes with the one it serves.
STAGES_OF = {
    "index": ("index",),
    "sample": ("sample",),
    "select": ("select",),
    "project": ("neighbors", "project", *_OF_A_LAYOUT),
    "bin": ("cell_sums", "bin", *_OF_A_LAYOUT),
    "invert": ("whiten", "crops", "invert", *_OF_A_LAYOUT),
    "stitch": ("stitch", "deep_zoom", "tiles", "examples", "shares", *_OF_A_LAYOUT),
}

WHAT_IT_DOES = {
    "index": "List the images, in a fixed order, each known by its content.",
    "sample": "Take one random spatial activation an image, with its attribution to every logit.",
    "select": "Choose the activations that matter to the classes and comparisons of CONFIG.",
    "project": "Lay the activations out in the plane, for the page to show.",
    "bin": "Lay grids over the layout and average each cell.",
    "invert": "Make the icon of every cell by feature inversion.",
    "stitch": "Put the icons together into atlas images, JSON and the page that shows them.",
}


def _config_options(command: Callable[..., Any]) -> Callable[..., Any]:
    pipeline = click.option(
        "--pipeline", metavar="FILE", help="A pipeline of your own (default: layer_atlas)."
    )
    return config_options(pipeline(command))


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--device", metavar="auto|cpu|cuda[:n]", help="Where the network runs."),
        click.option("--workers", type=click.IntRange(0), help="Processes that decode images."),
        click.option(
            "--local-cluster", type=click.IntRange(1), metavar="N", help="Run tasks on N Dask workers here."
        ),
        click.option("--cluster", metavar="tcp://HOST:PORT", help="Run tasks on an existing Dask scheduler."),
        click.option("--force", is_flag=True, help="Recompute what this command makes."),
        click.option("--quiet", is_flag=True, help="No progress."),
    ):
        command = option(command)
    return command


_no_deps_option = click.option(
    "--no-deps", is_flag=True, help="Do not make missing inputs first: say which are missing."
)


@contextmanager
def _interrupts() -> Iterator[None]:
    """The first Ctrl-C ends a command in order, the second at once; files are whole or not there anyway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        # Not after an interrupt: the second one may come while the interpreter takes itself down.
        if signal.getsignal(signal.SIGINT) is not _end_at_once:
            signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGINT, _end_at_once)
    raise KeyboardInterrupt


def _end_at_once(number: int, frame: object) -> NoReturn:
    # Neither cleanup nor buffers: whoever presses twice is at the end of their patience.
    os._exit(EXIT_INTERRUPTED)


class _Commands(click.Group):
    """Turns our errors into one line on stderr and the exit code of their kind."""

    def invoke(self, context: click.Context) -> Any:
        try:
            with _interrupts():
                return super().invoke(context)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted; what is done is kept, run the same command to go on", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except MemoryError:
            if "--debug" in sys.argv:
                raise
            click.echo(
                "error: out of memory; free some, or lower run.batch_size or the number of workers, then run "
                "again (what is finished is kept)",
                err=True,
            )
            sys.exit(EXIT_USER)
        except AtlasError as error:
            if "--debug" in sys.argv:
                raise
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            sys.exit(
                EXIT_TASKS
                if isinstance(error, TasksFailedError)
                else EXIT_USER
                if isinstance(error, UserError)
                else 1
            )


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="atlas-pipeline")
def main() -> None:
    """Activation atlases of your own network on your own images."""


main.add_command(figure)
main.add_command(export)


@main.command()
@_config_options
@_run_options
@click.option(
    "--verify", is_flag=True, help="First read all that is done through; make again what is damaged."
)
def run(config: str, overrides: tuple[str, ...], pipeline: str | None, debug: bool, **how: Any) -> None:
    """Run every stage of CONFIG that is not already done."""
    _run(config, overrides, pipeline, only=None, no_deps=False, **how)


def _run(config: str, overrides: tuple[str, ...], pipeline: str | None, **how: Any) -> None:
    from atlas_pipeline.cli.printing import print_result
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides, how.pop("device"), how.pop("workers"))
    print_result(commands.run(loaded, pipeline, **how))


def _stage_command(name: str) -> None:
    @main.command(name, help=WHAT_IT_DOES[name])
    @_config_options
    @_run_options
    @_no_deps_option
    def command(
        config: str, overrides: tuple[str, ...], pipeline: str | None, debug: bool, **how: Any
    ) -> None:
        _run(config, overrides, pipeline, only=frozenset(STAGES_OF[name]), **how)


for _name in STAGES_OF:
    _stage_command(_name)


def _class_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--class", "name", metavar="CLASS", help="A name, an index or a WordNet id."),
        click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Default: all of the run's."),
    ):
        command = option(command)
    return command


@main.command()
@_config_options
@_run_options
@_no_deps_option
@_class_options
@click.option(
    "--sign",
    type=click.Choice(["+", "-", "positive", "negative"]),
    help="What lights: + (default) what speaks for the class, - what speaks against it.",
)
def highlight(sign: str | None, **how: Any) -> None:
    """Light one class up in the layer atlases: the one named, or those that CONFIG lists.

    Opacity is the cells' mean attribution to the class. Icons are read, not made again.
    """
    entry = {"sign": {"+": "positive", "-": "negative"}.get(sign, sign)} if sign else {}
    _figures("highlight", "highlights", entry, **how)


@main.command()
@_config_options
@_run_options
@_no_deps_option
@_class_options
def vocabulary(**how: Any) -> None:
    """Show, layer by layer, the icons that a class's attribution comes from.

    Of the class named, or of those that CONFIG lists.
    """
    _figures("vocabulary", "vocabularies", {}, **how)


def _figures(
    stage: str,
    section: str,
    entry: dict[str, str],
    *,
    config: str,
    overrides: tuple[str, ...],
    pipeline: str | None,
    debug: bool,
    name: str | None,
    layers: tuple[str, ...],
    **how: Any,
) -> None:
    from atlas_pipeline.cli.printing import print_pictures
    from atlas_pipeline.runs import commands

    on = (how.pop("device"), how.pop("workers"))
    wanted: dict[str, Any] = {**entry, **({"layers": layers} if layers else {})}
    if wanted and name is None:
        raise ConfigError(f"--layer and --sign say which {stage} of --class; name a class too")
    asked = None
    if name is not None:
        # YAML takes JSON's escape of a letter beyond 16 bits for two letters.
        entries = json.dumps([{"class": name, **wanted}], ensure_ascii=False)
        asked = load(config, (*overrides, f"{section}={entries}"), *on)
    print_pictures(commands.figures(load(config, overrides, *on), pipeline, stage=stage, asked=asked, **how))


@main.command(name="patch-test")
@_config_options
@_run_options
@_no_deps_option
@click.option("--compare", metavar="LEFT,RIGHT", help="Two classes, by name, index or WordNet id.")
@click.option("--layer", "layers", multiple=True, metavar="LAYER", help="Default: the comparison's own.")
@click.option("--num-images", type=click.IntRange(1), help="Images of LEFT that patches are pasted onto.")
def patch_test(config: str, overrides: tuple[str, ...], debug: bool, **how: Any) -> None:
    """Paste patches of a comparison's cells onto images: how often does the answer change?

    Of the comparison named, or of those that CONFIG marks with patch_test: true.
    """
    from atlas_pipeline.cli.printing import print_patch_tests
    from atlas_pipeline.runs import commands

    if how["layers"] and how["compare"] is None:
        raise ConfigError("--layer says where to test --compare; name two classes too")
    loaded = load(config, overrides, how.pop("device"), how.pop("workers"))
    print_patch_tests(*commands.patch_tests(loaded, **how))


@main.command()
@_config_options
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
def status(config: str, overrides: tuple[str, ...], pipeline: str | None, debug: bool, as_json: bool) -> None:
    """Show what is done, partial or missing, and why it would run."""
    from atlas_pipeline.cli.printing import print_status
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides)
    states = commands.status(loaded, pipeline)
    if as_json:
        click.echo(json.dumps([state.as_json() for state in states], indent=2))
    else:
        print_status(states, commands.remarks_on_images(loaded, pipeline))


@main.command()
@_config_options
@_run_options
def check(config: str, overrides: tuple[str, ...], pipeline: str | None, debug: bool, **how: Any) -> None:
    """Prove the network and the layers of CONFIG on a few images: can its atlas be made, and trusted?

    A run does so before it samples. Exit code 2 where something fails.
    """
    from atlas_pipeline.cli.printing import print_check
    from atlas_pipeline.runs import commands

    loaded = load(config, overrides, how.pop("device"), how.pop("workers"))
    result = commands.check(loaded, pipeline, **how)
    print_check(result)
    result.refuse()


@main.command()
@_config_options
def layers(config: str, overrides: tuple[str, ...], pipeline: str | None, debug: bool) -> None:
    """List the layers of CONFIG's network: channels, map size, receptive field."""
    from atlas_pipeline.cli.printing import print_layers
    from atlas_pipeline.runs import commands

    print_layers(*commands.layers(load(config, overrides)))


@main.command()
@_config_options
@click.option("--no-open", is_flag=True, help="Print the page's path only.")
def view(config: str, overrides: tuple[str, ...], pipeline: str | None, debug: bool, no_open: bool) -> None:
    """Open the page that shows the atlases of CONFIG; of a workspace behind a URL its address is printed."""
    from pathlib import Path

    from atlas_pipeline.runs import commands

    page = commands.page(load(config, overrides))
    click.echo(page)
    if not no_open and isinstance(page, Path):
        click.launch(str(page))


@main.command()
@_config_options
@click.option("--yes", is_flag=True, help="Remove them; without it they are only listed.")
def clean(config: str, overrides: tuple[str, ...], pipeline: str | None, debug: bool, yes: bool) -> None:
    """List, then with --yes remove, cached artefacts that no run of the workspace reaches."""
    from atlas_pipeline.cli.printing import print_clean
    from atlas_pipeline.runs import commands

    print_clean(commands.clean(load(config, overrides), pipeline, remove=yes), removed=yes)
