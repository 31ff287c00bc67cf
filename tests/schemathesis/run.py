#!/usr/bin/python3
"""schemathesis (tests/schemathesis/requirements.txt, in a virtual environment) against a fresh csrd on SoftHSM for so many
seconds: run.py VENV SECONDS.  Exit status: that of schemathesis, or 1 when csrd did not stay alive and sane."""
import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "system"))

import harness  # noqa: E402


class Schemathesis(harness.Case):
    def test_schemathesis(self):
        programs, seconds = pathlib.Path(sys.argv[1]) / "bin", int(sys.argv[2])
        service = self.service().start()
        url = "http://%s:%d/openapi.json" % service.address
        document = self.folder / "openapi.json"
        document.write_bytes(harness.http_request(service.address, "GET", "/openapi.json").body)
        subprocess.run([programs / "openapi-spec-validator", document], check=True)
        environment = harness.clean_environment(CSRD_ACCOUNT=service.account, CSRD_ZONE=service.zone,
                                                PYTHONPATH=str(HERE))
        done = subprocess.run([programs / "st", "--config-file", HERE / "schemathesis.toml", "run", url, "--no-color",
                               "--continue-on-failure", "--max-time", str(seconds),
                               "-H", "Authorization: Bearer " + service.token], cwd=self.folder, env=environment)
        self.assertEqual(done.returncode, 0)
        service.wait_settled()
        service.check_sane(self)
        service.stop()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
