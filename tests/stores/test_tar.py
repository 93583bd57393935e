"""Members of tar files: Python's `tarfile` reads what is written; what is hostile, damaged or cut off is refused."""

import io
import tarfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from srcache.errors import DamagedError
from srcache.stores import tar

SIZES = (0, 1, 511, 512, 513, 1024, 70_001)
NAMES = st.from_regex(r"[0-9a-z][0-9a-z._-]{0,99}", fullmatch=True)
PLAIN = "0123456789abcdef0123456789abcdef-000.png"
OTHERS = {
    "hard link": (tarfile.LNKTYPE, "a hard link"),
    "symbolic link": (tarfile.SYMTYPE, "a symbolic link"),
    "character device": (tarfile.CHRTYPE, "a character device"),
    "block device": (tarfile.BLKTYPE, "a block device"),
    "pipe": (tarfile.FIFOTYPE, "a pipe"),
    "contiguous file": (tarfile.CONTTYPE, "b'7'"),
    "sparse file": (tarfile.GNUTYPE_SPARSE, "a sparse file"),
    "Solaris header": (tarfile.SOLARIS_XHDTYPE, "b'X'"),
    "name of a volume": (b"V", "b'V'"),
    "folder of GNU tar": (b"D", "b'D'"),
}
BAD_NAMES = [
    "..",
    "../up",
    "/etc/passwd",
    "a/b",
    "./a",
    ".hidden",
    "-rf",
    "_a",
    "A",
    "a b",
    "a\n",
    "a\0b",
    "a\\b",
    "ä",
    "",
]


def _reader(data: bytes) -> tar.Read:
    return lambda amount, offset: data[offset : offset + amount]


def _members(data: bytes, start: int = 0) -> list[tar.Member]:
    return list(tar.members(_reader(data), len(data), "x.tar", start))


def _fields(block: bytes, **fields: tuple[int, bytes]) -> bytes:
    """A header with other bytes at some places, and a checksum that holds."""
    changed = bytearray(block)
    for place, data in fields.values():
        changed[place : place + len(data)] = data
    return _summed(changed)


