"""Whether a file of a bundle can be what it should be: parsed as far as its kind is known, without an engine.

    .json           an object
    .safetensors    a head that fits the file's length, and at least one byte that is not zero
    any other       not empty, no web page, no git-lfs pointer

What an engine expects of its settings and tensors, it checks itself (`check_weights`, see `bundle`).
"""

from pathlib import Path

from srcache.errors import WeightsError
from srcache.files.documents import parse_json
from srcache.files.regular import read_regular
from srcache.weights.checkpoint import kind_of, require_tensors
from srcache.weights.disguises import disguise

_CHUNK = 1 << 20


def content_problem(path: Path) -> str | None:
    """What is wrong with a file's content, or None; large files are read only as far as they begin with zeros.

    Raises:
        OSError: it cannot be read.
    """
    if kind_of(path) == ".safetensors":
        return _tensors_problem(path)
    if known := disguise(path):
        return f"{path} cannot be used: {known}"
    return _json_problem(path) if kind_of(path) == ".json" else None


def how_to_get_again(path: Path, command: str) -> str:
    """What to do about a file that is broken: a download takes what is there for complete, so it must go first."""
    real = path.resolve()
    places = f"{path} and {real}, to which it leads" if path.is_symlink() and real != path else f"{path}"
    return f"delete {places}, and run `{command}`"


def _json_problem(path: Path) -> str | None:
    try:
        found = parse_json(read_regular(path))
    except ValueError as error:
        return f"{path} cannot be read as JSON ({error}); it is cut short, or another file"
    return None if isinstance(found, dict) else f"expected a JSON object in {path}, but got a {type(found).__name__}"


def _tensors_problem(path: Path) -> str | None:
    try:
        require_tensors(path)
    except WeightsError as error:
        return str(error)
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while chunk := file.read(_CHUNK):
            if chunk.strip(b"\0"):
                return None
    return f"all numbers in {path} are zero, as an interrupted download leaves them"
