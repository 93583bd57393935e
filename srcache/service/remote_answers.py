"""What a service answered, taken as it comes from a network: bounded, compared with what was asked for, and decoded.

Nothing of an answer is believed. Its bytes are counted as they come and cut off; its headers must name the image that
was asked for; its format must be one that the recipe is stored in; and its header must say the size that the recipe
gives, before anything is decoded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srcache.errors import ConfigError, ImageError, ServiceError, SrcacheError, UnavailableError
from srcache.files.documents import parse_json
from srcache.images import LOSSLESS, decode, image_sides, parse_codec, recode, suffix_of
from srcache.keys import ImageKey, image_key, is_key, split_name
from srcache.recipe.recipe import Recipe
from srcache.service import protocol
from srcache.service.protocol import Prefetched
from srcache.service.remote_tries import retry_after
from srcache.service.requests import Request
from srcache.stores import Entry, with_checksums

if TYPE_CHECKING:
    from httpx import Response

MOST_DOCUMENT = 4 << 20
"""Bytes of a JSON document that are read."""

_MOST_ERROR = 1 << 16
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Status codes of failures that may pass."""

_OF_THE_IMAGE = {413: "too_large", 415: "unsupported", 422: "refused"}
"""Status codes of failures that are one image's own, and their reasons where none is given."""

_IS_IT = "; is this the address of a service that `srcache serve` started?"

_SUFFIXES = {"jpeg": ".jpg"}

_ANY = 1 << 30


class Passing(Exception):  # noqa: N818 - never leaves this package
    """A try failed in a way that may pass.

    Attributes:
        asked: seconds that the service asks to wait, if it does; it is there then, and only busy.
        most: tries after which it is taken to stay.
        final: the error that it then is.
    """

    def __init__(
        self,
        words: str,
        *,
        asked: float | None = None,
        most: int = _ANY,
        final: type[SrcacheError] = UnavailableError,
    ) -> None:
        super().__init__(words)
        self.asked, self.most, self.final = asked, most, final


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An SR image that a service is asked for: which one, and how large the answer may be in bytes.

    `by_pixels`: the image that is sent stands for one in memory; a service that knows which file it is of may answer
    with that file's.
    """

    key: str
    sample: int
    fingerprint: str
    most: int
    by_pixels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the source image's key, the bytes, the record that came with them, and whether it was stored."""

    key: ImageKey
    payload: bytes
    record: Mapping[str, Any] | None
    is_hit: bool


def wanted_of(request: Request, fingerprint: str, by_pixels: bool = False) -> Wanted:
    """What to ask for, where a request says which image it is and what size it has."""
    height, width = request.size
    key, sample = split_name(request.name)
    most = 4 * height * width + height + (1 << 16)
    return Wanted(key=key, sample=sample, fingerprint=fingerprint, most=most, by_pixels=by_pixels)


async def read_bounded(response: "Response", most: int) -> bytes:
    """The body of an answer.

    Raises:
        ServiceError: it is larger, or encoded.
    """
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise ServiceError(f"expected bytes as they are, but the answer is encoded ({_shown(encoding, 40)})")
    said = response.headers.get("content-length", "")
    body, is_over = bytearray(), said.isdecimal() and int(said[:20]) > most
    if not is_over:
        async for piece in response.aiter_raw():
            body += piece
            if is_over := len(body) > most:
                break
    if is_over:
        raise ServiceError(f"the answer has more than {most} bytes, which is more than what was asked for can have")
    return bytes(body)


async def read_answer(response: "Response", wanted: Wanted) -> Answer:
    """The image in an answer of status 200, if it is the one that was asked for.

    Raises:
        ServiceError: it is another one, or none.
        Passing: its bytes are not those that were sent.
    """
    _require_headers(response.headers, wanted)
    payload = await read_bounded(response, wanted.most)
    checksum, found = response.headers[protocol.CHECKSUM_HEADER], protocol.checksum_of(payload)
    if checksum != found:
        words = f"the answer's checksum is {_shown(checksum, 40)}, but its bytes have {found}"
        raise Passing(words, most=3, final=ServiceError)
    packed = response.headers.get(protocol.RECORD_HEADER)
    try:
        record = None if packed is None else protocol.unpack_record(packed)
    except ValueError as error:
        raise ServiceError(f"the record that came with the image cannot be read ({_shown(error)})") from error
    key, is_hit = response.headers[protocol.KEY_HEADER], response.headers.get(protocol.CACHE_HEADER) == protocol.HIT
    if key != wanted.key and record is None:
        raise ServiceError(f"the answer is an image of {key}, not of {wanted.key}, and no record says why")
    return Answer(key=ImageKey(key), payload=payload, record=record, is_hit=is_hit)


def _require_headers(headers: Mapping[str, str], wanted: Wanted) -> None:
    """Compare what an answer says about itself with what was asked for, all of it at once."""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in protocol.MEDIA_TYPES.values():
        raise ServiceError(f"expected an image, but the answer is {_shown(media, 40) or 'of no type'}{_IS_IT}")
    key = headers.get(protocol.KEY_HEADER, "")
    asked = {
        protocol.KEY_HEADER: key if wanted.by_pixels and is_key(key) else wanted.key,
        protocol.SAMPLE_HEADER: str(wanted.sample),
        protocol.FINGERPRINT_HEADER: wanted.fingerprint,
    }
    wrong = [
        f"{name} is {_shown(headers.get(name, 'not there'), 40)}, not {value}"
        for name, value in asked.items()
        if headers.get(name) != value
    ]
    if protocol.CHECKSUM_HEADER not in headers:
        wrong.append(f"{protocol.CHECKSUM_HEADER} is not there")
    if wrong:
        raise ServiceError(f"the answer is not the image that was asked for: {'; '.join(wrong)}")


