"""Run many cases in worker processes that are watched: `python tests/fuzz/run.py --cases 100000 --seed 2013 --jobs 1`.

A case passes when it ends in a result or a ZfvizError, within 10 seconds of processor time and 4 GiB. The rest are
findings: they are printed and saved, and each can be repeated alone with `--only NUMBER` or `--file FILE`. Exits 1
where there are any.
"""

import argparse
import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SECONDS = 10
"""Of processor time, of all threads together, so that a busy machine does not count."""
LONGEST = 60
"""Seconds by the clock, for what waits and does nothing."""
MEMORY = 4 * 2**30
GRACE = 3
"""Seconds more that a worker has to stop itself and say where it was, before it is killed."""
CASES_A_WORKER = 4000


def main() -> None:
    """Parse the command line, run, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=2013)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="*", help="run these numbers here, with their traces")
    parser.add_argument("--file", type=Path, nargs="*", help="run these saved cases here, with their traces")
    parser.add_argument("--failed", type=Path, default=Path("fuzz-failed"), help="where failing inputs are saved")
    parser.add_argument("--until", help="stop at this time of the day, as 01:05")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of processor time that a case may take")
    parser.add_argument("--longest", type=int, default=LONGEST, help="seconds by the clock that a case may take")
    parser.add_argument("--memory", type=int, default=MEMORY, help="in bytes that a case may take")
    parser.add_argument("--plant", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        _work(options)
    elif options.only is not None or options.file is not None:
        _repeat(options)
    else:
        found = run(
            options.seed,
            options.start,
            options.cases,
            options.jobs,
            options.failed,
            until=options.until,
            seconds=options.seconds,
            longest=options.longest,
            memory=options.memory,
        )
        print(found.table())
        sys.exit(1 if found.findings else 0)


@dataclass
class Statistics:
    """What became of the cases: how many of each kind ended how, and the findings by where they happened."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0
    slowest: tuple[float, int] = (0, -1)
    largest: tuple[int, int] = (0, -1)

    def table(self) -> str:
        """The numbers as text."""
        kinds = sorted({kind for kind, _ in self.outcomes})
        names = sorted({name for _, name in self.outcomes})
        rows = [["kind", *names, "all"]]
        for kind in kinds:
            counts = [self.outcomes[kind, name] for name in names]
            rows.append([kind, *map(str, counts), str(sum(counts))])
        totals = [sum(self.outcomes[kind, name] for kind in kinds) for name in names]
        rows.append(["all", *map(str, totals), str(sum(totals))])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        lines.append(
            f"{sum(totals)} cases in {self.seconds:.0f} s; slowest {self.slowest[0]:.1f} s (case "
            f"{self.slowest[1]}), largest {self.largest[0] / 2**20:.0f} MiB (case {self.largest[1]})"
        )
        for where, numbers in sorted(self.findings.items(), key=lambda item: -len(item[1])):
            lines.append(f"{len(numbers)} x {where}: {', '.join(map(str, numbers[:6]))}")
        return "\n".join(lines)


def run(
    seed: int,
    start: int,
    cases: int,
    jobs: int,
    failed: Path,
    until: str | None = None,
    seconds: int = SECONDS,
    longest: int = LONGEST,
    memory: int = MEMORY,
    plant: bool = False,
) -> Statistics:
    """Run the cases in `jobs` workers, each of which takes every so-many-th of them."""
    statistics = Statistics()
    began = time.monotonic()
    workers = [Worker(seed, start + job, start + cases, jobs, seconds, longest, memory, plant) for job in range(jobs)]
    last = began
    while workers:
        ready, _, _ = select.select([w.pipe for w in workers], [], [], 0.05)
        for worker in workers:
            for report in worker.reports(worker.pipe in ready):
                _count(statistics, report, seed, failed)
        workers = [w for w in workers if not w.done]
        if time.monotonic() - last > 60:
            last = time.monotonic()
            total = sum(statistics.outcomes.values())
            print(f"{time.strftime('%H:%M:%S')} {total} cases, {len(statistics.findings)} findings", flush=True)
        if until and time.strftime("%H:%M") == until:
            for worker in workers:
                worker.process.kill()
            break
    statistics.seconds = time.monotonic() - began
    return statistics


def _count(statistics: Statistics, report: dict[str, Any], seed: int, failed: Path) -> None:
    number, outcome = report["number"], report["outcome"]
    statistics.outcomes[report["kind"], outcome] += 1
    statistics.slowest = max(statistics.slowest, (report["seconds"], number))
    statistics.largest = max(statistics.largest, (report["bytes"], number))
    if not report["finding"]:
        return
    where = f"{outcome}: {report['where']}"
    numbers = statistics.findings.setdefault(where, [])
    numbers.append(number)
    if len(numbers) == 1:
        print(f"case {number} ({report['kind']}): {where}\n{report['trace']}", flush=True)
    if len(numbers) <= 5:
        from fuzz.cases import make_case

        failed.mkdir(parents=True, exist_ok=True)
        (failed / f"{seed}-{number}.json").write_text(make_case(seed, number).to_json())


