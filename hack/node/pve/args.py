"""How pct reads its command line, and the words for what it doesn't take. It knows no command's
meaning."""

from .schema import Bad


class Usage(Exception):
    """A parameter error: the lines for stderr before the usage line; always exit code 2."""

    def __init__(self, *lines):
        super().__init__(lines[0])
        self.lines = lines


def parse(argv, positional, options, optional=(), extra=False):
    """Splits a command line. `options` maps a name to its check; `extra` keeps what follows."""
    values, rest, unknown = {}, [], []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += words
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name not in options:
            unknown.append(f"Unknown option: {name}")
            if words and not words[0].startswith("-"):
                words.pop(0)
            continue
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "1"
        values[name] = value
    if unknown:
        raise Usage(*unknown, "400 unable to parse option")
    named = dict(zip(positional, rest))
    if len(rest) < len(positional):
        raise Usage("400 not enough arguments")
    rest = rest[len(positional) :]
    for name in optional:
        if rest:
            named[name] = rest.pop(0)
    if rest and not extra:
        raise Usage("400 too many arguments")
    return named, values, rest


def verify(values, checks):
    """Checks every value; all that fails is told at once."""
    lines, blank = [], False
    for key in sorted(values):
        check = checks.get(key)
        if check is None:
            continue
        try:
            check(key, values[key])
        except Bad as bad:
            lines += bad.lines
            blank = bad.blank
    if lines:
        raise Usage("400 Parameter verification failed.", *lines, *([""] if blank else []))
