"""Write the page of licences: everything that an installation brings along, by its own metadata.

Run with ``make snapshots``.  The distributions are those that the package and its extras need
directly or through others, as far as they are installed here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).with_name("licences.md")
PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
EXTRAS = ("", "dask", "zarr", "training", "napari")
LONGEST = 60  # characters of a licence's name; some packages give the whole text

HEAD = """# Licences

napari-deblur is under the [BSD 3-Clause licence](https://opensource.org/license/bsd-3-clause), and
so are the weights that come with it. It brings no code of others along; this is what its
installation fetches, as the packages themselves declare it, in the versions that the tests run
with. `make snapshots` writes this page. A Qt binding is the user's choice: PySide6 is LGPL-3.0,
PyQt6 GPL-3.0.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")
    print(PAGE)


def page() -> str:
    """Text of the page."""
    lines = [HEAD]
    seen: set[str] = set()
    for extra in EXTRAS:
        names = sorted(needed(extra) - seen)
        seen |= set(names)
        lines.append(f"## {'Always' if not extra else f'With the extra `{extra}`'}\n")
        lines.append("| Package | Version | Licence |\n| --- | --- | --- |")
        lines += [row(metadata.distribution(name)) for name in names]
        lines.append("")
    return "\n".join(lines)


def needed(extra: str) -> set[str]:
    """Normalised names of all that an extra needs, that is installed; not the project itself."""
    found: set[str] = set()
    waiting = list(of_project(extra))
    while waiting:
        name, wanted = waiting.pop()
        if name in found:
            continue
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system or Python
            continue
        found.add(name)
        for each in {"", *wanted}:
            waiting += requirements(name, each)
    return found


def of_project(extra: str) -> Iterator[tuple[str, set[str]]]:
    """Names and extras that this project or one of its extras asks for, as pyproject.toml has it.

    Not by the installed metadata, which an editable installation keeps as they once were.
    """
    table = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    for line in table["optional-dependencies"][extra] if extra else table["dependencies"]:
        requirement = Requirement(line)
        yield canonicalize_name(requirement.name), requirement.extras


def requirements(name: str, extra: str) -> Iterator[tuple[str, set[str]]]:
    """Names and extras that a distribution, or one of its extras, requires here."""
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield canonicalize_name(requirement.name), requirement.extras


def row(distribution: metadata.Distribution) -> str:
    """One line of the table."""
    name = distribution.metadata["Name"]
    version = distribution.version.partition("+")[0]
    return f"| [{name}](https://pypi.org/project/{name}/) | {version} | {licence(distribution)} |"


def licence(distribution: metadata.Distribution) -> str:
    """Licence as SPDX expression, classifier or free text, in this order of trust."""
    about = distribution.metadata
    if about["License-Expression"]:
        return about["License-Expression"]
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classified:
        return ", ".join(sorted(classified))
    first = re.split(r"[\n\r]", (about["License"] or "").strip())[0].strip()
    return first[:LONGEST] or "not declared"


if __name__ == "__main__":
    main()
