"""What holds for the package as a whole: import cost, layers, manifest, metadata, packages."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import types
import warnings
from importlib import metadata
from pathlib import Path

import pytest

import napari_deblur

HEAVY = ("dask", "lightning", "magicgui", "napari", "pooch", "qtpy", "scipy", "skimage", "torch")


LINT_IMPORTS = (
    "import sys; sys.path.insert(0, '.');"
    "from importlinter.cli import lint_imports_command; lint_imports_command()"
)


def python(code: str, folder: Path) -> str:
    """Run code in a fresh interpreter that coverage does not slow down; return what it prints."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def project(root: Path) -> dict[str, object]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_import_loads_no_heavy_package(tmp_path: Path) -> None:
    loaded = python(
        f"import napari_deblur, sys; print(*[n for n in {HEAVY} if n in sys.modules])", tmp_path
    )
    assert loaded == ""


def test_import_takes_less_than_300_ms(tmp_path: Path) -> None:
    """Of the processor's time, which a busy machine does not stretch as it does the clock's."""
    code = (
        "import time; start = time.process_time(); import napari_deblur; napari_deblur.__version__;"
        "print(time.process_time() - start)"
    )
    assert min(float(python(code, tmp_path)) for _ in range(3)) < 0.3


def test_import_of_the_command_line_does_not_load_torch(tmp_path: Path) -> None:
    code = "import napari_deblur.cli, sys; print('torch' in sys.modules, 'napari' in sys.modules)"
    assert python(code, tmp_path) == "False False"


def test_public_names_are_there_and_listed() -> None:
    names = {"__version__", "correct_kernel", "deblur", "deblur_lazy", "estimate_kernel"}
    assert set(napari_deblur.__all__) == names
    assert set(napari_deblur.__all__) <= set(dir(napari_deblur))
    for name in napari_deblur.__all__:
        assert getattr(napari_deblur, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="sharpen"):
        _ = napari_deblur.sharpen


def test_version_is_that_of_the_installed_distribution(project: dict) -> None:
    assert napari_deblur.__version__ == metadata.version("napari-deblur")
    assert napari_deblur.__version__ == project["project"]["version"]


def test_citation_and_changelog_name_the_version(root: Path) -> None:
    version = napari_deblur.__version__
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## {version}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_folder_with_code_is_a_listed_package(root: Path, project: dict) -> None:
    homes = {
        "napari_deblur": root / "src" / "napari_deblur",
        "napari_deblur.training": root / "training",
    }
    found = set()
    for package, home in homes.items():
        for init in home.rglob("__init__.py"):
            parts = init.parent.relative_to(home).parts
            if parts[:1] != ("training",):
                found.add(".".join((package, *parts)))
    assert found == set(project["tool"]["setuptools"]["packages"])


def test_every_folder_below_the_package_that_holds_python_is_a_package(root: Path) -> None:
    for top in (root / "src" / "napari_deblur", root / "training"):
        for module in top.rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), f"{module} is in no package"


@pytest.mark.parametrize(
    ("link", "target"),
    [("napari.yaml", "src/napari_deblur/napari.yaml"), ("src/napari_deblur/training", "training")],
)
def test_links_lead_to_the_one_true_place(root: Path, link: str, target: str) -> None:
    if not (root / link).is_symlink():
        pytest.skip("git made no symbolic links in this checkout")
    assert (root / link).resolve() == (root / target).resolve(strict=True)


def test_napari_finds_the_manifest() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_distribution("napari-deblur")
    assert manifest.name == "napari-deblur"
    assert manifest.contributions.widgets


