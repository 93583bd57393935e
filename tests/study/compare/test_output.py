"""The files of a comparison: safe names, images in dispute for people, and the seeds in the document."""

import csv
import io
import json

import numpy as np
import pytest
from made_predictions import answers, arms_of, pair_of

from srcache.study.compare.output import plain, write_comparison
from srcache.study.compare.seeds import compare_seeds, join_seeds

pytest.importorskip("sklearn")
pytest.importorskip("statsmodels")


@pytest.mark.medium
def test_all_files_are_written_with_safe_names(tmp_path):
    names = ["../LR", "<script>", "größe", "lr", "LR", "..", "x" * 200]
    rights = [np.random.default_rng(seed).random(20) < 0.6 for seed in range(len(names))]
    arms = {name: [answers(right.tolist(), ("<b>", 'a,\n"b'))] for name, right in zip(names, rights, strict=True)}
    joined = join_seeds(arms)
    files = write_comparison(tmp_path / "out", compare_seeds(joined), joined[0])
    assert len(set(files)) == 1 + 7 + 21
    assert {path.name.casefold() for path in files} == {path.name.casefold() for path in (tmp_path / "out").iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len({path.name.casefold() for path in files}) == len(files)
    document = json.loads((tmp_path / "out/compare.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in document["classifiers"]] == names


@pytest.mark.medium
def test_the_discordant_images_are_listed_for_people(tmp_path):
    joined = join_seeds({name: [one] for name, one in pair_of(2, 1, 1, 1).items()})
    write_comparison(tmp_path, compare_seeds(joined), joined[0])
    rows = list(csv.reader(io.StringIO((tmp_path / "discordant-A-B.csv").read_text())))
    assert rows == [
        ["name", "label", "right", "prediction A", "prediction B"],
        ["n0001", "a", "A", "a", "b"],
        ["n0002", "b", "A", "b", "a"],
        ["n0003", "a", "B", "b", "a"],
    ]


@pytest.mark.medium
def test_the_document_in_the_folder_holds_the_seeds(tmp_path):
    joined = join_seeds(arms_of(2))
    found = compare_seeds(joined)
    write_comparison(tmp_path, found, joined[0])
    document = json.loads((tmp_path / "compare.json").read_text())
    assert document == json.loads(json.dumps(plain(found)))
    assert list(document["seeds"]) == ["seeds", "draws", "seed", "arms", "pairs", "verdicts", "verdict"]
