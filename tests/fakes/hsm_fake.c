/* SPDX-License-Identifier: Apache-2.0 */
/* An HSM for tests: in this process, and at the test's command. */
#include "tests/fakes/hsm_fake.h"

#include "base/key_label.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRIPT_MAX 64

struct fake_key {
	char label[256];
	enum message_key_presence presence;
	uint8_t key_id[KEY_ID_BYTES];
	uint8_t spki_sha256[KEY_SPKI_HASH_BYTES];
	char csr_id[CSR_ID_SIZE]; /* that it was used for; "" */
	bool unsettled;
	uint64_t journal_index;
	struct fake_key *next;
};

struct fake_call {
	enum hsm_fake_call kind;
	char csr_id[CSR_ID_SIZE];
	char label[KEY_LABEL_SIZE];
	char labels[MESSAGE_CONFIRM_MAX][KEY_LABEL_SIZE];
	size_t labels_len;
	bool kept;
	uint64_t from;
	enum key_type key_type;
	union {
		hsm_create_csr_fn create;
		hsm_destroy_key_fn destroy;
		hsm_find_key_fn find;
		hsm_list_keys_fn list;
		hsm_confirm_fn confirm;
		hsm_unsettled_fn unsettled;
		hsm_status_fn status;
	} done;
	void *arg;
	struct fake_call *next;
};

struct fake_script {
	enum hsm_fake_call kind;
	enum err e;
	bool takes_effect;
};

struct hsm {
	char *token_name;
	bool up;
	bool usable;
	key_type_set key_types;
	uint64_t keys_made;
	uint64_t names_made;
	uint64_t kept;
	bool repeat_key;
	enum key_type mistaken_type;
	struct fake_key *keys;
	struct fake_call *first;
	struct fake_call **last;
	unsigned queued;
	struct fake_script scripts[SCRIPT_MAX];
	size_t scripts_len;
	unsigned calls[HSM_FAKE_CALLS];
	struct csr_spec last_spec;
	char last_csr_id[CSR_ID_SIZE];
	uint64_t last_deadline_ms;
	hsm_link_fn on_link;
	void *on_link_arg;
};

struct hsm *hsm_fake_new(const char *token_name)
{
	struct hsm *hsm = calloc(1, sizeof(*hsm));

	assert(hsm);
	hsm->token_name = strdup(token_name);
	assert(hsm->token_name);
	hsm->up = true;
	hsm->usable = true;
	hsm->key_types = KEY_TYPE_BIT(KEY_RSA2048) | KEY_TYPE_BIT(KEY_P256V1);
	hsm->last = &hsm->first;
	return hsm;
}

void hsm_free(struct hsm *hsm)
{
	struct fake_key *key;

	if (!hsm)
		return;
	hsm->up = false;
	while (hsm_fake_run(hsm) > 0)
		;
	while ((key = hsm->keys)) {
		hsm->keys = key->next;
		free(key);
	}
	csr_spec_release(&hsm->last_spec);
	free(hsm->token_name);
	free(hsm);
}

/* ---- orders of the test ---- */

void hsm_fake_script(struct hsm *hsm, enum hsm_fake_call call, enum err e, bool takes_effect)
{
	assert(hsm->scripts_len < SCRIPT_MAX);
	hsm->scripts[hsm->scripts_len++] = (struct fake_script){call, e, takes_effect};
}

void hsm_fake_set_up(struct hsm *hsm, bool up)
{
	hsm->up = up;
	if (hsm->on_link)
		hsm->on_link(hsm->on_link_arg, hsm, up);
}

void hsm_fake_on_link(struct hsm *hsm, hsm_link_fn on_link, void *arg)
{
	hsm->on_link = on_link;
	hsm->on_link_arg = arg;
}

void hsm_fake_set_usable(struct hsm *hsm, bool usable)
{
	hsm->usable = usable;
}

