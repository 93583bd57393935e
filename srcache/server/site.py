"""What a running server consists of: its recipes, its memory, its threads, its source, and whether it is ending."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from srcache.catalog.rows import Catalog
from srcache.keys import ImageKey
from srcache.server.answers import Refusal
from srcache.server.hosted import HostedRecipe
from srcache.server.limits import ByteBudget
from srcache.server.making import Maker
from srcache.server.metrics import Metrics
from srcache.server.ready import ReadyAnswers
from srcache.server.settings import ServerSettings


@dataclass(kw_only=True)
class Site:
    """A running server: what its routes share.

    Attributes:
        settings: the server's.
        recipes: what is served.
        makers: by fingerprint, what has a recipe's images made.
        budget: the memory of all requests together.
        threads: decode images that are to be made, and wait where the engine's queue is full.
        readers: read from stores, and encode answers; they never wait for an engine.
        metrics: counts requests.
        ready: answers that were sent a moment ago.
        catalog: the images that can be prefetched by key; `places` says where each key stands in it.
        active: requests that are being answered.
        is_draining: whether the server is ending: it finishes what was asked for, and refuses what is new.
    """

    settings: ServerSettings
    recipes: Sequence[HostedRecipe]
    makers: Mapping[str, Maker]
    budget: ByteBudget
    threads: ThreadPoolExecutor
    readers: ThreadPoolExecutor
    metrics: Metrics
    ready: ReadyAnswers
    catalog: Catalog | None = None
    places: Mapping[ImageKey, int] = field(default_factory=dict)
    active: int = 0
    is_draining: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether every engine is loaded, and the server is not ending."""
        return not self.is_draining and all(recipe.is_ready for recipe in self.recipes)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be answered or made."""
        return self.active == 0 and all(maker.is_idle for maker in self.makers.values())

    @property
    def error(self) -> BaseException | None:
        """Why no image of some recipe can be made any more; None as long as they can."""
        return next((maker.error for maker in self.makers.values() if maker.error is not None), None)

    def maker(self, recipe: HostedRecipe) -> Maker:
        """What has a recipe's images made.

        Raises:
            Refusal: 503, its engine is not loaded yet, or has stopped.
        """
        maker = self.makers[recipe.fingerprint]
        if not recipe.is_ready:
            raise Refusal(503, "not_ready", "the engine is being loaded; try again later", retry=5)
        if maker.error is not None:
            raise Refusal(
                503, "stopped", "the engine has stopped, and the service is ending; try again later", retry=10
            )
        return maker

    def find(self, wanted: str | None) -> HostedRecipe:
        """A recipe that is served, by name, fingerprint or folder's name; None means the only one.

        Raises:
            Refusal: 400, none was named though there are several; 404, no such recipe.
        """
        if wanted is None and len(self.recipes) == 1:
            return self.recipes[0]
        names = ", ".join(one.name for one in self.recipes)
        if wanted is None:
            raise Refusal(400, "no_recipe", f"several recipes are served ({names}); say which with ?recipe=")
        fits = [one for one in self.recipes if wanted in (one.recipe.name, one.fingerprint, one.name)]
        if len(fits) > 1:
            raise Refusal(400, "no_recipe", f"several recipes have this name; say which by fingerprint: {names}")
        if not fits:
            raise Refusal(404, "unknown_recipe", f"no such recipe is served here; there are: {names}")
        return fits[0]
