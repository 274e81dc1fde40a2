"""What a siege leaves behind: a section of RESULTS.md, and its figures as JSON, also those from before a change."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.outcome import Table, number
from bench.processes import BUILD, ROOT
from bench.report import SIEGE, replace_section
from bench.siege.catalogue import ATTACKS, By
from bench.siege.measure import Figures

LAST = BUILD / "siege.json"
BEFORE = ROOT / "bench" / "siege" / "before.json"
"""Figures of 13b3257, before the limits; kept so that each later siege can be compared with it."""

_MB = 10**6
_RESULTS = ROOT / "bench" / "RESULTS.md"

_ABOUT = """Each attack goes on for {attack:.0f} s on a server and a gateway of its own, while another project makes
{rate:.0f} calls a second (count and share, over REST and gRPC in turn), timed from when they should have begun; the
same was measured right before, alone. Attacker and others share one core, on which the attacker has the lower
priority; server, gateway and PostgreSQL share the other one. **MB** is peak resident memory over that before the
attack, of server / gateway. **Log** is bytes written by both, beyond those for the others' calls, for each attacking
byte. **Failed** are the others' calls, of {calls}, and looks at the server's health that did not find it serving, of
about {attack:.0f}. Before the arrow stand the figures of `{before}`, where they are known, and behind it those of this
checkout. **Ends** is how the attacker's calls or connections ended, the three most frequent. (`make siege`; one attack:
`python -m bench.siege --only NAME`)"""


@dataclass(frozen=True, slots=True)
class Siege:
    """All figures of one run."""

    conditions: Sequence[tuple[str, str]]
    figures: Sequence[Figures]
    shares: Table | None = None
    shares_ratio: float | None = None
    """Shares a second without an attack to those of the other checkout; None: not compared."""
    commit: str = ""
    attack_seconds: float = 0.0
    rate: float = 0.0


def write(siege: Siege, file: Path) -> None:
    """Write the figures down for `read`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(siege), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path) -> Siege | None:
    """The figures that were written into a file; None if there is none."""
    if not file.exists():
        return None
    data = json.loads(file.read_text(encoding="utf-8"))
    data["figures"] = [Figures(**one) for one in data["figures"]]
    data["shares"] = Table(**data["shares"]) if data["shares"] else None
    return Siege(**data)


def publish(siege: Siege) -> None:
    """Put the section into RESULTS.md, in the place of the one that is there."""
    text = _RESULTS.read_text(encoding="utf-8")
    _RESULTS.write_text(replace_section(text, SIEGE, section(siege, before(siege))), encoding="utf-8")


def before(siege: Siege) -> Siege | None:
    """The siege that another one is compared with; None for that one itself, or where there is none."""
    kept = read(BEFORE)
    return kept if kept and kept.commit != siege.commit else None


def section(siege: Siege, compared: Siege | None) -> str:
    """The section, with its heading."""
    old = {(one.attack, one.engine): one for one in compared.figures} if compared else {}
    about = _ABOUT.format(
        attack=siege.attack_seconds,
        rate=siege.rate,
        calls=round(siege.attack_seconds * siege.rate),
        before=compared.commit if compared else siege.commit,
    )
    parts = [
        f"## {SIEGE}",
        about,
        Table(("siege", ""), siege.conditions).markdown().replace("--:", "---"),
        floors(siege, compared).markdown(),
        *(part for by in By for part in _attacks(siege, old, by)),
        *([siege.shares.markdown()] if siege.shares else []),
    ]
    return "\n\n".join(parts)


def _attacks(siege: Siege, old: Mapping[tuple[str, str], Figures], by: By) -> Iterable[str]:
    found = [one for one in siege.figures if ATTACKS[one.attack].by is by]
    if not found:
        return
    yield f"Attacks {by.value}:"
    headings = ("attack", "others' p99 ms alone, under", "ratio", "failed, not serving", "MB", "sent MB", "log", "ends")
    yield Table(headings, [_cells(one, old.get((one.attack, one.engine))) for one in found]).markdown()


def _cells(now: Figures, before: Figures | None) -> Sequence[str]:
    def both(cell: Callable[[Figures], str]) -> str:
        return f"{cell(before)} → {cell(now)}" if before else cell(now)

    title = ATTACKS[now.attack].title + (f", {now.engine}" if len(ATTACKS[now.attack].engines) > 1 else "")
    return (
        title,
        both(lambda one: f"{number(one.alone_ms, 1)}, {number(one.under_ms, 1)}"),
        both(lambda one: number(one.ratio, 1)),
        both(lambda one: f"{sum(one.failed.values())}, {one.unhealthy}"),
        both(lambda one: " / ".join(number(max(mb, 0)) for mb in one.over_start_mb.values())),
        both(lambda one: number(one.sent / _MB, 2)),
        both(lambda one: f"{one.log_ratio:.2f}" + (", **a token**" if one.secret_logged else "")),
        ", ".join(f"{times} {name}" for name, times in sorted(now.tally.items(), key=lambda item: -item[1])[:3]) or "-",
    )


def floors(siege: Siege, compared: Siege | None) -> Table:
    """Floors and goals, the worst attack of each, and how that is to be called."""
    rows: list[Sequence[str]] = []
    for name, floor, goal, figure, by in _FLOORS:
        was, _ = _worst(compared, figure, by) if compared else (None, "")
        reached, attack = _worst(siege, figure, by)
        mark = "-" if reached is None else "goal" if reached <= goal else "floor" if reached <= floor else "**missed**"
        cells = (number(was, 1), number(reached, 1), attack, mark)
        rows.append((name, f"≤ {floor:g}", f"≤ {goal:g}", *cells))
    ratio = siege.shares_ratio
    mark = "not compared" if ratio is None else "goal" if ratio >= 1 else "floor" if ratio >= 0.95 else "**missed**"
    rows.append(("shares/s without an attack, to before", "0.95", "1", "1.00", number(ratio, 2), "", mark))
    return Table(("", "floor", "goal", "before", "reached", "by", ""), rows)


def _worst(siege: Siege, figure: Callable[[Figures], float], by: By | None) -> tuple[float | None, str]:
    found = [(figure(one), one) for one in siege.figures if by is None or ATTACKS[one.attack].by is by]
    if not found:
        return None, ""
    value, one = max(found, key=lambda pair: -math.inf if math.isnan(pair[0]) else pair[0])
    return value, f"{ATTACKS[one.attack].title}, {one.engine}"


def _memory(program: str) -> Callable[[Figures], float]:
    return lambda one: one.over_start_mb[program]


_FLOORS: Sequence[tuple[str, float, float, Callable[[Figures], float], By | None]] = (
    ("others' p99 under an attack without a token, to alone", 10, 3, lambda one: one.ratio, By.ANYBODY),
    ("others' p99 under an attack by one project, to alone", 10, 5, lambda one: one.ratio, By.PROJECT),
    ("others' calls that failed", 0, 0, lambda one: float(sum(one.failed.values())), None),
    ("peak memory over start, server, MB", 300, 150, _memory("server"), None),
    ("peak memory over start, gateway, MB", 300, 150, _memory("gateway"), None),
    ("log written per attacking byte", 1, 0.1, lambda one: one.log_ratio, None),
)
