"""The counts in docs/io-stack.md, between the comments `classes:begin` and `classes:end`,
and the reasons between `reasons:begin` and `reasons:end`."""

import difflib
import pathlib
import platform
import re
from collections import Counter

import limits
from feeds import ARRIVALS

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/io-stack.md"
SKIPPED = "skipped"
VERSION = r"The table is that of Python (\d+\.\d+\.\d+)"
VARIANT = re.compile(r"^(C|Py|Gzip|Bz2|Bzip2|Lzma|Stored|Deflate|TestC|TestPy)(?=[A-Z])")


def differences(outcomes):
    before = PAGE.read_text(encoding="utf-8")
    lines = difflib.unified_diff(
        before.splitlines(), filled(before, outcomes).splitlines(), "docs", "run", n=0
    )
    return list(lines)


def write(outcomes):
    before = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(before, outcomes), encoding="utf-8")


def version():
    """Of the Python that the table is of."""
    return re.search(VERSION, PAGE.read_text(encoding="utf-8"))[1]


def filled(page, outcomes):
    named = f"The table is that of Python {platform.python_version()}"
    page = re.sub(VERSION, named, page)
    page = replaced(page, "classes", class_table(outcomes))
    return replaced(page, "reasons", reason_table(outcomes))


def replaced(page, name, text):
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    block = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    new, count = block.subn(lambda _: begin + text + end, page)
    if count != 1:
        raise SystemExit(f"error: {PAGE} has {count} blocks {name}")
    return new


def markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def class_table(outcomes):
    by_family = {}
    for outcome in outcomes:
        key = family(outcome.row.case), outcome.row.module, outcome.row.through
        by_family.setdefault(key, []).append(outcome)
    header = ["class", "as", "tests", *(arrival.text for arrival in ARRIVALS)]
    return markdown(
        [*header, "do not apply"], [line(of_one) for of_one in by_family.values()]
    )


def family(case):
    """The name without what tells the implementation, or what packs the bytes."""
    return VARIANT.sub("", case)


def name_of(outcomes):
    """`module.[C|Py]Class` for all classes of a family."""
    cases = list(dict.fromkeys(outcome.row.case for outcome in outcomes))
    first = outcomes[0].row
    if len(cases) == 1:
        return f"`{first}`"
    common = family(first.case)
    prefixes = [VARIANT.match(case) for case in cases]
    variants = "|".join(match[0] if match else "" for match in prefixes)
    return f"`{first.module}.[{variants}]{common}`".replace("|", "\\|")


def line(outcomes):
    by_arrival = {}
    for outcome in outcomes:
        by_arrival.setdefault(outcome.arrival, []).append(outcome)
    cells = [passes(by_arrival.get(arrival.name)) for arrival in ARRIVALS]
    tests = len(next(iter(by_arrival.values())))
    through = outcomes[0].row.through
    return [name_of(outcomes), through, tests, *cells, why(by_arrival)]


def passes(outcomes):
    if outcomes is None:
        return ""
    passed = [outcome for outcome in outcomes if outcome.verdict == "passed"]
    in_part = sum(bool(outcome.reasons) for outcome in passed)
    return f"{len(passed)} ({in_part})" if in_part else len(passed)


def why(by_arrival):
    """The reasons of the first arrival, and of the others what differs."""
    first, *others = by_arrival
    before = reasons(by_arrival[first])
    parts = [listing(before)] if before else []
    for arrival in others:
        now = reasons(by_arrival[arrival])
        changed = Counter({key: now[key] for key in now if now[key] != before[key]})
        gone = [f"{key} 0" for key in before if key not in now]
        if changed or gone:
            text = next(a.text for a in ARRIVALS if a.name == arrival)
            listed = ", ".join([*filter(None, [listing(changed)]), *gone])
            parts.append(f"{text}: {listed}")
    return "; ".join(parts)


def reasons(outcomes):
    counts = Counter()
    for outcome in outcomes:
        if outcome.verdict == "excused":
            counts[outcome.reasons[0]] += 1
        elif outcome.verdict == "skipped":
            counts[SKIPPED] += 1
    return counts


def listing(counts):
    order = [*limits.REASONS, SKIPPED]
    return ", ".join(f"{key} {counts[key]}" for key in order if counts[key])


def reason_table(outcomes):
    tests, statements = Counter(), Counter()
    for outcome in outcomes:
        counts = statements if outcome.verdict == "passed" else tests
        for reason in outcome.reasons:
            counts[reason] += 1
    rows = [
        [key, reason.text, tests[key], statements[key]]
        for key, reason in limits.REASONS.items()
    ]
    skipped = sum(outcome.verdict == "skipped" for outcome in outcomes)
    rows.append([SKIPPED, "CPython's own condition, such as memory", skipped, 0])
    return markdown(["reason", "the test ...", "tests", "statements"], rows)
