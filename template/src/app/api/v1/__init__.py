"""Version 1 of the API: each module in this folder has a `router`, which is mounted by itself."""
