"""Assignment of subjects to splits by hash, so that a new subject moves no other."""

from collections.abc import Iterable
from hashlib import blake2b

from megamed.schema import DatasetCard
from megamed.vocabulary import Split

TRAIN_SHARE = 0.6
VAL_SHARE = 0.2


def split_of(subject: str, group: str) -> Split:
    """Assign a subject to train (60 %), val (20 %) or test (20 %).

    Args:
        subject: Name of the subject.
        group: Name shared by all datasets whose subjects are the same people (see `patient_groups`).
    """
    digest = blake2b(f"{group}:{subject}".encode(), digest_size=8).digest()
    u = int.from_bytes(digest, "big") / 2**64
    if u < TRAIN_SHARE:
        return "train"
    return "val" if u < TRAIN_SHARE + VAL_SHARE else "test"


def patient_groups(cards: Iterable[DatasetCard]) -> dict[str, str]:
    """Name the patient group of each dataset: the smallest id among those it shares patients with.

    Sharing is symmetric and transitive, even where only one of two cards states it.
    """
    cards = list(cards)
    group = {name: name for card in cards for name in (card.id, *card.shares_patients_with)}
    for _ in cards:  # each pass carries the smallest id one card further
        for card in cards:
            members = (card.id, *card.shares_patients_with)
            smallest = min(group[name] for name in members)
            group |= dict.fromkeys(members, smallest)
    return {card.id: group[card.id] for card in cards}
