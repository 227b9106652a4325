"""What all tests share: the readers of the annotated sample logs."""

from __future__ import annotations

import sys
from pathlib import Path

# Tests import `annotations` from here; there are no packages among the tests.
sys.path.insert(0, str(Path(__file__).parent / "fixtures"))
