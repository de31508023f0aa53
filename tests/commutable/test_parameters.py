"""A notebook that runs with other parameters: where they are set, and in which words."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
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


# -- where ------------------------------------------------------------------------------------------


def test_they_are_set_behind_the_defaults() -> None:
    after = cm.with_parameters(NOTEBOOK, {"x": 2})
    assert after.cells == (FIRST, DEFAULTS, injected(after), LAST)
    assert injected(after).source == "# Parameters\nx = 2"
    assert injected(after).cell_type == "code"
    assert all(after.cell(cell.id) is cell for cell in NOTEBOOK.cells)


def test_where_there_are_no_defaults_they_are_set_first() -> None:
    after = cm.with_parameters(cm.Notebook([FIRST, LAST]), {"x": 2})
    assert after.cells == (injected(after), FIRST, LAST)
    assert cm.with_parameters(cm.empty_notebook, {"x": 2}).cells != ()


def test_only_code_has_defaults() -> None:
    prose = cm.markdown_cell("about them", id="prose", metadata={"tags": ["parameters"]})
    after = cm.with_parameters(cm.Notebook([FIRST, prose, DEFAULTS, LAST]), {"x": 2})
    assert after.index(injected(after).id) == 3


def test_the_first_defaults_count() -> None:
    again = cm.code_cell("x = 3", id="again", metadata={"tags": ["parameters"]})
    after = cm.with_parameters(cm.Notebook([DEFAULTS, again]), {"x": 2})
    assert after.index(injected(after).id) == 1


def test_the_second_time_they_are_replaced() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2, "y": 3})
    twice = cm.with_parameters(once, {"x": 4})
    assert injected(twice).source == "# Parameters\nx = 4"
    assert injected(twice).id == injected(once).id
    assert [cell.id for cell in twice.cells] == [cell.id for cell in once.cells]


def test_they_are_replaced_where_they_are() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2})
    moved = cm.move_cell(once, injected(once).id, 0)
    assert cm.with_parameters(moved, {"x": 3}).index(injected(once).id) == 0


def test_other_parameters_forget_what_came_of_the_old_ones() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2})
    printed = {"output_type": "stream", "name": "stdout", "text": "2"}
    ran = cm.update_outputs(once, injected(once).id, [printed])
    ran = cm.update_execution_count(ran, injected(once).id, 1)
    again = injected(cm.with_parameters(ran, {"x": 3}))
    assert isinstance(again, cm.CodeCell)
    assert (list(again.outputs), again.execution_count) == ([], None)


def test_the_same_parameters_change_nothing() -> None:
    once = cm.with_parameters(NOTEBOOK, {"x": 2})
    assert cm.with_parameters(once, {"x": 2}) is once


def test_only_code_sets_them() -> None:
    prose = cm.markdown_cell("about them", id="prose", metadata={"tags": ["injected-parameters"]})
    after = cm.with_parameters(cm.Notebook([prose, DEFAULTS]), {"x": 2})
    assert [cell.id for cell in after.cells[:2]] == ["prose", "defaults"]
    assert after.cells[2].source == "# Parameters\nx = 2"


def test_no_parameters_change_nothing() -> None:
    assert cm.with_parameters(NOTEBOOK, {}) is NOTEBOOK


def test_they_come_in_the_order_in_which_they_are_given() -> None:
    assert source_of("python", z=1, a=2, m=3) == "# Parameters\nz = 1\na = 2\nm = 3"


# -- in which words ---------------------------------------------------------------------------------

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
SAID = {
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


@pytest.mark.parametrize("language", SAID)
@pytest.mark.parametrize("name", VALUES)
def test_each_language_has_its_words(language: str, name: str) -> None:
    comment = "//" if language in ("javascript", "typescript") else "#"
    said = source_of(language, **{name: VALUES[name]})
    assert said == f"{comment} Parameters\n{SAID[language][name]}"


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
def test_Python_understands_it(value: Any) -> None:
    try:
        source = source_of("python", x=value)
    except cm.InvalidNotebook:  # half a character in a key
        return
    variables: dict[str, Any] = {}
    exec(source, variables)  # noqa: S102
    assert repr(variables["x"]) == repr(value)


@given(JSON)
def test_JavaScript_understands_it_as_JSON(value: Any) -> None:
    try:
        source = source_of("javascript", x=value)
    except cm.InvalidNotebook:
        return
    assert source.count("\n") == 1
    said = source.removeprefix("// Parameters\nvar x = ").removesuffix(";")
    assert repr(json.loads(said)) == repr(value)


LANGUAGES = {
    "nothing": ({}, "x = None"),
    "its kernel": ({"kernelspec": {"name": "ir", "language": "R"}}, "x <- NULL"),
    "its language": ({"language_info": {"name": "julia"}}, "x = nothing"),
}


@pytest.mark.parametrize(("metadata", "said"), LANGUAGES.values(), ids=LANGUAGES.keys())
def test_it_is_in_the_language_that_the_notebook_says(metadata: dict[str, Any], said: str) -> None:
    notebook = cm.Notebook([FIRST], metadata)
    assert injected(cm.with_parameters(notebook, {"x": None})).source.endswith(said)


def test_another_language_goes_before_it() -> None:
    notebook = cm.set_metadata(NOTEBOOK, {"language_info": {"name": "julia"}})
    after = cm.with_parameters(notebook, {"x": None}, language="R")
    assert injected(after).source == "# Parameters\nx <- NULL"


# -- what cannot be set -----------------------------------------------------------------------------


def test_a_language_that_is_not_known_is_named_with_those_that_are() -> None:
    known = "python, r, julia, javascript, typescript"
    with pytest.raises(ec.NotSupported, match=f"in language 'cobol'; supported: {known}"):
        source_of("COBOL", x=1)


@pytest.mark.parametrize(
    "name", ["", "1x", "a b", "a-b", "a.b", "class", "None", "x = 1; y", "x\n", "import os\nx"]
)
@pytest.mark.parametrize("language", SAID)
def test_a_name_must_be_one_of_a_variable(name: str, language: str) -> None:
    with pytest.raises(ValueError, match="parameter name must be a valid variable name") as caught:
        source_of(language, **{name: 1})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1}, b"x", object(), "\ud800", {1: 2}])
def test_a_value_must_be_one_that_JSON_has_a_word_for(value: Any) -> None:
    with pytest.raises(cm.InvalidNotebook, match="parameters.x"):
        cm.with_parameters(NOTEBOOK, {"x": value})
