"""nltk's data files for the packages that score, pinned: those packages would download them at import.

Each archive lies with the benchmarks' data; what is needed of it is unpacked beside it, where nltk is
told to look before a package does.
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

from tasks.benchmarks.data import DataFile, fetch
from tasks.stores.disk import whole_file

__all__ = ["PUNKT", "STOPWORDS", "TAGGER", "NltkFile", "offer_to_nltk"]

NLTK_DATA = "https://raw.githubusercontent.com/nltk/nltk_data"


class NltkFile(NamedTuple):
    """An archive of nltk's data.

    kind     the folder in which nltk looks for it
    content  what the names of the needed files begin with
    """

    file: DataFile
    kind: str
    content: str


def _archive(kind: str, name: str, content: str, revision: str, sha256: str) -> NltkFile:
    url = f"{NLTK_DATA}/{revision}/packages/{kind}/{name}.zip"
    return NltkFile(DataFile(f"{name}.zip", sha256, url), kind, f"{name}/{content}")


# The sentence tokenizer; English is the only language that is asked for.
PUNKT = _archive(
    "tokenizers",
    "punkt_tab",
    "english/",
    "4f15a3d89eefe9748ec1c05be495d91289197155",
    "e57f64187974277726a3417ca6f181ec5403676c717672eef6a748a7b20e0106",
)
TAGGER = _archive(
    "taggers",
    "averaged_perceptron_tagger_eng",
    "",
    "550b6625bcef1f2abff2ff770a5a0d272c9c6b2a",
    "6025f530624335c67d6547d44757b357b4e79bae030a0383e9887a92c1718f0b",
)
STOPWORDS = _archive(
    "corpora",
    "stopwords",
    "english",
    "5db857e6f7df11eabb5e5665836db9ec8df07e28",
    "15c94179887425ca1bedc265608cab9f27d650211f709bb929e320990a4b01d1",
)


def offer_to_nltk(*needed: NltkFile) -> None:
    """Lets nltk find these files, downloaded if need be.

    Raises:
        RetryableError, PermanentError, CorruptError: one cannot be had, as `tasks.benchmarks.data.fetch`.
    """
    import nltk

    for archive in needed:
        folder = _unpack(archive)
        if str(folder) not in nltk.data.path:
            nltk.data.path.insert(0, str(folder))


def _unpack(archive: NltkFile) -> Path:
    """The folder of nltk's layout beside the archive."""
    path = fetch(archive.file)
    root = path.parent / "nltk_data"
    target = root / archive.kind
    with zipfile.ZipFile(path) as packed:
        for name in packed.namelist():
            if name.startswith(archive.content) and not name.endswith("/"):
                _write(target / name, packed.read(name), root)
    return root


def _write(path: Path, content: bytes, root: Path) -> None:
    """A file that is not there yet; nltk reads none that a group may write, whatever the umask."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in (path.parent, *path.parent.parents):
        folder.chmod(0o755)
        if folder == root:
            break
    with whole_file(path) as part:
        part.write_bytes(content)
        part.chmod(0o644)
