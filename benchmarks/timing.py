"""Medians of several runs, taken in turns, so that what disturbs the machine disturbs all alike."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

SHORT = 5.0


@dataclass(frozen=True)
class Time:
    """Seconds by the clock and of the processor, medians; `spread` is the largest wall time over the smallest."""

    wall: float
    processor: float
    spread: float
    runs: int


def in_turns(contenders: Mapping[str, Callable[[], object]], runs: int) -> dict[str, Time]:
    """The time of each, after one run that does not count.

    What takes less than `SHORT` seconds is run once more before it is timed: the threads of the one before spin for a
    while when they are done, and its data lie in the cache.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    last = dict.fromkeys(contenders, 0.0)
    for turn in range(runs + 1):
        for name, run in contenders.items():
            if turn and last[name] < SHORT:
                run()
            wall, processor = time.perf_counter(), time.process_time()
            run()
            last[name] = time.perf_counter() - wall
            if turn:
                taken[name].append((last[name], time.process_time() - processor))
    return {name: _median(times) for name, times in taken.items()}


def _median(times: Sequence[tuple[float, float]]) -> Time:
    walls, processors = zip(*times, strict=True)
    return Time(median(walls), median(processors), max(walls) / min(walls), len(times))


def commands_in_turns(contenders: Mapping[str, Sequence[str]], runs: int) -> dict[str, Time]:
    """As `in_turns`, of whole processes: start, imports and all."""

    def run(command: Sequence[str]) -> tuple[float, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall = time.perf_counter() - wall
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for turn in range(runs + 1):
        for name, command in contenders.items():
            found = run(command)
            if turn:
                taken[name].append(found)
    return {name: _median(times) for name, times in taken.items()}


def peak_memory(code: str, *arguments: str) -> int:
    """The peak resident memory, in bytes, of a Python process that runs the code; Linux only."""
    # ru_maxrss would be that of this process, which the child was forked from
    report = "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    command = [sys.executable, "-c", f"{code}\n{report}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) * 1024  # counted in KiB
