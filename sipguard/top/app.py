"""The live view on a terminal, by textual: tables asked for every second, a search, a story, unban with a question."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from sipguard.errors import SipguardError
from sipguard.text import printable
from sipguard.top.dialogs import Question, StoryScreen
from sipguard.top.rates import Rates
from sipguard.top.tables import MOST, Row, Table, Told, tables
from sipguard.troubles import troubles, unprotected

Ask = Callable[..., Any]
"""Puts a question to the daemon and waits for the answer. Raises `SipguardError`."""

EVERY = 1.0
"""Seconds between two looks."""
SLOWER = 10.0
"""Seconds between two questions for feeds and fleet, which change seldom, and for packets, which the kernel has to count."""
WIDE = 120
"""Columns from which the newest attackers stand beside the table."""
NAMES = ("bans", "attackers", "users", "jails", "feeds", "fleet")
ORDERS = ("since", "until", "attempts", "packets", "address", "jail", "evidence")
_COLOURS = {"good": "green", "warn": "yellow", "bad": "bold red", "": ""}


class Top(App[None]):
    """`sipguard top`."""

    TITLE = "sipguard"
    CSS = """
    #head { height: auto; padding: 0 1; }
    #trouble { height: auto; max-height: 4; padding: 0 1; color: $warning; }
    #search { display: none; height: 3; }
    #search.shown { display: block; }
    #beside { width: 44; display: none; padding: 1 1 0 2; }
    .-wide #beside { display: block; }
    #tabs { width: 1fr; }
    TabPane { padding: 0; }
    DataTable { height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 - as its base class has it
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "quit"),
        ("/", "search", "search"),
        ("s", "sort", "sort"),
        ("e", "explain", "explain"),
        ("u", "unban", "unban"),
        ("p", "pause", "pause"),
        Binding("1", "show('bans')", "tables", key_display="1-6"),  # all six would not fit into 80 columns
        *[Binding(str(number), f"show('{name}')", name, show=False) for number, name in enumerate(NAMES[1:], 2)],
    ]

    def __init__(self, ask: Ask, explain: Callable[[dict[str, Any]], str]) -> None:
        """`explain` makes text of an answer to `explain`."""
        super().__init__()
        self._ask, self._explain = ask, explain
        self._rates = Rates()
        self._told: Told | None = None
        self._slow: tuple[list[Any], dict[str, Any]] = [], {}
        self._slow_at = -SLOWER
        self._page: tuple[object, dict[str, Any]] = None, {}
        """The bans last asked for, and what the daemon's state and the question were then."""
        self._sort = ORDERS[0]
        self._searched = ""
        self._paused = False
        self._lost = ""
        """Why nothing new is known."""

    def compose(self) -> ComposeResult:
        """The screen, from above."""
        yield Static(id="head", markup=False)
        yield Static(id="trouble", markup=False)
        yield Input(placeholder="address, user or jail", id="search")
        with Horizontal():
            with TabbedContent(id="tabs"):
                for name in NAMES:
                    with TabPane(name, id=name):
                        yield DataTable(cursor_type="row", zebra_stripes=True, id=f"{name}-table")
            yield Static(id="beside", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._table("bans").focus()
        self.look()

    @work(exclusive=True)
    async def look(self) -> None:
        """Ask and show, as long as the program runs."""
        while True:
            if not self._paused:
                try:
                    self._told = await self._asked()
                    self._lost = ""
                except SipguardError as error:
                    self._lost = str(error)
                self.show_all()
            await asyncio.sleep(EVERY)

    async def _asked(self) -> Told:
        """What costs the daemon little is asked for each time, the rest when it may have changed, or is old."""
        overview = await self._of("overview", counted=0)
        self._rates.look(overview)
        now = asyncio.get_running_loop().time()
        query = {"limit": MOST, "sort": self._sort, **self._wanted()}
        state = overview["since"], overview["moves"], query
        is_old = now > self._slow_at + SLOWER
        if is_old:
            self._slow_at = now
            self._slow = await self._of("feeds"), await self._of("fleet") or {}
        if is_old or state != self._page[0]:
            self._page = state, await self._bans(query, count=is_old or self._sort == "packets")
        counting = {jail["name"]: jail["counted"] for jail in overview["jails"]}
        return Told(overview, self._page[1], counting, *self._slow)

    async def _bans(self, query: dict[str, Any], *, count: bool) -> dict[str, Any]:
        """A page; unless the kernel is to `count` anew, with the packets that it has counted last."""
        if count:
            page: dict[str, Any] = await self._of("bans", **query)
            return page
        before = {ban["address"]: ban["packets"] for ban in self._page[1].get("bans", ())}
        page = await self._of("bans", **query, packets=False)
        return {**page, "bans": [{**ban, "packets": before.get(ban["address"])} for ban in page["bans"]]}

    def _wanted(self) -> dict[str, str]:
        """What the daemon itself can search for, among more bans than are shown."""
        text = self._searched
        return {"address": text} if text and set(text) <= set("0123456789abcdefABCDEF.:/") and len(text) > 6 else {}

    async def _of(self, command: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(self._ask, command, **arguments)

    # What is shown.

    def show_all(self) -> None:
        """Everything anew, at what is known."""
        if not self.query("#head"):
            return  # not put together yet, or closing
        head = self.query_one("#head", Static)
        if self._told is None:
            head.update(Text(printable(self._lost) or "asking …", "bold red" if self._lost else ""))
            return
        head.update(self._head(self._told))
        self.query_one("#trouble", Static).update(self._trouble(self._told))
        made = tables(self._told, self._searched)
        for table in made:
            self._fill(table)
        self.query_one("#beside", Static).update(_beside(made[1], made[2]))

    def _head(self, told: Told) -> Text:
        overview = told.overview
        tried, banned = self._rates.a_second(overview["now"])
        why = self._lost or unprotected(overview)
        shown = Text(
            f"{printable(why[:1].upper() + why[1:])}  " if why else f"Protected, {len(overview['working'])} at work  ",
            "bold red" if why else "bold green",
        )
        bars = self._rates.bars(overview["now"], 20 if self.size.width >= WIDE else 8)
        rates = f"{tried:.1f} attempts/s {bars} {banned:.1f} bans/s  {told.bans['total']} banned"
        if shown.cell_len + len(rates) > self.size.width - 2:
            shown.append("\n")
        shown.append(rates)
        if self._paused:
            shown.append("  PAUSED", "bold yellow")
        return shown

    def _trouble(self, told: Told) -> Text:
        fleet = (told.others.get("fleet") or {}).get("nodes", ())
        wrong = troubles(told.overview, told.feeds, fleet)
        if not wrong:
            return Text("")
        more = f" (and {len(wrong) - 1} more: sipguard status)" if len(wrong) > 1 else ""
        mend = f" — {wrong[0].mend}" if wrong[0].mend else ""
        return Text(f"{wrong[0].text}{mend}{more}")

    def _table(self, name: str) -> DataTable[Text]:
        return self.query_one(f"#{name}-table", DataTable)

    def _fill(self, table: Table) -> None:
        """Show the rows; the cursor stays on what it was on."""
        shown = self._table(table.title)
        before = self._key_at(shown)
        if [str(column.label) for column in shown.columns.values()] != list(table.columns):
            shown.clear(columns=True)
            shown.add_columns(*table.columns)
        else:
            shown.clear()
        for row in table.rows:
            shown.add_row(*(Text(cell, _COLOURS[row.state]) for cell in row.cells), key=row.key)
        if before is not None and before in (keys := [row.key for row in table.rows]):
            shown.move_cursor(row=keys.index(before))
        tab = self.query_one("#tabs", TabbedContent).get_tab(table.title)
        count = len(table.rows) + table.more
        tab.label = f"{table.title} {count}" if count else table.title

    @staticmethod
    def _key_at(shown: DataTable[Text]) -> str | None:
        if not shown.row_count:
            return None
        return shown.coordinate_to_cell_key(shown.cursor_coordinate).row_key.value

    def _chosen(self) -> Row | None:
        """The row under the cursor."""
        name = self.query_one("#tabs", TabbedContent).active
        key = self._key_at(self._table(name))
        made = tables(self._told, self._searched) if self._told else []
        return next((row for table in made if table.title == name for row in table.rows if row.key == key), None)

    # What keys do.

    def action_show(self, name: str) -> None:
        """Show a table."""
        self.query_one("#tabs", TabbedContent).active = name
        self._table(name).focus()

    def action_search(self) -> None:
        """Show only the rows that hold a text."""
        field = self.query_one("#search", Input)
        field.add_class("shown")
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search while it is typed."""
        self._searched = event.value.strip()
        self.show_all()

    def on_input_submitted(self) -> None:
        """Back to the table; an empty search is none."""
        field = self.query_one("#search", Input)
        field.set_class(bool(self._searched), "shown")
        self.action_show(self.query_one("#tabs", TabbedContent).active)

    def action_sort(self) -> None:
        """The next order of the bans."""
        self._sort = ORDERS[(ORDERS.index(self._sort) + 1) % len(ORDERS)]
        self.notify(f"bans sorted by {self._sort}", timeout=2)
        self.look()

    def action_pause(self) -> None:
        """Let everything stand, or go on."""
        self._paused = not self._paused
        self.show_all()

    def on_data_table_row_selected(self) -> None:
        """Enter."""
        self.action_explain()

    @work
    async def action_explain(self) -> None:
        """The story of the address under the cursor."""
        row = self._chosen()
        if row is None or not row.address:
            return
        try:
            story = await self._of("explain", address=row.address)
        except SipguardError as error:
            self.notify(printable(str(error)), severity="error")
            return
        await self.push_screen_wait(StoryScreen(row.address, self._explain(story)))

    @work
    async def action_unban(self) -> None:
        """Let the address under the cursor through, after a question."""
        row = self._chosen()
        if row is None or not row.address:
            return
        if not await self.push_screen_wait(Question(f"Let {row.address} through again, in every jail?")):
            return
        try:
            await self._of("unban", address=row.address)
            self.notify(f"{row.address} is let through", timeout=3)
        except SipguardError as error:
            self.notify(printable(str(error)), severity="error")
        self.look()


def _beside(attackers: Table, users: Table) -> Text:
    """What stands beside the table where there is room."""
    shown = Text("counting, not banned yet\n", "bold")
    for row in attackers.rows[:8]:
        shown.append(f"{row.cells[0]}  {row.cells[2]}\n")
    shown.append("\nusers under attack\n", "bold")
    for row in users.rows[:8]:
        shown.append(f"{row.cells[1]:>5}  {row.cells[0]}\n")
    return shown


def run(ask: Ask, explain: Callable[[dict[str, Any]], str]) -> None:
    """Show it until somebody quits."""
    with contextlib.suppress(KeyboardInterrupt):
        Top(ask, explain).run()
