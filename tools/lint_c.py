"""What tools/lint_dialect.py needs to see of C: tokens, and where functions begin and end.

It is no parser.  It leans on the layout that clang-format holds: the body of a function opens and closes in column 0.
"""
import re

TOKEN = re.compile(r"""
    (?P<skip> [ \t\f\r\n]+ | \\\n | /\*.*?\*/ | //[^\n]* )
  | (?P<str> (?:u8|[LuU])?"(?:\\.|[^"\\\n])*" )
  | (?P<chr> [LuU]?'(?:\\.|[^'\\\n])*' )
  | (?P<id> [A-Za-z_]\w* )
  | (?P<num> \.?\d(?:[eEpP][+-]|[\w.])* )
  | (?P<op> \.\.\. | <<= | >>= | -> | \+\+ | -- | << | >> | <= | >= | == | != | && | \|\| | [-+*/%&|^]= | \#\# | . )
""", re.VERBOSE | re.DOTALL)


class Token:
    __slots__ = ("kind", "text", "start", "end", "line", "column", "directive", "pair")

    def __init__(self, kind, text, start, line, column, directive):
        self.kind, self.text, self.start, self.line, self.column = kind, text, start, line, column
        self.end = start + len(text)
        self.directive = directive  # the number of the preprocessor directive that it stands in; 0: none
        self.pair = None            # the index of the bracket that belongs to it


def tokens(text):
    """The tokens of a C text, without blanks and comments; brackets know their partners."""
    found, line, line_start, directive, directives, fresh = [], 1, 0, 0, 0, True
    for match in TOKEN.finditer(text):
        piece, kind = match.group(), match.lastgroup
        if kind == "skip":
            newlines = piece.count("\n")
            if newlines:
                line += newlines
                line_start = match.start() + piece.rindex("\n") + 1
                if piece != "\\\n" and not piece.startswith("/*"):
                    directive, fresh = 0, True
            continue
        if piece == "#" and fresh:
            directives += 1
            directive = directives
        fresh = False
        found.append(Token(kind, piece, match.start(), line, match.start() - line_start, directive))
    stack = []
    for i, token in enumerate(found):
        if token.kind != "op":
            continue
        if token.text in "([{":
            stack.append(i)
        elif token.text in ")]}":
            opening = {")": "(", "]": "[", "}": "{"}[token.text]
            # A directive's brackets are its own; of #if and #else both may close what stood open before.
            for depth in range(len(stack) - 1, -1, -1):
                other = found[stack[depth]]
                if other.text == opening and other.directive == token.directive:
                    other.pair, token.pair = i, stack[depth]
                    del stack[depth:]
                    break
    return found


class Function:
    __slots__ = ("name", "index", "first", "open", "close", "static", "line", "lines", "returns_err")


def functions(toks):
    """The functions that are defined in a file."""
    found, begin, i = [], 0, 0
    while i < len(toks):
        token = toks[i]
        if token.directive:
            begin = i + 1
        elif token.text == ";" and token.kind == "op":
            begin = i + 1
        elif token.text == "{" and token.kind == "op":
            close = i
            if token.column == 0:
                close += 1
                while close < len(toks) and not (toks[close].text == "}" and toks[close].column == 0):
                    close += 1
                function = _function(toks, begin, i, min(close, len(toks) - 1))
                if function:
                    found.append(function)
            elif token.pair is not None:
                close = token.pair
            i = close
            begin = i + 1
        i += 1
    return found


def _function(toks, begin, brace, close):
    last = brace - 1
    if last <= begin or toks[last].text != ")" or toks[last].pair is None:
        return None
    name = toks[last].pair - 1
    if name < begin or toks[name].kind != "id":
        return None
    function = Function()
    function.name, function.index, function.first = toks[name].text, name, begin
    function.open, function.close = brace, close
    words = [token.text for token in toks[begin:name]]
    function.static = "static" in words
    function.line = toks[name].line
    function.lines = toks[close].line - toks[brace].line - 1
    function.returns_err = words[-2:] == ["enum", "err"]
    return function


def prototypes(toks):
    """(name, index of the name, number of parameters) of the functions that a header declares or defines inline."""
    i, begin = 0, 0
    while i < len(toks):
        token = toks[i]
        if token.directive:
            begin = i + 1
        elif token.kind == "op" and token.text == "{":
            begin = i
            i = token.pair if token.pair is not None else i
        elif token.kind == "op" and token.text in ";}":
            begin = i + 1
        elif (token.text == "(" and i > begin and toks[i - 1].kind == "id" and token.pair is not None
              and not toks[i - 1].text.isupper() and toks[i - 1].text != "__attribute__"
              and toks[begin].text != "typedef"):
            if toks[i + 1].text != "*":
                yield toks[i - 1].text, i - 1, _parameters(toks, i)
            begin = i = token.pair
            while i + 1 < len(toks) and toks[i + 1].text not in (";", "{"):
                i += 1
        i += 1


def _parameters(toks, opening):
    close, count, i = toks[opening].pair, 1, opening + 1
    if close == opening + 1 or (close == opening + 2 and toks[i].text == "void"):
        return 0
    while i < close:
        if toks[i].text in ("(", "[", "{") and toks[i].pair is not None:
            i = toks[i].pair
        elif toks[i].text == ",":
            count += 1
        i += 1
    return count - (toks[close - 1].text == "...")
