"""What the source must never do: run what a file holds, trust a connection blindly."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FORBIDDEN_MODULES = {"cPickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
FORBIDDEN_CALLS = {
    "__import__", "compile", "eval", "exec",  # the built-in functions
    "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "tempfile.mktemp",
    "ssl._create_unverified_context", "torch.jit.load", "torch.hub.load",
}  # fmt: skip
UNPACKING = {"extract", "extractall", "unpack_archive"}


def shipped(root: Path) -> list[Path]:
    return [*sorted((root / "src").rglob("*.py")), *sorted((root / "training").rglob("*.py"))]


def dotted(node: ast.expr) -> str:
    """`a.b.c` as it is written; the empty string for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def faults(tree: ast.AST) -> Iterator[str]:
    """Everything in a module that this file forbids."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            for module in modules:
                if module.partition(".")[0] in FORBIDDEN_MODULES:
                    yield f"line {node.lineno} imports {module}"
        if isinstance(node, ast.Call):
            yield from (f"line {node.lineno} {what}" for what in call_faults(node))


def call_faults(call: ast.Call) -> Iterator[str]:
    name = dotted(call.func)
    keywords = {word.arg: word.value for word in call.keywords}
    if name in FORBIDDEN_CALLS:
        yield f"calls {name}"
    if name == "torch.load" and not is_true(keywords, "weights_only"):
        yield "calls torch.load without weights_only=True"
    if is_true(keywords, "allow_pickle"):
        yield "allows pickle"
    if name.endswith("np.load") and not is_false(keywords, "allow_pickle"):
        yield "calls np.load without allow_pickle=False"
    if name.rpartition(".")[2] in UNPACKING:
        yield f"unpacks an archive with {name}"
    if is_true(keywords, "shell"):
        yield "runs a shell"
    for word in ("verify", "trust_env", "check_hostname"):
        if word in keywords and not is_true(keywords, word):
            yield f"gives {word}={ast.unparse(keywords[word])}"


def is_true(keywords: dict[str | None, ast.expr], name: str) -> bool:
    value = keywords.get(name)
    return isinstance(value, ast.Constant) and value.value is True


def is_false(keywords: dict[str | None, ast.expr], name: str) -> bool:
    value = keywords.get(name)
    return isinstance(value, ast.Constant) and value.value is False


def test_nothing_shipped_runs_what_a_file_holds_or_turns_verification_off(root: Path) -> None:
    found = [
        f"{path.relative_to(root)}: {fault}"
        for path in shipped(root)
        for fault in faults(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []


def test_no_environment_variable_or_attribute_weakens_tls(root: Path) -> None:
    for path in shipped(root):
        text = path.read_text("utf-8")
        for word in ("CERT_NONE", "CURL_CA_BUNDLE", "PYTHONHTTPSVERIFY", ".verify =",
                     "disable_warnings", "InsecureRequestWarning"):  # fmt: skip
            assert word not in text, f"{path} has {word}"


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "exec(text)",
        "archive.extractall(folder)",
        "requests.get(url, verify=False)",
        "requests.get(url, verify=not_sure)",
        "subprocess.run(text, shell=True)",
        "ssl._create_unverified_context()",
    ],
)
def test_the_search_finds_what_is_forbidden(code: str) -> None:
    assert list(faults(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "model.eval()",
        "re.compile(text)",
        "requests.get(url, verify=True)",
    ],
)
def test_the_search_leaves_in_peace_what_is_allowed(code: str) -> None:
    assert not list(faults(ast.parse(code)))
