"""Successive states are saved without serializing unchanged cells again."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import commutable as cm
from commutable._format import IncrementalWriter, to_bytes, writing

TEXTS = st.text(st.sampled_from('ab "\\\n\r\u2028é𝄞\ud800{}[],:'), max_size=12)
CELLS = st.one_of(
    st.builds(cm.code_cell, TEXTS, execution_count=st.none() | st.integers(0, 9)),
    st.builds(cm.markdown_cell, TEXTS),
    st.builds(
        lambda text: cm.code_cell(outputs=[{"output_type": "stream", "name": "x", "text": text}]),
        TEXTS.filter(lambda text: "\ud800" not in text),
    ),
)
NOTEBOOKS = st.lists(CELLS, max_size=5).map(cm.Notebook)


@given(st.lists(NOTEBOOKS, min_size=1, max_size=4))
def test_incremental_writer_equals_nbformat(states: list[cm.Notebook]) -> None:
    writer = IncrementalWriter()
    for state in states:
        assert writer.to_bytes(state, validate=True) == to_bytes(state)


@pytest.mark.parametrize("minor", [5, 99])
def test_incremental_writer_handles_cells_in_text(minor: int) -> None:
    cells: list[cm.Cell] = [
        cm.code_cell("a\nb", metadata={"cells": []}),
        cm.markdown_cell('"cells": []'),
    ]
    notebook = cm.Notebook(cells, {"a": '"cells": []', "é": [1, {}]}, nbformat_minor=minor)
    writer = IncrementalWriter()
    for state in (notebook, cm.append_cell(notebook, cm.raw_cell("x")), cm.empty_notebook):
        assert writer.to_bytes(state, validate=True) == to_bytes(state)


def test_incremental_writer_keeps_extra_fields() -> None:
    notebook = cm.Notebook([cm.code_cell("a")], nbformat_minor=99, extra={"aa": 1, "zz": 2})
    assert IncrementalWriter().to_bytes(notebook, validate=True) == to_bytes(notebook)


def test_saver_serializes_changed_cells_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serialized: list[str] = []

    def counted(cell: cm.Cell, minor: int, *, validate: bool) -> str:
        serialized.append(cell.source)
        return original(cell, minor, validate=validate)

    original = writing.cell_to_text
    monkeypatch.setattr(writing, "cell_to_text", counted)
    saver = cm.Saver(tmp_path / "a.ipynb")
    notebook = cm.Notebook([cm.code_cell(str(number)) for number in range(5)])
    saver.save(notebook)
    serialized.clear()
    changed = cm.update_source(notebook, notebook.cells[3].id, "new")
    saver.save(changed)
    assert serialized == ["new"]
    assert cm.load(saver.path) == changed


def test_saver_detects_changed_cell_with_same_id(tmp_path: Path) -> None:
    cell = cm.code_cell("old")
    saver = cm.Saver(tmp_path / "a.ipynb")
    for source in ("old", "new", "old"):
        state = cm.Notebook([replace(cell, source=source)])
        saver.save(state)
        assert cm.load(saver.path) == state


def test_saver_rejects_invalid_notebook(tmp_path: Path) -> None:
    saver = cm.Saver(tmp_path / "a.ipynb")
    with pytest.raises(cm.InvalidNotebook, match="tags"):
        saver.save(cm.Notebook([cm.code_cell(metadata={"tags": 5})]))
    assert list(tmp_path.iterdir()) == []
    saver = cm.Saver(tmp_path / "a.ipynb", validate=False)
    saver.save(cm.Notebook([cm.code_cell(metadata={"tags": 5})]))
    assert cm.load(saver.path, validate=False).cells[0].metadata == {"tags": 5}
