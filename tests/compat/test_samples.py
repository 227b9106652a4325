"""Every annotated log of Fail2ban: which lines match, whom they accuse, when it happened.

All of them twice: by the engine, and by `sipguard test-filter --json` as a person would call it.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from reference_samples import NOW, Variant, copy_filters, names, problem, variants

from sipguard.cli.test_filter import command
from sipguard.config.filters import read_filter
from sipguard.detection.detector import Detector

if TYPE_CHECKING:
    from pathlib import Path

    from sipguard.model import Failure

COUNTED = Counter[str]()
pytestmark = [pytest.mark.fail2ban, pytest.mark.usefixtures("zurich")]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Copies of the package's filters, and of those of its tests."""
    return copy_filters(tmp_path_factory.mktemp("fail2ban"))


def facts(failure: Failure | None) -> dict[str, Any] | None:
    """What the annotations may tell of; all other names are what the filter's tags have captured."""
    if failure is None:
        return None
    own = {
        "host": failure.host,
        "attempts": failure.attempts,
        "users": list(failure.users),
        "user": failure.user,
    }
    return Facts({**failure.tags, **own})


class Facts(dict[str, Any]):
    """Facts of which none may be missing: a tag that was not captured is None."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> None:
        return None


def by_engine(variant: Variant, trees: tuple[Path, Path]) -> list[str]:
    """What is wrong with what the engine finds."""
    folders = [tree / "filter.d" for tree in trees]
    detector = Detector(read_filter(variant.reference, folders), clock=lambda: NOW)
    problems = []
    for sample in variant.samples:
        failure = detector.examine(sample.line, time=NOW if variant.is_journal else None).failure
        wrong = problem(facts(failure), failure.time if failure else None, sample.expected)
        if wrong:
            problems.append(f"{sample.where} {variant.reference}: {wrong}: {sample.line}")
    return problems


def by_command(variant: Variant, trees: tuple[Path, Path], log: Path) -> list[str]:
    """What is wrong with what `test-filter --json` prints: one object per line, and nothing else."""
    log.write_text("".join(f"{sample.line}\n" for sample in variant.samples), encoding="utf-8", newline="")
    tree = next(tree for tree in trees if (tree / f"filter.d/{variant.filter}.conf").is_file())
    options = ["--json", "--fail2ban-dir", str(tree), "--now", "2005-08-14T12:00:00+02:00"]
    options += ["--journal"] if variant.is_journal else []
    done = CliRunner().invoke(command, [*options, str(log), variant.reference], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["line"] for answer in answers] == list(range(1, len(variant.samples) + 1))
    problems = []
    for sample, answer in zip(variant.samples, answers, strict=True):
        when = datetime.fromisoformat(answer["time"]).timestamp() if answer["time"] else None
        wrong = problem(answer if answer["matched"] else None, when, sample.expected)
        if wrong:
            problems.append(f"{sample.where} test-filter {variant.reference}: {wrong}: {sample.line}")
    return problems


@pytest.mark.parametrize("name", names())
def test_sample(name: str, trees: tuple[Path, Path], tmp_path: Path) -> None:
    """Each variant of the filter finds in each line what the annotation says, and nothing else."""
    found = variants(name)
    COUNTED.update(filters=1, variants=len(found), lines=sum(len(variant.samples) for variant in found))
    assert all(variant.samples for variant in found), "no line was checked"
    problems = [line for variant in found for line in by_engine(variant, trees)]
    problems += [line for variant in found for line in by_command(variant, trees, tmp_path / "log")]
    assert not problems, "\n".join(problems)


@pytest.mark.usefixtures("trees")
def test_count(capsys: pytest.CaptureFixture[str]) -> None:
    """How much the tests above have held against the package: printed, and not less than it has."""
    if COUNTED["filters"] != len(names()):
        pytest.skip("only a part of the samples was asked for")
    with capsys.disabled():
        print(f"\n{COUNTED['filters']} filters, {COUNTED['variants']} variants, {COUNTED['lines']} lines as annotated")
    assert COUNTED["lines"] > COUNTED["variants"] > COUNTED["filters"] > 80
