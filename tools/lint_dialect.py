"""The dialect of this project (CONTRIBUTING.md, "Style"), as far as a program can tell.

    python3 tools/lint_dialect.py [--fix] RULE … -- FILE …

Prints "FILE:LINE: what is wrong".  --fix mends what spdx, null, error and init find, and prints what is left.
"""
import collections
import os
import re
import sys

sys.dont_write_bytecode = True
import lint_c  # noqa: E402

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
LINES_MAX = 80
PARAMETERS_MAX = 5
# Functions with more parameters, each with why it is still so.  A struct for the arguments is the way out.
PARAMETERS_EXCEPTIONS = {
    "hsm_create_csr": "has the shape of the other calls of hsm.h, whose deadline, done and arg become one struct",
    "store_csr_delete_begin": "has the shape of the other writes of store.h: what, origin, done, arg",
    "store_csr_leftover": "likewise",
    "store_principal_revoke": "likewise",
}

# Structs that are chained by hand, each with why.
LIST_EXCEPTIONS = {}

TESTS = ("tests/", "bench/")
ENDS = {")", "&&", "||", "?", ";", ",", ":", "}"}
BEFORE_VALUE = {"(", "[", "&&", "||", "?", ":", "=", "return", ",", ";", "{", "!"}
NO_CALL = {"if", "while", "for", "switch", "return", "sizeof", "case", "else", "do"}
CONDITIONS = {"if", "while", "assert", "assert_true", "assert_false"}


class Finding:
    def __init__(self, line, text, edits=()):
        self.line, self.text, self.edits = line, text, edits


def text_of(toks, i):
    return toks[i].text if 0 <= i < len(toks) else ""


def is_call(toks, opening):
    """Is this "(" that of a call, or of if, while and the like?"""
    before = toks[opening - 1] if opening else None
    return before is not None and (before.kind == "id" and before.text not in ("return", "case", "else")
                                   or before.text in (")", "]"))


def operand_start(toks, end):
    """Where the postfix expression that ends at this token begins, with its unary operators; None: too hard to say."""
    i = end
    while True:
        if toks[i].text in (")", "]"):
            if toks[i].pair is None:
                return None
            closing = toks[i].text
            i = toks[i].pair
            before = toks[i - 1]
            if closing == ")" and not is_call(toks, i):
                break
            if closing == ")" and before.text in NO_CALL:
                break
            if before.kind == "id" or before.text in (")", "]"):
                i -= 1
                continue
            return None
        if toks[i].kind not in ("id", "str", "num"):
            return None
        if text_of(toks, i - 1) in (".", "->"):
            i -= 2
            continue
        break
    while True:
        before, earlier = text_of(toks, i - 1), text_of(toks, i - 2)
        if before in ("*", "&", "-") and (earlier in BEFORE_VALUE or earlier in ("==", "!=", "<", ">", "+", "*")):
            i -= 1
        elif before in ("++", "--"):
            i -= 1
        else:
            return i


def operand_end(toks, start):
    """The last token of the postfix expression that begins here; None: there is none."""
    i = start
    if toks[i].kind != "id" or toks[i].text in NO_CALL:
        return None
    while True:
        after = text_of(toks, i + 1)
        if after in ("(", "[") and toks[i + 1].pair is not None:
            i = toks[i + 1].pair
        elif after in (".", "->") and toks[i + 2].kind == "id":
            i += 2
        else:
            return i


def is_condition(toks, first, last):
    """Is the expression, which no binary operator but && and || touches, one of which only the truth counts?"""
    before, after = text_of(toks, first - 1), text_of(toks, last + 1)
    if before in ("!", "&&", "||") or after in ("&&", "||", "?"):
        return True
    if before == "(" and after == ")":
        opening = first - 1
        if text_of(toks, opening - 1) in CONDITIONS:
            return True
        if not is_call(toks, opening):
            return is_condition(toks, opening, last + 1)
    if before == ";" and after == ";":
        opening = first - 1
        while opening > 0 and toks[opening].text not in ("{", "}"):
            if toks[opening].text == "(" and toks[opening].pair is not None and toks[opening].pair > last:
                return text_of(toks, opening - 1) == "for"
            opening -= 1
    return False


