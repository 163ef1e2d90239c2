"""``kvmdbg doctor``: what each engine really does on this host.

Must not know: how anything is probed or laid out.
"""

from __future__ import annotations

import argparse
import json

NAME = "doctor"
HELP = "Run tiny guests on each engine and tell what this host really does."
EXAMPLES = (
    "kvmdbg doctor                   every engine, as a table",
    "kvmdbg doctor kvm --fresh       probe /dev/kvm anew, not as found earlier in this boot",
    "kvmdbg doctor --json            for programs",
)
STATUS = {0: "told", 1: "the engine that was asked for cannot run here"}
_NOT_HERE = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``kvmdbg doctor``."""
    parser.add_argument("engine", nargs="?", help="unicorn or kvm; both if not said")
    parser.add_argument("--json", action="store_true", help="the findings in JSON")
    parser.add_argument("--fresh", action="store_true", help="probe anew")


def run(args: argparse.Namespace) -> int:
    """Print the reports; 1 if the engine that was asked for cannot run here, else 0.

    Raises UnknownName for another engine.
    """
    from ..engines import ENGINES
    from ..engines.probe import probe_engine

    names = (args.engine,) if args.engine else ENGINES
    reports = [probe_engine(name, fresh=args.fresh) for name in names]
    if args.json:
        print(json.dumps({"engines": [report.as_json() for report in reports]}, indent=2))
    else:
        from ..views import doctor, text

        print(text.render(*map(doctor.doctor, reports)))
    return _NOT_HERE if args.engine and reports[0].problem else 0
