"""The OpenAPI document: that it is the program's own, that it is true of bodies and answers, and that whatever is not in it
is found.  openapi.py holds every answer of the system tests against doc/openapi.json."""
# run: seconds=12
import json
import re
import unittest

import harness
import openapi


class DocumentTest(unittest.TestCase):
    """Of doc/openapi.json alone; no csrd runs."""

    def setUp(self):
        self.document = openapi.document()
        self.path = "/client/v4/accounts/%s/custom_csrs" % harness.ACCOUNT

    def answer(self, status=200, body=None, **fields):
        fields = {"content-type": "application/json", "x-request-id": "7b163417-1d2b-4c84-a38a-2fb7a0cd7752",
                  "cache-control": "no-store", **{name.replace("_", "-"): value for name, value in fields.items()}}
        return status, {name: value for name, value in fields.items() if value}, json.dumps(body).encode()

    def faults(self, *cases, method="GET", path=None):
        for words, answer in cases:
            fault = self.document.fault(method, path or self.path, *answer)
            if words is None:
                self.assertIsNone(fault, answer)
            else:
                self.assertIn(words, fault or "no fault", answer)

    def test_answers_that_it_does_not_have(self):
        """F396"""
        ready = {"success": True, "errors": [], "messages": [], "result": {"status": "ready"}}
        self.faults(
            (None, self.answer(body=ready)),
            ("the status 202 ", self.answer(202, ready)),
            ("'cache-control' is missing", self.answer(body=ready, cache_control=None)),
            ("'x-request-id' is missing", self.answer(body=ready, x_request_id=None)),
            ("'x-request-id': ", self.answer(body=ready, x_request_id="7")),
            ("not in the document: ['server']", self.answer(body=ready, server="csrd")),
            ("Content-Type", self.answer(body=ready, content_type="text/plain")),
            ("'more' is not", self.answer(body={**ready, "more": 1})),
            ("['result'] is missing", self.answer(body={key: ready[key] for key in ("success", "errors", "messages")})),
            ("result: status", self.answer(body={**ready, "result": {"status": "steady"}})),
            ("result: 'csr' is not", self.answer(body={**ready, "result": {"status": "ready", "csr": ""}})),
            ("success", self.answer(body={**ready, "success": 1})),
            ("no JSON", (*self.answer()[:2], b"<html>")),
            path="/readyz")

    def test_refusals_that_it_does_not_have(self):
        """F396"""
        def refusal(status, code, **fields):
            body = {"success": False, "errors": [{"code": code, "message": "no"}], "messages": [], "result": None}
            return self.answer(status, body, **{"x_should_retry": "false", **fields})

        later = {"x_should_retry": None, "retry_after": "5"}
        self.faults(
            (None, refusal(403, 1404)),
            ("code: 1403 ", refusal(403, 1403)),  # only a create has a quota
            ("code: 1405 ", refusal(400, 1405)),
            ("the status 404 ", refusal(404, 1419)),
            ("'x-should-retry' is missing", refusal(403, 1404, x_should_retry=None)),
            (None, refusal(503, 1503, **later)),
            ("'retry-after' is missing", refusal(503, 1503, **{**later, "retry_after": None})),
            ("'retry-after': ", refusal(503, 1503, **{**later, "retry_after": "31"})),
            ("'retry-after': ", refusal(503, 1503, **{**later, "retry_after": "soon"})),
            ("errors: [] has fewer", self.answer(403, {"success": False, "errors": [], "messages": [], "result": None},
                                                 x_should_retry="false")))
        self.faults((None, refusal(403, 1403)), ("'location' is missing", self.answer(201, {})), method="POST")
        self.faults((None, refusal(404, 7003)), ("'allow' is missing", refusal(405, 10405)),
                    (None, refusal(405, 10405, allow="GET")), ("the status 200, of an operation", self.answer(body={})),
                    path="/nothing")

    def test_what_it_does_not_understand_is_an_error(self):
        """F396: no keyword is passed over."""
        with self.assertRaises(KeyError):
            self.document.schema({"minProperties": 1})

    def schemas(self):
        def walk(part):
            for name, value in part.items() if isinstance(part, dict) else ():
                if name == "schema":
                    yield value
                yield from walk(value)
            for value in part if isinstance(part, list) else ():
                yield from walk(value)
        return [*self.document.document["components"]["schemas"].values(), *walk(self.document.document)]

    def test_every_schema_is_one(self):
        """Debian's python3-jsonschema knows the dialect, and openapi.py every word that is used."""
        try:
            import jsonschema  # of /usr/bin/python3
        except ImportError:
            raise unittest.SkipTest("python3-jsonschema is not installed") from None
        self.assertGreater(len(self.schemas()), 50)
        for schema in self.schemas():
            jsonschema.Draft202012Validator.check_schema(schema)
            self.document.schema(schema)

    def test_names(self):
        """References lead somewhere, nothing is unused, and names of operations are names of functions, each once."""
        text = json.dumps(self.document.document)
        for kind, parts in self.document.document["components"].items():
            for name in parts if kind != "securitySchemes" else ():
                self.assertIn('"#/components/%s/%s"' % (kind, name), text)
        for ref in set(re.findall(r'"\$ref": "([^"]*)"', text)):
            self.document.resolve({"$ref": ref})
        names = re.findall(r'"operationId": "([^"]*)"', text)
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([name for name in names if not re.fullmatch("[a-z][A-Za-z]*", name)], [])


