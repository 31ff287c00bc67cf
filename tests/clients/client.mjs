// Node's two HTTP clients, each with a body whose length is not known beforehand.
//
//   node client.mjs request|fetch
//
// Environment: CSRD_URL (with /client/v4), CSRD_TOKEN, CSRD_ACCOUNT, CSRD_BODY (the create, as JSON).
// CSRD_TOO_LARGE is how many bytes are more than csrd takes.
// Waits for a line on standard input before it deletes.
// Prints one line for each answer: the step's name, status, Content-Type, and the body in base64.
// What is right is decided by tests/system/clients.py.
import http from "node:http";

const env = process.env;
const collection = `${env.CSRD_URL}/accounts/${env.CSRD_ACCOUNT}/custom_csrs`;
const agent = new http.Agent({ keepAlive: true });

// http.request with write() and end(): Transfer-Encoding: chunked
function byRequest(method, url, headers, pieces) {
	return new Promise((resolve, reject) => {
		const request = http.request(url, { method, headers, agent }, (response) => {
			const parts = [];
			response.on("data", (part) => parts.push(part));
			response.on("error", reject);
			response.on("end", () =>
				resolve([response.statusCode, response.headers["content-type"], Buffer.concat(parts)]),
			);
		});
		request.on("error", reject);
		for (const piece of pieces ?? []) {
			request.write(piece);
		}
		request.end();
	});
}

// fetch with a stream as its body
async function byFetch(method, url, headers, pieces) {
	const options = { method, headers };
	if (pieces) {
		const encoder = new TextEncoder();
		options.duplex = "half";
		options.body = new ReadableStream({
			pull(controller) {
				const piece = pieces.shift();
				if (piece === undefined) {
					controller.close();
				} else {
					controller.enqueue(encoder.encode(piece));
				}
			},
		});
	}
	const response = await fetch(url, options);
	return [response.status, response.headers.get("content-type"), Buffer.from(await response.arrayBuffer())];
}

const send = { request: byRequest, fetch: byFetch }[process.argv[2]];

async function step(name, method, url, { token = env.CSRD_TOKEN, type = "application/json", text } = {}) {
	const headers = { Authorization: `Bearer ${token}` };
	let pieces;
	if (text !== undefined) {
		headers["Content-Type"] = type;
		pieces = [text.slice(0, 1), text.slice(1, 64), text.slice(64)].filter((piece) => piece !== "");
	}
	const [status, contentType, body] = await send(method, url, headers, pieces);
	console.log(name, status, contentType, body.toString("base64"));
	return body;
}

const created = JSON.parse(await step("create", "POST", collection, { text: env.CSRD_BODY }));
await step("list", "GET", collection);
await step("bad-json", "POST", collection, { text: '{"country": "SE"' });
await step("bad-token", "POST", collection, { text: env.CSRD_BODY, token: "csrd_nobody" });
await step("bad-type", "POST", collection, { text: env.CSRD_BODY, type: "text/plain" });
await step("too-large", "POST", collection, { text: env.CSRD_BODY + " ".repeat(env.CSRD_TOO_LARGE) });
await new Promise((resolve) => process.stdin.once("data", resolve));
await step("delete", "DELETE", `${collection}/${created.result?.id}`);
agent.destroy();
process.stdin.destroy();
