"""`just bench [NAME…] [--quick]`: run the benchmarks and write what they found into their pages."""

import argparse
import os
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "template/src"))

from benchmarks.harness import ROOT, write_section

README = ROOT / "benchmarks/README.md"
# Each is a module with `measure(quick: bool) -> str`, which returns a section of this page.
PAGES = {
    "throughput": README,
    "cold_start": README,
    "first_minutes": README,
    "database_tests": README,
    "upgrade": README,
    "autogenerate": README,
    "guard": README,
    "stalls": README,
    "rehearsal": README,
    "containers": ROOT / "benchmarks/containers.md",
    "changes": ROOT / "docs/changes.md",
    "rollouts": ROOT / "docs/rollouts.md",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PAGES)}")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that prints, and writes nothing"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(PAGES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(PAGES)}")
    # Without compiled files, what is measured would be the compiler.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in options.names or PAGES:
        began = time.monotonic()
        section = import_module(f"benchmarks.{name}").measure(options.quick)
        if options.quick:
            print(f"A quick run: the code works, the numbers mean nothing.\n\n{section}\n")
        else:
            write_section(PAGES[name], name, section)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
