"""The list of packs agrees with what `resolve_assets` takes, whatever is on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import AssetError
from simulation.assets import resolve as assets
from simulation.assets.embedded import write_embedded_pack
from simulation.assets.packs import chosen_place, list_places
from simulation.assets.resolve import ASSETS_VARIABLE, resolve_assets


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without caches, published assets or settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(ASSETS_VARIABLE, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(assets, "UPSTREAM_DOWNLOAD", tmp_path / "upstream")
    monkeypatch.setattr(assets, "PACKAGE", "no_such_package")


def different_pack(folder: Path) -> Path:
    """A whole pack that is not the embedded one."""
    write_embedded_pack(folder)
    (folder / "README.md").write_text(f"other assets, {folder.name}")
    return folder


def check_agreement(path: Path | None = None) -> str:
    """Check the choice against `resolve_assets` and return the source that was chosen."""
    chosen = chosen_place(list_places(path))
    assert chosen.pack is not None and chosen.pack.path == resolve_assets(path).path
    assert chosen.pack.digest == resolve_assets(path).digest
    return chosen.source


def test_the_choice_is_that_of_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_agreement() == "embedded"
    repository = tmp_path / "hub" / "datasets--lerobot--libero-assets"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd" * 5)
    different_pack(repository / "snapshots" / ("0123abcd" * 5))
    assert check_agreement() == "hub's cache (lerobot/libero-assets)"
    different_pack(tmp_path / "upstream")
    assert check_agreement() == "hf-libero's download"
    monkeypatch.setenv(ASSETS_VARIABLE, str(different_pack(tmp_path / "variable")))
    assert check_agreement() == f"${ASSETS_VARIABLE}"
    assert check_agreement(different_pack(tmp_path / "argument")) == "given"
    states = [place.state for place in list_places(tmp_path / "argument")]
    expected = ["whole", "whole", "not there", "whole", "whole", "not there", "not there", "whole"]
    assert states == expected


def test_an_incomplete_pack_is_listed_and_passed_over(tmp_path: Path) -> None:
    different_pack(tmp_path / "upstream")
    (tmp_path / "upstream/articulated_objects/microwave.xml").unlink()
    places = list_places()
    assert chosen_place(places).source == "embedded"
    (state,) = [x.state for x in places if x.source == "hf-libero's download"]
    assert "lacks articulated_objects/microwave.xml" in state
    with pytest.warns(UserWarning, match="lack"):
        assert resolve_assets().path == chosen_place(places).folder


def test_a_folder_that_is_asked_for_is_never_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path / "nowhere"))
    chosen = chosen_place(list_places())
    assert (chosen.source, chosen.state) == (f"${ASSETS_VARIABLE}", "not there")
    with pytest.raises(AssetError, match="is not there"):
        resolve_assets()


def test_installed_assets_that_are_damaged_decide(tmp_path: Path) -> None:
    write_embedded_pack(assets.installed_folder())
    chosen = chosen_place(list_places())
    assert (chosen.source, chosen.pack) == ("installed", None)
    assert "`dlr assets install` mends" in chosen.state
    with pytest.raises(AssetError, match="`dlr assets install` mends"):
        resolve_assets()
