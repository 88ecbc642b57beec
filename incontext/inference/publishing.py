"""Weights and tasks put on a hub: files with a list of their hashes and a card, in one step, if the images may be."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError

from incontext.inference.expected import Expected
from incontext.inference.hub import AGAIN, REFUSALS, Repository
from incontext.inference.hub_card import card_of
from incontext.inference.hub_contents import CONTENTS, HubContents, Kind, ListedFile
from incontext.inference.image_source import UNNAMED, ImageSource
from incontext.inference.task_file import SavedTask, described
from incontext.networks.prompted_weights import prompted_beside
from megamed.extras import require
from megamed.files import sha256_of
from megamed.licences import may_be_passed_on

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CARD = "README.md"
ATTRIBUTES = ".gitattributes"
"""File that a hub makes with each repository."""
TIMEOUT_S = 60.0
"""Seconds without an answer after which a hub counts as silent; it answers only when it has taken all."""
MAY_WRITE = ("a token that may write there", "Log in with `hf auth login`, or set HF_TOKEN to one that may.")


@dataclass(frozen=True)
class Terms:
    """Terms on which something is put on a hub.

    Attributes:
        licence: Licence of the whole; of a task whose images come from nowhere that is named, that of the images.
        anyway: Whether images are published though their licence does not surely allow it.
        codes_only: Whether the images of a task are left out.
        private: Whether a new repository is hidden from others.
        endpoint: Address of the hub; by default that in HF_ENDPOINT, else https://huggingface.co.
    """

    licence: str = ""
    anyway: bool = False
    codes_only: bool = False
    private: bool = False
    endpoint: str | None = None

    def stated(self, sources: Sequence[ImageSource]) -> tuple[ImageSource, ...]:
        """Return sources of which one without name has the licence that is stated."""
        return tuple(each if each.title or each.licence else ImageSource(licence=self.licence) for each in sources)


def check_images(sources: Sequence[ImageSource], terms: Terms) -> None:
    """Make sure that the images of a task may be passed on.

    Raises:
        ValueError: If a licence does not surely allow it, and the user does not insist.
    """
    if terms.codes_only or terms.anyway:
        return
    for source in terms.stated(sources or [ImageSource()]):
        if not may_be_passed_on(source.licence):
            images, option = (f"images of {source.title}", "--anyway") if source.title else (UNNAMED, "--licence")
            msg = (
                f"task holds {images}: expected a licence that surely lets them be passed on, got "
                f"{source.licence or 'none'}. Leave the images out (--codes-only), or, if you may share them, say so "
                f"({option})."
            )
            raise ValueError(msg)


@dataclass(frozen=True)
class Publication:
    """Files that belong together, and all that is told of them.

    Attributes:
        kind: What they are.
        files: The file to load first, then those that belong to it, such as a task's weights.
        sources: Datasets of the images in them, or that weights were trained on.
        facts: What the card tells of them; see `hub_card.card_of`.
    """

    kind: Kind
    files: Sequence[Path]
    sources: tuple[ImageSource, ...]
    facts: dict[str, Any]

    @classmethod
    def of_weights(cls, file: Path, metadata: Mapping[str, Any]) -> Self:
        """Gather a weights file, and that of the prompted network beside it if there is one.

        Args:
            file: The weights file.
            metadata: What it says of itself.
        """
        datasets = metadata.get("provenance", {}).get("datasets", {})
        sources = tuple(ImageSource.of(title, licence) for title, licence in sorted(datasets.items()))
        beside = prompted_beside(file)
        return cls("weights", [file, *([beside] if beside.is_file() else [])], sources, {})

    @classmethod
    def of_task(
        cls, file: Path, task: SavedTask, expected: Expected | None, weights: Path | None, codes_only: bool
    ) -> Self:
        """Gather the file of a task, and its weights unless everybody has them.

        Args:
            file: The file.
            task: The task with its images.
            expected: Dice to expect of it.
            weights: File of its weights; None if they are packaged.
            codes_only: Whether the file lacks the images.
        """
        dice = {} if expected is None else {value: expected.told(value) for value in expected.dice}
        facts = described(task) | {"expected_dice": dice, "codes_only": codes_only}
        return cls("task", [file, *([weights] if weights else [])], task.sources, facts)

    @property
    def common_licence(self) -> str:
        """The licence of all sources; empty where they differ, and each is told by itself."""
        licences = {each.licence for each in self.sources}
        return licences.pop() if len(licences) == 1 else ""

    def contents(self, licence: str) -> HubContents:
        """List the files with their sizes and hashes.

        Raises:
            ValueError: If a file cannot be listed, such as for its name.
        """
        files = {each.name: ListedFile(sha256=sha256_of(each), size_bytes=each.stat().st_size) for each in self.files}
        main = self.files[0].name
        try:
            return HubContents(kind=self.kind, main=main, files=files, licence=licence, sources=self.sources)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            msg = (
                f"{main} cannot be published: expected a safetensors file with a name of plain letters, got "
                f"{fault['input']!r:.80}: {fault['msg']}. Rename it."
            )
            raise ValueError(msg) from error

    def publish(self, name: str, terms: Terms) -> str:
        """Put all on a hub in one step, in a repository that is made unless it is there, and return its address.

        Raises:
            HubError: If the hub refuses, or something else is in the repository.
            ModuleNotFoundError: If the extra `hub` is not installed.
        """
        require("hub", "Publishing", "huggingface_hub")
        from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

        there = Repository.of(name, None, terms.endpoint)
        licence = terms.licence or self.common_licence
        texts = {
            CONTENTS: self.contents(licence).model_dump_json(indent=2),
            CARD: card_of(name, self.kind, licence, self.sources, self.facts),
        }
        api = HfApi(endpoint=there.endpoint, library_name="incontext-seg")
        with _explained(there):
            api.create_repo(name, private=terms.private or None, exist_ok=True)
            before = _names(api, name)
            if before and CONTENTS not in before:
                there.refuse("an empty repository, or one published by this library", "another", "Choose another name.")
            added = {each.name: each for each in self.files}
            old = (each for each in sorted(before - added.keys()) if each.endswith(".safetensors"))
            operations: list[CommitOperationDelete | CommitOperationAdd | CommitOperationCopy] = [
                *(CommitOperationDelete(each) for each in old),
                *(CommitOperationAdd(each, path) for each, path in added.items()),
                *(CommitOperationAdd(each, text.encode()) for each, text in texts.items()),
            ]
            api.create_commit(name, operations, commit_message=f"Publish {self.kind}")
            if lacking := {*added, *texts} - _names(api, name):
                there.refuse("all that was sent to be there", f"none of {', '.join(sorted(lacking))}", AGAIN)
        return f"{there.endpoint}/{name}"


def _names(api: "HfApi", name: str) -> set[str]:
    """Return the names of the files of a repository, but for what a hub adds itself."""
    return {each.rfilename for each in api.model_info(name, timeout=TIMEOUT_S).siblings or ()} - {ATTRIBUTES}


@contextmanager
def _explained(there: Repository) -> Iterator[None]:
    """Tell errors of the library in one line, with their remedy, and let it wait for no answer for ever.

    Raises:
        HubError: If there is one.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import get_session

    session = get_session()
    patience, session.timeout = session.timeout, httpx2.Timeout(TIMEOUT_S)
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        expected, fix = MAY_WRITE if status in (401, 403, 404) else REFUSALS.get(status, ("an answer", AGAIN))
        there.refuse(expected, f"status {status}", fix)
    except (httpx2.HTTPError, OfflineModeIsEnabled, ConnectionError, RuntimeError) as error:  # the last two: of hf_xet
        there.refuse("an answer", f"{type(error).__name__}", "Check the connection, the proxy and HF_ENDPOINT.")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        there.refuse("answers of a hub", f"{type(error).__name__}: {error}", "Check HF_ENDPOINT.")
    finally:
        session.timeout = patience
