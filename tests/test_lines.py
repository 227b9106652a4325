"""`benchmarks.lines`: what it counts apart is what its list names."""

from __future__ import annotations

from textwrap import dedent

from benchmarks import lines

FILE = dedent("""\
    class Daemon:
        def start(self, wire=None):
            \"\"\"Starts the wire.\"\"\"
            self.wired = True
            # Why the wire is made.
            self.wire = wire
            \"\"\"What the wire is.\"\"\"
            self.logs = [
                "a",
                wire,
            ]
            if self.wire:
                self.wire.watch()
            else:
                self.follow()
            for log in self.logs:
                if log.is_late and self.wire:
                    log.drop()
""")


def test_statements_are_those_that_use_the_words():
    """With their reason above and their text below; not a word that begins so, an `else`, or what text of the function tells."""
    assert lines.statements(FILE, "Daemon.start/wire") == {5, 6, 7, 10, 12, 13, 17, 18}
    assert lines.statements(FILE, "Daemon.start/for.log") == {16, 17, 18}
    assert lines.statements(FILE, "Daemon.stop/wire") == set()


def test_the_list_names_nothing_twice():
    """Else it ends the program."""
    new = lines.count(lines.HERE)
    assert sum(found.total() for found in lines.since(new).values()) < sum(new.values())


def test_what_is_since_is_so_with_all_in_it():
    """By its file, its class or its own name."""
    assert lines.is_since("detection/cuts.py", "Cuts.place")
    assert lines.is_since("cli/layout.py", "Painted.__new__")
    assert lines.is_since("daemon/log_reader.py", "LogReader._release")
    assert not lines.is_since("daemon/jail_runner.py", "JailRunner.take")
