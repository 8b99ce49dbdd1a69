"""The folder tree is a table of contents: imports point up it, files stay short, and few of them lie flat."""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import ftreg
from ftreg.testing.cases import exported

ROOT = Path(__file__).parent.parent
FOLDERS = (
    ("_base",),
    ("functional",),
    ("encoder",),
    ("core",),
    ("methods",),
    ("lightning", "huggingface"),
    ("run",),
    ("cli",),
    ("bench",),
    ("report",),
    ("testing",),
)
"""A module imports from its own folder and from those in rows above it."""
FLAT = {"__init__", "__main__", "criteria", "loggers"}
ROW = {folder: row for row, folders in enumerate(FOLDERS) for folder in folders}
FILES = sorted((ROOT / "ftreg").rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_folder_has_its_row() -> None:
    inside = {path.relative_to(ROOT / "ftreg").parts[0] for path in FILES if len(path.relative_to(ROOT).parts) > 2}
    assert inside == ROW.keys() & inside
    assert {path.stem for path in (ROOT / "ftreg").glob("*.py")} == FLAT


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_up(path: Path) -> None:
    folder = path.relative_to(ROOT / "ftreg").parts[0]
    if folder not in ROW:
        return  # the flat ones hand names on
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "ftreg" and len(parts) > 1 and parts[1] in ROW:
            up = parts[1] == folder or ROW[parts[1]] < ROW[folder]
            assert up, f"{path.relative_to(ROOT)} imports {module}, which is not above it"


def test_the_readme_shows_the_tree() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2].partition("\n## ")[0]
    assert {*re.findall(r"^      (\w+)/ ", text, re.MULTILINE)} == ROW.keys()
    assert all((ROOT / "ftreg" / place).exists() for place in re.findall(r"\b(?:core|run|methods)/\w+\.py", text))


def test_what_the_author_of_a_method_needs_is_public() -> None:
    needed = {
        "adamw", "at_least", "ConflictError", "Criterion", "deposit", "Encoder", "Engine", "EngineModule", "FineTuner",
        "mixout", "Noise", "Prediction", "Regularizer", "Scalar", "Slot", "StartsFromFits", "Step", "task_losses",
        "TaskHeads", "typed", "UsageError", "within",
    }  # fmt: skip
    assert needed | exported().keys() <= {*ftreg.__all__}
    assert all(getattr(ftreg, name) is not None for name in ftreg.__all__)


def test_tasks_know_nothing_of_methods() -> None:
    for path in (ROOT / "glue_tasks").rglob("*.py"):
        assert not [module for module in imports(path) if module.split(".")[0] == "ftreg"], path


def test_files_are_short() -> None:
    files = [*FILES, *(ROOT / "glue_tasks").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := path.read_text().count("\n")) > 300}
    assert not long


SENTENCES = (*(f"ftreg/{folder}" for folder in ROW), "glue_tasks")
NO_VERB = frozenset(
    {
        "A", "All", "An", "As", "At", "Before", "Between", "By", "Done", "For", "Found", "How", "In", "None", "Not",
        "Nothing", "Of", "One", "The", "Told", "Up", "What", "Where", "Whether", "Which", "Whose", "With", "Without",
    }
)  # fmt: skip
"""First words of phrases that name what a function returns and do not say that it returns it."""


@pytest.mark.parametrize("folder", SENTENCES)
def test_a_function_says_what_it_does(folder: str) -> None:
    """Its docstring begins with a verb: `Return …`, `Read …`; what only looks like a value is a property."""
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef) or any("property" in ast.unparse(d) for d in node.decorator_list):
                continue
            first = (ast.get_docstring(node) or "Return").split()[0].rstrip(",;:.")
            if not first.isalpha() or first[0].islower() or first in NO_VERB:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {first} …")
    assert not wrong


PHRASE = frozenset({"As", "By", "For", "How", "Of", "Told", "What", "Whether", "Which", "Whose", "Without"})
"""First words of phrases that are no sentence about a module or a class; a function of its subject may begin so."""


