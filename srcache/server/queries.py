"""What a request asks for in its query: the recipe, the sample, and whether the body stands for pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from srcache.keys import ImageKey, is_key
from srcache.server.answers import Refusal
from srcache.server.hosted import HostedRecipe
from srcache.server.site import Site
from srcache.service.protocol import AS, MOST_SAMPLES, PIXELS, RECIPE, SAMPLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for: a sample of a recipe; `as_pixels`: the image sent stands for one in memory."""

    recipe: HostedRecipe
    sample: int = 0
    as_pixels: bool = False


def asked(site: Site, request: Request, *names: str) -> Asked:
    """What a request's query asks for; `names` are the parameters that it may have.

    Raises:
        Refusal: 400 or 404, with what is wrong.
    """
    given = query(request, *names)
    if not given:
        return Asked(recipe=site.find(None))
    if given.get(AS, PIXELS) != PIXELS:
        raise Refusal(
            400, "bad_query", f"the parameter {AS} can only be {PIXELS}; leave it out for an image's own file"
        )
    recipe = site.find(given.get(RECIPE))
    sample = given.get(SAMPLE, "0")
    if not (sample.isascii() and sample.isdecimal() and len(sample) <= 4):
        raise Refusal(400, "bad_query", f"the parameter {SAMPLE} must be a number from 0 to {MOST_SAMPLES - 1}")
    return Asked(recipe=recipe, sample=require_sample(int(sample), recipe), as_pixels=AS in given)


def query(request: Request, *names: str) -> Mapping[str, str]:
    """A request's query, each parameter at most once, and none but `names`.

    Raises:
        Refusal: 400.
    """
    if not request.scope["query_string"]:
        return {}
    given = request.query_params.multi_items()
    known = ", ".join(names) or "none"
    if not {name for name, _ in given} <= set(names):
        raise Refusal(400, "bad_query", f"the query has a parameter that is not known here; there are: {known}")
    if len(given) > len({name for name, _ in given}):
        raise Refusal(400, "bad_query", f"a parameter of the query came twice; each may come once: {known}")
    return dict(given)


def require_sample(sample: int, recipe: HostedRecipe) -> int:
    """A sample's number, if the recipe can have it.

    Raises:
        Refusal: 400.
    """
    if not 0 <= sample < MOST_SAMPLES:
        raise Refusal(400, "bad_sample", f"a sample is a number from 0 to {MOST_SAMPLES - 1}")
    if sample and not recipe.info.stochastic:
        raise Refusal(
            400,
            "bad_sample",
            f"recipe {recipe.recipe.name} draws no noise, so all samples are the same; ask for sample 0",
        )
    return sample


def require_key(text: Any) -> ImageKey:
    """An image's key.

    Raises:
        Refusal: 400, it has not the form of one.
    """
    if not isinstance(text, str) or not is_key(text):
        raise Refusal(
            400, "bad_key", "an image's key is 32 hexadecimal digits in lower case, as `b2sum -l 128` prints it"
        )
    return ImageKey(text)
