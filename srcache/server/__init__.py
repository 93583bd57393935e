"""`srcache serve`: an HTTP service that fills a cache and answers from it."""
