"""Policies of accounts and zones, set with csrctl and met over HTTP, and dry runs (F380, F385, F386, F388, F391, F392)."""
# run: seconds=12
import json
import subprocess
import unittest

import harness

EXIT_FAILED, EXIT_USAGE = 1, 64
ONLY_OURS = {"dns_names": ["example.com", ".example.com"], "key_types": ["p256v1"]}


class PolicyTest(harness.Case):
    def setUp(self):
        super().setUp()
        self.s = self.service()

    def set(self, policy, *arguments, zone=False):
        target = ["--zone", self.s.zone] if zone else [self.s.account]
        return self.s.csrctl("policy", "set", *target, *arguments, text=json.dumps(policy))["version"]

    def refused(self, *arguments, status=EXIT_FAILED, says, text=None):
        done = self.s.csrctl("policy", *arguments, check=False, text=text)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, says)
        return done

    def dry(self, zone=False, headers=None, query="dry_run=true", **fields):
        body = {**harness.SUBJECT, "key_type": "p256v1", **fields}
        return self.s.request("POST", self.s.scope_path(zone) + "?" + query, body, headers)

    def test_a_policy_from_its_file_to_the_record(self):
        s = self.s.start()
        path = self.folder / "policy.json"
        path.write_text(json.dumps(ONLY_OURS, indent=2) + "\n")
        before = s.create(common_name="old.test", sans=["old.test"])
        self.assertEqual(before.status, 201)
        self.refused("show", s.account, says="has no policy")
        self.assertEqual(s.csrctl("policy", "set", s.account, path)["version"], 1)

        answer = s.create(common_name="www.example.org", sans=["www.example.org", "a.example.com"], key_type="rsa2048")
        self.assertEqual((answer.status, answer.codes), (400, [1409, 1412, 1417]))
        self.assertEqual([error["source"]["pointer"] for error in answer.json["errors"]],
                         ["/common_name", "/sans/0", "/key_type"])
        self.assertRegex(answer.json["errors"][1]["message"],
                         r"the policy of this account \(version 1\) accepts; accepted are: example.com, .example.com ")
        self.assertEqual(s.create(zone=True, sans=["a.b"]).codes, [1412], "a zone's CSR meets its account's, too")
        made = s.create().result["id"]

        self.assertEqual(self.set({"max_sans": 1, "key_types": ["p256v1", "rsa2048"]}, zone=True), 1)
        answer = s.create(zone=True, sans=["a.b", "c.example.com"])
        self.assertEqual(answer.codes, [1412, 1412], "both are met, and both say so")
        self.assertEqual(self.set({}, zone=True), 2)
        of_zone = s.create(zone=True).result["id"]

        shown = s.csrctl("csr", "show", of_zone)
        self.assertEqual((shown["account_policy"], shown["zone_policy"]), (1, 2))
        self.assertEqual([event["detail"] for event in shown["history"] if event["action"] == "csr.active"],
                         ["account policy 1, zone policy 2"])
        self.assertNotIn("account_policy", s.csrctl("csr", "show", before.result["id"]))
        self.assertEqual(s.csrctl("csr", "show", made)["account_policy"], 1)

        self.assertEqual(s.create(zone=True, sans=["db_1.example.com"]).codes, [1412])
        self.assertEqual(self.set({"underscores": [".example.com"]}, zone=True), 3)
        private = s.create(zone=True, sans=["db_1.example.com"]).result["csr"]
        text = subprocess.run(["openssl", "req", "-noout", "-text", "-verify"], input=private, text=True, check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        self.assertIn("DNS:db_1.example.com", text)

        self.assertEqual(s.csrctl("policy", "set", s.account, path),
                         {"scope": "account", "scope_id": s.account, "version": 1, "changed": False})
        self.assertEqual(self.set({"key_types": ["rsa2048"]}), 2)
        old = s.csrctl("policy", "show", s.account, 1)
        self.assertEqual((old["version"], old["policy"]), (1, ONLY_OURS))
        self.assertRegex(old["set_by"], "^operator:")
        self.refused("show", s.account, "3", says="no version 3")
        versions = s.csrctl("policy", "list", s.account)["policies"]
        self.assertEqual([row["version"] for row in versions], [1, 2])
        self.assertEqual([(row["scope"], row["version"]) for row in s.csrctl("policy", "list")["policies"]],
                         [("account", 2), ("zone", 3)])
        trail = s.csrctl("audit", "--action", "account.policy")["records"]
        self.assertEqual([record["detail"] for record in trail], ["version 2", "version 1"])
        s.check_sane(self, [before.result["id"], made, of_zone])

    def test_what_is_wrong_is_named(self):
        """F380: nothing is set, and each fault is told with what is accepted."""
        s = self.s
        bad = json.dumps({"dns_name": ["a.b"], "max_sans": 0, "ip_networks": ["10.0.0.1/8"]})
        done = self.refused("set", s.account, text=bad, says="not accepted")
        for words in ("unknown member \"dns_name\"; there are: key_types", "max_sans must be a whole number from 1 to 150",
                      "must be 10.0.0.0/8"):
            self.assertIn(words, done.stderr)
        self.refused("set", s.account, text="{", says="cannot be decoded: .* at byte 1")
        self.refused("set", s.account, self.folder / "none", says="cannot open .*none")
        self.refused("set", s.account, text=" " * 65537, says="more than 65536 bytes")
        self.refused("set", "--zone", "nowhere", text="{}", says="no such zone 'nowhere'")
        self.refused("set", status=EXIT_USAGE, says="policy set")
        self.assertEqual(s.csrctl("policy", "list")["policies"], [])
        done = s.csrctl("policy", "set", s.account, check=False, text='{"key_types": ["rsa4096"]}')
        self.assertEqual(done.returncode, 0)
        self.assertIn("it refuses everything", done.stderr)

    def test_two_operators_at_once(self):
        """F391: each version is somebody's, and who has looked at an older one is told."""
        s = self.s
        command = [harness.BIN / "csrctl", "-c", s.config_path, "--json", "policy", "set", s.account]
        both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 env=s.environment("csrctl")) for _ in range(2)]
        told = [json.loads(p.communicate(json.dumps({"max_sans": n + 1}), timeout=harness.PATIENCE)[0])
                for n, p in enumerate(both)]
        self.assertEqual(sorted(row["version"] for row in told), [1, 2])
        for n, row in enumerate(told):
            self.assertEqual(s.csrctl("policy", "show", s.account, row["version"])["policy"], {"max_sans": n + 1})
        self.refused("set", s.account, "--after", "1", text="{}", says="at version 2, not 1")
        self.assertEqual(self.set({}, "--after", "2"), 3)

    def test_dry_runs(self):
        """F388: as a create would be answered, and nothing is left of it."""
        s = self.s.start()
        answer = self.dry(headers={"Idempotency-Key": "k"}, name="n")
        self.assertEqual((answer.status, answer.codes), (200, []))
        self.assertEqual(answer.result, {**harness.SUBJECT, "key_type": "p256v1", "name": "n"})
        self.assertEqual({note["code"] for note in answer.json["messages"]}, {1416})
        answer = self.dry(common_name="Some API", query="x=1&dry_run=true")
        self.assertIn((1409, "/common_name"), [(note["code"], note["source"]["pointer"]) for note in answer.json["messages"]])
        self.set(ONLY_OURS)
        answer = self.dry(country="UK", sans=["a.b"])
        self.assertEqual((answer.status, answer.codes), (400, [1405, 1412]))
        self.assertEqual(self.dry(query="dry_run=1").codes, [10400])
        reader = s.csrctl("token", "create", "--name", "reader", "--account", s.account)["token"]
        self.assertEqual(self.dry(headers={"Authorization": "Bearer " + reader}).codes, [1404])
        s.csrctl("account", "set", s.account, "--quota", "0")
        answer = self.dry()
        self.assertEqual((answer.status, answer.json["messages"][-1]["code"]), (200, 1403))
        self.assertEqual(s.hsm.terminate(), 0)
        s.wait_ready(503)
        self.assertEqual(self.dry().status, 200, "the HSM has no part in it")
        self.assertEqual(s.rows(), {})
        self.assertEqual(s.p11.labels(), {})
        self.assertEqual(s.csrctl("audit", "--action", "csr")["records"], [])
        s.csrctl("account", "set", s.account, "--quota", "unlimited")
        s.start_hsm()
        s.wait_ready()
        answer = self.dry(query="dry_run=false", headers={"Idempotency-Key": "k"}, common_name="Some.example.com")
        self.assertEqual((answer.status, [note["code"] for note in answer.json["messages"]]), (201, [1409]))
        self.assertEqual(s.create(headers={"Idempotency-Key": "k"}).codes, [1421], "the dry run has not used it")

    def test_what_would_be_said(self):
        """F392: csrctl policy test says what csrd would, and what of the CSRs that there are."""
        s = self.s.start()
        kept = s.create().result["id"]
        s.create(sans=["old.test"], common_name="old")
        s.create(zone=True, sans=["zone.test"], common_name="zone")
        s.create(zone=True, sans=["*.example.com"], common_name="zone")
        s.delete(s.create(sans=["gone.test"]).result["id"])
        s.stop()
        draft, request = self.folder / "draft.json", self.folder / "request.json"
        draft.write_text(json.dumps(ONLY_OURS))
        body = {**harness.SUBJECT, "sans": ["www.example.org"], "key_type": "rsa2048"}
        request.write_text(json.dumps(body))

        done = s.csrctl("policy", "test", "--policy", draft, request, check=False)
        self.assertEqual(done.returncode, EXIT_FAILED)
        told = json.loads(done.stdout)
        self.assertEqual((told["accepted"], [(p["code"], p["pointer"]) for p in told["errors"]]),
                         (False, [(1412, "/sans/0"), (1417, "/key_type")]))
        told = s.csrctl("policy", "test", "--account", s.account, request)
        self.assertEqual((told["accepted"], told["errors"]), (True, []))
        self.assertEqual({note["code"] for note in told["messages"]}, {1409, 1416})
        self.set({"san_types": ["dns"], "max_sans": 1})
        body["sans"] = ["www.example.org", "b.example.com"]
        done = s.csrctl("policy", "test", "--zone", s.zone, "--policy", draft, "-", check=False, text=json.dumps(body))
        self.assertEqual([p["pointer"] for p in json.loads(done.stdout)["errors"]], ["/sans", "/sans/0", "/key_type"])

        done = s.csrctl("policy", "test", "--account", s.account, "--policy", draft, "--existing", check=False)
        self.assertEqual(done.returncode, EXIT_FAILED)
        told = json.loads(done.stdout)
        self.assertEqual((told["total_count"], sorted(row["common_name"] for row in told["refused"])), (2, ["old", "zone"]))
        self.assertNotIn(kept, [row["id"] for row in told["refused"]])
        told = s.csrctl("policy", "test", "--zone", s.zone, "--existing")
        self.assertEqual(told["total_count"], 0, "the zone has no policy")
        self.refused("test", request, status=EXIT_USAGE, says="--account or --zone is missing, or --policy")
        self.refused("test", "--existing", "--policy", draft, status=EXIT_USAGE, says="--account or --zone is missing")

    def test_a_backup_carries_them(self):
        s = self.s.start()
        self.set(ONLY_OURS)
        made = s.create().result["id"]
        self.set({"max_sans": 2})
        copy = self.folder / "copy.db"
        s.csrctl("backup", copy)
        self.set({"max_sans": 1})
        s.stop()
        s.csrctl("restore", copy)
        versions = s.csrctl("policy", "list", s.account)["policies"]
        self.assertEqual([row["version"] for row in versions], [1, 2])
        self.assertEqual(s.csrctl("csr", "show", made)["account_policy"], 1)
        s.start()
        s.csrctl("verify", "--full")
        self.assertEqual(s.create().status, 201)
        self.assertEqual(s.create(sans=["a.b", "c.d", "e.f"]).codes, [1412])
        self.assertEqual(self.set({"max_sans": 1}), 3)


if __name__ == "__main__":
    unittest.main()
