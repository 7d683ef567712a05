"""How many years of school does a reader of this documentation need?

Flesch-Kincaid grade level (Kincaid, Fishburne, Rogers and Chissom, 1975, Navy research branch report 8-75):

    0.39 · words / sentences + 11.8 · syllables / words − 15.59

Only prose counts: code blocks, tables, HTML, front matter, images and link targets are taken out first, and every heading,
paragraph and list item ends a sentence. Feeding the raw Markdown to the formula, as the obvious version does, counts a
forty-line code block as one sentence of two hundred words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from plms_pipeline.kpis.measurement import Measurement, unmeasured

MINIMUM_WORDS: Final = 100
"""The formula was fitted on passages of this length; on three words any grade can be made."""

_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)\n", re.DOTALL)
_FENCE: Final = re.compile(r"^ {0,3}(?P<mark>`{3,}|~{3,})[^\n]*$")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]*>")
# No pattern may run past the next opening of its own kind: a hostile text of half a megabyte must not take hours.
_IMAGE: Final = re.compile(r"!\[[^\[\]]*\](?:\([^()]*\)|\[[^\[\]]*\])?")
_LINK: Final = re.compile(r"\[(?P<text>[^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_REFERENCE: Final = re.compile(r"^ {0,3}\[[^\]]+\]:\s.*$", re.MULTILINE)
_INLINE_CODE: Final = re.compile(r"(?P<mark>`{1,3})[^`\n]+(?P=mark)")
_URL: Final = re.compile(r"<?https?://\S+")
_BLOCK_START: Final = re.compile(r"^\s*(?:#{1,6}\s+|[-*+]\s+|\d+[.)]\s+|>\s*)")
_TABLE_ROW: Final = re.compile(r"^\s*\|.*\|\s*$|^\s*:?-{3,}:?(?:\s*\|\s*:?-{3,}:?)+\s*$")
_RULE: Final = re.compile(r"^\s*(?:[-*_]\s*){3,}$|^\s*=+\s*$")
_ABBREVIATION: Final = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|Mr|Mrs|Ms|Dr|Fig|No|approx)\.", re.IGNORECASE)
_SENTENCE_END: Final = re.compile(r"[.!?]+(?=\s|$)|\n")
_WORD: Final = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
_ANY_LETTER: Final = re.compile(r"[^\W\d_]")
_VOWELS: Final = re.compile(r"[aeiouy]+")
_PARTED: Final = re.compile(
    r"ia(?!n$|l|n\b)|[rdn]ia[ln]|^[dtv][a-z]?ial|io(?!n|us)|[^st]ious|^[lp]ion|iu|uie|eo(?!u|p)|[aeiouy]ing|creat|[rd]ien"
    r"|^(?:sci|cli)en|(?:id|ar)ea|oe[mt]|eum"
)
_SILENT_E: Final = re.compile(r"[^aeiouyl]e$|[aeiouyl]le$|[^aeiouytd]ed$|[^aeiouyszxcgh]es$|[^aeiouysc]hes$|^every")


@dataclass(frozen=True, slots=True)
class TextCounts:
    """How many words, sentences and syllables a text has."""

    words: int
    sentences: int
    syllables: int


def prose_of(markdown: str) -> str:
    """The prose of a Markdown text, one block (heading, paragraph, list item) per line."""
    text = _FRONT_MATTER.sub("", markdown.replace("\r\n", "\n"))
    text = _without_comments("\n".join(_without_code(text.split("\n"))))
    for pattern, replacement in ((_REFERENCE, ""), (_IMAGE, ""), (_LINK, r"\g<text>"), (_URL, ""), (_TAG, " ")):
        text = pattern.sub(replacement, text)
    text = _INLINE_CODE.sub(" ", text)
    blocks: list[str] = []
    open_block = False
    for line in text.split("\n"):
        if not line.strip() or _TABLE_ROW.match(line) or _RULE.match(line):
            open_block = False
            continue
        starts = bool(_BLOCK_START.match(line))
        words = re.sub(r"[*_~#]+", "", _BLOCK_START.sub("", line)).strip()
        if open_block and not starts:
            blocks[-1] += " " + words
        else:
            blocks.append(words)
        open_block = not line.lstrip().startswith("#")
    return "\n".join(block for block in blocks if block)


def _without_comments(text: str) -> str:
    """Outside `<!-- … -->`; an open comment runs to the end, as in a browser."""
    first, *others = text.split("<!--")
    return " ".join([first, *(part.partition("-->")[2] for part in others)])


def _without_code(lines: list[str]) -> list[str]:
    """The lines outside fenced and indented code blocks."""
    kept: list[str] = []
    fence: str | None = None
    after_blank = True
    in_list = False
    for line in lines:
        found = _FENCE.match(line)
        if fence is not None:
            if found and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
            continue
        if found:
            fence = found["mark"]
            kept.append("")
            continue
        if line.strip():
            in_list = bool(re.match(r"^\s*(?:[-*+]|\d+[.)])\s", line)) or (in_list and line.startswith(" "))
        if after_blank and line.startswith(("    ", "\t")) and not in_list:
            continue
        after_blank = not line.strip()
        kept.append(line)
    return kept


def syllables_in(word: str) -> int:
    """Syllables of an English word, at least 1: its vowel groups, plus vowels that part, minus an `e` that is silent.

    English spelling allows no exact rule; on running text the errors mostly cancel out.
    """
    letters = re.sub(r"[^a-z]", "", word.lower())
    groups = len(_VOWELS.findall(letters)) + len(_PARTED.findall(letters))
    if groups > 1 and _SILENT_E.search(letters):
        groups -= 1
    return max(1, groups)


def count(prose: str) -> TextCounts:
    """Words, sentences and syllables; a line break ends a sentence, an abbreviation's full stop does not."""
    text = _ABBREVIATION.sub(lambda found: found[0][:-1].replace(".", ""), prose)
    words = sentences = syllables = 0
    for sentence in _SENTENCE_END.split(text):
        found = _WORD.findall(sentence)
        if found:
            sentences += 1
            words += len(found)
            syllables += sum(syllables_in(word) for word in found)
    return TextCounts(words, sentences, syllables)


def grade(counts: TextCounts) -> float:
    """The Flesch-Kincaid grade level; lower is easier.

    Raises:
        ValueError: there is no word.
    """
    if counts.words < 1 or counts.sentences < 1:
        raise ValueError("a text without words has no grade")
    return 0.39 * counts.words / counts.sentences + 11.8 * counts.syllables / counts.words - 15.59


def measure_readability(markdown: str | None) -> Measurement:
    """The grade of a Markdown text, or why it has none: missing, under 100 words of prose, or not in Latin letters."""
    if markdown is None:
        return unmeasured("the documentation is missing")
    prose = prose_of(markdown)
    counts = count(prose)
    if counts.words < MINIMUM_WORDS:
        return unmeasured(
            f"only {counts.words} words of prose outside code and tables; the grade needs {MINIMUM_WORDS}", log=prose
        )
    latin = len(re.findall(r"[A-Za-z]", prose))
    if latin < 0.8 * len(_ANY_LETTER.findall(prose)):
        return unmeasured("most letters are not Latin; the Flesch-Kincaid grade is defined for English", log=prose)
    return Measurement(
        round(grade(counts), 4),
        log=f"{counts.words} words, {counts.sentences} sentences, {counts.syllables} syllables\n\n{prose}\n",
    )
