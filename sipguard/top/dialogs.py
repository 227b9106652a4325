"""What `sipguard top` shows above its tables: a story, a question."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class StoryScreen(ModalScreen[None]):
    """What is known of an address."""

    CSS = """
    StoryScreen { align: center middle; }
    StoryScreen VerticalScroll { width: 95%; height: 90%; border: round $primary; background: $surface; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,enter", "dismiss", "back")]

    def __init__(self, address: str, text: str) -> None:
        super().__init__()
        self._address, self._text = address, text

    def compose(self) -> ComposeResult:
        """The text, which may be longer than the screen."""
        with VerticalScroll() as frame:
            frame.border_title = self._address
            frame.border_subtitle = "Esc: back"
            yield Static(Text(self._text), markup=False)


class Question(ModalScreen[bool]):
    """Yes or no; no unless somebody says yes."""

    CSS = """
    Question { align: center middle; }
    Question Static { width: auto; max-width: 90%; border: round $warning; background: $surface; padding: 1 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("y", "answer(True)", "yes"), ("n,escape,q,enter", "answer(False)", "no")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The question and the keys."""
        yield Static(Text(f"{self._text}\n\ny: yes   n: no"), markup=False)

    def action_answer(self, yes: bool) -> None:
        """Close with it."""
        self.dismiss(yes)