def find_null(toks):
    for i, token in enumerate(toks):
        if token.text not in ("==", "!=") or text_of(toks, i + 1) != "NULL":
            continue
        first, after = operand_start(toks, i - 1), text_of(toks, i + 2)
        clear = first is not None and text_of(toks, first - 1) in BEFORE_VALUE and after in ENDS
        if token.text == "!=" and not (clear and is_condition(toks, first, i + 1)):
            continue
        said = "".join(t.text for t in toks[first or i - 1:i])
        wanted = "!x" if token.text == "==" else "x"
        edits = []
        if clear:
            negated = token.text == "=="
            edits.append((toks[i - 1].end, toks[i + 1].end, ""))
            # (x == NULL) && …: the brackets have nothing left to hold together
            if (text_of(toks, first - 1) == "(" and after == ")" and not is_call(toks, first - 1)
                    and text_of(toks, first - 2) in BEFORE_VALUE | {"==", "!="}
                    and toks[first].text != "("):
                edits.append((toks[first - 1].start, toks[first - 1].end, "!" if negated else ""))
                edits.append((toks[i + 2].start, toks[i + 2].end, ""))
            elif negated:
                edits.append((toks[first].start, toks[first].start, "!"))
        yield Finding(token.line, "'%s %s NULL' is '%s' here" % (said[-40:], token.text, wanted), edits)


class Errors:
    """What is an enum err: functions, members and, in each function, variables."""

    def __init__(self):
        self.functions = set()
        members, others = set(), set()
        self.members = members
        self.other_members = others

    def learn(self, toks):
        for i in range(len(toks) - 3):
            if toks[i].text == "enum" and toks[i + 1].text == "err" and toks[i + 2].kind == "id":
                if toks[i + 3].text == "(":
                    self.functions.add(toks[i + 2].text)
        for i, token in enumerate(toks):
            if token.text not in ("struct", "union"):
                continue
            brace = i + 2 if text_of(toks, i + 2) == "{" else i + 1 if text_of(toks, i + 1) == "{" else None
            if brace is None or toks[brace].pair is None:
                continue
            for k in range(brace + 1, toks[brace].pair):
                if toks[k].kind == "id" and text_of(toks, k + 1) in (";", ",", "[", ":"):
                    is_err = text_of(toks, k - 2) == "enum" and text_of(toks, k - 1) == "err"
                    (self.members if is_err and toks[k + 1].text != "[" else self.other_members).add(toks[k].text)

    def settle(self):
        self.members -= self.other_members


def err_variables(toks, function):
    names = set()
    for i in range(function.first, function.close - 2):
        if toks[i].text != "enum" or toks[i + 1].text != "err":
            continue
        k = i + 2
        while toks[k].kind == "id":
            if text_of(toks, k + 1) in ("=", ";", ",", ")"):
                names.add(toks[k].text)
            if k > function.open and toks[k + 1].text == "=":
                # enum err a = f(x), b = E_OK;
                while toks[k + 1].text not in (",", ";"):
                    k = toks[k + 1].pair if toks[k + 1].text in "([{" and toks[k + 1].pair else k + 1
            if k <= function.open or toks[k + 1].text != ",":
                break
            k += 2
    return names


def assigned(toks, opening):
    """(e = f(x)) as a condition"""
    negated = text_of(toks, opening - 1) == "!"
    closing = toks[toks[opening].pair]
    if negated or is_condition(toks, opening, toks[opening].pair):
        operator = "==" if negated else "!="
        edits = [(closing.end, closing.end, " %s E_OK" % operator)]
        if negated:
            edits.append((toks[opening - 1].start, toks[opening - 1].end, ""))
        yield Finding(toks[opening].line, "'(%s = …)': an enum err is compared: '%s E_OK'" %
                      (toks[opening + 1].text, operator), edits)