void hsm_fake_set_key_types(struct hsm *hsm, key_type_set types)
{
	hsm->key_types = types;
}

void hsm_fake_repeat_key(struct hsm *hsm)
{
	hsm->repeat_key = true;
}

void hsm_fake_mistake_type(struct hsm *hsm, enum key_type type)
{
	hsm->mistaken_type = type;
}

unsigned hsm_fake_calls(const struct hsm *hsm, enum hsm_fake_call call)
{
	return hsm->calls[call];
}

const char *hsm_fake_last_csr_id(const struct hsm *hsm)
{
	return hsm->last_csr_id;
}

const struct csr_spec *hsm_fake_last_spec(const struct hsm *hsm)
{
	return &hsm->last_spec;
}

uint64_t hsm_fake_last_deadline_ms(const struct hsm *hsm)
{
	return hsm->last_deadline_ms;
}

/* ---- the token ---- */

static void number_key(uint64_t number, uint8_t *dst, size_t len)
{
	memset(dst, 0x5a, len);
	memcpy(dst, &number, sizeof(number));
}

void hsm_fake_put_key(struct hsm *hsm, const char *label, enum message_key_presence presence)
{
	struct fake_key *key = calloc(1, sizeof(*key));

	assert(key);
	snprintf(key->label, sizeof(key->label), "%s", label);
	key->presence = presence;
	number_key(hsm->keys_made, key->key_id, sizeof(key->key_id));
	key->next = hsm->keys;
	hsm->keys = key;
}

static struct fake_key **key_find(struct hsm *hsm, const char *label)
{
	struct fake_key **at = &hsm->keys;

	while (*at && strcmp((*at)->label, label) != 0)
		at = &(*at)->next;
	return at;
}

static const struct fake_key *key_of_csr(const struct hsm *hsm, const char *csr_id)
{
	char label[KEY_LABEL_SIZE];

	key_label_of_csr(label, csr_id);
	for (const struct fake_key *key = hsm->keys; key; key = key->next)
		if (strcmp(key->csr_id, csr_id) == 0 || strcmp(key->label, label) == 0)
			return key;
	return NULL;
}

enum message_key_presence hsm_fake_key(const struct hsm *hsm, const char *csr_id)
{
	const struct fake_key *key = key_of_csr(hsm, csr_id);

	return key ? key->presence : MESSAGE_KEY_NONE;
}

const char *hsm_fake_key_label(const struct hsm *hsm, const char *csr_id)
{
	const struct fake_key *key = key_of_csr(hsm, csr_id);

	return key ? key->label : "";
}

bool hsm_fake_is_unsettled(const struct hsm *hsm, const char *csr_id)
{
	const struct fake_key *key = key_of_csr(hsm, csr_id);

	return key && key->unsettled;
}

unsigned hsm_fake_kept(const struct hsm *hsm)
{
	return (unsigned)hsm->kept;
}

void hsm_fake_put_unsettled(struct hsm *hsm, const char *csr_id)
{
	uint8_t name[KEY_NAME_BYTES];
	char label[KEY_LABEL_SIZE];

	number_key(++hsm->names_made, name, sizeof(name));
	key_name_format(label, name);
	hsm->keys_made++;
	hsm_fake_put_key(hsm, label, MESSAGE_KEY_PAIR);
	snprintf(hsm->keys->csr_id, sizeof(hsm->keys->csr_id), "%s", csr_id);
	number_key(hsm->keys_made, hsm->keys->spki_sha256, sizeof(hsm->keys->spki_sha256));
	hsm->keys->unsettled = true;
	hsm->keys->journal_index = hsm->names_made;
}

size_t hsm_fake_keys_len(const struct hsm *hsm)
{
	size_t len = 0;

	for (const struct fake_key *key = hsm->keys; key; key = key->next)
		len++;
	return len;
}

