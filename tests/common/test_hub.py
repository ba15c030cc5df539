from __future__ import annotations

import pytest

from common.hub import why_no_folder


@pytest.mark.parametrize(
    "name", ["./pi0", "../pi0", "~/pi0", "/tmp/no/such", "runs/pi0/final", "here/pi0", "a/b/c/"]
)
def test_a_mistyped_path_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert why_no_folder(name) == f"there is no folder {name}: check the path"


@pytest.mark.parametrize("name", ["lerobot/pi0_base", "gpt2", "here/pi0", "here"])
def test_a_folder_and_a_repositorys_name_are_let_through(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "pi0").mkdir(parents=True)
    assert why_no_folder(name) is None


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "model.safetensors"
    file.touch()
    assert why_no_folder(str(file)) == f"{file} is a file: give the folder that it lies in"
