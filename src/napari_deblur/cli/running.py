"""From exceptions to exit codes: one line on stderr for whatever a user can mend."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from napari_deblur.cli.codes import INTERRUPTED, REFUSED
from napari_deblur.cli.imports import quick_imports
from napari_deblur.errors import DeblurError

__all__ = ["run"]

# typer re-exports only some of the exceptions of the click inside it.
_UsageProblem = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def run(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    args
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        The exit code.  Anything but a `DeblurError`, a wrong option or an interruption is a
        bug and leaves as an exception.
    """
    try:
        with quick_imports():
            from napari_deblur.cli.app import build_app

        code = build_app()(args, standalone_mode=False, prog_name="napari-deblur")
    except DeblurError as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does; that is no failure of ours.
        sys.stdout = None
        return 0
    except Exception as error:
        if isinstance(error, _UsageProblem):
            return _refuse_usage(error)
        raise
    if code == INTERRUPTED:
        print("Interrupted; nothing is left half written", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _refuse(message: str) -> int:
    print(f"Error: {' '.join(message.split())}", file=sys.stderr)
    return REFUSED


def _refuse_usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help() if context else error)
        return REFUSED
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    command = context.command_path if context else "napari-deblur"
    return _refuse(f"{message.rstrip('.')}; see '{command} --help'")
