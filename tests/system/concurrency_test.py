"""200 creates at the same time: all 201, all keys distinct, and meanwhile the loop still answers (I3, I8).
Creates and deletes at the same time."""
# run: seconds=16 timeout=300
# run: alone
import asyncio
import json
import subprocess
import sys
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import harness

CREATES = 200
HEALTH_P99_MS = 200 if harness.SANITIZE else 50

# A process of its own, so that the 200 clients cannot delay it.  It asks every 20 ms until its standard input ends,
# then prints the milliseconds to each answer, counted from when the question was due: while one hangs, all that were
# due meanwhile are late as well.
PROBER = """
import http.client, json, select, sys, time
host, port = sys.argv[1], int(sys.argv[2])
took, due = [], time.monotonic()
while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("GET", "/healthz")
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    took.append((time.monotonic() - due) * 1000)
    connection.close()
    due += 0.02
json.dump(took, sys.stdout)
"""


class ConcurrencyTest(harness.Case):
    async def post(self, service, number, gate):
        body = {**harness.SUBJECT, "key_type": ("rsa2048", "p256v1")[number % 2], "name": "number %d" % number}
        data = json.dumps(body).encode()
        zone = number % 4 >= 2
        head = "\r\n".join([
            "POST /client/v4%s HTTP/1.1" % service.scope_path(zone), "Host: csrd", "Connection: close",
            "Authorization: Bearer " + service.token, "Content-Type: application/json",
            "Content-Length: %d" % len(data), "", ""])
        reader, writer = await asyncio.open_connection(*service.address)
        gate["open"] += 1
        if gate["open"] == CREATES:
            gate["go"].set()
        await gate["go"].wait()  # all connections stand before the first byte is sent
        writer.write(head.encode() + data)
        answer = await reader.read()
        writer.close()
        status, _, rest = answer.partition(b"\r\n")
        return body, int(status.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])

    async def post_all(self, service):
        gate = {"open": 0, "go": asyncio.Event()}
        return await asyncio.gather(*(self.post(service, number, gate) for number in range(CREATES)))

    def test_concurrent_creates(self):
        service = self.service(settings={"http": {"request_timeout": "240s"}, "log": {"level": "info"}}).start()
        prober = subprocess.Popen([sys.executable, "-c", PROBER, *map(str, service.address)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(prober.kill)
        answers = asyncio.run(asyncio.wait_for(self.post_all(service), 280))
        out, err = prober.communicate("enough", timeout=60)
        self.assertEqual(prober.returncode, 0, err)

        self.assertEqual([(status, body) for _, status, body in answers if status != 201], [])
        self.check_distinct(answers)
        service.check_sane(self, [body["result"]["id"] for _, _, body in answers])
        self.check_health(json.loads(out))
        service.stop()

    def test_creates_beside_deletes(self):
        """SoftHSM fails a generation now and then while another thread destroys; the caller never learns of it."""
        service = self.service().start()

        def work():
            for _ in range(20):
                made = service.create()
                self.assertEqual(made.status, 201, made.body)
                self.assertEqual(service.delete(made.result["id"]).status, 200)
        harness.in_parallel([work] * 6)
        service.check_sane(self, [])
        service.stop()

    def check_distinct(self, answers):
        keys = set()
        for sent, _, body in answers:
            result = body["result"]
            self.assertEqual((result["name"], result["key_type"]), (sent["name"], sent["key_type"]))
            csr = x509.load_pem_x509_csr(result["csr"].encode())
            self.assertTrue(csr.is_signature_valid)
            keys.add(csr.public_key().public_bytes(serialization.Encoding.DER,
                                                   serialization.PublicFormat.SubjectPublicKeyInfo))
        self.assertEqual(len(keys), CREATES)
        self.assertEqual(len({body["result"]["id"] for _, _, body in answers}), CREATES)

    def check_health(self, took):
        took.sort()
        p99 = took[len(took) * 99 // 100]
        print("healthz: %d answers, median %.1f ms, p99 %.1f ms, max %.1f ms" % (
            len(took), took[len(took) // 2], p99, took[-1]))
        self.assertGreater(len(took), 100)
        self.assertLess(p99, HEALTH_P99_MS)


if __name__ == "__main__":
    unittest.main()
