"""Errors that a user can meet and mend.

Every message is one line that names the offending value, what is allowed, and
what to do next.  The command line prints it as it stands and exits with code 2;
the plugin shows it as it stands.  Anything that is *not* a `DeblurError` is a
bug of this package.
"""

from __future__ import annotations

__all__ = [
    "DeblurError",
    "DeviceError",
    "FileError",
    "InputError",
    "KernelError",
    "ModelError",
    "OutOfMemoryError",
    "OutputError",
    "RecipeError",
    "WeightsError",
]


class DeblurError(Exception):
    """Base of all errors that a user can mend."""


class InputError(DeblurError, ValueError):
    """An array or a parameter is not one that the function accepts."""


class KernelError(InputError):
    """A blur kernel is not 2-D, odd, finite, non-negative, or is too large."""


class ModelError(InputError):
    """No model, preset or weights file of this name is known."""


class DeviceError(InputError):
    """The device does not exist, or this build of torch cannot use it."""


class RecipeError(InputError):
    """A training recipe holds an unknown key or an impossible value."""


class FileError(DeblurError, OSError):
    """A file cannot be read, or does not hold what its name promises."""


class OutputError(DeblurError, OSError):
    """A file cannot be written where the user wants it."""


class WeightsError(DeblurError, RuntimeError):
    """A weights file is missing, damaged, or of another format."""


class OutOfMemoryError(DeblurError, MemoryError):
    """Even the smallest tile does not fit into the device's memory."""
