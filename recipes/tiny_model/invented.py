"""Names and values that nobody chose: words of random letters, of other scripts, and names of tools made of words.

They belong to a split like everything else (``splits.py``): what is held out never occurs in training.
"""

from __future__ import annotations

from collections.abc import Callable

from splits import Draw, split_of

ENGLISH = (
    "account agenda airport album animal answer apple area artist author balance bank battery beach bicycle bill bird "
    "book bottle box bread bridge budget building bus business button calendar call candle car card castle chair chart "
    "city class clock cloud coat code coffee color company concert contact contract cook corner country course cousin "
    "currency dance date degree desk detail dinner distance doctor document dog door dragon dream driver email engine "
    "event exam expense family farm field file film finger fire fish flag flight floor flower folder forest friend "
    "fruit game garden gift glass goal gold grade group guest guide hammer harbor hat holiday home horse hospital "
    "hotel hour house idea image island item jacket job journey judge key kitchen lake lamp language lawyer lesson "
    "letter level library light line list lock machine map market meal meeting member memory menu message metal mirror "
    "model moment money moon morning motor mountain movie museum music name nation network news night note number "
    "office oil orange owner page paint paper park partner party patient pencil people person phone photo piano "
    "picture place plan planet plant plate player pocket point police pool price printer prize profile project "
    "queen question radio rain rate reader recipe record region report rest river road robot rocket roof room route "
    "salary sample school score sea season seat second secret sensor series server shape ship shirt shop signal "
    "silver singer size sky snow sock soldier song sound space speed spice sport square stage station status stock "
    "stone store storm story street student subject sugar summer table task taxi teacher team temple test theater "
    "ticket time title tool topic tower town track trade train travel tree trip truck tunnel unit user valley value "
    "vehicle video village visitor voice volume wallet watch water wave week wheel wind window winter word worker year "
    "zone big bright brave calm clean clever cold cool cruel dark deep double dry early easy empty fast final first "
    "flat formal fresh friendly full funny general gentle global grand great happy heavy hidden high honest hot huge "
    "internal kind large late lazy little local long loud lucky main major modern narrow new noisy normal old open "
    "plain polite poor private proud public quick quiet rare real rich round royal safe sad sharp short silent simple "
    "single slow small smart soft solid special strange strong sweet tall tiny total true warm weak wide wild wise "
    "young African Arabic Brazilian British Chinese Danish Dutch English French German Greek Indian Irish Italian "
    "Japanese Korean Mexican Polish Roman Russian Spanish Swedish Turkish Viking"
)
ORDERS = (
    "add apply ask assign book build buy cancel change check choose clean close collect compare compute convert copy "
    "count create delete describe draw edit estimate evaluate export fetch fill filter find fix format get give "
    "import insert list load look make mark measure merge move open pay pick plan plot post predict print process "
    "query rate read record remove rename repeat reply report request reset return run save schedule search select "
    "sell send set show solve sort start stop store submit sum translate update upload validate verify write"
)
WORDS, VERBS = tuple(ENGLISH.split()), tuple(ORDERS.split())
BEGINNINGS = "b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl fr gr kr pl pr sh sl sp st th tr"
MIDDLES, ENDS = "a e i o u a e i o ai ea ee ie io oo ou", "n r s l t m x ck nd ng ns rk rt st"
ONSETS, VOWELS, CODAS = tuple(BEGINNINGS.split()), tuple(MIDDLES.split()), ("", "", "", "", *ENDS.split())
SCRIPTS = (
    *[((0x4E00, 0x9FA5),)] * 4,
    *[((0x3041, 0x3093),)] * 2,
    *[((0x3041, 0x3093), (0x4E00, 0x9FA5))] * 2,
    ((0x30A1, 0x30F6),),
    ((0xAC00, 0xD7A3),),
    ((0x0410, 0x044F),),
    ((0x03B1, 0x03C9),),
    ((0x0627, 0x064A),),
    ((0x0905, 0x0939),),
    ((0x00E0, 0x00F6), (0x61, 0x7A)),
)
"""Ranges of code points: Chinese, Japanese, Korean, Cyrillic, Greek, Arabic, Devanagari, Latin with accents."""


def fresh(draw: Draw, make: Callable[[], str]) -> str:
    """What `make` gives, once it is of the split of this draw."""
    while split_of(value := make()) != draw.split:
        pass
    return value


def syllables(draw: Draw) -> str:
    """One or two syllables of no language."""
    count = draw.choice((1, 2, 2))
    return "".join(draw.choice(ONSETS) + draw.choice(VOWELS) + draw.choice(CODAS) for _ in range(count))


def word(draw: Draw) -> str:
    """A word of English, or one of random syllables."""
    return draw.choice(WORDS) if draw.chance(0.5) else fresh(draw, lambda: syllables(draw))


def noun(draw: Draw) -> str:
    return word(draw).lower()


def parameter(draw: Draw) -> str:
    """A name of a parameter, such as ``city``, ``river_name`` or ``b``."""
    share = draw.random.random()
    if share < 0.15:
        return draw.choice("abcdefghijklmnopqrstuvwxyz")
    return noun(draw) if share < 0.55 else fresh(draw, lambda: f"{noun(draw)}_{noun(draw)}")


def tool_name(draw: Draw, *, ending: str = "") -> str:
    """A name of a tool in snake case: one to three words, the last one as told."""

    def make() -> str:
        parts = [draw.choice(VERBS) if draw.chance(0.4) else noun(draw)]
        parts += [noun(draw) for _ in range(draw.choice((0, 1, 1, 2)))]
        return "_".join([*parts, ending] if ending else parts)

    return fresh(draw, make)


def schema_name(draw: Draw, last: str) -> str:
    """A name of a class, such as ``Song`` or ``QuickSong``."""
    return last.capitalize() if draw.chance(0.7) else fresh(draw, lambda: noun(draw).capitalize() + last.capitalize())


def title(draw: Draw) -> str:
    """One to three words with capitals, sometimes with a short form of a region: ``Old Brask, TR``."""

    def make() -> str:
        words = " ".join(noun(draw).capitalize() for _ in range(draw.choice((1, 2, 2, 3))))
        region = "".join(draw.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(2))
        return f"{words}, {region}" if draw.chance(0.25) else words

    return fresh(draw, make)


def foreign(draw: Draw) -> str:
    """Two to eight characters of one script, or of two that are written together."""

    def make() -> str:
        ranges = draw.choice(SCRIPTS)
        return "".join(chr(draw.random.randint(*draw.choice(ranges))) for _ in range(draw.random.randint(2, 8)))

    return fresh(draw, make)


def text_value(draw: Draw) -> str:
    """A value for a parameter that is a string."""
    share = draw.random.random()
    if share < 0.2:
        return foreign(draw)
    if share < 0.55:
        return title(draw)
    return fresh(draw, lambda: " ".join(noun(draw) for _ in range(draw.choice((1, 1, 2, 3)))))


def number_value(draw: Draw) -> int | float:
    """A value for a parameter that is a number."""
    if draw.chance(0.1):
        return draw.random.randrange(1, 400) / 10
    return draw.random.randrange(draw.choice((10, 100, 1000, 10000)))