static uint32_t key_destroy(struct hsm *hsm, const char *label)
{
	struct fake_key **at = key_find(hsm, label);
	struct fake_key *key = *at;
	uint32_t objects;

	if (!key)
		return 0;
	objects = key->presence == MESSAGE_KEY_PAIR ? 2 : 1;
	*at = key->next;
	free(key);
	return objects;
}

/* ---- hsm.h ---- */

const char *hsm_token_name(const struct hsm *hsm)
{
	return hsm->token_name;
}

bool hsm_is_up(const struct hsm *hsm)
{
	return hsm->up;
}

key_type_set hsm_key_types(const struct hsm *hsm)
{
	return hsm->key_types;
}

const char *hsm_down_reason(const struct hsm *hsm)
{
	return hsm->up ? "" : "told to be down";
}

unsigned hsm_in_flight(const struct hsm *hsm)
{
	return hsm->queued;
}

static struct fake_call *enqueue(struct hsm *hsm, enum hsm_fake_call kind, const char *csr_id,
				 uint64_t deadline_ms, void *arg)
{
	struct fake_call *call = calloc(1, sizeof(*call));

	assert(call);
	call->kind = kind;
	call->arg = arg;
	if (csr_id)
		snprintf(call->csr_id, sizeof(call->csr_id), "%s", csr_id);
	*hsm->last = call;
	hsm->last = &call->next;
	hsm->queued++;
	hsm->calls[kind]++;
	hsm->last_deadline_ms = deadline_ms;
	return call;
}

void hsm_create_csr(struct hsm *hsm, const char *csr_id, const struct csr_spec *spec, uint64_t deadline_ms,
		    hsm_create_csr_fn done, void *arg)
{
	struct fake_call *call = enqueue(hsm, HSM_FAKE_CREATE_CSR, csr_id, deadline_ms, arg);

	csr_spec_release(&hsm->last_spec);
	if (csr_spec_copy(spec, &hsm->last_spec) != E_OK)
		abort();
	snprintf(hsm->last_csr_id, sizeof(hsm->last_csr_id), "%s", csr_id);
	call->key_type = spec->key_type;
	call->done.create = done;
}

static struct fake_call *enqueue_of_key(struct hsm *hsm, enum hsm_fake_call kind, const char *label,
					uint64_t deadline_ms, void *arg)
{
	struct fake_call *call = enqueue(hsm, kind, NULL, deadline_ms, arg);

	assert(key_label_is_valid(label));
	snprintf(call->label, sizeof(call->label), "%s", label);
	return call;
}

void hsm_destroy_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_destroy_key_fn done,
		     void *arg)
{
	enqueue_of_key(hsm, HSM_FAKE_DESTROY_KEY, label, deadline_ms, arg)->done.destroy = done;
}

void hsm_find_key(struct hsm *hsm, const char *label, uint64_t deadline_ms, hsm_find_key_fn done, void *arg)
{
	enqueue_of_key(hsm, HSM_FAKE_FIND_KEY, label, deadline_ms, arg)->done.find = done;
}

void hsm_confirm(struct hsm *hsm, const struct message_confirm *confirm, uint64_t deadline_ms,
		 hsm_confirm_fn done, void *arg)
{
	struct fake_call *call = enqueue(hsm, HSM_FAKE_CONFIRM, NULL, deadline_ms, arg);

	assert(confirm->labels_len >= 1 && confirm->labels_len <= MESSAGE_CONFIRM_MAX);
	memcpy(call->labels, confirm->labels, confirm->labels_len * sizeof(call->labels[0]));
	call->labels_len = confirm->labels_len;
	call->kept = confirm->kept;
	call->done.confirm = done;
}

void hsm_unsettled(struct hsm *hsm, uint64_t from, uint64_t deadline_ms, hsm_unsettled_fn done, void *arg)
{
	struct fake_call *call = enqueue(hsm, HSM_FAKE_UNSETTLED, NULL, deadline_ms, arg);

	call->from = from;
	call->done.unsettled = done;
}