@pytest.mark.parametrize("folder", SENTENCES)
def test_a_module_and_a_class_are_told_in_a_sentence(folder: str) -> None:
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef):
                first = (ast.get_docstring(node) or "It").split()[0]
                if first in PHRASE:
                    wrong.append(f"{path.relative_to(ROOT)}: {ast.get_docstring(node)!r:.80}")
    assert not wrong


VAGUE = frozenset({"check", "finite", "get", "load", "read", "record", "save"})
PUBLIC = {"glue_tasks/sources.py load"}
"""`glue_tasks.load`, which others call."""


def test_a_function_says_of_what() -> None:
    """A function of a module is not called `read` or `check`, which says too little where it is called."""
    found = {
        f"{path.relative_to(ROOT)} {node.name}"
        for path in [*FILES, *(ROOT / "glue_tasks").rglob("*.py")]
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name in VAGUE
    }
    assert found == PUBLIC


INTERNALS = {
    "ftreg/cli/lightning_cli.py",
    "ftreg/encoder/torch_internals.py",
    "ftreg/encoder/transformers_internals.py",
    "ftreg/huggingface/internals.py",
    "ftreg/lightning/internals.py",
}
"""Each has the private members of one library, whose versions have an upper bound for it."""
UNDOCUMENTED = {"epoch_loop", "fit_loop"}


@pytest.mark.parametrize("path", [*FILES, *(ROOT / "glue_tasks").rglob("*.py")], ids=lambda path: path.name)
def test_private_members_of_libraries_are_used_in_one_file_each(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            of = ast.unparse(node.value)
            found |= set() if of in ("self", "cls", "os") else {f"{of}.{node.attr}"}
        elif isinstance(node, ast.Attribute) and node.attr in UNDOCUMENTED:
            found.add(node.attr)
    private = {module for module in imports(path) if re.search(r"\._(?!_)", module) and not module.startswith("ftreg")}
    assert name in INTERNALS or not found | private


def test_upper_bounds() -> None:
    """What has private members in use is bounded."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    bounded = {re.match(r"[\w-]+", one)[0] for one in dependencies if "<" in one}  # type: ignore[index]
    assert bounded >= {"torch", "pytorch-lightning", "transformers", "jsonargparse"}


@pytest.mark.parametrize("folder", SENTENCES)
def test_an_attribute_is_called_what_it_is(folder: str) -> None:
    """The text below an assignment names the thing: `The seed of the pairs`, and not `Of the pairs`."""
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            body = node.body if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else []
            for assigned, text in pairwise(body):
                if isinstance(assigned, ast.Assign | ast.AnnAssign) and isinstance(text, ast.Expr):
                    first = ast.unparse(text).strip("'\"").split()[0]
                    wrong += [f"{path.name}:{text.lineno}: {first} …"] * (first in ("As", "By", "In", "Of", "Whose"))
    assert not wrong


METHODS = frozenset(exported()) | {"MultiTask"}
HOMES = {"methods", "testing", "__init__.py", "__main__.py"}
"""Places that may name a method: its own file, the tests' settings, the public names, and the help text's example."""


def methods_named(path: Path) -> Iterator[str]:
    """The methods that a file's code names, as an identifier or within a string that is no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {f"ftreg.methods.{file.stem}" for file in (ROOT / "ftreg" / "methods").rglob("*.py")}
    yield from (module for module in imports(path) if {module, module.rpartition(".")[0]} & (modules - {"__init__"}))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        found: set[str] = set()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            found = {*re.findall(r"\w+", node.value)}
        elif isinstance(node, ast.Name | ast.Attribute | ast.ImportFrom):
            names = [node.id] if isinstance(node, ast.Name) else []
            names += [node.attr] if isinstance(node, ast.Attribute) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            found = {*names}
        yield from (f"line {node.lineno}: {name}" for name in sorted(found & METHODS))


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.relative_to(ROOT / "ftreg").parts[0] not in HOMES], ids=lambda p: str(p.name)
)
def test_no_method_is_named_elsewhere(path: Path) -> None:
    """A hook of the method says what others ask of it; its name is in messages that it makes itself."""
    assert not [*methods_named(path)]
