"""Check the prose of Python files: docstrings, comments, and the texts of errors.

``python tests/prose.py PATH…`` prints every violation and a summary; ``tests/test_prose.py`` asserts.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

# Docstrings open with a verb or a noun phrase, not with one of these.
OPENINGS = frozenset(
    "anything everybody everyone everything he how it its nobody nothing she somebody someone something "
    "that these they this those what whatever when where whether which who whoever whom whose why with "
    "without".split()
)
# A relative clause without a noun before it: `what arrives` in place of `incoming messages`.
HEADLESS = re.compile(
    r"""(?<!no\ matter\ )\bwhat(?:ever)?\s+(?!to\b|if\b|kind\b)\w+
        |(?:^|[.:;,(]\s+|\b(?:of|to|from|for|with|without|by|on|in|at|as|than|into|until|before|after|
        is|are|was|were|be|and|or|but|not|only|all|that|if|when|because|tells?|told|knows?|says?|said|
        shows?|shown|gives?|given|takes?|taken|sees?|seen|hears?|heard|gets?|keeps?|asks?|return)\s+)
        (?:who|whoever)\s+(?!to\b)\w+""",
    re.IGNORECASE | re.VERBOSE,
)
# A negated noun in place of a negated verb: `it is no URL` for `it is not a URL`.
NEGATED_NOUN = re.compile(
    r"(?<!there )\b(?:is|are|was|were)\s+no\s+(?!longer\b|more\b)\w+|\bnobody\b", re.IGNORECASE
)
CODE = re.compile(r"``.*?``|`[^`\n]*`|>>>.*|^\s*\.\.\. .*", re.MULTILINE)
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")


@dataclass(frozen=True)
class Text:
    """One docstring, comment or error text, without the code in it."""

    kind: str
    path: Path
    line: int
    words: str


@dataclass(frozen=True)
class Violation:
    """One place that breaks a rule."""

    rule: str
    path: Path
    line: int
    found: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.found}"


def python_files(*paths: Path) -> Iterator[Path]:
    for path in paths:
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def texts_of(path: Path) -> Iterator[Text]:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for node in ast.walk(tree):
        yield from _attribute_docstrings(node, path)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if (docstring := ast.get_docstring(node)) is not None:
                yield Text("docstring", path, node.body[0].lineno, _plain(docstring))
        elif isinstance(node, ast.Raise) and node.exc is not None:
            yield from _strings_in(node.exc, path)
        elif isinstance(node, ast.Call) and _is_error(node.func):
            yield from _strings_in(node, path)
    yield from _comments_of(source, path)


def _attribute_docstrings(node: ast.AST, path: Path) -> Iterator[Text]:
    """Yield the strings that follow an assignment, in a module or class."""
    if not isinstance(node, ast.Module | ast.ClassDef):
        return
    for assignment, text in pairwise(node.body):
        match assignment, text:
            case (ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str() as docstring))):
                yield Text("docstring", path, text.lineno, _plain(docstring))
            case _:
                pass


def _is_error(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name.endswith(("Error", "Failed", "Lost", "Died", "Closed", "NotSupported"))


def _strings_in(node: ast.AST, path: Path) -> Iterator[Text]:
    for child in ast.walk(node):
        if isinstance(child, ast.JoinedStr):
            parts = [str(v.value) if isinstance(v, ast.Constant) else "X" for v in child.values]
            yield Text("error", path, child.lineno, _plain("".join(parts)))
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield Text("error", path, child.lineno, _plain(child.value))


def _comments_of(source: str, path: Path) -> Iterator[Text]:
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if line != last + 1 and block:
            yield Text("comment", path, start, _plain("\n".join(block)))
            block = []
        if not block:
            start = line
        block.append(token.string.lstrip("# "))
        last = line
    if block:
        yield Text("comment", path, start, _plain("\n".join(block)))


def _plain(text: str) -> str:
    return CODE.sub("X", text)


def violations_in(path: Path) -> Iterator[Violation]:
    seen: set[tuple[int, str, str]] = set()
    for text in texts_of(path):
        if text.kind == "docstring":
            opening = re.match(r"\W*(\w+)", text.words)
            if opening is not None and opening[1].lower() in OPENINGS:
                yield Violation("opening", path, text.line, text.words.partition("\n")[0])
        for rule, pattern in (("headless", HEADLESS), ("negation", NEGATED_NOUN)):
            for match in pattern.finditer(text.words):
                line = text.line + text.words.count("\n", 0, match.start())
                found = " ".join(match[0].split())
                if (line, rule, found) not in seen:
                    seen.add((line, rule, found))
                    yield Violation(rule, path, line, found)
    yield from _constants_without_role(path)


def _constants_without_role(path: Path) -> Iterator[Violation]:
    """Yield the numbers whose names have one word: a role, but no unit or limit."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int() | float())):
                if name.isupper() and "_" not in name.strip("_"):
                    yield Violation("constant", path, node.lineno, name)
            case _:
                pass


def summary_of(paths: list[Path]) -> str:
    texts = [text for path in paths for text in texts_of(path)]
    found = [violation for path in paths for violation in violations_in(path)]
    words = sum(len(WORD.findall(text.words)) for text in texts)
    docstrings = sum(text.kind == "docstring" for text in texts)
    count = {rule: sum(v.rule == rule for v in found) for rule in RULES}
    headless = 1e4 * count["headless"] / max(words, 1)
    return (
        f"{len(paths)} files, {docstrings} docstrings, {words} words\n"
        f"docstrings that open with a pronoun or wh-word: {count['opening']}"
        f" ({100 * count['opening'] / max(docstrings, 1):.1f} %)\n"
        f"headless clauses: {count['headless']} ({headless:.1f} per 10,000 words)\n"
        f"negated nouns: {count['negation']}\n"
        f"constants without a role: {count['constant']}"
    )


RULES = ("opening", "headless", "negation", "constant")


if __name__ == "__main__":
    chosen = list(python_files(*map(Path, sys.argv[1:])))
    for violation in (v for path in chosen for v in violations_in(path)):
        print(violation)
    print(summary_of(chosen))
