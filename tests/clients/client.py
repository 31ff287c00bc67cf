"""Python's HTTP clients with a generator as the body, whose length they cannot know.

    client.py http.client|requests

Environment: CSRD_URL (with /client/v4), CSRD_TOKEN, CSRD_ACCOUNT, CSRD_BODY (the create, as JSON).
CSRD_TOO_LARGE is how many bytes are more than csrd takes.
Waits for a line on standard input before it deletes.
Prints one line for each answer: the step's name, status, Content-Type, and the body in base64.
What is right is decided by tests/system/clients.py.
"""
import base64
import http.client
import json
import os
import sys
import urllib.parse

TOKEN = os.environ["CSRD_TOKEN"]
BODY = os.environ["CSRD_BODY"]
COLLECTION = "%s/accounts/%s/custom_csrs" % (os.environ["CSRD_URL"], os.environ["CSRD_ACCOUNT"])


def pieces(text):
    data = text.encode()
    yield data[:1]
    yield data[1:64]
    if data[64:]:
        yield data[64:]


def http_client():
    where = urllib.parse.urlsplit(COLLECTION)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)

    def once(method, url, headers, text):
        body = None if text is None else pieces(text)
        connection.request(method, urllib.parse.urlsplit(url).path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()

    def send(method, url, headers, text):
        try:
            return once(method, url, headers, text)
        except (http.client.RemoteDisconnected, ConnectionError):
            # A kept connection may end at any time (nginx ends it after a 413); what changes nothing more when it is
            # done twice is sent again, as other clients do by themselves.
            if method == "POST":
                raise
            connection.close()
            return once(method, url, headers, text)
    return send


def requests_session():
    import requests  # pylint: disable=import-outside-toplevel # only this one needs it
    session = requests.Session()
    session.trust_env = False  # no proxy of the environment

    def send(method, url, headers, text):
        body = None if text is None else pieces(text)
        response = session.request(method, url, headers=headers, data=body, timeout=60)
        return response.status_code, response.headers["Content-Type"], response.content
    return send


def main():
    send = {"http.client": http_client, "requests": requests_session}[sys.argv[1]]()

    def step(name, method, url, text=None, token=TOKEN, kind="application/json"):
        headers = {"Authorization": "Bearer " + token}
        if text is not None:
            headers["Content-Type"] = kind
        status, content_type, body = send(method, url, headers, text)
        print(name, status, content_type, base64.b64encode(body).decode(), flush=True)
        return body

    created = json.loads(step("create", "POST", COLLECTION, BODY))
    step("list", "GET", COLLECTION)
    step("bad-json", "POST", COLLECTION, '{"country": "SE"')
    step("bad-token", "POST", COLLECTION, BODY, token="csrd_nobody")
    step("bad-type", "POST", COLLECTION, BODY, kind="text/plain")
    step("too-large", "POST", COLLECTION, BODY + " " * int(os.environ["CSRD_TOO_LARGE"]))
    sys.stdin.readline()
    step("delete", "DELETE", "%s/%s" % (COLLECTION, (created["result"] or {}).get("id")))


if __name__ == "__main__":
    main()
