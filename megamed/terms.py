"""Words of queries and labels, read as the structures that they mean: synonyms, languages, spellings, modalities.

Any text becomes readings: sets of words, the same for all names of a structure. What a word means is data, in
terms.toml; nothing here knows a structure.
"""

import math
import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

LANGUAGES = ("en", "de", "fr", "es", "zh")
"""Languages in which the table has names, English first."""
LONGEST_PHRASE = 8
"""Words of a name that the table may hold."""
MOST_READINGS = 64
"""Readings of a text that are looked at; few texts have more than four."""
LEAST_ALIKE = 0.6
"""Likeness of a word that nobody knows and a known one from which it is taken for its misspelling."""
MOST_SLIPS = 2
"""Letters by which they may differ: beyond that, likeness is a stem in common, as of "papilloma" and "papilla"."""
SWAPPED = 0.8
"""Likeness of words that differ by two letters in the other order."""
LEAST_LETTERS = 4
"""Letters of a word that may be misspelt, and of the first part of a compound."""
LINKS = ("", "n", "s", "en", "es", "er", "e")
"""Letters that German puts between the parts of a compound."""
SYNONYM = 0.01
"""Cost of a synonym, so that of two structures the one whose own name was said comes first."""
APART = 0.02
"""Cost of reading a phrase that the table has word by word, as in "prostate gland" for a gland of the prostate."""
REORDERED = 0.01
"""Cost of taking words in another order for a phrase of the table: "cancer of the prostate"."""
MISSPELT = 0.3
"""Cost of a misspelling, for each unit by which the likeness lacks of 1."""
ENDINGS = ("e", "n", "en", "er", "es", "em")
"""Letters that German and Spanish add to a noun or an adjective."""

Words = tuple[str, ...]
_ATLANTIC = (
    ("ae", "e"),
    ("oe", "e"),
    ("tumour", "tumor"),
    ("colour", "color"),
    ("grey", "gray"),
    ("disk", "disc"),
    ("centre", "center"),
    ("fibre", "fiber"),
)
_PLURALS = (
    ("ies", "y"),
    ("chi", "chus"),
    ("clei", "cleus"),
    ("campi", "campus"),
    ("mata", "ma"),
    ("sses", "ss"),
    ("eaux", "eau"),
    ("yaux", "yau"),
)
_SAME = ("ss", "us", "is")
_ELIDED = re.compile(r"\b[ld]['’](?=\w)")
"""French article or preposition before a vowel; a bare "l" is a side."""


@dataclass(frozen=True)
class Meaning:
    """One meaning of a text.

    Attributes:
        words: Words of the structure's own name.
        cost: Cost of what was guessed to get there; 0 for the text itself.
    """

    words: frozenset[str]
    cost: float = 0.0


@dataclass(frozen=True)
class Grammar:
    """The table of names, folded for look-up.

    Attributes:
        forms: Meanings of each phrase, with what they cost.
        sets: Meanings of phrases by the words that they mean one by one, in whatever order these were said.
        modalities: Modalities that each phrase names, with all that they are.
        shown: Words of what images of a modality show, said or not.
        optional: Words that may be there or not.
        findings: Words that a label alone can tell of.
        known: Words that occur in any name, or look like one and are none.
        together: Phrases by their letters alone, as they are written without spaces.
        kinds: Words of the structure of which a word names a kind, such as the brain tumour that a glioma is.
        lesions: Words of labels to which "lesion" adds nothing.
        context: Words after which comes what an image is of or from, not what is asked for.
    """

    forms: Mapping[Words, tuple[Meaning, ...]]
    sets: Mapping[frozenset[str], tuple[Meaning, ...]]
    modalities: Mapping[Words, frozenset[str]]
    shown: Mapping[str, frozenset[str]]
    optional: frozenset[str]
    findings: frozenset[str]
    known: frozenset[str]
    together: Mapping[str, Words]
    kinds: Mapping[str, frozenset[str]]
    lesions: frozenset[str]
    context: frozenset[str]