def find_error(toks, errors):
    for function in lint_c.functions(toks):
        variables = err_variables(toks, function)
        i = function.open
        while i < function.close:
            i += 1
            token = toks[i]
            if (token.text == "(" and token.pair is not None and text_of(toks, i + 1) in variables
                    and text_of(toks, i + 2) == "=" and not is_call(toks, i) and text_of(toks, token.pair + 1) in ENDS):
                yield from assigned(toks, i)
            if token.kind != "id" or text_of(toks, i - 1) in (".", "->"):
                continue
            last = operand_end(toks, i)
            if last is None:
                continue
            if last == i:
                is_err = token.text in variables
            elif last == toks[i + 1].pair and toks[i + 1].text == "(":
                is_err = token.text in errors.functions
            else:
                is_err = text_of(toks, last - 1) in (".", "->") and toks[last].text in errors.members
            if not is_err or text_of(toks, last + 1) not in ENDS:
                continue
            negated = text_of(toks, i - 1) == "!"
            first = i - 1 if negated else i
            before = text_of(toks, first - 1)
            if before not in BEFORE_VALUE:
                continue
            if not negated and not is_condition(toks, i, last):
                continue
            operator = "==" if negated else "!="
            edits = [(toks[last].end, toks[last].end, " %s E_OK" % operator)]
            if negated:
                edits.append((toks[first].start, toks[first].end, ""))
            said = "".join(t.text for t in toks[first:last + 1])
            yield Finding(token.line, "'%s': an enum err is compared: '%s E_OK'" % (said[:40], operator), edits)


def find_init(toks):
    for i, token in enumerate(toks):
        if token.text == "{" and token.pair == i + 1 and text_of(toks, i - 1) in ("=", ")", ","):
            if text_of(toks, i - 1) == ")" and token.column == 0:
                continue
            if text_of(toks, i - 1) == ")" and text_of(toks, i + 2) not in (";", ",", ")"):
                continue
            yield Finding(token.line, "'{}' is not C: '{0}'", [(token.end, token.end, "0")])
        if (token.text == "{" and token.pair == i + 2 and toks[i + 1].text == "NULL"
                and text_of(toks, i - 1) in ("=", ")") and text_of(toks, i - 2) != "]"):
            yield Finding(token.line, "'{NULL}' is '{0}' here", [(toks[i + 1].start, toks[i + 1].end, "0")])
    for function in lint_c.functions(toks):
        for i in range(function.open, function.close - 9):
            words = [t.text for t in toks[i:i + 11]]
            if (words[:3] == ["memset", "(", "&"] and words[4:9] == [",", "0", ",", "sizeof", "("]
                    and words[3] == words[9] and toks[i - 1].text == ";" and toks[i - 2].text == words[3]
                    and (toks[i - 3].kind == "id" and toks[i - 3].text != "return")):
                yield Finding(toks[i].line, "'%s' is declared and then cleared: '= {0}'" % words[3])


def find_spdx(toks, text):
    if not text.startswith(SPDX):
        yield Finding(1, "begins with " + SPDX.strip(), [(0, 0, SPDX)])


def find_length(toks):
    for function in lint_c.functions(toks):
        if function.lines > LINES_MAX:
            yield Finding(function.line, "%s() has %d lines, at most %d" % (function.name, function.lines, LINES_MAX))


def find_parameters(toks):
    for name, index, count in lint_c.prototypes(toks):
        if count > PARAMETERS_MAX and name not in PARAMETERS_EXCEPTIONS:
            yield Finding(toks[index].line, "%s() has %d parameters, at most %d: a struct holds more" %
                          (name, count, PARAMETERS_MAX))


def find_list(toks):
    """A struct with a pointer, not const, to its own kind is a link of a list (or a tree, of which there is none)."""
    for i, token in enumerate(toks):
        if token.text != "struct" or text_of(toks, i + 2) != "{" or toks[i + 2].pair is None:
            continue
        name = toks[i + 1].text
        k = i + 2
        while k < toks[i + 2].pair:
            k += 1
            if toks[k].text == "(" and toks[k].pair is not None:
                k = toks[k].pair  # parameters of a function that is pointed to
            elif (toks[k].text == "struct" and text_of(toks, k + 1) == name and text_of(toks, k + 2) == "*"
                    and text_of(toks, k - 1) != "const" and name not in LIST_EXCEPTIONS):
                yield Finding(toks[k].line, "struct %s is a link of a list of one's own: sys/queue.h has lists" % name)


