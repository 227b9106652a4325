"""Lines → failures: dates, the tags of failregex, ignoreregex, and lines that belong together."""
