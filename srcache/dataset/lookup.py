"""The SR images of one recipe in a cache, found by the key of their source image."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from srcache.cache.manifest import RecipeFolder
from srcache.dataset.worker_deaths import watch
from srcache.errors import DamagedError, ImageError, SrcacheError
from srcache.images import Pixels, decode, decode_lent
from srcache.keys import ImageKey, dropped_key, entry_name
from srcache.stores import View, source_of


class SRImages:
    """Looks up and decodes the SR images of a recipe's folder. Picklable, and safe in threads and under fork."""

    def __init__(self, folder: RecipeFolder) -> None:
        self.folder = folder
        self._store = folder.store()
        watch(self, folder.place)

    def view(self) -> AbstractContextManager[View]:
        """Look-ups for `find`; what it returned is valid inside the context."""
        return self._store.view()

    @property
    def count(self) -> int:
        """How many SR images there are."""
        return len(self._store)

    def file_key(self, key: str, alias: str | None = None) -> str:
        """The key of the file that pixels in memory are of; any other key as it is.

        Args:
            key: of the pixels.
            alias: the key that says which pixels a recipe makes of them, where it is another one.
        """
        if (file := self._store.resolve(alias or key)) is not None:
            return file
        is_entry = next(iter(self._store.names(f"{key}-")), None) is not None
        return key if is_entry else self._store.resolve(dropped_key(ImageKey(key))) or key

    def file_of(self, alias: str) -> str | None:
        """The key of the file that an alias stands for, or None."""
        return self._store.resolve(alias)

    def get(self, view: View, key: ImageKey, sample: int) -> tuple[str, bytes | memoryview | None]:
        """The name and the bytes of an SR image that is stored under this very key."""
        name = entry_name(key, sample)
        return name, view.get(name)

    def find(
        self, view: View, key: ImageKey, sample: int, alias: Callable[[], ImageKey | None] = lambda: None
    ) -> tuple[str, bytes | memoryview | None]:
        """An SR image's name and bytes. Pixels in memory are also looked for under the key of the file they are of.

        Args:
            view: from `view`.
            key, sample: which one.
            alias: gives what `source_of` takes; called if nothing is stored under the key.
        """
        name = entry_name(key, sample)
        payload = view.get(name)
        if payload is None and (file := source_of(view, key, alias())) is not None:
            name = entry_name(file, sample)
            payload = view.get(name)
        return name, payload

    def find_many(
        self,
        view: View,
        wanted: Sequence[tuple[ImageKey, int]],
        trusted: Sequence[int] = (),
        alias: Callable[[int], ImageKey | None] = lambda place: None,
    ) -> list[tuple[str, bytes | memoryview | None]]:
        """`find` for many (key, sample) at once, whose place is given to `alias`; `trusted` as in `View.get_many`."""
        names = [entry_name(key, sample) for key, sample in wanted]
        found = list(zip(names, view.get_many(names, trusted), strict=True))
        for place, (_, payload) in enumerate(found):
            if payload is None:
                found[place] = self.find(view, *wanted[place], partial(alias, place))
        return found

    def decode(self, name: str, payload: bytes | memoryview, source: str) -> Pixels:
        """The pixels of a payload that `find` gave.

        Args:
            source: what to call the source image in a message.

        Raises:
            DamagedError: they do not decode.
            ImageError: the image is above the pixel limit.
        """
        try:
            return decode(payload)
        except ImageError as error:
            raise self._undecodable(name, source, error) from error

    def lend(
        self, name: str, payload: bytes | memoryview, source: Callable[[], str], out: Pixels | None = None
    ) -> Pixels:
        """Like `decode`, in `out` if the image has its shape; a PPM's pixels where they lie, read-only.

        Those are valid inside the view that `payload` is of.
        """
        try:
            return decode_lent(payload, out)
        except ImageError as error:
            raise self._undecodable(name, source(), error) from error

    def _undecodable(self, name: str, source: str, error: ImageError) -> SrcacheError:
        what = f"the SR image {name} of {source} in {self.folder.path} cannot be decoded: {error}"
        if error.reason == "too_large":
            return ImageError(error.reason, what)
        return DamagedError(f"{what}; `srcache verify` looks for more such entries")