def fold(text: str) -> Words:
    """Split a text into words without case, accents, plural and what differs between British and American English.

    >>> fold("Tumours, (grey) disks"), fold("肝脏CT"), fold("Vertebrae")
    (('tumor', 'gray', 'disc'), ('肝脏', 'ct'), ('vertebra',))
    """
    plain = unicodedata.normalize("NFKD", re.sub(_ELIDED, "", text.casefold()))
    bare = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
    return tuple(_singular(word) for word in re.findall(r"[a-z0-9œæ]+|[\u3400-\u9fff]+|[^\W_a-z0-9]+", bare))


def _singular(word: str) -> str:
    """Fold one word; what this makes of it need not be a word, but must be the same for both of its forms."""
    if not word.isascii():
        word = word.replace("œ", "oe").replace("æ", "ae")
    if len(word) > LEAST_LETTERS and word.endswith("ae"):
        word = word[:-1]
    for british, american in _ATLANTIC:
        word = word.replace(british, american)
    for plural, singular in _PLURALS:
        if len(word) > LEAST_LETTERS and word.endswith(plural):
            return word[: -len(plural)] + singular
    return word[:-1] if len(word) >= LEAST_LETTERS and word.endswith("s") and not word.endswith(_SAME) else word


def likeness(first: str, second: str) -> float:
    """Share of pairs and triples of letters that two words have in common, with their beginnings and ends, in [0, 1].

    >>> likeness("liver", "liver"), likeness("liver", "kidney") < 0.2 < likeness("livr", "liver")
    (1.0, True)
    """
    one, two = _grams(first), _grams(second)
    return 2 * len(one & two) / (len(one) + len(two))


@cache
def _grams(word: str) -> frozenset[str]:
    ends = f"^{word}$"
    return frozenset(ends[i : i + size] for size in (2, 3) for i in range(len(ends) - size + 1))


@cache
def grammar() -> Grammar:
    """Read the table of names once."""
    table = tomllib.loads(files("megamed").joinpath("terms.toml").read_text(encoding="utf-8"))
    forms: dict[Words, dict[frozenset[str], float]] = defaultdict(dict)
    for name, term in table["terms"].items():
        own = fold(name)
        meaning = frozenset((*own, *fold(term.get("is", ""))))
        forms[own][meaning] = 0.0
        for other in _others(term):
            forms[fold(other)].setdefault(meaning, SYNONYM)
    for word in table["ignored"]:
        forms[fold(word)].setdefault(frozenset(), 0.0)
    optional, findings, narrowing, distinct, lesions, context = (
        frozenset(word for text in table[of] for word in fold(text))
        for of in ("optional", "findings", "narrowing", "distinct", "lesions", "context")
    )
    meanings = {form: tuple(Meaning(words, cost) for words, cost in found.items()) for form, found in forms.items()}
    sets: dict[frozenset[str], tuple[Meaning, ...]] = defaultdict(tuple)
    for form, found in meanings.items():
        if len(form) > 1:
            for each in _apart(form, meanings):
                sets[each.words] += found
    return Grammar(
        meanings,
        sets,
        _modalities(table["modalities"]),
        {name: frozenset(fold(entry.get("shows", ""))) for name, entry in table["modalities"].items()},
        optional,
        findings,
        frozenset(word for form in forms for word in form) | optional | findings | narrowing | distinct,
        {"".join(form): form for form in forms if len(form) > 1},
        {name: frozenset(fold(term["is"])) for name, term in table["terms"].items() if "is" in term},
        lesions,
        context,
    )


