"""HTTP: the protocol, the middleware around all routes, errors and documents."""