def test_layers_hold(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_forbidden_import_breaks_the_layers(root: Path, tmp_path: Path) -> None:
    """The contracts see `training`, which lies outside `src`."""
    package = tmp_path / "napari_deblur"
    for top, home in (
        (root / "src/napari_deblur", package),
        (root / "training", package / "training"),
    ):
        for module in top.rglob("*.py"):
            parts = module.relative_to(top).parts
            if parts[0] != "training":
                copy = home.joinpath(*parts)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(module.read_bytes())
    (package / "training" / "sneaky.py").write_text("import napari_deblur.engine\n")
    (package / "files" / "sneaky.py").write_text("import torch\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            LINT_IMPORTS,
            "--no-cache",
            "--config",
            str(root / "pyproject.toml"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "napari_deblur.training.sneaky -> napari_deblur.engine" in done.stdout
    assert "napari_deblur.files.sneaky -> torch" in done.stdout


@pytest.mark.parametrize(
    ("layers", "extras"),
    [
        (("blur", "cli", "engine", "errors", "evaluation", "files", "networks", "weights"), ()),
        (("training",), ("training",)),
        (("plugin",), ("dask", "napari", "training")),
    ],
    ids=["base", "training", "plugin"],
)
def test_what_is_imported_is_declared(
    root: Path, project: dict, layers: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    """No layer relies on a package that is there only because another package wants it.

    What dask and Zarr are for is asked for by few, and imported where it is used.
    """
    names = declared(project, extras)
    deferred_names = names | declared(project, ("dask", "zarr"))
    homes = {
        module: {home.lower() for home in distributions}
        for module, distributions in metadata.packages_distributions().items()
    }
    ours = sys.stdlib_module_names | {"napari_deblur"}
    for layer in layers:
        top = root / "training" if layer == "training" else root / "src" / "napari_deblur" / layer
        for path in [top.with_suffix(".py")] if layer == "errors" else top.rglob("*.py"):
            at_once, deferred = imported(path)
            for module in at_once - ours:
                assert homes.get(module, {module}) & names, f"{path} imports {module}"
            for module in deferred - ours:
                assert homes.get(module, {module}) & deferred_names, f"{path} imports {module}"


def declared(project: dict, extras: tuple[str, ...]) -> set[str]:
    """Names of the distributions that the project and some of its extras ask for."""
    lines = list(project["project"]["dependencies"])
    for extra in extras:
        lines += project["project"]["optional-dependencies"][extra]
    # `dask[array,distributed]` is asked for `distributed` as well.
    return {
        name.lower() for line in lines for name in re.findall(r"[\w-]+", line.partition(">")[0])
    }


def imported(path: Path) -> tuple[set[str], set[str]]:
    """Return the packages that a file imports at once, and those that its functions import.

    Those that it can do without, in a `try`, or needs for types only, are left out.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    optional, inside = set(), set()
    for node in ast.walk(tree):
        for_types = isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        if for_types or isinstance(node, ast.Try):
            optional |= set(ast.walk(node))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside |= set(ast.walk(node))
    at_once, deferred = set(), set()
    for node in set(ast.walk(tree)) - optional:
        names = deferred if node in inside else at_once
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return at_once, deferred


def test_no_qt_binding_is_forced_on_the_user() -> None:
    base = [line for line in metadata.requires("napari-deblur") if "extra ==" not in line]
    assert base
    for line in base:
        assert not re.match(r"(napari|qtpy|pyqt|pyside|magicgui)", line, re.IGNORECASE)


def test_classifiers_claim_no_python_that_the_project_excludes(project: dict) -> None:
    lowest = project["project"]["requires-python"].removeprefix(">=")
    claimed = [
        line.rpartition(" ")[2]
        for line in project["project"]["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", line)
    ]
    assert claimed
    assert lowest in claimed


# ---------------------------------------------------------------------------- habits


def load_script(path: Path) -> types.ModuleType:
    """Import a script that lies in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_public_interface_is_the_one_written_down(root: Path) -> None:
    """A change that others would notice is made on purpose and named in the changelog."""
    now = list(load_script(root / ".ci" / "public_api.py").lines())
    written = (root / "tests" / "public_api.txt").read_text("utf-8").splitlines()
    difference = list(difflib.unified_diff(written, now, lineterm="", n=0))
    assert not difference, "if it is meant: make snapshots, and a line in CHANGELOG.md"


def test_page_of_licences_names_every_direct_dependency(root: Path, project: dict) -> None:
    listed = {
        name.lower().replace("_", "-")
        for name in re.findall(r"^\| \[([^\]]+)\]", licences(root), re.MULTILINE)
    }
    wanted = set(project["project"]["dependencies"])
    for extra in ("dask", "napari", "training", "zarr"):
        wanted |= set(project["project"]["optional-dependencies"][extra])
    names = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in wanted}
    assert names <= listed, "make snapshots writes the page anew"


def test_nothing_that_is_installed_along_is_copyleft(root: Path) -> None:
    rows = re.findall(r"^\| \[([^\]]+)\].*\| ([^|]*) \|$", licences(root), re.MULTILINE)
    assert len(rows) > 50
    for name, licence in rows:
        assert not re.search(r"\b(A|L)?GPL|General Public", licence), f"{name}: {licence}"
        assert licence != "not declared", f"look up the licence of {name}"


def licences(root: Path) -> str:
    return (root / "docs" / "licences.md").read_text("utf-8")


def test_claimed_pythons_are_those_that_ci_runs(root: Path, project: dict) -> None:
    lines = (root / ".ci" / "pythons").read_text("utf-8").splitlines()
    tested = {line for line in lines if not line.startswith("#")}
    pattern = re.compile(r"Programming Language :: Python :: (3\.\d+)")
    claimed = {
        match[1] for line in project["project"]["classifiers"] if (match := pattern.fullmatch(line))
    }
    assert claimed == tested
    assert ".ci/pythons" in (root / ".ci" / "run").read_text("utf-8")


def test_every_dependency_has_one_lower_bound(root: Path) -> None:
    """`make lowest` installs exactly these."""
    pins = load_script(root / ".ci" / "check_lowest.py").lowest()
    assert any(pin.startswith("numpy==") for pin in pins)


def test_a_commit_waits_for_what_ci_checks_and_can_be_quick(root: Path) -> None:
    """Each program of the quick targets of `make test` is a hook of pre-commit."""
    makefile = (root / "Makefile").read_text("utf-8")
    hooks = (root / ".pre-commit-config.yaml").read_text("utf-8")
    for target in ("lint", "types", "layers", "manifest"):
        recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
        commands = re.findall(r"\$\(BIN\)/(\S+(?: (?:check|format|validate))?)", recipe)
        assert commands
        for command in commands:
            assert f"entry: .venv/bin/{command}" in hooks, f"{target}: {command}"
    assert "entry: make test" in hooks


def test_warnings_are_errors_in_tests(project: dict) -> None:
    filters = project["tool"]["pytest"]["ini_options"]["filterwarnings"]
    assert filters[0] == "error"
    for line in filters[1:]:
        assert re.fullmatch(r"ignore:[^:]*:\w[\w.]+", line), f"{line} forgives too much"
    with pytest.raises(UserWarning, match="now"):
        warnings.warn("now", UserWarning, stacklevel=1)
