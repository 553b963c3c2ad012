"""What documents, docstrings and messages name is there: files, modules, links, commands."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from lanner.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lanner", "server", "postprocess", "detectors", "tiling")
FOLDERS = (*PACKAGES, "benchmarks", "configs", "docs", "proto", "scripts", "tests")
RESULTS = ("benchmarks/results/",)
"""What commands leave there."""
GROUPS = ("lanner.steps", "lanner.factory.ops", "lanner.executors")
"""Entry-point groups, which look like modules."""

DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("configs/**/*.md")])
SOURCES = sorted(
    path
    for folder in (*PACKAGES, "benchmarks", "scripts", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "v1" not in path.parts and path != Path(__file__)
)


def text_of(path: Path) -> str:
    """Where a document or source may be wrong: its text."""
    return path.read_text(encoding="utf-8")


def strings(path: Path) -> str:
    """Every text of a source: docstrings, messages, help. Parts of one text are joined."""
    found = []
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.JoinedStr):
            parts = [one.value if isinstance(one, ast.Constant) else "{}" for one in node.values]
            found.append("".join(str(one) for one in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return "\n".join(found)


def comments(path: Path) -> str:
    return "\n".join(re.findall(r"#\s(.*)", text_of(path)))


def named(path: Path) -> Path:
    return path.relative_to(ROOT)


# --- files and links ----------------------------------------------------------------------------


def slug(title: str) -> str:
    """What a heading is called in a link, as on the usual forges."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_lead_somewhere(path):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = path.parent / file if file else path
        if not there.exists():
            broken.append(target)
        elif anchor and there.suffix == ".md":
            titles = re.findall(r"^#+ (.*)", text_of(there), re.M)
            if anchor not in {slug(title) for title in titles}:
                broken.append(target)
    assert not broken


def paths_in(text: str) -> set[str]:
    """What begins with a folder of the project and goes on as the path of a file does."""
    folder = "|".join(FOLDERS)
    found = re.findall(rf"(?<![\w/.$~<>{{}}-])(?:{folder})/[\w./*<>-]*[\w*>/]", text)
    return {one for one in found if "NAME" not in one and not one.startswith(RESULTS)}


def is_there(path: str) -> bool:
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    if "*" in pattern:
        return any(ROOT.glob(pattern))
    return (ROOT / pattern).exists()


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_paths_in_documents_are_there(path):
    assert not {one for one in paths_in(text_of(path)) if not is_there(one)}


def test_paths_in_docstrings_messages_and_comments_are_there():
    folders = [ROOT / name for name in (*PACKAGES, "benchmarks", "scripts")]
    wrong = {}
    for path in SOURCES:
        if not any(folder in path.parents for folder in folders):
            continue  # tests write files of such names elsewhere
        text = strings(path) + comments(path)
        ending = re.compile(r"\.(py|md|ya?ml|proto|html)$")
        lost = {one for one in paths_in(text) if ending.search(one) and not is_there(one)}
        if lost:
            wrong[str(named(path))] = lost
    assert not wrong


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_sources_that_are_named_without_a_folder_are_there(path):
    every = {one.name for one in SOURCES}
    every |= {one.name for one in ROOT.glob("*.py")}
    found = set(re.findall(r"(?<![\w/.*-])\w+\.py\b", text_of(path)))
    assert not found - every


# --- modules and what they hold -----------------------------------------------------------------


@cache
def names_of(path: Path) -> dict[str, ast.AST | None]:
    """What a module or class defines or imports, by name."""
    return held(ast.parse(text_of(path)))


