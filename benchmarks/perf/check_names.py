"""Names of structures: how often they find their tasks, and what a collection lacks is refused.

`python -m benchmarks.perf.check_names [--wrong]` asks all questions of `tests/megamed`. With `--wrong` it prints what
was answered wrongly of those by which words and costs were chosen; the others stay unseen.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from megamed.names import Named, find
from megamed.schema import Task

FOLDER = Path(__file__).parents[2] / "tests" / "megamed"
SEEN, UNSEEN = "name_queries.txt", "unseen_name_queries.txt"


@dataclass(frozen=True)
class NameQuery:
    """A question, the labels that answer it, none if it must be refused, and the answer, empty if it was refused."""

    query: str
    labels: frozenset[str]
    answer: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the answer is one of the labels, or the question was refused as it must be."""
        return self.answer in self.labels if self.labels else not self.answer


@dataclass(frozen=True)
class NameScores:
    """Shares of right answers at the first rank and of wrong refusals, and of refusals of what is not there."""

    found: float
    refused_wrongly: float
    refused: float

    @classmethod
    def of(cls, asked: list[NameQuery]) -> "NameScores":
        """Count the right answers, and the refusals."""
        there = [each for each in asked if each.labels]
        lacking = [each for each in asked if not each.labels]
        return cls(
            sum(each.is_right for each in there) / len(there),
            sum(not each.answer for each in there) / len(there),
            sum(each.is_right for each in lacking) / len(lacking),
        )


def structures() -> list[Named]:
    """Return what a collection of some hundred public datasets tells of its tasks."""
    found = []
    for number, line in enumerate(_lines("named_structures.txt")):
        modality, anatomy, listed = (part.strip() for part in line.split("|"))
        labels = [label.strip() for label in listed.split(",")]
        for label in labels:
            task = Task(dataset=f"d{number}", modality=modality, axis="2d", label=label)
            found.append(Named(task, anatomy, "", tuple(other for other in labels if other != label)))
    return found


def questions(file: str) -> list[NameQuery]:
    """Read questions with their labels."""
    pairs = [line.partition("=")[::2] for line in _lines(file)]
    return [NameQuery(query.strip(), frozenset(re.findall(r"[^,\s]+", labels))) for query, labels in pairs]


def answered(asked: list[NameQuery], named: list[Named]) -> list[NameQuery]:
    """Answer questions, each by the label of the likeliest task."""
    answers = [find(each.query, named).hits for each in asked]
    return [
        NameQuery(each.query, each.labels, hits[0].task.label if hits else "")
        for each, hits in zip(asked, answers, strict=True)
    ]


def _lines(file: str) -> list[str]:
    return [line for line in (FOLDER / file).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def main() -> None:
    """Ask all questions, and print the shares."""
    named = structures()
    for file in (SEEN, UNSEEN):
        asked = answered(questions(file), named)
        shares, there = NameScores.of(asked), sum(bool(each.labels) for each in asked)
        print(
            f"{file}: {there} there, found at the first rank {shares.found:.3f}, refused wrongly "
            f"{shares.refused_wrongly:.3f}; {len(asked) - there} lacking, refused {shares.refused:.3f}"
        )
        if file == SEEN and "--wrong" in sys.argv:
            for each in asked:
                if not each.is_right:
                    print(f"  {each.query}: {each.answer or 'refused'} for {', '.join(each.labels) or 'a refusal'}")


if __name__ == "__main__":
    main()
