"""An experiment's folders, listed and counted; all that is wrong with them."""

from collections import Counter
from pathlib import Path

import pytest

from srcache.errors import CatalogError, Mistakes
from srcache.study.experiment.config import DataChoice
from srcache.study.experiment.sources import count_images, list_source, named_folders, note_mistakes

RATIOS = (0.6, 0.2, 0.2)


def _folder(home: Path, counts: dict[str, int]) -> str:
    for label, count in counts.items():
        (home / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (home / label / f"{number}.png").touch()
    return str(home)


def _choice(**folders: str) -> DataChoice:
    return DataChoice(kind="folders", ratios=RATIOS, **folders)


def _mistakes(choice: DataChoice) -> list[str]:
    found = Mistakes()
    note_mistakes(choice, found)
    return found.found


def test_one_folder_is_divided_by_the_ratios_and_the_limit(tmp_path: Path) -> None:
    choice = _choice(hr=_folder(tmp_path / "a", {"cat": 10, "dog": 5}))
    sources = {name: list_source(Path(path)) for name, path in named_folders(choice).items()}
    assert count_images(choice, sources) == {
        "train": Counter(cat=6, dog=3),
        "validation": Counter(cat=2, dog=1),
        "test": Counter(cat=2, dog=1),
    }
    few = DataChoice(kind="folders", ratios=RATIOS, hr=choice.hr, limit=2)
    assert count_images(few, sources)["train"] == Counter(cat=2, dog=2)
    assert _mistakes(choice) == []


def test_three_folders_are_what_they_are(tmp_path: Path) -> None:
    parts = {name: _folder(tmp_path / name, {"cat": 2, "dog": 1}) for name in ("train", "validation", "test")}
    assert _mistakes(_choice(**parts)) == []
    (tmp_path / "test/dog/0.png").unlink()
    assert _mistakes(_choice(**parts)) == ["data: class dog has 2 images, so none for test"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 9}, "data: an experiment needs two classes at least, but there is only cat"),
        ({"cat": 9, "dog": 2}, "data: class dog has 2 images, so none for "),
        ({"cat": 0, "dog": 0}, "data.hr: there is no image below "),
        ({".": 3}, "data.hr: an experiment needs a folder for each class, but "),
    ],
)
def test_what_is_wrong_with_a_folder(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    (mistake,) = _mistakes(_choice(hr=_folder(tmp_path / "a", counts)))
    assert mistake.startswith(message)


def test_all_folders_that_are_none_are_noted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    parts = {"train": str(tmp_path / "no"), "validation": str(tmp_path / "file"), "test": str(tmp_path)}
    found = _mistakes(_choice(**parts))
    assert [line.partition(":")[0] for line in found] == ["data.train", "data.validation", "data.test"]
    assert "does not exist" in found[0]
    assert "is another kind of file" in found[1]


def test_a_csv_file_is_a_source_too(tmp_path: Path) -> None:
    _folder(tmp_path, {"cat": 1})
    (tmp_path / "all.csv").write_text("path,label\ncat/0.png,x\n")
    assert [file.label for file in list_source(tmp_path / "all.csv").files] == ["x"]
    with pytest.raises(CatalogError, match="does not exist"):
        list_source(tmp_path / "none.csv")