def _summed(block: bytes | bytearray) -> bytes:
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _made(info: tarfile.TarInfo, form: int = tarfile.USTAR_FORMAT, payload: bytes = b"", **options) -> bytes:
    """A tar file of one member, by tarfile."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form, **options) as made:
        info.size = len(payload)
        made.addfile(info, io.BytesIO(payload))
    return file.getvalue()


@given(
    st.dictionaries(NAMES, st.sampled_from(SIZES) | st.integers(0, 3000), max_size=6), st.randoms(use_true_random=False)
)
def test_tarfile_reads_what_is_packed(sizes, rng):
    expected = {name: rng.randbytes(size) for name, size in sizes.items()}
    data = b"".join(tar.packed(name, payload) for name, payload in expected.items())
    with tarfile.open(fileobj=io.BytesIO(data + tar.END), mode="r:") as opened:
        found = opened.getmembers()
        assert {info.name: opened.extractfile(info).read() for info in found} == expected
        assert [info.name for info in found] == list(expected)
        assert {(info.type, info.mode, info.mtime, info.uid, info.gid, info.uname) for info in found} <= {
            (tarfile.REGTYPE, 0o644, 0, 0, 0, "")
        }
    assert [(one.name, one.offset, one.start, one.size) for one in _members(data + tar.END)] == [
        (info.name, info.offset, info.offset_data, info.size) for info in found
    ]
    assert _members(data) == _members(data + tar.END), "a file that is being written has no end yet"


@pytest.mark.parametrize("size", SIZES)
def test_a_member_fills_whole_blocks_with_zeros(size):
    data = tar.packed(PLAIN, b"\xff" * size)
    (member,) = _members(data)
    assert member == tar.Member(PLAIN, 0, size)
    assert member.end == len(data) == 512 + tar.padded(size)
    assert len(data) % 512 == 0
    assert len(data) - size - 512 < 512
    assert data[member.start :] == b"\xff" * size + bytes(len(data) - 512 - size)


@given(NAMES, st.integers(0, 8**11 - 1))
@example("a" * 100, 8**11 - 1)
def test_a_header_is_read_as_it_was_written_here_and_by_tarfile(name, size):
    block = tar.header(name, size)
    assert tar.parse(block, 5, "x.tar") == tar.Member(name, 5, size)
    info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    assert (info.name, info.size, info.isreg()) == (name, size, True)
    assert info.chksum == int(block[148:154], 8)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", SIZES)
def test_plain_members_by_tarfile_are_read(form, size):
    data = _made(tarfile.TarInfo(PLAIN), form, b"p" * size)
    (member,) = _members(data)
    assert member == tar.Member(PLAIN, 0, size)
    assert data[member.start :][:size] == b"p" * size


def test_members_are_read_from_a_place_on_and_up_to_the_zeros():
    first, second = tar.packed("a", b"1"), tar.packed("b", b"22")
    assert [one.name for one in _members(first + second, len(first))] == ["b"]
    assert [one.name for one in _members(first + bytes(512) + second)] == ["a"], "nothing counts behind zeros"
    assert _members(tar.END) == _members(b"") == _members(bytes(100)) == []


def test_a_reader_gives_fewer_bytes_at_the_end_of_a_file(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar.packed("a", b"1") + b"more")
    with (tmp_path / "x.tar").open("rb") as file:
        read = tar.reader(file.fileno())
        assert (read(1, 512), read(10, 1024), read(10, 5000)) == (b"1", b"more", b"")
        assert [one.name for one in tar.members(read, 1028, "x.tar")] == ["a"]
        assert file.tell() == 0


@pytest.mark.parametrize("name", [*BAD_NAMES, "a" * 101, "é.png"])
def test_no_header_is_written_for_a_name_that_is_not_plain(name):
    with pytest.raises(ValueError, match="a member of a shard has a short, plain name"):
        tar.header(name, 1)


@pytest.mark.parametrize("size", [-1, 8**11])
def test_no_header_is_written_for_a_size_that_does_not_fit(size):
    with pytest.raises(ValueError, match="less than 8 GiB"):
        tar.header("a", size)


@pytest.mark.parametrize(("kind", "words"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_regular_file_is_refused(kind, words):
    info = tarfile.TarInfo(PLAIN)
    info.type, info.linkname = kind, "../../etc/passwd"
    made = [_fields(tar.header(PLAIN, 0), kind=(156, kind)) + tar.END]
    if kind not in (b"V", b"D"):
        made += [_made(info), _made(info, tarfile.GNU_FORMAT)]
    for data in made:
        with pytest.raises(DamagedError) as caught:
            _members(data)
        assert str(caught.value) == f"x.tar at byte 0: a shard holds regular files, but this is {words}"


def test_a_folder_is_refused_also_by_an_old_kind_and_a_slash():
    info = tarfile.TarInfo("folder")
    info.type = tarfile.DIRTYPE
    with pytest.raises(DamagedError, match="but this is a folder"):
        _members(_made(info))
    old = _fields(tar.header("folder", 0), name=(0, b"folder/"), kind=(156, b"\0"))
    assert tarfile.TarInfo.frombuf(old, "utf-8", "strict").isdir()
    with pytest.raises(DamagedError, match="short, plain names, but this is 'folder/'"):
        _members(old)


@pytest.mark.parametrize(
    ("form", "name", "link", "words"),
    [
        (tarfile.GNU_FORMAT, "a" * 101, "", "a long name"),
        (tarfile.GNU_FORMAT, "a", "b" * 101, "a long link"),
        (tarfile.PAX_FORMAT, "a" * 101, "", "an extended header"),
        (tarfile.PAX_FORMAT, "é", "", "an extended header"),
    ],
)
def test_headers_that_change_the_next_member_are_refused(form, name, link, words):
    info = tarfile.TarInfo(name)
    info.linkname = link
    with pytest.raises(DamagedError, match=f"regular files, but this is {words}"):
        _members(_made(info, form))


def test_extended_headers_of_a_plain_member_are_refused():
    with pytest.raises(DamagedError, match="but this is a global header"):
        _members(_made(tarfile.TarInfo("a"), tarfile.PAX_FORMAT, pax_headers={"size": "1"}))
    info = tarfile.TarInfo("a")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "path": "../b"}
    with pytest.raises(DamagedError, match="but this is an extended header"):
        _members(tar.packed("b", b"") + _made(info, tarfile.PAX_FORMAT))


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_not_plain_are_refused(name):
    block = _fields(tar.header("x", 0), name=(0, name.encode("latin-1").ljust(100, b"\0")))
    with pytest.raises(DamagedError, match="short, plain names"):
        tar.parse(block, 0, "x.tar")


def test_a_name_in_two_pieces_is_refused():
    info = tarfile.TarInfo("folder/" * 10 + "a" * 60)
    data = _made(info)
    assert data[345:500].strip(b"\0")
    with pytest.raises(DamagedError, match="short, plain names"):
        _members(data)
    with pytest.raises(DamagedError, match="short, plain names"):
        _members(_fields(tar.header("a", 0), prefix=(345, b"..")))


@pytest.mark.parametrize(
    "size",
    [b"\x80" + bytes(10) + b"\x07", b"\xff" * 12, b"-0000000001\0", b"0000000000x\0", bytes(12), b"1\0 1".ljust(12)],
)
def test_sizes_that_are_no_octal_numbers_are_refused(size):
    with pytest.raises(DamagedError, match=r"x\.tar at byte 0: the size of a is no octal number"):
        _members(_fields(tar.header("a", 7), size=(124, size)) + bytes(512))


def test_a_size_beyond_the_file_is_refused():
    for size in (513, 8**11 - 1):
        with pytest.raises(DamagedError, match=f"x.tar is cut off: a should reach to byte .*, but it has {1024}"):
            _members(tar.header("a", size) + bytes(512))
    largest = _fields(tar.header("a", 0), size=(124, b"7" * 12))
    with pytest.raises(DamagedError, match="is cut off"):
        _members(largest)


def test_a_file_that_is_cut_off_gives_the_members_before():
    data = tar.packed("a", b"1" * 700) + tar.packed("b", b"") + tar.packed("c", b"3" * 512) + tar.END
    whole = _members(data)
    for size in range(0, len(data), 64):
        expected = [one for one in whole if one.end <= size]
        cut, found = data[:size], []
        following = next((one for one in whole if one.end > size), None)
        begun = following is not None and following.start <= size
        try:
            for member in tar.members(_reader(cut), size, "x.tar"):
                found.append(member)
            refused = False
        except DamagedError:
            refused = True
        assert (found, refused) == (expected, begun)


def test_a_file_that_shrinks_meanwhile_is_refused_or_ends():
    data = tar.packed("a", b"1") + tar.packed("b", b"2")
    with pytest.raises(DamagedError, match="expected the header of a tar member"):
        list(tar.members(_reader(data[:1100]), len(data), "x.tar"))
    assert len(list(tar.members(_reader(data[:1024]), len(data), "x.tar"))) == 1


@pytest.mark.parametrize("checksum", [b"0000000\0", b"        ", b"\xff" * 8, b"-000001\0", b"0x00010\0"])
def test_a_wrong_checksum_is_refused(checksum):
    block = tar.header(PLAIN, 9)
    with pytest.raises(DamagedError, match=r"x\.tar at byte 1024: the checksum of a tar header does not hold"):
        tar.parse(block[:148] + checksum + block[156:], 1024, "x.tar")


def test_every_flipped_bit_of_a_header_is_refused_or_changes_nothing():
    block, accepted = tar.header(PLAIN, 1234), set[int]()
    for place in range(512):
        for bit in range(8):
            changed = bytearray(block)
            changed[place] ^= 1 << bit
            try:
                assert tar.parse(bytes(changed), 0, "x.tar") == tar.Member(PLAIN, 0, 1234)
                accepted.add(place)
            except DamagedError:
                pass
    assert accepted <= set(range(262, 265)) | set(range(148, 156)), "only how the checksum's number is written"


@pytest.mark.parametrize("data", [b"\x89PNG" + bytes(508), b"ustar" * 102 + b"..", b"\xff" * 512])
def test_what_is_no_header_is_refused(data):
    with pytest.raises(DamagedError, match=r"x\.tar at byte 0: expected the header of a tar member, but got something"):
        _members(data)


def test_the_header_of_an_archive_without_ustar_is_refused():
    with pytest.raises(DamagedError, match="expected the header"):
        tar.parse(_fields(tar.header("a", 0), magic=(257, bytes(8))), 0, "x.tar")


EDITS = st.tuples(
    st.sampled_from([0, 1, 30, 99, 100, 124, 130, 135, 156, 157, 257, 263, 265, 329, 345, 400, 500, 511]),
    st.sampled_from([b"\0", b"/", b"..", b"../", b"7", b"1", b" ", b"\x80", b"\xff", b"S", b"x", b"ustar  \0", b"\n"]),
)


@settings(max_examples=400)
@given(st.lists(EDITS, max_size=4))
def test_a_header_with_a_good_checksum_is_refused_or_is_what_tarfile_reads(edits):
    block = _fields(tar.header(PLAIN, 8**5), **{str(number): edit for number, edit in enumerate(edits)})[:512]
    try:
        member = tar.parse(block, 0, "x.tar")
        info = tarfile.TarInfo.frombuf(block, "latin-1", "strict")
    except (DamagedError, tarfile.HeaderError):
        return
    assert member == tar.Member(info.name, 0, info.size)
    assert info.isreg()
    assert not info.issparse()
    assert "/" not in info.name


@given(st.binary(max_size=2000), st.integers(0, 1))
def test_any_bytes_at_all_are_members_or_refused(noise, whole):
    data = tar.packed("a", b"1") * whole + noise
    try:
        found = _members(data)
    except DamagedError:
        return
    assert len(found) >= whole
