"""Writes `turned.heic`, by hand but for the HEVC picture in it, which is ffmpeg's (with libx265).

    python tests/golden/heic/write.py tests/golden/heic/turned.heic

The picture has 24 columns and 16 rows: red on the left, green above blue on the right. The file says that it is turned
by 90° against the clock, so it is seen with 16 columns and 24 rows: green and blue above red. Its EXIF data says that
it is turned as well, as telephones write it; that must not turn it once more.
"""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 24, 16


def box(kind: bytes, *parts: bytes, version: int | None = None, flags: int = 0) -> bytes:
    head = b"" if version is None else struct.pack(">I", version << 24 | flags)
    body = head + b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def hevc() -> list[bytes]:
    """The units of one picture: parameter sets and a slice."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:, :12], rgb[:8, 12:], rgb[8:, 12:] = (200, 30, 40), (20, 210, 60), (30, 50, 220)
    command = f"ffmpeg -v error -f rawvideo -pix_fmt rgb24 -s {WIDTH}x{HEIGHT} -i - -frames:v 1 -pix_fmt yuv420p"
    tuned = "-c:v libx265 -x265-params crf=4:keyint=1:info=0:repeat-headers=1:log-level=0 -f hevc -"
    stream = subprocess.run([*command.split(), *tuned.split()], input=rgb.tobytes(), capture_output=True, check=True)
    return [unit.rstrip(b"\0") for unit in stream.stdout.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]


def main(path: Path) -> None:
    units = hevc()
    kinds = [unit[0] >> 1 & 63 for unit in units]
    sets = [(kind, unit) for kind, unit in zip(kinds, units, strict=True) if kind in (32, 33, 34)]
    slices = [unit for kind, unit in zip(kinds, units, strict=True) if kind < 32]
    levels = sets[1][1][3:15].replace(b"\0\0\3", b"\0\0")  # general profile, tier and level of the sequence's set
    config = b"\1" + levels[:12].ljust(12, b"\0") + b"\xf0\0\xfc\xfd\xf8\xf8\0\0\x0f" + bytes([len(sets)])
    for kind, unit in sets:
        config += bytes([0x80 | kind]) + struct.pack(">HH", 1, len(unit)) + unit
    picture = b"".join(struct.pack(">I", len(unit)) + unit for unit in slices)
    exif = b"\0\0\0\6Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    properties = box(
        b"ipco",
        box(b"hvcC", config),
        box(b"ispe", struct.pack(">II", WIDTH, HEIGHT), version=0),
        box(b"irot", b"\1"),
        box(b"pixi", b"\3\x08\x08\x08", version=0),
    )
    used = box(b"ipma", struct.pack(">IHB", 1, 1, 4), bytes([0x81, 2, 0x83, 4]), version=0)
    infos = [
        box(b"infe", struct.pack(">HH", 1, 0), b"hvc1\0", version=2),
        box(b"infe", struct.pack(">HH", 2, 0), b"Exif\0", version=2),
    ]

    def head(first: int) -> bytes:
        places = [(1, first, len(picture)), (2, first + len(picture), len(exif))]
        located = b"".join(struct.pack(">HHHII", item, 0, 1, start, size) for item, start, size in places)
        return box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(
            b"meta",
            box(b"hdlr", b"\0\0\0\0pict" + bytes(13), version=0),
            box(b"pitm", struct.pack(">H", 1), version=0),
            box(b"iinf", struct.pack(">H", 2), *infos, version=0),
            box(b"iref", box(b"cdsc", struct.pack(">HHH", 2, 1, 1)), version=0),
            box(b"iprp", properties, used),
            box(b"iloc", b"\x44\0", struct.pack(">H", 2), located, version=0),
            version=0,
        )

    path.write_bytes(head(len(head(0)) + 8) + box(b"mdat", picture, exif))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
