"""The page: a process of its own, which asks the daemon over its control socket. The daemon imports none of it."""
