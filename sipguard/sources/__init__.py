"""Bytes of log files, followed through rotation and restart: nothing read twice, nothing skipped."""
