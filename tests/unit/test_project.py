"""What holds for the project as a whole and no other tool checks."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]
MAX_LINES = 300
MAX_FUNCTION_LINES = 40
LONGER = {
    "take_samples": "the loop over samples: a call for each would cost more than what it does",
    "new_entity": "names each field of a record once",
    "_record": "names each column of a message once",
    "_rows": "names each figure once",
}
"""Functions that are longer than others may be, with the reason."""

FORBIDDEN_NAMES = {"utils.py", "common.py", "base.py", "helpers.py"}
MODULES = sorted((CHECKOUT / "streams").rglob("*.py"))


def pyproject() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, str]:
    """Version of each package in a lock file."""
    text = (CHECKOUT / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([^ ;\\]+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[><=\[]", text)[0] for text in requirements}


def entries(section: str) -> Iterator[str]:
    """Lines of list entries in a section of pyproject.toml."""
    text = (CHECKOUT / "pyproject.toml").read_text()
    for line in text.partition(section)[2].partition("\n]")[0].splitlines()[1:]:
        yield line.strip()


def test_readme_opens_with_exactly_two_commands() -> None:
    first_block = (CHECKOUT / "README.md").read_text().split("```")[1].splitlines()[1:]

    assert [line.partition("#")[0].strip() for line in first_block] == ["make demo", "make test"]


def test_readme_shows_the_example_that_the_tests_run() -> None:
    example = (CHECKOUT / "docs" / "examples" / "scheduler.py").read_text()

    assert example.partition("\n\n")[2] in (CHECKOUT / "README.md").read_text()


def test_links_between_documents_lead_somewhere() -> None:
    documents = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *(CHECKOUT / "docs").rglob("*.md")]
    dead = [
        f"{document.name}: {link}"
        for document in documents
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
        if "://" not in link and not (document.parent / link).exists()
    ]

    assert dead == []


@pytest.mark.parametrize("section", ["dependencies = [", "dev = [", "filterwarnings = ["])
def test_every_entry_has_its_reason(section: str) -> None:
    assert [line for line in entries(section) if line != '"error",' and "# " not in line] == []


def test_lock_files_agree_and_name_every_dependency() -> None:
    everything, run = locked("requirements.lock"), locked("requirements.run.lock")
    project = pyproject()["project"]

    assert names(project["dependencies"]) <= set(run)
    assert {name: everything[name] for name in run} == run
    assert names(project["optional-dependencies"]["dev"]) <= set(everything)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements.run.lock"])
def test_lock_files_name_no_host(name: str) -> None:
    text = (CHECKOUT / name).read_text()

    assert "://" not in text
    assert "--index" not in text


def test_everything_that_is_imported_is_locked() -> None:
    distributions, run = packages_distributions(), locked("requirements.run.lock")
    # The environment is an extra of its own; what else there is works without it.
    optional = {"env.py", "features.py"}
    imported = {
        name.partition(".")[0]
        for path in MODULES
        if not (path.parent.name == "vte" and path.name in optional)
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported_names(node)
    }
    others = imported - sys.stdlib_module_names - {"streams", "__future__"}
    carriers = {name: {of.lower().replace("_", "-") for of in distributions.get(name, [])} for name in others}

    assert {name for name, names in carriers.items() if not names & set(run)} == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_an_installed_package_has_its_data() -> None:
    folder = CHECKOUT / "streams"
    patterns = pyproject()["tool"]["setuptools"]["package-data"]["streams"]

    packed = {path for pattern in patterns for path in folder.glob(pattern)}
    # glob does not follow the link that streams/avro is; building the wheel does.
    packed |= set((folder / "avro").rglob("*.avsc"))
    data = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}

    assert data - packed == set()


def test_faust_and_its_client_are_pinned_as_a_pair() -> None:
    assert {"faust-streaming==0.15.3", "aiokafka==0.14.0"} <= set(pyproject()["project"]["dependencies"])


def test_modules_are_short() -> None:
    lengths = {str(path.relative_to(CHECKOUT)): len(path.read_text().splitlines()) for path in MODULES}

    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(CHECKOUT)}:{node.lineno} {node.name} {lines}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name not in LONGER
        and (lines := body_lines(node)) > MAX_FUNCTION_LINES
    ]

    assert long == []


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_modules_have_names_that_say_something() -> None:
    assert [str(path) for path in MODULES if path.name in FORBIDDEN_NAMES] == []


def test_only_settings_reads_the_environment() -> None:
    # Others may hand the whole environment on to a process of theirs.
    reads = re.compile(r"""(environ(\.get)?[\[(]|getenv\()\s*f?["']TWIN_""")

    assert {path.name for path in MODULES if reads.search(path.read_text())} == set()


def test_no_file_names_a_machine() -> None:
    places = re.compile(r"/root/|/work/(main|shared)|/tmp/w\b|pythonhosted|proxy\.golang|repo1\.maven")
    folders = ("streams", "docs", "k8s", "schemas")
    files = [path for folder in folders for path in (CHECKOUT / folder).rglob("*.*") if path.suffix != ".pyc"]
    files += [
        CHECKOUT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "Dockerfile", "pyproject.toml")
    ]

    assert [
        str(path)
        for path in files
        if path.is_file() and path.suffix != ".png" and places.search(path.read_text())
    ] == []
