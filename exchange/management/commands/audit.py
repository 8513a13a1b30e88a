"""`manage.py audit`: checks every promise about money and books from one consistent snapshot, while the venue runs.

Exit code 0: all hold. 1: at least one does not; its offending rows are printed.
"""

import sys

import orjson
from django.core.management.base import BaseCommand, CommandParser

from exchange import audit
from marketdata import clock


class Command(BaseCommand):
    help = "Checks every invariant of ledger, orders, trades and journals; exits 1 with the offending rows."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    def handle(self, *, json: bool, **options) -> None:
        moment = clock.now()
        findings = audit.run(progress=self._progress if self.stderr.isatty() else None)
        report = audit.report(findings, moment)
        audit.remember(report)
        if json:
            self.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
        else:
            self._print(findings, report)
        if report["violations"]:
            sys.exit(1)

    def _progress(self, position: int, total: int, check: audit.Check) -> None:
        text = f"{position}/{total} {check.invariant}" if position < total else ""
        self.stderr.write(f"\r\033[K{text}", ending="")
        self.stderr.flush()

    def _print(self, findings: list[audit.Finding], report: dict) -> None:
        width = max(len(finding.invariant) for finding in findings)
        self.stdout.write(f" #  {'invariant':<{width}}  {'rows':>10}  {'violations':>10}  {'ms':>8}")
        for finding in findings:
            line = (
                f"{finding.number or '·':>2}  {finding.invariant:<{width}}  {finding.rows:>10,}"
                f"  {finding.violations:>10,}  {finding.milliseconds:>8,.1f}"
            )
            self.stdout.write(self.style.ERROR(line) if finding.violations else line)
        for finding in findings:
            if finding.violations:
                self._print_offenders(finding)
        verdict = (
            f"{report['violations']:,} violations"
            if report["violations"]
            else f"all {report['checks']} checks hold ({report['rows']:,} rows, {report['milliseconds'] / 1000:.2f} s)"
        )
        self.stdout.write((self.style.ERROR if report["violations"] else self.style.SUCCESS)(f"\n{verdict}"))

    def _print_offenders(self, finding: audit.Finding) -> None:
        shown = len(finding.offenders)
        self.stdout.write(self.style.ERROR(f"\n{finding.name}: {finding.invariant}"))
        self.stdout.write(f"  {finding.violations:,} violations, the first {shown}:")
        for offender in finding.offenders:
            self.stdout.write("  " + "  ".join(f"{name}={value}" for name, value in offender.items()))
        self.stdout.write(f"  look at: {finding.look}")
