"""The site's lexicon: names, drugs and other words of a hospital, and how they are to be said.

A UTF-8 text file with one entry per line: the text as written, a TAB, and the text as said. Text
between slashes is phonemes (misaki's alphabet, which Kokoro was trained on). Empty lines and lines
that begin with '#' are ignored.

    Kefzol<TAB>kef zole
    Mx Nguyen<TAB>/mˈɪks nwˈɪn/

An entry matches whole words. Case counts only if the entry has a capital after its first
character. The longest entry that matches wins. Where `read` loads the file, everything else is
a function of text.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import BadLexicon
from appliance.settings import LEXICON_FILE, TTSConfig

MAX_FILE_BYTES = 1_000_000
MAX_ENTRIES = 10_000
MAX_WRITTEN_CHARS = 60
MAX_SAID_CHARS = 200
MAX_PROBLEMS = 20  # reported for one file

# misaki 0.9.4, misaki/en.py: US_VOCAB and GB_VOCAB, 'ɐ' and 'T', and the space between words.
PHONEMES = frozenset("AIOQWYTabdfhijklmnpstuvwzæðŋɐɑɒɔəɛɜɡɪɹɾʃʊʌʒʤʧˈˌːθᵊᵻʔ ")
VOWELS = frozenset("AIOQWYaiuæɐɑɒɔəɛɜɪʊʌᵊᵻ")
LOOK_ALIKES = {"g": "ɡ", "r": "ɹ", "'": "ˈ", ":": "ː", "o": "O", "e": "ɛ"}

_QUOTES = frozenset("\"'“”„‘’«»")
_WORD = re.compile(r"\w+|[^\w\s]")
_MARK = "Qzsite"  # no English word, and no rule of the text normalization changes it


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the file. `said` has no slashes; `is_phonemes` tells whether it had."""

    written: str
    said: str
    is_phonemes: bool = False

    @property
    def is_case_sensitive(self) -> bool:
        """Whether the entry has a capital after its first character."""
        return any(char.isupper() for char in self.written[1:])

    @property
    def key(self) -> str:
        """Equal for two entries that match the same text."""
        written = " ".join(self.written.split())
        return written if self.is_case_sensitive else written.casefold()


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file. `line` counts from 1; 0 is the file as a whole."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Marked:
    """Text in which each part with given phonemes is replaced by a mark, a word of ASCII letters.

    text   the text, for the text normalization
    marks  the entry of each mark
    """

    text: str
    marks: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def phonemes(self) -> Mapping[str, str]:
        """The phonemes of each mark."""
        return {mark: entry.said for mark, entry in self.marks.items()}

    def unmark(self, text: str) -> str:
        """Return `text` with the written form in place of each mark."""
        for mark, entry in self.marks.items():
            text = text.replace(mark, entry.written)
        return text


