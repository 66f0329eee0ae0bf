"""The command `atlas`: subcommands, one-line errors, exit codes, interrupts, the first line."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from atlas_pipeline import __version__
from atlas_pipeline.cli import init_command, output_commands, run_commands, workspace_commands
from atlas_pipeline.cli.first_line import told_before_torch
from atlas_pipeline.cli.options import DEBUG
from atlas_pipeline.errors import AtlasError, TasksFailedError, UserError, nearest_name

EXIT_USER, EXIT_TASKS, EXIT_INTERRUPTED = 2, 3, 130


@contextmanager
def _interrupts() -> Iterator[None]:
    """The first Ctrl-C ends a command cleanly, the second at once; no file is ever left half-written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        # Keep our handler after an interrupt: a second one may arrive while the interpreter shuts down.
        if signal.getsignal(signal.SIGINT) is not _end_at_once:
            signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGINT, _end_at_once)
    raise KeyboardInterrupt


def _end_at_once(number: int, frame: object) -> NoReturn:
    # Skip cleanup and buffers: a user who interrupts twice wants the prompt back.
    os._exit(EXIT_INTERRUPTED)


class _Commands(click.Group):
    """A click group that turns an error into one line on stderr and an exit code."""

    def main(self, *args: Any, **options: Any) -> Any:
        if sys.platform == "win32":
            # Locks, signals and folder syncs are those of POSIX.
            _fail("this program runs on Linux and macOS; on Windows use it within WSL 2", EXIT_USER)
        # torch reads it at its first tensor: large ones lie in pages of 2 MB (docs/benchmarks.md).
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        try:
            result = super().main(*args, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            remedy = f"; see: {context.command_path} --help" if context is not None else ""
            _fail(f"{_sentence(error.format_message())}{remedy}", error.exit_code)
        # `--help` and `--version` return an exit code instead of a result.
        sys.exit(result if isinstance(result, int) else 0)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a subcommand; an unknown name may be a command of stages in the user's own pipeline."""
        name = args[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            if not any(argument.split("=")[0] == "--pipeline" for argument in args):
                near = nearest_name(name, self.list_commands(context))
                raise click.UsageError(f"no such command '{name}'; nearest: '{near}'", context)
            return name, run_commands.own_command(name), args[1:]
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            with _interrupts(), told_before_torch():
                return super().invoke(context)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted; what is done is kept, run the same command to go on", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except MemoryError:
            if context.meta.get(DEBUG):
                raise
            _fail(
                "out of memory; free some, or lower run.batch_size or the number of workers, then run again "
                "(what is finished is kept)",
                EXIT_USER,
            )
        except AtlasError as error:
            if context.meta.get(DEBUG):
                raise
            kinds = {TasksFailedError: EXIT_TASKS, UserError: EXIT_USER}
            _fail(str(error), next((code for kind, code in kinds.items() if isinstance(error, kind)), 1))


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(code)


def _sentence(message: str) -> str:
    """Rewrite click's message in our form: lower case, no full stop, ``nearest: NAME`` as hint."""
    message = re.sub(r"\. \(?Did you mean (?:one of: )?('[^']+').*$", r"; nearest: \1", message)
    return message[:1].lower() + message[1:].rstrip(".")


@click.group(
    "atlas", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="atlas-pipeline")
def main() -> None:
    """Activation atlases of your own network on your own images."""


for _command in (
    init_command.init,
    *(run_commands.stage_command(name, words) for name, words in run_commands.STAGE_COMMANDS.items()),
    run_commands.run,
    run_commands.check,
    run_commands.highlight,
    run_commands.vocabulary,
    run_commands.image,
    run_commands.patch_test,
    run_commands.dream,
    output_commands.figure,
    output_commands.export,
    workspace_commands.status,
    workspace_commands.layers,
    workspace_commands.view,
    workspace_commands.bank,
    workspace_commands.clean,
):
    main.add_command(_command)