void hsm_list_keys(struct hsm *hsm, uint64_t deadline_ms, hsm_list_keys_fn done, void *arg)
{
	enqueue(hsm, HSM_FAKE_LIST_KEYS, NULL, deadline_ms, arg)->done.list = done;
}

void hsm_status(struct hsm *hsm, uint64_t deadline_ms, hsm_status_fn done, void *arg)
{
	enqueue(hsm, HSM_FAKE_STATUS, NULL, deadline_ms, arg)->done.status = done;
}

/* ---- running ---- */

static void run_create(struct hsm *hsm, const struct fake_call *call, struct fake_script script)
{
	/* Not a PKCS#10 request, but bytes enough for three lines of PEM. */
	uint8_t der[100];
	struct message_create_csr_reply reply = {.der = der, .der_len = sizeof(der)};

	memset(der, 0x30, sizeof(der));
	if (script.e != E_OK && !script.takes_effect) {
		call->done.create(call->arg, script.e, "as scripted", NULL);
		return;
	}
	if (!hsm->repeat_key)
		hsm->keys_made++;
	hsm->repeat_key = false;
	hsm->keys_made--; /* hsm_fake_put_unsettled counts it */
	hsm_fake_put_unsettled(hsm, call->csr_id);
	memcpy(reply.key.label, hsm->keys->label, sizeof(reply.key.label));
	reply.journal_index = hsm->keys->journal_index;
	reply.key.key_type = hsm->mistaken_type ? hsm->mistaken_type : call->key_type;
	hsm->mistaken_type = 0;
	reply.key.protection = KEY_PROT_REQUIRED;
	number_key(hsm->keys_made, reply.key.key_id, sizeof(reply.key.key_id));
	number_key(hsm->keys_made, reply.key.spki_sha256, sizeof(reply.key.spki_sha256));
	call->done.create(call->arg, script.e, script.e != E_OK ? "as scripted" : "",
			  script.e != E_OK ? NULL : &reply);
}

static void run_list(struct hsm *hsm, const struct fake_call *call, struct fake_script script)
{
	struct message_listed_key one;
	struct message_list_keys_part part = {.keys = &one, .keys_len = 1};

	if (script.e != E_OK) {
		call->done.list(call->arg, script.e, "as scripted", NULL);
		return;
	}
	for (const struct fake_key *key = hsm->keys; key; key = key->next) {
		one = (struct message_listed_key){.label = (char *)(uintptr_t)key->label,
						  .life =
						      key->unsettled ? MESSAGE_LIFE_USED : MESSAGE_LIFE_NONE,
						  .presence = key->presence};
		memcpy(one.key_id, key->key_id, sizeof(one.key_id));
		call->done.list(call->arg, E_OK, "", &part);
	}
	part.keys_len = 0;
	part.last = true;
	call->done.list(call->arg, E_OK, "", &part);
}

static void run_find(struct hsm *hsm, const struct fake_call *call, struct fake_script script)
{
	struct fake_key *key = *key_find(hsm, call->label);
	struct message_find_key_reply reply = {.presence = key ? key->presence : MESSAGE_KEY_NONE};

	if (key)
		memcpy(reply.key_id, key->key_id, sizeof(reply.key_id));
	call->done.find(call->arg, script.e, script.e != E_OK ? "as scripted" : "",
			script.e != E_OK ? NULL : &reply);
}

static void run_confirm(struct hsm *hsm, const struct fake_call *call, struct fake_script script)
{
	for (size_t i = 0; i < call->labels_len && (script.e == E_OK || script.takes_effect); i++) {
		struct fake_key *key = *key_find(hsm, call->labels[i]);

		if (key) {
			hsm->kept += call->kept && key->unsettled;
			key->unsettled = false;
		}
	}
	call->done.confirm(call->arg, script.e, script.e != E_OK ? "as scripted" : "");
}

