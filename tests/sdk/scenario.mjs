// The official TypeScript SDK against a running csrd, changed in nothing but its base URL.
//
//   node scenario.mjs NAME      NAME is a key of `scenarios` below
//
// Environment: CSRD_URL CSRD_TOKEN CSRD_EMAIL CSRD_KEY CSRD_ACCOUNT CSRD_ZONE, and for some
// CSRD_READ_TOKEN (may only read), CSRD_OTHER_ACCOUNT (exists; nobody here has a grant on it) and
// CSRD_IDS (CSRs of the account, with blanks between them).
// Prints one line for each step that held, "step: …"; ends with 1 and the reason at the first that does not.
import assert from "node:assert/strict";
import dc from "node:diagnostics_channel";
import Cloudflare from "cloudflare";

const env = process.env;
const account = { account_id: env.CSRD_ACCOUNT };
const zone = { zone_id: env.CSRD_ZONE };

const required = {
	country: "US",
	state: "California",
	locality: "San Francisco",
	organization: "Example, Inc.",
	common_name: "example.com",
	sans: ["example.com", "www.example.com"],
};
const everything = {
	...required,
	organization: "Köln GmbH", // F190: sent as it is, not as \u00f6
	organizational_unit: "Platform",
	key_type: "rsa2048",
	name: "the web front end",
	description: "one line,\u3000with “quotes” in UTF-8: žluťoučký",
	sans: ["b.Example.com", "a.example.com", "*.example.com"],
};

// Counts what goes over the wire, beneath the SDK and its fetch.
let requests = 0;
dc.subscribe("undici:request:create", () => {
	requests += 1;
});

function client(options) {
	return new Cloudflare({ baseURL: env.CSRD_URL, apiToken: env.CSRD_TOKEN, ...options });
}

function step(text) {
	console.log(`step: ${text}`);
}