async def refuse(response: "Response") -> None:
    """Raise what a status that is no success means.

    Raises:
        Passing: it may pass.
        ImageError: it is about this image alone.
        ConfigError: the recipe has no such sample.
        ServiceError: it is about anything else.
    """
    status = response.status_code
    if 300 <= status < 400:
        place = _shown(response.headers.get("location", "nowhere"), 200)
        raise ServiceError(f"it redirects to {place}, which is not followed; give the address that answers itself")
    reason, message = await _error_of(response)
    words = f"it answers {status}: {message}"
    if status in _PASSING:
        asked = retry_after(response.headers.get("retry-after")) if status in (429, 503) else None
        raise Passing(words, asked=asked, most=5 if status == 500 else _ANY)
    if status in _OF_THE_IMAGE:
        raise ImageError(reason or _OF_THE_IMAGE[status], message)
    if reason == protocol.BAD_SAMPLE:
        raise ConfigError(message)
    if status == 401:
        words += " (the token file is token_file=, --service-token-file or SRCACHE_TOKEN_FILE)"
    raise ServiceError(words)


async def read_document(response: "Response") -> dict[str, Any]:
    """The JSON object in an answer.

    Raises:
        ServiceError: it is none.
    """
    body = await read_bounded(response, MOST_DOCUMENT)
    try:
        found = parse_json(body)
    except ValueError as error:
        kind = _shown(response.headers.get("content-type", "of no type"), 60)
        raise ServiceError(f"expected JSON, but the answer ({kind}) is none{_IS_IT}") from error
    if not isinstance(found, dict):
        raise ServiceError(f"expected a JSON object, but the answer is {type(found).__name__}")
    return found


def prefetched(document: Mapping[str, Any], keys: Sequence[str]) -> Prefetched:
    """The answer to a prefetch, if it is one; what is unknown must be among the keys that were asked for.

    Raises:
        ServiceError: it is none.
    """
    failed, unknown, asked = document.get("failed"), document.get("unknown"), set(keys)
    if (
        not isinstance(failed, dict)
        or not isinstance(unknown, list)
        or not all(isinstance(key, str) and key in asked for key in unknown)
    ):
        raise ServiceError("expected what is stored, queued, failed and unknown, but the answer says something else")
    return Prefetched(
        stored=_count(document.get("stored")),
        queued=_count(document.get("queued")),
        failed={_word(reason) or "failed": _count(count) for reason, count in failed.items()},
        unknown=unknown,
    )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ServiceError(f"expected a number of images, but the answer says {_shown(value, 40)}")
    return value


async def _error_of(response: "Response") -> tuple[str, str]:
    """The reason and the sentence of an error; those of one that says none."""
    try:
        found = parse_json(await read_bounded(response, _MOST_ERROR))
        error = found["error"]
        return _word(error["reason"]), _shown(error["message"], 500)
    except (ServiceError, ValueError, RecursionError, KeyError, TypeError):
        kind = _shown(response.headers.get("content-type", "of no type"), 60)
        return "", f"no reason in words, but {kind}{_IS_IT}"


def entry_of(answer: Answer, request: Request, recipe: Recipe, codec: str) -> Entry:
    """What came back as an entry, which a store with this lossless codec can hold.

    Raises:
        ServiceError: it is no image of the recipe's format and of the size that the recipe gives, or its record is
            about something else.
    """
    payload = answer.payload
    kinds = LOSSLESS if recipe.codec is None else (parse_codec(recipe.codec)[0],)
    suffixes = {_SUFFIXES.get(kind, f".{kind}") for kind in kinds}
    if suffix_of(payload) not in suffixes:
        raise ServiceError(
            f"the answer for {request.name} is no image as recipe {recipe.folder} stores them ({', '.join(kinds)})"
        )
    try:
        sides = image_sides(payload)
        if sides == request.size:
            sides = decode(payload).shape[:2]
    except ImageError as error:
        raise ServiceError(f"the image that came back for {request.name} does not decode: {error}") from error
    if sides != request.size:
        raise ServiceError(
            f"the image that came back for {request.name} has {sides[1]}×{sides[0]} pixels, but by recipe "
            f"{recipe.folder} it has {request.size[1]}×{request.size[0]}"
        )
    record = _record_of(answer, request)
    stored = payload if recipe.codec else recode(payload, codec)
    return Entry(request.name, stored, with_checksums(record, stored), request.aliases)


def _record_of(answer: Answer, request: Request) -> dict[str, Any]:
    """The record that came with an image, if it is about this one; where none came, what is known here."""
    own = {**request.record, "lr": list(request.shape), "size": list(request.size)}
    if answer.record is None:
        return {**own, "notes": {}}
    own["checksum"] = image_key(answer.payload)
    wrong = [name for name, value in own.items() if name in answer.record and answer.record[name] != value]
    if wrong:
        raise ServiceError(f"the record that came with {request.name} is about another image: {', '.join(wrong)}")
    return {**answer.record, **own}


def _word(value: Any) -> str:
    """A reason, if it is a word."""
    text = str(value)
    return text if len(text) <= 40 and text.isascii() and text.replace("_", "").isalnum() else ""


def _shown(value: object, most: int = 200) -> str:
    """What somebody else wrote, on one line and not long."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text if len(text) <= most else f"{text[:most]}…"
