"""`make run`: the real daemon at work on the bundled logs, as if they were written now."""