class ServedTest(harness.Case):
    @staticmethod
    def served(service, **headers):
        return harness.http_request(service.address, "GET", "/openapi.json", headers=headers)

    def test_it_is_the_programs_own(self):
        """F395: without a credential; doc/openapi.json is what a csrd with the defaults serves."""
        service = self.service().start()
        answer = self.served(service)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json, openapi.document().document, "make openapi writes doc/openapi.json anew")
        head = harness.http_request(service.address, "HEAD", "/openapi.json")
        self.assertEqual((head.status, head.headers["Content-Length"], head.body),
                         (200, answer.headers["Content-Length"], b""))
        self.assertEqual(self.served(service, **{"If-None-Match": "*"}).status, 304)
        self.assertEqual(harness.http_request(service.address, "POST", "/openapi.json").headers["Allow"],
                         "GET, HEAD, OPTIONS")
        self.assertEqual(service.request("GET", "/openapi.json").status, 404)
        self.check_bodies(service)
        service.stop()

    # What is changed in a good body, and whether csrd accepts that.
    BODIES = (
        ({}, True),
        ({"organizational_unit": None, "name": None, "description": None}, True),
        ({"organizational_unit": "x", "name": "", "description": "x" * 1024}, True),
        ({"country": "XK", "state": "x" * 128, "common_name": "x" * 64}, True),
        ({"common_name": "č" * 64, "sans": ["*.a.b", "A" * 63 + ".b", "1.2-3", "0x1g", "b"]}, True),
        ({"sans": ["a%d.example.com" % i for i in range(150)]}, True),
        ({"country": "us"}, False),
        ({"country": "ZZ"}, False),
        ({"country": None}, False),
        ({"state": ""}, False),
        ({"state": "x" * 129}, False),
        ({"state": 1}, False),
        ({"locality": " x"}, False),
        ({"locality": "x "}, False),
        ({"locality": "\u00a0x"}, False),
        ({"organization": "x\ny"}, False),
        ({"organization": "x\x85y"}, False),
        ({"organizational_unit": ""}, False),
        ({"common_name": "x" * 65}, False),
        ({"name": "x" * 256}, False),
        ({"name": "x\ty"}, False),
        ({"description": "x" * 1025}, False),
        ({"sans": []}, False),
        ({"sans": None}, False),
        ({"sans": "example.com"}, False),
        ({"sans": [None]}, False),
        ({"sans": ["a.b", "a.b"]}, False),
        ({"sans": ["a%d.example.com" % i for i in range(151)]}, False),
        *(({"sans": [name]}, False) for name in (
            "", "*", "*.", "a.*", "a..b", ".a", "a.", "-a", "a-", "a_b", "A" * 64, "1.2", "a.0x1F", "a.0x", "a b", "č.example",
            "https://a.b", "a@b.c", "192.0.2.1", "::1", "x." * 126 + "xx")),
        ({"key_type": "rsa1024"}, False),
        ({"key_type": "P256v1"}, False),
        ({"key_type": "ed25519"}, False),
        ({"surname": "x"}, False),
    )

    def check_bodies(self, service):
        """F398: csrd and the document judge a body alike."""
        check = openapi.document().schema({"$ref": "#/components/schemas/CustomCsrCreate"})
        for change, is_good in self.BODIES:
            body = {**harness.SUBJECT, "key_type": "p256v1", **change}
            fault = check(body)
            self.assertEqual(fault is None, is_good, "the document: %.200r: %s" % (change, fault))
            answer = service.request("POST", service.scope_path(), body)
            self.assertEqual(answer.status, 201 if is_good else 400, "%.200r: %r" % (change, answer))
        for name in harness.SUBJECT:
            body = {key: value for key, value in harness.SUBJECT.items() if key != name}
            self.assertIn(name, check(body))

    def test_it_follows_the_policy(self):
        """F397: a reload that changes the policy changes the document; without rsa2048 a key type must be named."""
        service = self.service(settings={"policy": {"key_types": "rsa2048, p256v1", "san_types": "dns"}}).start()
        first = self.served(service).json
        self.assertEqual(self.served(service).json, first)
        service.settings["policy"] = {"key_types": "p256v1, p384v1", "san_types": "dns, ip, email, uri"}
        service.write_config()
        service.csrd.signal(harness.signal.SIGHUP)
        changed = harness.wait_for("a new document", lambda: self.served(service).json != first and self.served(service).json)
        schema = changed["components"]["schemas"]["CustomCsrCreate"]
        self.assertIn("key_type", schema["required"])
        self.assertEqual(schema["properties"]["key_type"]["enum"], ["p256v1", "p384v1"])
        self.assertEqual([one["title"] for one in schema["properties"]["sans"]["items"]["anyOf"]],
                         ["DNS name", "IP address", "E-mail address", "URI"])
        check = openapi.Document(changed).schema({"$ref": "#/components/schemas/CustomCsrCreate"})
        for name in "a.example.com", "192.0.2.1", "2001:db8::1", "x@example.com", "https://example.com/x", "urn:x-y:z":
            body = {**harness.SUBJECT, "key_type": "p256v1", "sans": [name]}
            self.assertIsNone(check(body))
            self.assertEqual(service.request("POST", service.scope_path(), body).status, 201, name)
        self.assertIsNotNone(check(harness.SUBJECT))
        self.assertEqual(service.request("POST", service.scope_path(), harness.SUBJECT).codes, [1417])
        service.stop()


if __name__ == "__main__":
    unittest.main()
