"""Results as tables in docs/performance.md."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def figure(value):
    """Three digits, as far as they say something."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def table(titles, described, columns, rows):
    """titles: of the first columns, which described(row) gives; columns: the titles of the
    figures, with their keys in a row."""
    lines = [[*titles, *columns], ["---"] * len(titles) + ["---:"] * len(columns)]
    for row in rows:
        lines.append([*described(row), *(figure(row[key]) for key in columns.values())])
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def circumstances(machine, rows):
    """A line: the machine, the client's share, the load and the errors."""
    shares = sorted(row["client_cpus"] for row in rows)
    loads = [machine[key][0] for key in ("load at the start", "load at the end")]
    packages = ", ".join(
        f"{name} {value}" for name, value in machine.items() if isinstance(value, str)
    )
    return (
        f"{machine['processors']} processors; {packages}. The client took "
        f"{shares[len(shares) // 2]:.2f} of a processor in the median row and "
        f"{shares[-1]:.2f} at most. Load average before {loads[0]:.1f}, after {loads[1]:.1f}; "
        f"{sum(row['errors'] for row in rows)} wrong answers.\n"
    )


def fill(name, text):
    """Replaces what is between the comments `name:begin` and `name:end`."""
    page = ROOT / "docs/performance.md"
    block = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    after, count = block.subn(
        lambda match: match[1] + text + match[2], page.read_text(encoding="utf-8")
    )
    if count != 1:
        sys.exit(f"{page}: {count} blocks of {name}, not 1")
    page.write_text(after, encoding="utf-8")
