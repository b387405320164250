"""As much YAML as connector.yaml needs, for tests that have no daemon at hand.

Block and flow mappings and lists, plain and quoted scalars of YAML 1.2's core
schema, block scalars, comments. Anchors, tags and multiple documents are
refused, not guessed. The daemon reads the real file with a real parser.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEY = re.compile(
    r"""((?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#"'\[\]{},&*!|>@`-][^#]*?|-[^\s#][^#]*?))\s*:(?:\s+|$)"""
)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def load(text: str, name: str = "connector.yaml") -> Any:
    """The value of a document.

    Raises:
        ValueError: Something that this subset does not know, with its line.
    """
    reader = _Reader(text, name)
    value = reader.block(0)
    if reader.peek() is not None:
        raise reader.wrong("what is this indented for?")
    return value


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.raw = text.splitlines()
        self.at = 0
        if self.raw and self.raw[0].strip() == "---":
            self.raw[0] = ""

    def wrong(self, message: str) -> ValueError:
        return ValueError(f"{self.name}:{self.at + 1}: {message}")

    def peek(self) -> tuple[int, str] | None:
        """(indentation, content) of the next line that has any."""
        while self.at < len(self.raw):
            line = _uncommented(self.raw[self.at])
            if line.strip():
                if "\t" in line[: len(line) - len(line.lstrip())]:
                    raise self.wrong("a tab indents this line; YAML wants spaces")
                return len(line) - len(line.lstrip()), line.strip()
            self.at += 1
        return None

    def block(self, indent: int) -> Any:
        found = self.peek()
        if found is None or found[0] < indent:
            return None
        level, content = found
        if content == "-" or content.startswith("- "):
            return self._list(level)
        if _KEY.match(content):
            return self._mapping(level)
        self.at += 1
        return self._inline(content)

    def _list(self, level: int) -> list[Any]:
        items = []
        while (found := self.peek()) is not None and found[0] == level and (found[1] + " ").startswith("- "):
            rest = found[1][1:].strip()
            if not rest:
                self.at += 1
                items.append(self.block(level + 1))
            else:
                # The item goes on where its first key stands.
                inner = level + len(found[1]) - len(rest)
                self.raw[self.at] = " " * inner + rest
                items.append(self.block(inner))
        return items

    def _mapping(self, level: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while (found := self.peek()) is not None and found[0] == level:
            match = _KEY.match(found[1])
            if match is None:
                raise self.wrong("a key and a colon are expected here")
            key = str(self._inline(match.group(1), key=True))
            if key in result:
                raise self.wrong(f"the key {key!r} occurs twice")
            rest = found[1][match.end() :].strip()
            self.at += 1
            if rest[:1] in ("|", ">"):
                result[key] = self._text(rest, level)
            elif rest:
                result[key] = self._inline(rest)
            else:
                after = self.peek()
                same = after is not None and after[0] == level and (after[1] + " ").startswith("- ")
                result[key] = self.block(level if same else level + 1)
        if found is not None and found[0] > level:
            raise self.wrong("what is this indented for?")
        return result

    def _text(self, style: str, level: int) -> str:
        lines: list[str] = []
        while self.at < len(self.raw):
            line = self.raw[self.at]
            if line.strip() and len(line) - len(line.lstrip()) <= level:
                break
            lines.append(line)
            self.at += 1
        while lines and not lines[-1].strip():
            lines.pop()
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        cut = [line[indent:] for line in lines]
        if style[0] == "|":
            text = "\n".join(cut)
        else:
            text = re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(cut)).replace("\n\n", "\n")
        return text if "-" in style else text + "\n"

    def _inline(self, text: str, key: bool = False) -> Any:
        # A flow collection may go on over several lines.
        while text[:1] in "[{" and not _closed(text):
            found = self.peek()
            if found is None:
                raise self.wrong("a bracket is not closed")
            text += " " + found[1]
            self.at += 1
        if text[:1] in ("&", "*", "!", "@", "`"):
            raise self.wrong(f"{text[0]!r} is not used in connector.yaml")
        if text[:1] in ("[", "{"):
            value, rest = self._flow(text)
            if rest.strip():
                raise self.wrong(f"{rest.strip()!r} after the closing bracket")
            return value
        return text if key and text[:1] not in "\"'" else self._scalar(text)

    def _flow(self, text: str) -> tuple[Any, str]:
        text = text.lstrip()
        if text[:1] == "[":
            items: list[Any] = []
            text = text[1:].lstrip()
            while text[:1] != "]":
                value, text = self._flow(text)
                items.append(value)
                text = self._comma(text, "]")
            return items, text[1:]
        if text[:1] == "{":
            mapping: dict[str, Any] = {}
            text = text[1:].lstrip()
            while text[:1] != "}":
                name, text = self._flow_scalar(text, ":,}")
                text = text.lstrip()
                if text[:1] == ":":
                    value, text = self._flow(text[1:])
                else:
                    value = None
                mapping[str(name)] = value
                text = self._comma(text, "}")
            return mapping, text[1:]
        return self._flow_scalar(text, ",]}")

    def _comma(self, text: str, end: str) -> str:
        text = text.lstrip()
        if text[:1] == ",":
            return text[1:].lstrip()
        if text[:1] != end:
            raise self.wrong(f"a comma or {end} is expected in a flow collection")
        return text

    def _flow_scalar(self, text: str, ends: str) -> tuple[Any, str]:
        if text[:1] in "\"'" and text:
            stop = _quoted_end(text)
            return self._scalar(text[:stop]), text[stop:]
        stop = 0
        while stop < len(text):
            if text[stop] in ends and not (text[stop] == ":" and text[stop + 1 : stop + 2] not in ("", " ", ",", "}")):
                break
            stop += 1
        return self._scalar(text[:stop].strip()), text[stop:]

    def _scalar(self, text: str) -> Any:
        if text[:1] == '"':
            import json

            try:
                # Escape by escape: the second of two backslashes escapes nothing.
                return json.loads(re.sub(r"\\(.)", lambda found: "'" if found[1] == "'" else found[0], text))
            except ValueError:
                raise self.wrong("a double-quoted text is not closed or has an unknown escape") from None
        if text[:1] == "'":
            if len(text) < 2 or text[-1] != "'":
                raise self.wrong("a quoted text is not closed")
            return text[1:-1].replace("''", "'")
        if text in ("", "~", "null", "Null", "NULL"):
            return None
        if text in ("true", "True", "TRUE"):
            return True
        if text in ("false", "False", "FALSE"):
            return False
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text


def _quoted_end(text: str) -> int:
    quote, at = text[0], 1
    while at < len(text):
        if quote == '"' and text[at] == "\\":
            at += 1
        elif text[at] == quote:
            if quote == "'" and text[at + 1 : at + 2] == "'":
                at += 1
            else:
                return at + 1
        at += 1
    return len(text)


def _uncommented(line: str) -> str:
    at = 0
    while at < len(line):
        if line[at] in "\"'" and (at == 0 or line[at - 1] in " [{,:-("):
            at += _quoted_end(line[at:])
            continue
        if line[at] == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at].rstrip()
        at += 1
    return line.rstrip()


def _closed(text: str) -> bool:
    depth = at = 0
    while at < len(text):
        if text[at] in "\"'" and (at == 0 or text[at - 1] in " [{,:"):
            at += _quoted_end(text[at:])
            continue
        depth += (text[at] in "[{") - (text[at] in "]}")
        if depth == 0:
            return True
        at += 1
    return False