def find_statics(sources):
    where = collections.defaultdict(list)
    for name, (_, toks) in sources.items():
        if name.endswith(".c") and not name.startswith(TESTS):
            for function in lint_c.functions(toks):
                if function.static:
                    where[function.name].append((name, function.line))
    for function, places in where.items():
        if len({name for name, _ in places}) > 1:
            for name, line in places:
                others = sorted({other for other, _ in places} - {name})
                yield name, Finding(line, "%s() is in %s too: a static's name holds a noun of its file" %
                                    (function, ", ".join(others)))


PRIVATE = re.compile(r"/\*(?:(?!\*/).)*?\bPrivate\s+to\s+([^:;*]*?)(?:\.(?=\s|\*)|:|;|\*/)", re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def find_private(sources):
    """A header that says "Private to store/" or "Private to conn.c and conn_set.c" is included there only."""
    places = {}
    for name, (text, _) in sources.items():
        if name.endswith(".h"):
            match = PRIVATE.search(text.replace("\n *", "\n"))
            if match:
                words = re.sub(r"\band\b|,", " ", match.group(1)).split()
                odd = [word for word in words if not re.fullmatch(r"[\w./]+(\.[ch]|/)", word)]
                if odd:
                    yield name, Finding(1, "private to what? '%s' is neither a folder/ nor a file.c" % odd[0])
                places[name] = words
    for name, (text, _) in sources.items():
        if name.startswith(TESTS):
            continue
        for match in INCLUDE.finditer(text):
            header = match.group(1)
            words = places.get(header)
            if not words or os.path.dirname(name) == os.path.dirname(header) and all(w.endswith("/") for w in words):
                continue
            if not any(name.startswith(word) if word.endswith("/") else os.path.basename(name) == word
                       or name == word for word in words):
                yield name, Finding(text.count("\n", 0, match.start()) + 1,
                                    '"%s" is private to %s' % (header, " and ".join(words)))


def mend(text, edits):
    for start, end, new in sorted(set(edits), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def in_file(rule, name, sources, errors):
    text, toks = sources[name]
    if rule == "spdx":
        return find_spdx(toks, text)
    if rule == "null":
        return find_null(toks)
    if rule == "error":
        return find_error(toks, errors)
    if rule == "init":
        return find_init(toks)
    if rule == "length":
        return find_length(toks)
    if name.startswith(TESTS):
        return ()
    if rule == "list":
        return find_list(toks)
    return find_parameters(toks) if name.endswith(".h") else ()


def read(name):
    with open(name, encoding="utf-8") as source:
        text = source.read()
    return text, lint_c.tokens(text)


def main(arguments):
    fix = arguments[:1] == ["--fix"]
    arguments = arguments[fix:]
    rules, files = arguments[:arguments.index("--")], arguments[arguments.index("--") + 1:]
    sources = {name: read(name) for name in files}
    errors = Errors()
    for _, toks in sources.values():
        errors.learn(toks)
    errors.settle()
    for rule in rules:
        if rule in ("statics", "private"):
            whole = (find_statics if rule == "statics" else find_private)(sources)
            for name, finding in whole:
                print("%s:%d: %s" % (name, finding.line, finding.text))
            continue
        for name in files:
            findings = list(in_file(rule, name, sources, errors))
            edits = [edit for finding in findings for edit in finding.edits] if fix else []
            if edits:
                with open(name, "w", encoding="utf-8") as target:
                    target.write(mend(sources[name][0], edits))
                sources[name] = read(name)
                findings = list(in_file(rule, name, sources, errors))
            for finding in findings:
                print("%s:%d: %s" % (name, finding.line, finding.text))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
