"""A gallery that is served in a thread of this process: `with served_gallery(settings) as url: …`."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from srcache.server.gallery.app import make_gallery_app
from srcache.server.gallery.gallery import GallerySettings, OpenGallery
from srcache.server.run import listening_socket, make_site, url_of
from srcache.server.settings import ServerSettings
from srcache.server.web_server import WebServer, web_config


@contextmanager
def served_gallery(settings: GallerySettings) -> Iterator[str]:
    """Serve a gallery on a free port; ended in order at the end."""
    how = ServerSettings(cache=settings.cache, recipes=(), port=0)  # type: ignore[arg-type]
    with ExitStack() as stack:
        listener = stack.enter_context(listening_socket(how))
        opened = stack.enter_context(OpenGallery(settings))
        site = stack.enter_context(make_site(how, []))
        server = WebServer(web_config(how, make_gallery_app(opened, site)), site)
        thread = threading.Thread(target=server.serve_until_ended, args=(listener,))
        thread.start()
        try:
            yield url_of(how, listener)
        finally:
            site.is_draining = True
            thread.join(30)
            assert not thread.is_alive()
