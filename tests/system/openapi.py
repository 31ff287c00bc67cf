"""doc/openapi.json as a judge of answers: status, headers and body of each must be what the document says of its
operation.  harness.http_request and raw_http ask it about every answer that they read.

The part of JSON Schema that the document uses is all that is understood here; any other keyword is an error."""
import functools
import json
import pathlib
import re

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent.parent / "doc" / "openapi.json"
BASE_PATH = "/client/v4"

# Of the message, not of the contract.
TRANSPORT_FIELDS = {"date", "connection", "content-length", "content-type"}
# What refusals of paths and methods that the document does not have may carry beside.
ELSEWHERE_FIELDS = {"allow", "www-authenticate", "x-should-retry", "accept", "accept-encoding", "retry-after",
                    "ratelimit", "ratelimit-policy"}

FORMATS = {
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
}
UNCHECKED_FORMATS = {"ipv4", "ipv6", "email", "uri", "uri-reference"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


# ---- JSON Schema: from a schema to a function that returns what is wrong with a value, or None --------------------


def check_type(names, _schema, _document):
    names = [names] if isinstance(names, str) else names
    return lambda value: None if any(is_type(value, name) for name in names) else "%r is not %s" % (value, names)


def check_enum(values, _schema, _document):
    return lambda value: None if any(value == one and type(value) is type(one) for one in values) else \
        "%r is none of %r" % (value, values)


def check_bound(test, kind, words):
    def make(bound, _schema, _document):
        return lambda value: "%.80r %s %r" % (value, words, bound) if isinstance(value, kind) and not test(value, bound) \
            else None
    return make


def check_format(name, _schema, _document):
    if name in UNCHECKED_FORMATS:
        return lambda value: None
    return lambda value: "%r is not %s" % (value, name) if isinstance(value, str) and not FORMATS[name].fullmatch(value) \
        else None


def check_properties(properties, schema, document):
    checks = {name: document.schema(part) for name, part in properties.items()}
    closed = schema.get("additionalProperties") is False

    def check(value):
        if not isinstance(value, dict):
            return None
        for name, member in value.items():
            if name in checks:
                fault = checks[name](member)
                if fault:
                    return "%s: %s" % (name, fault)
            elif closed:
                return "%r is not in the document" % name
        return None
    return check


def check_required(names, _schema, _document):
    return lambda value: "%s is missing" % [name for name in names if name not in value] \
        if isinstance(value, dict) and not all(name in value for name in names) else None


def check_items(part, _schema, document):
    item = document.schema(part)

    def check(value):
        for index, one in enumerate(value if isinstance(value, list) else ()):
            fault = item(one)
            if fault:
                return "%d: %s" % (index, fault)
        return None
    return check


def check_all(parts, _schema, document):
    checks = [document.schema(part) for part in parts]
    return lambda value: next(filter(None, (check(value) for check in checks)), None)


def check_any(parts, _schema, document):
    checks = [document.schema(part) for part in parts]

    def check(value):
        faults = [one(value) for one in checks]
        return None if None in faults else "; ".join(faults)
    return check


def check_not(part, _schema, document):
    check = document.schema(part)
    return lambda value: None if check(value) else "%.80r is just what it may not be" % value


KEYWORDS = {
    "type": check_type,
    "enum": check_enum,
    "const": lambda value, schema, document: check_enum([value], schema, document),
    "properties": check_properties,
    "required": check_required,
    "items": check_items,
    "allOf": check_all,
    "anyOf": check_any,
    "not": check_not,
    "format": check_format,
    "pattern": check_bound(lambda value, pattern: re.search(pattern, value), str, "does not match"),
    "minLength": check_bound(lambda value, bound: len(value) >= bound, str, "is shorter than"),
    "maxLength": check_bound(lambda value, bound: len(value) <= bound, str, "is longer than"),
    "minItems": check_bound(lambda value, bound: len(value) >= bound, list, "has fewer items than"),
    "maxItems": check_bound(lambda value, bound: len(value) <= bound, list, "has more items than"),
    "uniqueItems": check_bound(lambda value, _: len(set(map(json.dumps, value))) == len(value), list, "repeats an item;"),
    "minimum": check_bound(lambda value, bound: value >= bound, (int, float), "is less than"),
    "maximum": check_bound(lambda value, bound: value <= bound, (int, float), "is more than"),
}
NO_CHECK = {"title", "description", "default", "additionalProperties"}


# ---- the document ---------------------------------------------------------------------------------------------------


class Response:
    """What one answer of an operation may be."""

    def __init__(self, document, response):
        self.fields = {}  # name in lower case → (required, check of its value)
        for name, header in response.get("headers", {}).items():
            header = document.resolve(header)
            kind = header["schema"].get("type")
            self.fields[name.lower()] = (header["required"], int if kind == "integer" else str,
                                         document.schema(header["schema"]))
        content = response.get("content")
        self.body = document.schema(content["application/json"]["schema"]) if content else None

    def fault(self, headers, body, is_head):
        for name, (required, kind, check) in self.fields.items():
            if name not in headers:
                if required:
                    return "the field '%s' is missing" % name
                continue
            try:
                fault = check(kind(headers[name]))
            except ValueError as error:
                fault = str(error)
            if fault:
                return "the field '%s': %s" % (name, fault)
        more = set(headers) - set(self.fields) - TRANSPORT_FIELDS
        if more:
            return "fields that are not in the document: %s" % sorted(more)
        if self.body is None:
            return "a body that is not in the document" if body else None
        if headers.get("content-type") != "application/json":
            return "Content-Type is %s" % headers.get("content-type")
        return None if is_head else json_fault(self.body, body)


def json_fault(check, body):
    try:
        value = json.loads(body)
    except ValueError as error:
        return "the body is no JSON: %s" % error
    return check(value)


class Document:
    def __init__(self, document):
        self.document = document
        self.schemas = {}
        self.responses = {}
        self.paths = []  # (regular expression of the whole path, its item)
        for path, item in document["paths"].items():
            base = "" if "servers" in item else "(?:%s)?" % re.escape(BASE_PATH)
            self.paths.append((re.compile(base + re.sub(r"\{[^}]*\}", "[^/]+", path)), item))

    def resolve(self, part):
        while "$ref" in part:
            at = self.document
            for name in part["$ref"].removeprefix("#/").split("/"):
                at = at[name]
            part = at
        return part

    def schema(self, part):
        """The check of a schema; made when it is first used, once for each that is referred to."""
        if "$ref" not in part:
            checks = [KEYWORDS[word](value, part, self) for word, value in part.items() if word not in NO_CHECK]
            return lambda value: next(filter(None, (check(value) for check in checks)), None)
        name = part["$ref"]
        if name not in self.schemas:
            self.schemas[name] = self.schema(self.resolve(part))
        return self.schemas[name]

    def operation(self, method, path):
        """None: the document has none."""
        for pattern, item in self.paths:
            if pattern.fullmatch(path):
                return item.get("get" if method == "HEAD" else method.lower())
        return None

    def response(self, part):
        key = part.get("$ref", id(part))
        if key not in self.responses:
            self.responses[key] = Response(self, self.resolve(part))
        return self.responses[key]

    def fault(self, method, target, status, headers, body):
        """What the document does not say of this answer; None: it is as the document says."""
        headers = {name.lower(): value for name, value in headers.items()}
        path = re.sub(r"^https?://[^/]*", "", target).split("?")[0]
        operation = self.operation(method, path)
        if operation is None:
            return self.fault_elsewhere(method, status, headers, body)
        response = operation["responses"].get(str(status))
        if response is None:
            return "the status %d is not in the document" % status
        return self.response(response).fault(headers, body, method == "HEAD")

    def fault_elsewhere(self, method, status, headers, body):
        """The answer to a path or method that the document does not have."""
        if not {"x-request-id", "cache-control"} <= set(headers):
            return "X-Request-Id or Cache-Control is missing"
        more = set(headers) - {"x-request-id", "cache-control"} - TRANSPORT_FIELDS - ELSEWHERE_FIELDS
        if more:
            return "fields that are not in the document: %s" % sorted(more)
        if status in (204, 405) and "allow" not in headers:
            return "the field 'allow' is missing"
        if status == 204 and method in ("OPTIONS", None):
            return None
        if status < 400:
            return "the status %d, of an operation that is not in the document" % status
        return None if method == "HEAD" else json_fault(self.schema({"$ref": "#/components/schemas/Refusal"}), body)

    def fault_of_any(self, status, headers, body):
        """The same of an answer whose request is not known: some operation must have it."""
        if status >= 400 or status == 204:
            headers = {name.lower(): value for name, value in headers.items()}
            return self.fault_elsewhere(None if body or status == 204 else "HEAD", status, headers, body)
        faults = [self.response(operation["responses"][str(status)]).fault(headers, body, not body)
                  for _, item in self.paths for operation in item.values()
                  if isinstance(operation, dict) and str(status) in operation["responses"]]
        return None if None in faults else "; ".join(faults) or "the status %d is not in the document" % status

    @functools.cached_property
    def accepted_body(self):
        """The check of a create's body under any policy: which key types and kinds of SANs are accepted varies."""
        schema = json.loads(json.dumps(self.document["components"]["schemas"]["CustomCsrCreate"]))
        schema["required"] = [name for name in schema["required"] if name != "key_type"]
        del schema["properties"]["key_type"]["enum"]
        names = schema["properties"]["sans"]
        names["items"] = {"anyOf": [names["items"], {"pattern": "[:@]|^[0-9.]+$"}]}
        return self.schema(schema)


@functools.cache
def document():
    return Document(json.loads(DOCUMENT.read_text(encoding="utf-8")))


def must_fit(method, target, answer, sent=None):
    """AssertionError unless the answer is one of the document's, and what a create sent fits it if it was accepted."""
    fault = document().fault(method, target, answer.status, answer.headers, answer.body)
    if not fault and answer.status == 201 and method == "POST" and sent is not None:
        fault = json_fault(document().accepted_body, sent.decode("utf-8-sig"))
    assert not fault, "%s %s → %r is not what %s says: %s" % (method, target, answer, DOCUMENT.name, fault)


def must_fit_any(answer):
    fault = document().fault_of_any(answer.status, answer.headers, answer.body)
    assert not fault, "%r is not what %s says: %s" % (answer, DOCUMENT.name, fault)
