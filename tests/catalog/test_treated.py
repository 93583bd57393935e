"""What was done to images, in one line and as JSON: only what occurred."""

from pathlib import Path

from color_files import half_clear, profiled, spectrum

from srcache.catalog import scan
from srcache.catalog.treated import by_headers, treatment
from srcache.images import Colors


def write(folder: Path, **files: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)


def test_nothing_is_said_where_nothing_occurred(tmp_path: Path) -> None:
    spectrum().save(tmp_path / "a.png")
    found = treatment(scan(tmp_path), {})
    assert (str(found), found.plain(), found.warnings) == ("", {}, [])


def test_passed_over_files_are_told_by_suffix_and_classes_without_images_are_warned_about(tmp_path: Path) -> None:
    write(tmp_path / "cat", a_PSD=b"1", b_psd=b"2", notes=b"3")
    write(tmp_path / "dog", a_png=profiled("PNG"), b_png=profiled("PNG"), c_txt=b"")
    write(tmp_path / "owl")
    found = treatment(scan(tmp_path), {"alpha": 3, "even": 1}, Colors(background="black"))
    assert found.plain() == {
        "passed_over": {".psd": 2, "": 1, ".txt": 1},
        "empty_classes": {"cat": {".psd": 2, "": 1}},
        "duplicates": 1,
        "alpha": 3,
        "even": 1,
    }
    assert str(found) == (
        "images: 4 files passed over (.psd 2, no suffix 1, .txt 1); 1 duplicate; 3 laid over black for transparency; "
        "1 of these became one even colour"
    )
    (warning,) = found.warnings
    assert warning.startswith("class cat has no image: all files of its folder were passed over (.psd 2, no suffix 1)")


def test_headers_tell_what_decoding_will_take(tmp_path: Path) -> None:
    write(tmp_path / "in", a_jpg=profiled("JPEG"), bad_png=b"no image")
    half_clear().save(tmp_path / "in/b.png")
    found = by_headers([scan(tmp_path / "in")])
    assert found.plain() == {"alpha": 1, "profile_ignored": 1}
    assert by_headers([scan(tmp_path / "in")], Colors(profile="srgb")).plain() == {
        "alpha": 1,
        "profile_applied": 1,
        "profile_missing": 1,
    }
