"""What all tests share: their helpers are imported by name from this folder, the annotated samples from fixtures/."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "fixtures")]
