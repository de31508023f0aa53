"""Injected parameters: their position, and their syntax in each language."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import commutable as cm
import enchannel as ec

FIRST = cm.code_cell("import this", id="first")
DEFAULTS = cm.code_cell("x = 1", id="defaults", metadata={"tags": ["a", "parameters"]})
LAST = cm.code_cell("print(x)", id="last")
NOTEBOOK = cm.Notebook([FIRST, DEFAULTS, LAST])


def injected(notebook: cm.Notebook) -> cm.Cell:
    (cell,) = [cell for cell in notebook.cells if "injected-parameters" in cell.tags]
    return cell


def source_of(language: str, **parameters: Any) -> str:
    return injected(cm.with_parameters(NOTEBOOK, parameters, language=language)).source


# -- position ---------------------------------------------------------------------------------------


def test_parameters_follow_defaults() -> None:
    after = cm.with_parameters(NOTEBOOK, {"x": 2})
    assert after.cells == (FIRST, DEFAULTS, injected(after), LAST)
    assert injected(after).source == "# Parameters\nx = 2"
    assert injected(after).cell_type == "code"
    assert all(after.cell(cell.id) is cell for cell in NOTEBOOK.cells)


def test_parameters_without_defaults_come_first() -> None:
    after = cm.with_parameters(cm.Notebook([FIRST, LAST]), {"x": 2})
    assert after.cells == (injected(after), FIRST, LAST)
    assert cm.with_parameters(cm.empty_notebook, {"x": 2}).cells != ()


def test_defaults_tag_counts_in_code_cells_only() -> None:
    prose = cm.markdown_cell("about them", id="prose", metadata={"tags": ["parameters"]})
    after = cm.with_parameters(cm.Notebook([FIRST, prose, DEFAULTS, LAST]), {"x": 2})
    assert after.index(injected(after).id) == 3


def test_parameters_follow_first_defaults() -> None:
    again = cm.code_cell("x = 3", id="again", metadata={"tags": ["parameters"]})
    after = cm.with_parameters(cm.Notebook([DEFAULTS, again]), {"x": 2})
    assert after.index(injected(after).id) == 1


def test_parameters_replace_earlier_ones() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2, "y": 3})
    twice = cm.with_parameters(once, {"x": 4})
    assert injected(twice).source == "# Parameters\nx = 4"
    assert injected(twice).id == injected(once).id
    assert [cell.id for cell in twice.cells] == [cell.id for cell in once.cells]


def test_replaced_parameters_keep_position() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2})
    moved = cm.move_cell(once, injected(once).id, 0)
    assert cm.with_parameters(moved, {"x": 3}).index(injected(once).id) == 0


def test_replaced_parameters_clear_outputs() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2})
    printed = {"output_type": "stream", "name": "stdout", "text": "2"}
    ran = cm.update_outputs(once, injected(once).id, [printed])
    ran = cm.update_execution_count(ran, injected(once).id, 1)
    again = injected(cm.with_parameters(ran, {"x": 3}))
    assert isinstance(again, cm.CodeCell)
    assert (list(again.outputs), again.execution_count) == ([], None)


def test_same_parameters_are_a_no_op() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2})
    assert cm.with_parameters(once, {"x": 2}) is once


def test_injected_tag_counts_in_code_cells_only() -> None:
    prose = cm.markdown_cell("about them", id="prose", metadata={"tags": ["injected-parameters"]})
    after = cm.with_parameters(cm.Notebook([prose, DEFAULTS]), {"x": 2})
    assert [cell.id for cell in after.cells[:2]] == ["prose", "defaults"]
    assert after.cells[2].source == "# Parameters\nx = 2"


def test_no_parameters_are_a_no_op() -> None:
    assert cm.with_parameters(NOTEBOOK, {}) is NOTEBOOK


def test_parameters_keep_their_order() -> None:
    assert source_of("python", z=1, a=2, m=3) == "# Parameters\nz = 1\na = 2\nm = 3"


# -- syntax -----------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "nothing": None,
    "yes": True,
    "no": False,
    "whole": -5,
    "big": 2**70,
    "part": 0.5,
    "small": 1e-300,
    "text": "a'b\"c\\d\n\te",
    "dollar": "$x",
    "other": "ж🎉",
    "some": [1, [None, "a"]],
    "none": [],
    "named": {"a b": {"c": True}},
    "empty": {},
}
EXPECTED = {
    "python": {
        "nothing": "nothing = None",
        "yes": "yes = True",
        "no": "no = False",
        "whole": "whole = -5",
        "big": f"big = {2**70}",
        "part": "part = 0.5",
        "small": "small = 1e-300",
        "text": r"""text = 'a\'b"c\\d\n\te'""",
        "dollar": "dollar = '$x'",
        "other": "other = 'ж🎉'",
        "some": "some = [1, [None, 'a']]",
        "none": "none = []",
        "named": "named = {'a b': {'c': True}}",
        "empty": "empty = {}",
    },
    "r": {
        "nothing": "nothing <- NULL",
        "yes": "yes <- TRUE",
        "no": "no <- FALSE",
        "whole": "whole <- -5",
        "big": f"big <- {2**70}",
        "part": "part <- 0.5",
        "small": "small <- 1e-300",
        "text": r'text <- "a' + r"'b\"c\\d\n\te" + '"',
        "dollar": 'dollar <- "$x"',
        "other": 'other <- "ж🎉"',
        "some": 'some <- list(1, list(NULL, "a"))',
        "none": "none <- list()",
        "named": 'named <- list("a b" = list("c" = TRUE))',
        "empty": "empty <- list()",
    },
    "julia": {
        "nothing": "nothing = nothing",
        "yes": "yes = true",
        "no": "no = false",
        "whole": "whole = -5",
        "big": f"big = {2**70}",
        "part": "part = 0.5",
        "small": "small = 1e-300",
        "text": r'text = "a' + r"'b\"c\\d\n\te" + '"',
        "dollar": r'dollar = "\$x"',
        "other": 'other = "ж🎉"',
        "some": 'some = [1, [nothing, "a"]]',
        "none": "none = []",
        "named": 'named = Dict("a b" => Dict("c" => true))',
        "empty": "empty = Dict()",
    },
    "javascript": {name: f"var {name} = {json.dumps(value)};" for name, value in VALUES.items()},
    "typescript": {
        name: f"var {name}: any = {json.dumps(value)};" for name, value in VALUES.items()
    },
}


@pytest.mark.parametrize("language", EXPECTED)
@pytest.mark.parametrize("name", VALUES)
def test_parameters_in_each_language(language: str, name: str) -> None:
    comment = "//" if language in ("javascript", "typescript") else "#"
    source = source_of(language, **{name: VALUES[name]})
    assert source == f"{comment} Parameters\n{EXPECTED[language][name]}"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda deeper: st.lists(deeper) | st.dictionaries(st.text(max_size=3), deeper),
    max_leaves=5,
)


@given(JSON)
def test_python_parameters_evaluate_to_value(value: Any) -> None:
    try:
        source = source_of("python", x=value)
    except cm.InvalidNotebook:  # a lone surrogate in a key
        return
    variables: dict[str, Any] = {}
    exec(source, variables)  # noqa: S102
    assert repr(variables["x"]) == repr(value)


@given(JSON)
def test_javascript_parameters_parse_as_json(value: Any) -> None:
    try:
        source = source_of("javascript", x=value)
    # A lone surrogate in a key, or an integer that is not a double.
    except ValueError:
        return
    assume("__proto__" not in source)
    assert source.count("\n") == 1
    literal = source.removeprefix("// Parameters\nvar x = ").removesuffix(";")
    assert repr(json.loads(literal)) == repr(value)


LANGUAGES = {
    "nothing": ({}, "x = None"),
    "its kernel": ({"kernelspec": {"name": "ir", "language": "R"}}, "x <- NULL"),
    "its language": ({"language_info": {"name": "julia"}}, "x = nothing"),
}


@pytest.mark.parametrize(("metadata", "end"), LANGUAGES.values(), ids=LANGUAGES.keys())
def test_parameters_use_language_of_notebook(metadata: dict[str, Any], end: str) -> None:
    notebook = cm.Notebook([FIRST], metadata)
    assert injected(cm.with_parameters(notebook, {"x": None})).source.endswith(end)


def test_language_argument_overrides_notebook() -> None:
    notebook = cm.set_metadata(NOTEBOOK, {"language_info": {"name": "julia"}})
    after = cm.with_parameters(notebook, {"x": None}, language="R")
    assert injected(after).source == "# Parameters\nx <- NULL"


# -- errors -----------------------------------------------------------------------------------------


def test_unknown_language_error_lists_supported() -> None:
    known = "python, r, julia, javascript, typescript"
    with pytest.raises(ec.NotSupported, match=f"in language 'cobol'; supported: {known}"):
        source_of("COBOL", x=1)


EVERYWHERE = ["", "1x", "a b", "a-b", "x = 1; y", "x\n", "import os\nx", "if", "for", "\u200b"]
INVALID_NAMES = {
    "python": [*EVERYWHERE, "a.b", "class", "None", "__debug__", "a$", "a!"],
    "r": [*EVERYWHERE, "_x", ".1x", "TRUE", "NA_integer_", "...", "..1", "Inf", "a$", "a!"],
    "julia": [*EVERYWHERE, "a.b", "end", "true", "_", "__", "!a", "a$", "where", "in"],
    "javascript": [*EVERYWHERE, "a.b", "class", "null", "let", "await", "undefined", "eval", "a!"],
}
INVALID_NAMES["typescript"] = INVALID_NAMES["javascript"]
VALID_NAMES = {
    "python": ["x", "_x", "nothing", "NULL", "ж", "match", "end", "var"],
    "r": ["x", "a.b", ".x", "._", ".", "class", "None", "T", "x_1", "end", "lambda", "ж"],
    "julia": ["x", "_x", "push!", "class", "None", "lambda", "var", "ж", "type"],
    "javascript": ["x", "_x", "$", "$x", "None", "lambda", "end", "nothing", "ж"],
}
VALID_NAMES["typescript"] = VALID_NAMES["javascript"]
PAIRS = [(language, name) for language in INVALID_NAMES for name in INVALID_NAMES[language]]


@pytest.mark.parametrize(("language", "name"), PAIRS)
def test_invalid_parameter_name_is_rejected(language: str, name: str) -> None:
    with pytest.raises(ValueError, match="parameter name must be a valid variable name") as caught:
        source_of(language, **{name: 1})
    assert repr(name) in str(caught.value)
    assert f" in {language}" in str(caught.value)


@pytest.mark.parametrize("language", VALID_NAMES)
def test_valid_parameter_names_are_assigned(language: str) -> None:
    source = source_of(language, **dict.fromkeys(VALID_NAMES[language], 1))
    assert len(source.splitlines()) == 1 + len(VALID_NAMES[language])


@pytest.mark.parametrize("name", VALID_NAMES["python"])
def test_valid_python_name_can_be_read(name: str) -> None:
    variables: dict[str, Any] = {}
    exec(source_of("python", **{name: 1}), variables)  # noqa: S102
    assert eval(name, variables) == 1  # noqa: S307


NON_FINITE = {
    "python": "x = [float('nan'), float('inf'), float('-inf')]",
    "r": "x <- list(NaN, Inf, -Inf)",
    "julia": "x = [NaN, Inf, -Inf]",
    "javascript": "var x = [NaN, Infinity, -Infinity];",
    "typescript": "var x: any = [NaN, Infinity, -Infinity];",
}


@pytest.mark.parametrize("language", NON_FINITE)
def test_non_finite_parameters_have_literals(language: str) -> None:
    source = source_of(language, x=[math.nan, math.inf, -math.inf])
    assert source.splitlines()[1] == NON_FINITE[language]


@pytest.mark.parametrize("language", ["r", "javascript", "typescript"])
@pytest.mark.parametrize("number", [2**53 + 1, -(2**63) - 1, 10**400])
def test_integer_beyond_double_is_rejected(language: str, number: int) -> None:
    for value in (number, [number], {"a": number}):
        with pytest.raises(ValueError, match=r"parameter 'n' cannot be set: .*pass it as text"):
            source_of(language, n=value)
    assert source_of(language, n=2**53).splitlines()[1].rstrip(";").endswith(f" {2**53}")


def test_unprintable_integer_is_rejected() -> None:
    for language in EXPECTED:
        with pytest.raises(ValueError, match="parameter 'n' cannot be set"):
            source_of(language, n=3**20_000)


@pytest.mark.parametrize("value", ["a\0b", {"": 1}, {"a\0b": 1}])
def test_value_that_r_lacks_is_rejected(value: Any) -> None:
    with pytest.raises(ValueError, match="parameter 'x' cannot be set"):
        source_of("r", x=value)


def test_javascript_prototype_is_a_plain_key() -> None:
    assert source_of("javascript", x={"__proto__": 1}).endswith('x = {["__proto__"]: 1};')


def test_deeply_nested_parameters_are_rejected() -> None:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    with pytest.raises(cm.InvalidNotebook, match="nested too deeply"):
        cm.with_parameters(NOTEBOOK, {"x": value})


@pytest.mark.parametrize("value", [{1}, b"x", object(), "\ud800", {1: 2}])
def test_non_json_parameter_is_rejected(value: Any) -> None:
    with pytest.raises(cm.InvalidNotebook, match="parameters.x"):
        cm.with_parameters(NOTEBOOK, {"x": value})