class SiteLexicon:
    """Entries, found by their first word."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._by_first_word: dict[str, list[tuple[frozenset[str], Entry]]] = defaultdict(list)
        # Longest first; of two that differ in case only, the one that is case-sensitive.
        for entry in sorted(entries, key=lambda e: (-len(e.written), not e.is_case_sensitive)):
            first = _WORD.search(entry.written)
            words = frozenset(_WORD.findall(entry.written.casefold()))
            if first:
                self._by_first_word[first[0].casefold()].append((words, entry))

    def __len__(self) -> int:
        return sum(map(len, self._by_first_word.values()))

    def written(self) -> list[str]:
        """Return the entries as they are written."""
        return [entry.written for entries in self._by_first_word.values() for _, entry in entries]

    def mark(self, text: str) -> Marked:
        """Replace what the entries match: by the words to be said, or by a mark for phonemes."""
        if not self._by_first_word:
            return Marked(text)
        text = unicodedata.normalize("NFC", text)
        prefix = _MARK
        while prefix.casefold() in text.casefold():
            prefix += "q"
        parts: list[str] = []
        marks: dict[str, Entry] = {}
        end = 0
        words = frozenset(_WORD.findall(text.casefold()))
        for word in _WORD.finditer(text):
            if word.start() < end:
                continue
            for entry_words, entry in self._by_first_word.get(word[0].casefold(), ()):
                # Without the first test, a word that begins many entries would be slow.
                is_here = entry_words <= words
                match = _pattern(entry).match(text, word.start()) if is_here else None
                if match is None:
                    continue
                said = entry.said
                if entry.is_phonemes:
                    said = prefix + _letters(len(marks))
                    marks[said] = entry
                parts += text[end : match.start()], said
                end = match.end()
                break
        return Marked("".join((*parts, text[end:])), marks)


def _letters(number: int) -> str:
    """Return three small letters, so that no mark is the start of another."""
    letters = ""
    for _ in range(3):
        number, digit = divmod(number, 26)
        letters = chr(ord("a") + digit) + letters
    return letters


@functools.cache
def _pattern(entry: Entry) -> re.Pattern[str]:
    """Match the entry as whole words, but not as a part of an address such as name.example."""
    words = r"\s+".join(re.escape(word) for word in entry.written.split())
    before = r"(?<!\w)(?<!\w[.@])" if re.match(r"\w", entry.written) else ""
    after = r"(?!\w|[.@]\w)" if re.search(r"\w$", entry.written) else ""
    return re.compile(before + words + after, 0 if entry.is_case_sensitive else re.IGNORECASE)


def parse(text: str) -> tuple[SiteLexicon, Sequence[Problem]]:
    """Parse the text of a file. Return the valid entries and the problems, at most MAX_PROBLEMS."""
    entries: dict[str, Entry] = {}
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            entry = _parse_line(line)
            if entry.key in entries:
                raise ValueError(f"{entry.written!r} is already in line {lines[entry.key]}")
            if len(entries) == MAX_ENTRIES:
                raise ValueError(f"the file has more than {MAX_ENTRIES} entries")
        except ValueError as error:
            problems.append(Problem(number, str(error)))
            if len(problems) == MAX_PROBLEMS or len(entries) == MAX_ENTRIES:
                break
            continue
        entries[entry.key], lines[entry.key] = entry, number
    return SiteLexicon(entries.values()), problems


def _parse_line(line: str) -> Entry:
    """Raises ValueError with the reason if the line is not an entry."""
    columns = [unicodedata.normalize("NFC", column.strip()) for column in line.split("\t")]
    if len(columns) != 2:
        raise ValueError(
            f"it has {len(columns) - 1} TABs; an entry is the text as written, one TAB, and the "
            "text as said"
        )
    written, said = columns
    for name, value, limit in (
        ("written", written, MAX_WRITTEN_CHARS),
        ("said", said, MAX_SAID_CHARS),
    ):
        if not any(map(str.isalnum, value)):
            raise ValueError(f"the text as {name} has no letter or digit")
        if len(value) > limit:
            raise ValueError(f"the text as {name} has {len(value)} characters; {limit} are allowed")
        if any(unicodedata.category(char).startswith("C") for char in value):
            raise ValueError(f"the text as {name} has a control character")
        if value[0] in _QUOTES and value[-1] in _QUOTES:
            raise ValueError(f"the text as {name} stands between quotes; write it without them")
    if not any(map(str.isalpha, written)):
        raise ValueError("the text as written has no letter; the rules for numbers read numbers")
    if " #" in said:
        raise ValueError("there is a # after the text as said; a comment has a line of its own")
    if not said.startswith("/"):
        foreign = next((char for char in said if char.isalpha() and not _is_latin(char)), None)
        if foreign is not None:
            raise ValueError(f"the voice cannot say {foreign!r}; write it with Latin letters")
        return Entry(written, said)
    if len(said) < 3 or not said.endswith("/") or "/" in said[1:-1]:
        raise ValueError("phonemes stand between two slashes")
    phonemes = " ".join(said[1:-1].split())
    unknown = next((char for char in phonemes if char not in PHONEMES), None)
    if unknown is not None:
        hint = f"; write {LOOK_ALIKES[unknown]!r}" if unknown in LOOK_ALIKES else ""
        raise ValueError(f"{unknown!r} is not a phoneme of the voice{hint}")
    if VOWELS.isdisjoint(phonemes):
        raise ValueError("the phonemes have no vowel")
    return Entry(written, phonemes, is_phonemes=True)


def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "").startswith("LATIN")


def examine(config: TTSConfig) -> tuple[SiteLexicon, Sequence[Problem]]:
    """Read the file that the settings name. Return its entries, and what is wrong with it.

    A file that does not exist is an empty lexicon, unless the path is not the default one.
    """
    path = config.lexicon_file
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        if path == LEXICON_FILE:
            return SiteLexicon(), ()
        return SiteLexicon(), (Problem(0, "the file does not exist"),)
    except IsADirectoryError:
        why = "it is a folder; Docker creates one if the file that is mounted does not exist"
        return SiteLexicon(), (Problem(0, why),)
    except OSError as error:
        return SiteLexicon(), (Problem(0, str(error.strerror or error)),)
    if len(content) > MAX_FILE_BYTES:
        return SiteLexicon(), (Problem(0, f"it has more than {MAX_FILE_BYTES:,} bytes"),)
    try:
        return parse(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return SiteLexicon(), (Problem(line, "it is not UTF-8 text"),)


def where(path: Path, problem: Problem) -> str:
    """Name the place of a problem: `lexicon.tsv, line 3`."""
    return f"{path}, line {problem.line}" if problem.line else str(path)


def read(config: TTSConfig) -> SiteLexicon:
    """Return the site's lexicon. Raises BadLexicon with the first problem of the file."""
    lexicon, problems = examine(config)
    if problems:
        raise BadLexicon(where=where(config.lexicon_file, problems[0]), why=problems[0].why)
    return lexicon
