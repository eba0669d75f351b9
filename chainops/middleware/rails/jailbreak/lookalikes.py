"""Letters of other scripts that look like Latin ones, and ways of writing Latin letters with other signs."""

from __future__ import annotations

__all__ = ["LEET", "LOOKALIKES"]

_GROUPS = {
    "a": "аɑαᴀạ",
    "b": "ьЬβʙв",
    "c": "сϲᴄ",
    "d": "ԁɗᴅժ",
    "e": "еєεҽᴇ",
    "f": "ғƒꜰ",
    "g": "ɡցɢ",
    "h": "һհʜн",
    "i": "іιɩɪı",
    "j": "јϳᴊ",
    "k": "кκᴋ",
    "l": "ӏʟⅼ",
    "m": "мᴍⅿ",
    "n": "пηոɴ",
    "o": "оοօσᴏ",
    "p": "рρᴘ",
    "q": "ԛզ",
    "r": "гᴦʀ",
    "s": "ѕꜱ",
    "t": "тτᴛ",
    "u": "υսᴜц",
    "v": "ѵνᴠ",
    "w": "ԝшωᴡ",
    "x": "хχ",
    "y": "уүγʏ",
    "z": "ᴢʐ",
    "A": "АΑ",
    "B": "ВΒ",
    "C": "СϹ",
    "E": "ЕΕ",
    "H": "НΗ",
    "I": "ІΙӀ",
    "J": "Ј",
    "K": "КΚ",
    "M": "МΜ",
    "N": "Ν",
    "O": "ОΟ",
    "P": "РΡ",
    "S": "Ѕ",
    "T": "ТΤ",
    "X": "ХΧ",
    "Y": "УΥ",
    "Z": "Ζ",
}
LOOKALIKES = {ord(sign): letter for letter, signs in _GROUPS.items() for sign in signs}
for _first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6):  # letters in squares and circles, and of flags
    LOOKALIKES |= {_first + i: chr(ord("a") + i) for i in range(26)}

LEET = str.maketrans("013456789@$!|+", "oieasgtbgasilt")