class Worker:
    """A process that runs cases, one after the other; it is replaced when it dies, or has run enough of them."""

    def __init__(
        self, seed: int, first: int, end: int, step: int, seconds: int, longest: int, memory: int, plant: bool
    ) -> None:
        self.seed, self.next, self.end, self.step = seed, first, end, step
        self.seconds, self.longest, self.memory, self.plant = seconds, longest, memory, plant
        self.done = False
        self.current: dict[str, Any] | None = None
        self._start()

    def _start(self) -> None:
        self.pipe, theirs = os.pipe()
        stop = min(self.end, self.next + CASES_A_WORKER * self.step)
        numbers = ["--start", str(self.next), "--cases", str(stop), "--jobs", str(self.step)]
        numbers += ["--seconds", str(self.seconds), "--memory", str(self.memory), *(["--plant"] if self.plant else [])]
        command = [sys.executable, __file__, "--worker", str(theirs), "--seed", str(self.seed), *numbers]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        os.close(theirs)
        self._buffer = b""

    def reports(self, ready: bool) -> Iterator[dict[str, Any]]:
        """The cases that ended since the last call, those too that ended the worker."""
        killed = ""
        if self.current is not None:
            waited = time.monotonic() - self.current["began"]
            worked = _processor_time(self.process.pid) - self.current["worked"]
            if waited > self.longest or worked > self.seconds + GRACE:
                killed = "hang"
            elif (used := _memory(self.process.pid)) > self.memory:
                killed = "memory"
                self.current["bytes"] = used
            if killed:
                self.process.kill()
        data = os.read(self.pipe, 2**20) if ready or killed else b""
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            report = json.loads(line)
            if "outcome" in report:
                self.current = None
                self.next = report["number"] + self.step
                yield report
            else:
                self.current = report | {"began": time.monotonic(), "worked": _processor_time(self.process.pid)}
        if killed or (ready and not data):
            self.process.wait()
            yield from self._buried(killed)

    def _buried(self, killed: str) -> Iterator[dict[str, Any]]:
        os.close(self.pipe)
        if self.current is not None:
            code = self.process.returncode
            name = signal.Signals(-code).name if code and code < 0 else f"exit {code}"
            outcome = killed or f"crash by {name}"
            lost = {"seconds": time.monotonic() - self.current["began"], "bytes": 0, "trace": ""}
            yield {**lost, **self.current, "finding": True, "outcome": outcome, "where": self.current["stage"]}
            self.next = self.current["number"] + self.step
            self.current = None
        elif self.process.returncode:
            raise SystemExit("a worker fails before its first case; run one case with --only to see why")
        if self.next < self.end:
            self._start()
        else:
            self.done = True


def _processor_time(pid: int) -> float:
    """Seconds that a process has worked so far."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ProcessLookupError):
        return 0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """The most memory that a process has held since its case began, in bytes."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (OSError, ProcessLookupError):
        return 0
    for line in text.splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def _work(options: argparse.Namespace) -> None:
    """Run cases in this process, and tell what becomes of each."""
    sys.path.insert(0, str(HERE.parent))
    import resource

    from fuzz.cases import make_case

    limit = 4 * MEMORY
    # only so that the machine survives; what counts is what the parent sees
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    libc = ctypes.CDLL(None)

    def tell(**report: Any) -> None:
        os.write(options.worker, json.dumps(report).encode() + b"\n")

    for number in range(options.start, options.cases, options.jobs):
        case = make_case(options.seed, number)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        tell(number=number, kind=case.kind, stage="native code")
        began = time.process_time()
        outcome, where, trace = judge(case, options.seconds, PLANTS.get(number) if options.plant else None)
        used = _memory(os.getpid())
        finding = bool(where) or used > options.memory
        if used > options.memory and not where:
            outcome, where = "memory", f"{used / 2**30:.1f} GiB"
        tell(
            number=number,
            kind=case.kind,
            outcome=outcome,
            finding=finding,
            where=where,
            trace=trace,
            seconds=time.process_time() - began,
            bytes=used,
        )
        if number % 50 == 0 and hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


class TooSlow(BaseException):
    """Raised in a case that takes longer than it may."""


def _raise() -> str:
    raise KeyError("planted")


PLANTS: dict[int, Callable[[], object]] = {
    0: _raise,
    1: os.abort,
    2: lambda: sum(iter(int, 1)),
    3: lambda: len(b"x" * 2**30),
}
"""What a run has to tell, planted by its test: an error, a crash, native code that never ends, too much memory."""


def judge(case: Any, seconds: int = SECONDS, planted: Callable[[], object] | None = None) -> tuple[str, str, str]:
    """How a case ended; where and with which trace, if that is a finding."""
    from fuzz.cases import run_case

    def stop(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, stop)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            if planted:
                planted()
            return run_case(case, Path(folder)), "", ""
        except (Exception, TooSlow) as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "/zfviz/" in f.filename]
            frame = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
            name = "hang" if isinstance(error, TooSlow) else type(error).__name__
            said = " ".join(str(error).split())[:100]
            return name, place, f"{said}\n" + "".join(traceback.format_tb(error.__traceback__)[-6:])[-3000:]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _repeat(options: argparse.Namespace) -> None:
    """Run some cases in this process and print how they end."""
    sys.path.insert(0, str(HERE.parent))
    from fuzz.cases import Case, make_case

    cases = [(str(n), make_case(options.seed, n)) for n in options.only or ()]
    cases += [(str(path), Case.from_json(path.read_text())) for path in options.file or ()]
    for name, case in cases:
        began = time.monotonic()
        outcome, where, trace = judge(case)
        print(f"{name} ({case.kind}): {outcome} {where} {time.monotonic() - began:.1f} s\n{trace}", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    main()
