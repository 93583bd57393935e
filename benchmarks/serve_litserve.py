"""LitServe with the engine of a recipe: it takes an image file and answers with the SR image as srcache would store it.

`python -m benchmarks.serve_litserve PORT RECIPE BATCH DEADLINE` runs it. The class stands at the top of a module, for
LitServe's worker is another process that looks it up there.
"""

import sys
from contextlib import suppress
from typing import Annotated, Any

from srcache.engine.registry import open_engine
from srcache.images import Pixels, decode, encode, from_tensor, to_batch
from srcache.recipe import load_recipe

Base: Any = object
with suppress(ImportError):  # of the extra `bench`
    from fastapi import Body, Response
    from litserve import LitAPI as Base
    from litserve import LitServer

if Base is not object:

    class Upscaler(Base):
        """Reads, batches, upscales and writes images."""

        recipe = ""

        def setup(self, device: str) -> None:
            """Load the engine, in the worker."""
            made = load_recipe(self.recipe)
            self._engine = open_engine(made.engine, made.setup("cpu"))

        def decode_request(self, request: Annotated[bytes, Body()]) -> Pixels:
            """A file's bytes → pixels."""
            return decode(request)

        def batch(self, inputs: list[Pixels]) -> Any:
            """Pixels of one size → a tensor."""
            return to_batch(inputs)

        def predict(self, x: Any) -> Any:
            """The engine's call."""
            return self._engine.upscale(x, [0] * len(x))

        def unbatch(self, output: Any) -> list[Any]:
            """One outcome for each image."""
            return list(output)

        def encode_response(self, output: Any) -> "Response":
            """Pixels → a file's bytes."""
            return Response(encode(from_tensor(output.image), "qoi"), media_type="image/qoi")


def main(port: int, recipe: str, batch: int, deadline: float) -> None:
    """Serve until a signal ends it."""
    api = Upscaler(max_batch_size=batch, batch_timeout=deadline, api_path="/v1/sr")
    api.recipe = recipe
    LitServer(api, accelerator="cpu", fast_queue=True).run(host="127.0.0.1", port=port, generate_client_file=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