// The fields of a result that the caller gave must come back exactly, those not given not at all.
function assertEchoes(result, sent) {
	for (const field of Object.keys(everything)) {
		if (field === "key_type") {
			assert.equal(result.key_type, sent.key_type ?? "rsa2048");
		} else if (field in sent) {
			assert.deepEqual(result[field], sent[field], field);
		} else {
			assert.ok(!(field in result), `${field} was not given`);
		}
	}
	assert.match(result.id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
	assert.match(result.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
	assert.match(result.csr, /^-----BEGIN CERTIFICATE REQUEST-----\n[^]*\n-----END CERTIFICATE REQUEST-----\n$/);
	assert.equal(result.account_tag, env.CSRD_ACCOUNT);
}

async function assertFails(promise, errorClass, status, code) {
	const before = requests;
	const error = await promise.then(
		() => assert.fail(`${errorClass.name} was expected`),
		(e) => e,
	);
	assert.ok(error instanceof errorClass, `${errorClass.name} was expected, not ${error}`);
	assert.equal(error.status, status);
	assert.equal(error.errors[0].code, code);
	assert.ok(error.errors[0].message.length > 0);
	assert.equal(requests - before, 1, "requests made");
	return error;
}

async function createAndGet(scope, body, what) {
	const csrs = client().customCsrs;
	const made = await csrs.create({ ...scope, ...body });
	assertEchoes(made, body);
	assert.deepEqual(await csrs.get(made.id, scope), made);
	step(`create and get: ${what}`);
	return made;
}

const scenarios = {
	async create() {
		for (const [scope, where] of [
			[account, "account"],
			[zone, "zone"],
		]) {
			await createAndGet(scope, required, `${where}, required fields only`);
			await createAndGet(scope, everything, `${where}, all fields`);
			await createAndGet(scope, { ...required, key_type: "p256v1" }, `${where}, p256v1`);
		}
		const { data, response } = await client()
			.customCsrs.create({ ...account, ...required, key_type: "p256v1" })
			.withResponse();
		assert.equal(response.status, 201);
		assert.match(response.headers.get("content-type"), /^application\/json/);
		assert.ok(response.headers.get("x-request-id"));
		assert.equal(data.common_name, "example.com");
		step("withResponse");
		// F134: what the caller's program has no value for
		const nulls = { organizational_unit: null, key_type: null, name: null, description: null };
		assertEchoes(await client().customCsrs.create({ ...account, ...required, ...nulls }), required);
		step("null is not given");
		// F388: a query parameter that the SDK knows nothing of
		const would = await client().customCsrs.create({ ...account, ...everything }, { query: { dry_run: true } });
		assert.deepEqual(would, everything);
		step("dry run");
		const byKey = client({ apiToken: null, apiEmail: env.CSRD_EMAIL, apiKey: env.CSRD_KEY });
		assert.deepEqual(await byKey.customCsrs.get(data.id, account), data);
		step("e-mail and key");
		const slash = client({ baseURL: `${env.CSRD_URL}/` }).customCsrs;
		assert.deepEqual(await slash.get(data.id, account), data);
		step("base URL with a slash at its end");
	},

	async list() {
		const csrs = client().customCsrs;
		const made = [];
		for (let i = 0; i < 11; i += 1) {
			const name = `csr ${String(i).padStart(2, "0")}`;
			made.push(await csrs.create({ ...zone, ...required, key_type: "p256v1", name }));
		}
		const before = requests;
		const listed = [];
		for await (const csr of csrs.list({ ...zone, per_page: 5 })) {
			listed.push(csr);
		}
		assert.deepEqual(listed, made);
		assert.equal(requests - before, 4, "three pages with items and one without");
		step("for await over three pages");

		const page = await csrs.list({ ...zone, per_page: 5, page: 3, order: "name", direction: "desc" });
		assert.deepEqual(page.result, [made[0]]);
		assert.deepEqual(page.result_info, { page: 3, per_page: 5, count: 1, total_count: 11, total_pages: 3 });
		step("order, direction and result_info");

		const other = [];
		for await (const csr of csrs.list(account)) {
			other.push(csr);
		}
		assert.deepEqual(other, []);
		step("an account does not list its zones' CSRs");
	},

	async delete() {
		const csrs = client().customCsrs;
		for (const scope of [account, zone]) {
			const made = await csrs.create({ ...scope, ...required, key_type: "p256v1" });
			assert.deepEqual(await csrs.delete(made.id, scope), { id: made.id });
			await assertFails(csrs.get(made.id, scope), Cloudflare.NotFoundError, 404, 1419);
			assert.deepEqual(await csrs.delete(made.id, scope), { id: made.id });
			const other = scope === zone ? account : zone;
			await assertFails(csrs.delete(made.id, other), Cloudflare.NotFoundError, 404, 1419);
		}
		step("delete, then gone, and again");
	},

	// F139: at the same time and over an HSM too slow for one attempt each; the SDK repeats what is answered 503.
	async deletes() {
		const csrs = client().customCsrs;
		const ids = env.CSRD_IDS.split(" ");
		const before = requests;
		const answers = await Promise.all(ids.map((id) => csrs.delete(id, account)));
		assert.deepEqual(
			answers,
			ids.map((id) => ({ id })),
		);
		assert.ok(requests - before > ids.length, "no delete was repeated");
		step("deletes, repeated by the SDK");
		for (const id of ids) {
			await assertFails(csrs.get(id, account), Cloudflare.NotFoundError, 404, 1419);
		}
		step("all are gone");
	},

	async errors() {
		const csrs = client().customCsrs;
		const made = await csrs.create({ ...account, ...required, key_type: "p256v1" });

		const bad = await assertFails(
			csrs.create({ ...account, ...required, country: "us", sans: ["-"] }),
			Cloudflare.BadRequestError,
			400,
			1405,
		);
		assert.deepEqual(
			bad.errors.map((e) => [e.code, e.source.pointer.split("/")[1]]),
			[
				[1405, "country"],
				[1412, "sans"],
			],
		);
		await assertFails(csrs.get("not-an-id", account), Cloudflare.BadRequestError, 400, 1418);
		step("400 BadRequestError");

		const stranger = client({ apiToken: "csrd_" + "x".repeat(49) }).customCsrs;
		await assertFails(stranger.get(made.id, account), Cloudflare.AuthenticationError, 401, 1000);
		await assertFails(stranger.create({ ...account, ...required }), Cloudflare.AuthenticationError, 401, 1000);
		step("401 AuthenticationError");

		const reader = client({ apiToken: env.CSRD_READ_TOKEN }).customCsrs;
		assert.deepEqual(await reader.get(made.id, account), made);
		await assertFails(reader.create({ ...account, ...required }), Cloudflare.PermissionDeniedError, 403, 1404);
		await assertFails(reader.delete(made.id, account), Cloudflare.PermissionDeniedError, 403, 1404);
		const other = { account_id: env.CSRD_OTHER_ACCOUNT };
		await assertFails(csrs.create({ ...other, ...required }), Cloudflare.PermissionDeniedError, 403, 1404);
		step("403 PermissionDeniedError");

		const nobody = "00000000-0000-4000-8000-000000000000";
		await assertFails(csrs.get(nobody, account), Cloudflare.NotFoundError, 404, 1419);
		await assertFails(csrs.get(made.id, zone), Cloudflare.NotFoundError, 404, 1419);
		step("404 NotFoundError");

		const options = { headers: { "Idempotency-Key": "once" } };
		const first = await csrs.create({ ...account, ...required, key_type: "p256v1" }, options);
		assert.deepEqual(await csrs.create({ ...account, ...required, key_type: "p256v1" }, options), first);
		await assertFails(
			csrs.create({ ...account, ...required, key_type: "p256v1", name: "another" }, options),
			Cloudflare.ConflictError,
			409,
			1421,
		);
		step("409 ConflictError after exactly one request");
	},

	async verify() {
		const answer = await client().user.tokens.verify();
		assert.equal(answer.status, "active");
		assert.deepEqual(await client().accounts.tokens.verify(account), answer);
		step("token verify");
		await assertFails(
			client({ apiToken: "csrd_" + "x".repeat(49) }).user.tokens.verify(),
			Cloudflare.AuthenticationError,
			401,
			1000,
		);
		step("token verify of an unknown token");
	},

	// The signer is down, and stays so.
	async down() {
		const before = requests;
		const error = await client({ maxRetries: 1 })
			.customCsrs.create({ ...account, ...required })
			.catch((e) => e);
		assert.ok(error instanceof Cloudflare.InternalServerError, String(error));
		assert.equal(error.status, 503);
		assert.equal(error.errors[0].code, 1503);
		assert.ok(Number(error.headers.get("retry-after")) > 0);
		assert.equal(requests - before, 2, "requests made");
		step("503 InternalServerError, retried");
	},

	// The signer is down and comes back once "step: waiting" was read.
	async comeback() {
		const before = requests;
		const made = client({ maxRetries: 20 }).customCsrs.create({ ...account, ...required, key_type: "p256v1" });
		while (requests === before) {
			await new Promise((resolve) => setTimeout(resolve, 5));
		}
		step("waiting");
		assertEchoes(await made, { ...required, key_type: "p256v1" });
		assert.ok(requests - before > 1, "it was retried");
		step("503 retried until the signer came back");
	},

	// F367: one read in three seconds.  The first 429 says when; the SDK waits for so long, and no longer.
	async limited() {
		const before = requests;
		const began = Date.now();
		await client().customCsrs.list(account);
		const { response } = await client().customCsrs.list(account).withResponse();
		assert.equal(response.status, 200);
		assert.match(response.headers.get("ratelimit"), /^"reads_per_principal";r=0;t=[123]$/);
		assert.equal(response.headers.get("ratelimit-policy"), '"reads_per_principal";q=1;w=3');
		assert.equal(requests - before, 3, "requests made");
		assert.ok(Date.now() - began >= 2900, "it waited for Retry-After");
		step("429 retried after Retry-After");
		const error = await client({ maxRetries: 0 }).customCsrs.list(account).catch((e) => e);
		assert.ok(error instanceof Cloudflare.RateLimitError, String(error));
		assert.equal(error.errors[0].code, 971);
		step("429 RateLimitError");
	},
};

const scenario = scenarios[process.argv[2]];
if (!scenario) {
	console.error(`usage: node scenario.mjs ${Object.keys(scenarios).join("|")}`);
	process.exit(64);
}
await scenario();
