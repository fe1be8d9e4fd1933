"""`just bench [NAME…] [--quick]`: run the benchmarks and write their sections of README.md."""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "template/src"))

from benchmarks.harness import write_section

# Each is a module with `measure(quick: bool) -> str`, which returns its section.
NAMES = ["throughput", "rehearsal"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--quick", action="store_true", help="a short run that prints, and writes nothing"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    # Without compiled files, what is measured would be the compiler.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in options.names or NAMES:
        section = import_module(f"benchmarks.{name}").measure(options.quick)
        if options.quick:
            print(f"A quick run: the code works, the numbers mean nothing.\n\n{section}\n")
        else:
            write_section(name, section)
            print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main()
