"""Tasks of a collection by the name of a structure: those that mean it, or the nearest names and a refusal."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from megamed.schema import Task
from megamed.terms import Meaning, Words, fold, grammar, likeness, misspelt, read, split_modalities, without_unknown

if TYPE_CHECKING:
    from megamed.collection import Collection

FROM_CONTEXT = 0.04
"""Cost of a word that not the label but the card of its dataset tells of."""
OPTIONAL_APART = 0.02
"""Cost of a word that is optional and said on one side alone."""
UNLIKE = 0.005
"""Cost of a label that is spelt otherwise than what was asked for, so that of equal ones the literal one is first."""
AS_LIKELY = 0.03
"""Cost beyond that of the likeliest task up to which another is as likely: the cost of a synonym, not of a guess."""
SIDES = frozenset({"left", "right"})
"""Words that say the same together as none of them: both kidneys are the kidneys."""
MOST_NEAREST = 3
"""Names that a refusal offers."""
LEAST_NEAR = 0.35
"""Nearness of a name that a refusal offers: words in common, as a share of all, and letters in common."""


@dataclass(frozen=True)
class Named:
    """A task with all by which it may be asked for.

    Attributes:
        task: The task.
        anatomy: Text of the card that says what the images show.
        title: Further text of the card, which may name what is labelled.
        others: Labels of the dataset besides the task's.
    """

    task: Task
    anatomy: str = ""
    title: str = ""
    others: tuple[str, ...] = ()

    @cached_property
    def spelt(self) -> Words:
        """Words of the label as it is spelt."""
        return fold(self.task.label)

    @cached_property
    def readings(self) -> tuple[Meaning, ...]:
        """Structures that the label may mean."""
        return _read(self.task.label)

    @cached_property
    def meant(self) -> frozenset[str]:
        """All words that the label may mean."""
        return frozenset[str]().union(*(reading.words for reading in self.readings))

    @cached_property
    def modalities(self) -> frozenset[str]:
        """Modalities that the images are of, with all that these are."""
        return split_modalities(fold(self.task.modality))[0]

    @cached_property
    def told(self) -> frozenset[str]:
        """Words of the card that may stand in a query beside the label: no number, other label, or other finding."""
        taken = frozenset[str]().union(*(each.words for label in self.others for each in _read(label)))
        words = _surely(self.anatomy) | (_surely(self.title) - taken)
        if not self.meant & grammar().findings:  # a liver is not its tumour, but nuclei may be those of a tumour
            words -= grammar().findings
        numberless = frozenset(word for word in words if not any(map(str.isdigit, word)))
        return numberless.union(*(grammar().shown[modality] for modality in self.modalities))


@cache
def _read(text: str) -> tuple[Meaning, ...]:
    return tuple(read(fold(text), frozenset(fold(text))))


def _surely(text: str) -> frozenset[str]:
    """Words that a text means in whatever way it is read, and its own: a disc of the spine says nothing of an eye."""
    return frozenset.intersection(*(each.words for each in _read(text))).union(fold(text))


@dataclass(frozen=True)
class Hit:
    """A task that means what was asked for.

    Attributes:
        task: The task.
        cost: Cost of what was guessed to find it: 0 if the label is what was said.
    """

    task: Task
    cost: float


@dataclass(frozen=True)
class Found:
    """Answer to the question which tasks are of a structure.

    Attributes:
        query: The question.
        hits: The tasks that mean it, the likeliest first; none if the question is refused.
        nearest: Labels whose names are nearest, of a question that is refused.
        elsewhere: Tasks of the structure by other modalities than the one that was asked for.
        modalities: Modalities that the question names.
        unread: Words of the question that are of no known meaning, and were left out.
    """

    query: str
    hits: Sequence[Hit]
    nearest: Sequence[str] = ()
    elsewhere: Sequence[Task] = field(default=(), repr=False)
    modalities: frozenset[str] = frozenset()
    unread: Sequence[str] = ()

    @property
    def tasks(self) -> list[Task]:
        """The tasks that mean it as likely as the likeliest, but for dataset, modality, axis or spelling."""
        return [hit.task for hit in self.hits if hit.cost <= self.hits[0].cost + AS_LIKELY]

    def refusal(self) -> str:
        """Say why nothing is found, and what is near."""
        if self.elsewhere:
            got = ", ".join(sorted({f"{task.label} in {task.modality}" for task in self.elsewhere}))
            return (
                f"{self.query!r} is in no task of the collection: expected a modality that it has, got "
                f"{', '.join(sorted(self.modalities))}. There are {got}."
            )
        nearest = f"The nearest are {', '.join(self.nearest)}." if self.nearest else "None has a name like it."
        return f"{self.query!r} is in no task of the collection: expected a structure that it labels. {nearest}"


def named_tasks(collection: "Collection") -> list[Named]:
    """Return what is known of each task of a collection by which it may be asked for."""
    named = []
    for task in collection.tasks():
        card = collection.card(task.dataset)
        others = tuple(sorted({*card.masks} - {task.label}))
        named.append(Named(task, card.anatomy, f"{card.title} {card.id}", others))
    return named


def akin(query: str) -> frozenset[str]:
    """Words of which names consist that share a meaning with a question: a label with none of them is no answer.

    >>> "hepatic" in akin("Leber"), "renal" in akin("Leber")
    (True, False)
    """
    said = frozenset[str]().union(*(each.words for each in read(fold(query))), fold(query))
    names = (form for form, meanings in grammar().forms.items() if any(each.words & said for each in meanings))
    return said.union(*names)


def find(query: str, named: Iterable[Named]) -> Found:
    """Find the tasks of a structure by any of its names.

    A task answers if its label means nothing that was not asked for, and all that was asked for is in its label or in
    what its card says of the images.

    Args:
        query: Name of a structure, and if wanted of a modality: "optic disc", "Leber im CT".
        named: The tasks to choose from.
    """
    choices, words = list(named), fold(query)
    known = frozenset[str]().union(*(each.spelt for each in choices), *(each.told for each in choices))
    modalities, rest = split_modalities(words)
    hits, elsewhere = _answers(query, read(rest, known), modalities, choices)
    if not hits and rest != words:  # a structure may be called as a modality is, such as a pet or a pathology
        hits, _ = _answers(query, read(words, known), frozenset(), choices)
    unread: Words = ()
    if not hits and not elsewhere:
        left, unread = without_unknown(rest, known)
        if unread and not _is_general(left):
            as_spelt = known | misspelt(left, known)  # one guess is enough
            hits, elsewhere = _answers(query, read(left, as_spelt), modalities, choices)
    if hits:
        likely = sorted(hits, key=lambda hit: (hit.cost, hit.task.id))
        return Found(query, likely, modalities=modalities, unread=unread)
    return Found(query, (), () if elsewhere else _nearest(rest, read(rest, known), choices), elsewhere, modalities)


def _answers(
    query: str, readings: Iterable[Meaning], modalities: frozenset[str], choices: Sequence[Named]
) -> tuple[list[Hit], list[Task]]:
    """Return the tasks that a question means, and those that it would mean but for their modality."""
    asked = [reading for reading in readings if reading.words]
    said, words = frozenset[str]().union(*(reading.words for reading in asked)), fold(query)
    assumed = frozenset[str]().union(*(grammar().shown[modality] for modality in modalities))
    hits, elsewhere = [], []
    for each in choices:
        is_literal = words == each.spelt
        if not is_literal and not said & each.meant:
            continue
        pairs = ((one, two) for one in asked for two in each.readings)
        costs = [cost for one, two in pairs if (cost := _cost(one, two, each.told, assumed)) is not None]
        if is_literal or (costs and modalities <= each.modalities):
            cost = 0.0 if is_literal else min(costs)
            hits.append(Hit(each.task, cost + UNLIKE * (1 - likeness(_plain(query), _plain(each.task.label)))))
        elif costs:
            elsewhere.append(each.task)
    return hits, elsewhere


def _cost(asked: Meaning, label: Meaning, told: frozenset[str], assumed: frozenset[str]) -> float | None:
    """Return the cost of taking a label for what was asked for; None if it is not."""
    optional = grammar().optional
    want, need = asked.words - optional, label.words - optional
    if not need:  # a label of optional words alone, such as "region"
        want, need = asked.words, label.words
    beyond = _beyond(want, need, told)
    if not need & want or not need <= want | assumed or not beyond <= told:
        return None
    apart = (asked.words ^ label.words) & optional
    return asked.cost + label.cost + FROM_CONTEXT * len(beyond | (need - want)) + OPTIONAL_APART * len(apart)


def _is_general(words: Words) -> bool:
    """Say whether words name a kind of thing alone, such as a vein, of which an unknown word may tell which it is."""
    general = grammar().findings | grammar().optional
    return read(words)[0].words <= general or {*words} <= general


def _beyond(want: frozenset[str], need: frozenset[str], told: frozenset[str]) -> frozenset[str]:
    """Words that were asked for and a label lacks, but for those that add nothing to the others."""
    table = grammar()
    idle = {word for word in want & table.kinds.keys() if _may_be(word, need, told)}
    if need & table.lesions:
        idle.add("lesion")
    if not need & table.findings:
        idle.add("and")
    if want - need >= SIDES:
        idle |= SIDES | {"and"}
    return want - need - idle


def _may_be(kind: str, need: frozenset[str], told: frozenset[str]) -> bool:
    """Say whether a label of a structure may be of one of its kinds: its card tells of this kind, or of none."""
    kinds = grammar().kinds
    others = {other for other, structure in kinds.items() if structure == kinds[kind]}
    return kinds[kind] <= told | need and (kind in told or told.isdisjoint(others))


def _nearest(words: Words, asked: Sequence[Meaning], choices: Sequence[Named]) -> list[str]:
    """Return the labels nearest to a question: by words in common, then by letters."""
    text, best = " ".join(words), defaultdict[str, float](float)
    for each in choices:
        common = [_overlap(one.words, two.words) for one in asked for two in each.readings]
        near = max(common, default=0.0) + likeness(text, " ".join(each.spelt))
        best[each.task.label] = max(best[each.task.label], near)
    ranked = sorted(best, key=lambda label: (-best[label], label))
    return [label for label in ranked if best[label] >= LEAST_NEAR][:MOST_NEAREST]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip()


def _overlap(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / max(1, len(first | second))
