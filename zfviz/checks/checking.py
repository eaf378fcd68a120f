"""What a check is: a question, a number for each layer, and what number is too much."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal, get_args

from PIL import Image

from zfviz.errors import CheckError

if TYPE_CHECKING:
    from zfviz.checks.subject import Subject

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
Group = Literal["weights", "activations", "behaviour", "graph", "baseline"]
GROUPS: tuple[Group, ...] = get_args(Group)
Need = Literal["images", "baseline", "classes"]
NEEDS: tuple[Need, ...] = get_args(Need)
SIDES = ("above", "below")

ENTRY_POINTS = "zfviz.checks"
"""The entry points by which an installed package adds checks: each names a module to import."""


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What a check found in one layer, or in the model as a whole where `layer` is empty.

    `value` is the number that the check is about; `said` a sentence on what it is of, without the number's threshold;
    `channels` which channels it is of, `image` the name of the image that shows it; `picture` draws the evidence when a
    report wants it.
    """

    layer: str
    value: float
    said: str
    channels: tuple[int, ...] = ()
    image: str = ""
    picture: Callable[[], Image.Image] | None = field(default=None, repr=False)


Measure = Callable[["Subject"], Iterable[Measurement]]


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """A check: `code` and `name` address it, `question` says in one line what it asks.

    `unit` is what its number counts; a number beyond `limit` is a finding of this `severity` (`worse` says on which
    side), and one without a limit only informs. A number that is worse than the baseline's by more than `drift` is a
    finding too. `source` is where the question and its limit come from; `needs` is what else than a model it takes.
    """

    code: str
    name: str
    question: str
    group: Group
    unit: str
    source: str
    severity: Severity
    limit: float | None
    worse: Literal["above", "below"]
    drift: float | None
    needs: tuple[Need, ...]
    measure: Measure

    @property
    def module(self) -> str:
        """The name of the module that it is from."""
        return str(getattr(self.measure, "__module__", ""))

    def is_beyond(self, value: float, limit: float) -> bool:
        """Whether a number is worse than a limit; one that is no number is."""
        return not (value <= limit if self.worse == "above" else value >= limit)

    def expected(self, limit: float) -> str:
        """What is expected of a number, such as "at most 0.1"."""
        return f"{'at most' if self.worse == 'above' else 'at least'} {limit:.4g}"


_CHECKS: dict[str, Check] = {}


def check(
    code: str,
    name: str,
    question: str,
    *,
    group: Group,
    unit: str,
    source: str,
    severity: Severity = "note",
    limit: float | None = None,
    worse: Literal["above", "below"] = "above",
    drift: float | None = None,
    needs: Collection[Need] = (),
) -> Callable[[Measure], Measure]:
    """Make a function of a `Subject` that gives measurements a check.

    A package of your own adds checks by naming the module that holds them as an entry point of `zfviz.checks`. Raises
    CheckError for a code or a name that another check has, and for a group, severity, side or need that there is none.
    """

    for word, value, known in (("group", group, GROUPS), ("severity", severity, SEVERITIES), ("worse", worse, SIDES)):
        if value not in known:
            raise CheckError(f"check {code}: {word} is {value!r}; expected one of {', '.join(known)}.")
    if isinstance(needs, str) or not {*needs} <= {*NEEDS}:
        raise CheckError(f"check {code}: needs is {needs!r}; expected a list of {', '.join(NEEDS)}.")

    def register(measure: Measure) -> Measure:
        taken = {name for known in _CHECKS.values() for name in (known.code, known.name)}
        if {code, name} & taken:
            raise CheckError(f"a check is called {code} or {name!r} already; expected a code and a name of its own.")
        _CHECKS[code] = Check(
            code, name, question, group, unit, source, severity, limit, worse, drift, tuple(needs), measure
        )
        return measure

    return register


def all_checks() -> tuple[Check, ...]:
    """Every check, those of installed packages too, in the order of their codes. Raises CheckError for a package whose
    checks cannot be imported.
    """
    for module in ("weights", "spectra", "activations", "behaviour", "structure", "comparison"):
        import_module(f"zfviz.checks.{module}")
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: (entry.name, entry.value)):
        try:
            entry.load()
        except CheckError:
            raise
        except Exception as error:
            raise CheckError(
                f"the checks {entry.name!r} ({entry.value}) cannot be imported: {error!r}. Mend or remove that package."
            ) from error
    return tuple(_CHECKS[code] for code in sorted(_CHECKS))