/* Keys are listed newest first: the oldest of those that are left is looked for each time. */
static void run_unsettled(struct hsm *hsm, const struct fake_call *call, struct fake_script script)
{
	struct message_unsettled_key keys[HSM_FAKE_UNSETTLED_PAGE];
	struct message_unsettled_reply reply = {.keys = keys};
	uint64_t from = call->from;

	if (script.e != E_OK) {
		call->done.unsettled(call->arg, script.e, "as scripted", NULL);
		return;
	}
	for (;;) {
		const struct fake_key *oldest = NULL;
		struct message_unsettled_key *to = &keys[reply.keys_len];

		for (const struct fake_key *key = hsm->keys; key; key = key->next)
			if (key->unsettled && key->journal_index >= from &&
			    (!oldest || key->journal_index < oldest->journal_index))
				oldest = key;
		reply.more = oldest && reply.keys_len == HSM_FAKE_UNSETTLED_PAGE;
		if (!oldest || reply.more)
			break;
		memcpy(to->label, oldest->label, sizeof(to->label));
		memcpy(to->csr_id, oldest->csr_id, sizeof(to->csr_id));
		memcpy(to->spki_sha256, oldest->spki_sha256, sizeof(to->spki_sha256));
		to->journal_index = oldest->journal_index;
		from = oldest->journal_index + 1;
		reply.keys_len++;
	}
	call->done.unsettled(call->arg, E_OK, "", &reply);
}

static void run_status(struct hsm *hsm, const struct fake_call *call, struct fake_script script)
{
	char detail[] = "told to be unusable";
	struct message_status_reply reply = {
	    .usable = hsm->usable, .detail = detail, .key_types = hsm->key_types};

	if (hsm->usable)
		detail[0] = '\0';
	call->done.status(call->arg, script.e, script.e != E_OK ? "as scripted" : "",
			  script.e != E_OK ? NULL : &reply);
}

static struct fake_script script_take(struct hsm *hsm, enum hsm_fake_call kind)
{
	struct fake_script script = {kind, E_OK, true};

	for (size_t i = 0; i < hsm->scripts_len; i++) {
		if (hsm->scripts[i].kind != kind)
			continue;
		script = hsm->scripts[i];
		hsm->scripts_len--;
		memmove(&hsm->scripts[i], &hsm->scripts[i + 1], (hsm->scripts_len - i) * sizeof(script));
		break;
	}
	if (!hsm->up && script.e == E_OK)
		script = (struct fake_script){kind, E_UNAVAIL, false};
	return script;
}

static void run_one(struct hsm *hsm, const struct fake_call *call)
{
	struct fake_script script = script_take(hsm, call->kind);
	uint32_t objects = 0;

	switch (call->kind) {
	case HSM_FAKE_CREATE_CSR:
		run_create(hsm, call, script);
		break;
	case HSM_FAKE_DESTROY_KEY:
		if (script.e == E_OK || script.takes_effect)
			objects = key_destroy(hsm, call->label);
		call->done.destroy(call->arg, script.e, script.e != E_OK ? "as scripted" : "", objects);
		break;
	case HSM_FAKE_FIND_KEY:
		run_find(hsm, call, script);
		break;
	case HSM_FAKE_LIST_KEYS:
		run_list(hsm, call, script);
		break;
	case HSM_FAKE_CONFIRM:
		run_confirm(hsm, call, script);
		break;
	case HSM_FAKE_UNSETTLED:
		run_unsettled(hsm, call, script);
		break;
	case HSM_FAKE_STATUS:
		run_status(hsm, call, script);
		break;
	case HSM_FAKE_CALLS:
		abort();
	}
}

unsigned hsm_fake_run(struct hsm *hsm)
{
	unsigned n = hsm->queued;

	for (unsigned i = 0; i < n; i++) {
		struct fake_call *call = hsm->first;

		hsm->first = call->next;
		if (!hsm->first)
			hsm->last = &hsm->first;
		hsm->queued--;
		run_one(hsm, call);
		free(call);
	}
	return n;
}