def held(tree: ast.AST) -> dict[str, ast.AST | None]:
    found: dict[str, ast.AST | None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(node.name, node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.setdefault(node.id, None)
        elif isinstance(node, ast.alias):
            found.setdefault((node.asname or node.name).split(".")[-1], None)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.setdefault(node.attr, None)
    return found


def resolves(dotted: str) -> bool:
    """Whether `package.module.Name.attribute` is there, as far as the text tells."""
    parts = dotted.split(".")
    if parts[:2] == ["lanner", "v1"]:  # generated
        return any(parts[-1] in text_of(one) for one in ROOT.glob("proto/**/*.proto"))
    place = ROOT
    for number, part in enumerate(parts):
        if (place / part).is_dir():
            place = place / part
            continue
        file, rest = place / f"{part}.py", parts[number + 1 :]
        if not file.is_file():
            file, rest = place / "__init__.py", parts[number:]
        if not file.is_file():
            return False
        return not rest or rest[0] in names_of(file)
    return True


def dotted_in(text: str) -> set[str]:
    packages = "|".join(PACKAGES)
    found = re.findall(rf"`((?:{packages})(?:\.\w+)+)[(`]", text)
    ending = re.compile(r"\.(py|md|ya?ml|db|tif|geojson|gpkg|json)$")
    return {one for one in found if one not in GROUPS and not ending.search(one)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_modules_in_documents_are_there(path):
    assert not {one for one in dotted_in(text_of(path)) if not resolves(one)}


def test_modules_in_docstrings_are_there():
    wrong = {}
    for path in SOURCES:
        lost = {one for one in dotted_in(strings(path) + comments(path)) if not resolves(one)}
        if lost:
            wrong[str(named(path))] = lost
    assert not wrong


# --- commands -----------------------------------------------------------------------------------


def code(text: str) -> Iterator[str]:
    """Lines of code of a document, continued ones joined, and its spans of code."""
    fences = re.findall(r"```\w*\n(.*?)```", text, re.S)
    rest = re.sub(r"```.*?```", "", text, flags=re.S)
    indented = "\n".join(re.findall(r"^    (.*)", rest, re.M))
    for block in (*fences, indented):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest))


def commands(text: str) -> Iterator[list[str]]:
    """Words of every command that starts `lanner`, without comments, brackets and quotes."""
    for line in code(text):
        try:
            words = shlex.split(re.sub(r"[\[\]|]", " ", line), comments=True)
        except ValueError:
            continue
        at = next((k for k, one in enumerate(words) if re.fullmatch(r"(\S*/)?lanner", one)), None)
        before = [] if at is None else words[:at]
        if at is not None and all("=" in one for one in before):
            yield words[at + 1 :]


def problem(words: list[str]) -> str | None:
    """What the program would not take of a command; None where it would."""
    command: Any = typer.main.get_command(app)
    reached = [command]
    rest = list(words)
    while hasattr(command, "commands") and rest:
        word = rest.pop(0)
        if word.startswith("-"):
            return None if word in options([command]) else f"no option {word}"
        if word.isupper():  # one for all
            reached = list(command.commands.values())
            break
        if word not in command.commands and getattr(command, "unnamed", None):
            command, rest = command.commands[command.unnamed], [word, *rest]
            reached = [command]
            break
        if word not in command.commands:
            return f"no command {word}"
        command = command.commands[word]
        reached = [command]
    known = options(reached)
    for word in rest:
        option = word.partition("=")[0]
        if re.match(r"-[^\d.]", option) and option not in known:
            return f"no option {option}"
    return None


def options(reached: list[Any]) -> set[str]:
    every = {"--help"}
    for command in reached:
        for parameter in command.params:
            every |= {*parameter.opts, *parameter.secondary_opts}
    return every


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_commands_in_documents_are_the_programs(path):
    wrong = {" ".join(words): text for words in commands(text_of(path)) if (text := problem(words))}
    assert not wrong


def test_documents_hold_commands_to_check():
    """Or the test above checks nothing."""
    guide = list(commands(text_of(ROOT / "docs" / "factory.md")))
    assert len(guide) > 15
    assert problem(["detect", "a.tif", "--detektor", "aircraft"]) == "no option --detektor"
    assert problem(["factory", "trane", "a.yaml"]) == "no command trane"
    assert problem(["factory", "STEP", "CONFIG.yaml", "--force"]) is None


def test_commands_in_messages_and_docstrings_are_the_programs():
    group: Any = typer.main.get_command(app)
    steps = group.commands["factory"]
    wrong = set()
    for path in SOURCES:
        if "tests" in named(path).parts:
            continue
        for one, two in re.findall(r"(?<![\w./'-])lanner ([a-z-]+)(?: ([a-z-]+))?", strings(path)):
            if one not in group.commands:
                wrong.add(f"{named(path)}: lanner {one}")
            elif one == "factory" and two and two not in steps.commands:
                wrong.add(f"{named(path)}: lanner factory {two}")
    assert not wrong


def test_targets_of_make_are_there():
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.M))
    found = {
        word
        for path in DOCUMENTS
        for line in code(text_of(path))
        for word in re.findall(r"^make ([a-z-]+)", line)
    }
    assert found and not found - targets


def test_no_remedy_asks_for_large_file_storage():
    """The files are kept as they are: it would bring nothing."""
    every = [one for one in SOURCES if "tests" not in named(one).parts]
    assert every
    assert not [str(named(path)) for path in every if re.search(r"\blfs\b", strings(path))]


@pytest.mark.parametrize("name", ["aircraft", "roads"])
def test_every_column_of_a_detector_is_described(name):
    from lanner.core.config import load_config
    from postprocess.chain import Chain

    text = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {name}: ")[2].partition("\n## ")[0]
    schema = Chain.from_specs(load_config(ROOT / "configs" / f"{name}.yaml").chain).schema
    rows = [f"| `{one.name}` | {one.kind} | {one.about} |" for one in schema.columns]
    assert section.startswith(schema.geometry)
    assert [line for line in section.splitlines() if line.startswith("| `")] == rows