def _others(term: Mapping[str, Any]) -> Iterator[str]:
    """Yield the synonyms of a term in all languages; German ones also as keyboards without umlauts write them."""
    for language in LANGUAGES:
        for name in term.get(language, ()):
            yield name
            if language == "de":
                yield name.translate(str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"}))


def _modalities(table: Mapping[str, Any]) -> dict[Words, frozenset[str]]:
    def all_of(name: str) -> frozenset[str]:
        return frozenset({name}) | (all_of(table[name]["is"]) if "is" in table[name] else frozenset())

    return {fold(text): all_of(name) for name, entry in table.items() for text in entry["names"]}


def split_modalities(words: Words) -> tuple[frozenset[str], Words]:
    """Take the names of modalities out of a text: the modalities, with all that they are, and the other words.

    >>> split_modalities(fold("liver in T2 MRI"))[1]
    ('liver', 'in')
    """
    named, rest, start = frozenset[str](), list[str](), 0
    while start < len(words):
        phrase = _longest(words, start, grammar().modalities)
        if phrase:
            named |= grammar().modalities[phrase]
        else:
            rest.append(words[start])
        start += len(phrase) or 1
    return named, tuple(rest)


def read(words: Words, also_known: frozenset[str] = frozenset()) -> list[Meaning]:
    """Read words as structures, in all ways that their ambiguity leaves, the likeliest first.

    Args:
        words: Folded words.
        also_known: Words besides those of the table that are not to be taken for misspelt ones.
    """
    parts, start = list[Sequence[Meaning]](), 0
    while start < len(words):
        phrase = _longest(words, start, grammar().forms)
        parts.append(_phrase(phrase) if phrase else _single(words[start], also_known))
        start += len(phrase) or 1
    readings = _joined(parts)
    seen = {each.words for each in readings}
    others = [
        Meaning(meant.words, each.cost + meant.cost + REORDERED)
        for each in readings
        for meant in grammar().sets.get(each.words, ())
        if meant.words not in seen
    ]
    return sorted([*readings, *others], key=_rank)


def _rank(reading: Meaning) -> tuple[float, int, list[str]]:
    return reading.cost, len(reading.words), sorted(reading.words)


def _joined(parts: Iterable[Iterable[Meaning]]) -> list[Meaning]:
    """Return the readings of a text by those of its parts, the likeliest first."""
    best = {frozenset[str](): 0.0}
    for part in parts:
        longer: dict[frozenset[str], float] = {}
        for (words, cost), other in product(best.items(), part):
            joint = words | other.words
            longer[joint] = min(longer.get(joint, math.inf), cost + other.cost)
        likeliest = sorted((Meaning(words, cost) for words, cost in longer.items()), key=_rank)
        best = {each.words: each.cost for each in likeliest[:MOST_READINGS]}
    return [Meaning(words, cost) for words, cost in best.items()]


def _phrase(phrase: Words) -> list[Meaning]:
    """Read a phrase of the table, also word by word."""
    forms = grammar().forms
    if len(phrase) == 1:
        return list(forms[phrase])
    return [*forms[phrase], *(Meaning(each.words, each.cost + APART) for each in _apart(phrase, forms))]


def _apart(phrase: Words, forms: Mapping[Words, tuple[Meaning, ...]]) -> list[Meaning]:
    """Read a phrase word by word; a word of several meanings is but itself."""
    single = [forms.get((word,), ()) for word in phrase]
    literal = [(Meaning(frozenset({word})),) for word in phrase]
    return _joined(meant if len(meant) == 1 else word for meant, word in zip(single, literal, strict=True))


def _longest(words: Words, start: int, table: Mapping[Words, object]) -> Words:
    """Return the longest phrase of a table that begins at a word; empty if there is none."""
    for end in range(min(len(words), start + LONGEST_PHRASE), start, -1):
        if words[start:end] in table:
            return words[start:end]
    return ()


def without_unknown(words: Words, also_known: frozenset[str] = frozenset()) -> tuple[Words, Words]:
    """Leave out words of no known meaning that tell of a structure's state or image, not which structure it is.

    These stand before a known word, as in "spotted liver", or after "in" and its like, as in "lung in XYZ". No others
    are left out: a "liver abscess" is no liver.

    Args:
        words: Folded words.
        also_known: Words besides those of the table that are known.

    Returns:
        The words that are left, and those that are not.

    >>> without_unknown(fold("spotted liver in XYZ")), without_unknown(fold("liver abscess"))[1]
    ((('liver', 'in'), ('spotted', 'xyz')), ())
    """
    left, out, is_context = list[str](), list[str](), False
    known = [_is_known(word, also_known) for word in words]
    for index, word in enumerate(words):
        is_context |= word in grammar().context
        following = next((words[i] for i in range(index + 1, len(words)) if known[i]), "")
        modifies = bool(following) and not any(not each.words for each in grammar().forms.get((following,), ()))
        (left if known[index] or not (is_context or modifies) else out).append(word)
    return tuple(left), tuple(out)


def _is_known(word: str, also_known: frozenset[str]) -> bool:
    """Say whether a word means something, or is a number, which no structure goes without."""
    return (
        word in also_known
        or word in grammar().known
        or not word.isalpha()
        or _single(word, also_known) != (Meaning(frozenset({word})),)
    )


def _single(word: str, also_known: frozenset[str]) -> tuple[Meaning, ...]:
    """Read a word that is no name of the table: known, a compound of known ones, misspelt, or of no known meaning."""
    if spelt := _as_spelt(word, also_known):
        return spelt
    near, alike = nearest_word(word, (grammar().known | also_known) - grammar().optional)
    cost = MISSPELT * (1 - alike) if alike else 0.0
    meant = grammar().forms.get((near,), (Meaning(frozenset({near})),))
    return tuple(Meaning(each.words, each.cost + cost) for each in meant)


def _as_spelt(word: str, also_known: frozenset[str]) -> tuple[Meaning, ...]:
    """Read a word that is known or a compound of known ones; nothing if it is neither."""
    itself = (Meaning(frozenset({word})),)
    if word in also_known:
        return itself
    if stem := _stem(word):
        return grammar().forms[stem]
    if word in grammar().known:
        return itself
    if phrase := grammar().together.get(word):
        return tuple(_phrase(phrase))
    return tuple(read(compound)) if (compound := _compound(word)) else ()


def misspelt(words: Words, also_known: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return those of the words that mean something only if they are misspelt, or nothing at all."""
    return frozenset(word for word in words if (word,) not in grammar().forms and not _as_spelt(word, also_known))


def _stem(word: str) -> Words:
    """Return the name of the table that a word is a plural or a case of, as German and Spanish form it; empty if none.

    >>> _stem("nieren"), _stem("pulmones"), _stem("bone")
    (('niere',), ('pulmon',), ())
    """
    stems = (word.removesuffix(ending) for ending in ENDINGS if word.endswith(ending))
    return next(((stem,) for stem in stems if len(stem) >= LEAST_LETTERS and (stem,) in grammar().forms), ())


def nearest_word(word: str, known: Iterable[str]) -> tuple[str, float]:
    """Return the known word of the same first letter of which another may be a misspelling, and their likeness.

    Of equally like ones it is the first of the alphabet; the word itself and 0 if none is like enough.
    """
    if len(word) < LEAST_LETTERS or not word.isalpha():
        return word, 0.0
    likely = [each for each in known if len(each) >= LEAST_LETTERS and each[0] == word[0]]
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 1)}
    alike = ((each, SWAPPED if each in swapped else likeness(word, each)) for each in sorted(likely))
    near = [found for found in alike if found[1] >= LEAST_ALIKE and _slips(word, found[0]) <= MOST_SLIPS]
    return max(near, key=lambda found: found[1], default=(word, 0.0))


def _slips(one: str, other: str) -> int:
    """Count the letters to leave out, add and replace between two words (Levenshtein, 1966)."""
    counts = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        above, counts = counts, [row]
        for column, second in enumerate(other):
            counts.append(min(counts[-1] + 1, above[column + 1] + 1, above[column] + (letter != second)))
    return counts[-1]


def _compound(word: str) -> Words:
    """Split a word into two names of the table, as German and Chinese join them; empty if it is none.

    >>> _compound("nierentumor"), _compound("hirnmetastasen"), _compound("肝脏肿瘤2"), _compound("table")
    (('niere', 'tumor'), ('hirn', 'metastase'), (), ())
    """
    least = 1 if not word.isascii() else LEAST_LETTERS
    forms = grammar().forms
    for cut in range(len(word) - least, least - 1, -1):
        first, last = word[:cut], _singular(word[cut:])
        stems = [first.removesuffix(link) for link in LINKS if first.endswith(link)]
        head = next((stem for stem in stems if (_singular(stem),) in forms), None)
        if head and (second := (last,) if (last,) in forms else _stem(last)):
            return (_singular(head), *second)
    return ()
