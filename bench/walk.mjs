// The official TypeScript SDK walks all pages of an account's CSRs (bench/run.py, section "walk").
//
//   node walk.mjs ROWS PER_PAGE
//
// Environment: CSRD_URL CSRD_TOKEN CSRD_ACCOUNT.  Prints one line of JSON: seconds of a walk by a fresh process, and, of
// a second walk, the median time of a page in its first and in its last tenth.  During the first walk Node.js still
// compiles the SDK, so its pages get faster, which would hide that csrd gets slower.
// Ends with 1 unless each of the ROWS came once.
import assert from "node:assert/strict";
import Cloudflare from "cloudflare";

const [rows, perPage] = process.argv.slice(2).map(Number);
const client = new Cloudflare({ baseURL: process.env.CSRD_URL, apiToken: process.env.CSRD_TOKEN, maxRetries: 0 });

function median(values) {
	return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

// The milliseconds that each page took.
async function walk() {
	const seen = new Set();
	const took = [];
	let before = performance.now();
	const first = await client.customCsrs.list({ account_id: process.env.CSRD_ACCOUNT, per_page: perPage });
	for await (const page of first.iterPages()) {
		if (page.result.length === 0) {
			break; // the SDK asks until a page is empty
		}
		for (const csr of page.result) {
			assert.ok(!seen.has(csr.id), `${csr.id} came twice`);
			seen.add(csr.id);
		}
		const now = performance.now();
		took.push(now - before);
		before = now;
	}
	assert.equal(seen.size, rows);
	return took;
}

const began = performance.now();
await walk();
const seconds = (performance.now() - began) / 1000;
const took = await walk();
const tenth = Math.floor(took.length / 10);
const start_ms = median(took.slice(0, tenth));
const end_ms = median(took.slice(-tenth));
console.log(JSON.stringify({ pages: took.length, seconds, start_ms, end_ms }));
