/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the real csrd-hsm knows of its token, and what it does when that is not
 * so any more: the probe and its memory, refusals, objects that are neither
 * there nor gone, and an end while it works for itself.
 *
 * run: waits seconds=30
 */
#include "tests/unit/cmocka_all.h"

#include "tests/contract/signer_fixture.h"

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MEMORY "signer-state/probe"
#define MADE "C_GenerateKeyPair"
#define ID_A "0a000000-0000-4000-8000-00000000000a"
#define ID_B "0b000000-0000-4000-8000-00000000000b"
#define POOL_KEYS 8
/* An RSA key takes a quarter of a second to make, and what is looked at here is the same for all families. */
#define NO_RSA "C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_RSA_PKCS_KEY_PAIR_GEN\n"

/* ---- the probe's memory ---- */

/* One life: how many pairs its start made; what it says that the token does goes to `said`. */
static long live(struct signer_fixture *f, char said[1024])
{
	long before = signer_shim_count(f, MADE), made;
	struct message_status_reply status;
	struct signer_client c;

	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	made = signer_shim_count(f, MADE) - before;
	signer_status(&c, &status);
	assert_true(status.usable);
	snprintf(said, 1024, "%s", status.capabilities);
	message_status_reply_release(&status);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_OK);
	signer_client_close(&c);
	signer_stop(f);
	return made;
}

static void read_memory(const struct signer_fixture *f, struct buf *text)
{
	buf_reset(text);
	assert_int_equal(fd_read_file(signer_path(f, MEMORY), text), E_OK);
}

static void write_memory(const struct signer_fixture *f, const void *data, size_t len)
{
	int fd = open(signer_path(f, MEMORY), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, data, len), E_OK);
	close(fd);
}

/* A module file of the fixture's own, which can be changed. */
static void use_copy_of_shim(struct signer_fixture *f, const char *rules)
{
	static char path[PATH_MAX];
	struct buf module;
	int fd;

	signer_use_shim(f, rules);
	buf_init(&module, 1 << 24);
	assert_int_equal(fd_read_file(f->shim, &module), E_OK);
	snprintf(path, sizeof(path), "%s", signer_path(f, "module.so"));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, module.data, module.len), E_OK);
	close(fd);
	buf_release(&module);
	f->module = path;
}

static void the_probe_is_made_once(void **state)
{
	struct signer_fixture *f = *state;
	char first[1024], second[1024];

	signer_use_shim(f, "");
	assert_true(live(f, first) > 2);
	assert_non_null(
	    strstr(first, "data objects: yes, that cannot be changed; CKA_ID: as asked for; probed 20"));
	assert_int_equal(live(f, second), 1); /* which shows that it makes keys at all */
	assert_string_equal(first, second);   /* the time of the probe, too */
}

/* Cut anywhere or changed anywhere: found out again, and kept again. */
static void a_damaged_memory_is_none(void **state)
{
	struct signer_fixture *f = *state;
	struct buf good, text;
	char first[1024], said[1024];
	size_t from;

	buf_init(&good, 65536);
	buf_init(&text, 65536);
	signer_use_shim(f, NO_RSA);
	live(f, first);
	read_memory(f, &good);
	from = (size_t)(strstr(buf_text(&good), "\nfound") - buf_text(&good));
	for (int i = 0; i < 4; i++) {
		buf_reset(&text);
		buf_put(&text, good.data, good.len);
		if (i < 2) /* a template, the sum */
			text.data[i == 0 ? from + 10 : good.len - 3] ^= 1;
		write_memory(f, text.data, i == 2 ? good.len / 2 : i == 3 ? 0 : good.len);
		assert_true(live(f, said) > 1);
		assert_memory_equal(said, first, (size_t)(strstr(first, "; probed") - first));
		read_memory(f, &text);
		/* with another time */
		assert_memory_not_equal(text.data + from, good.data + from, good.len - from);
	}
	assert_int_equal(live(f, said), 1);
	buf_release(&good);
	buf_release(&text);
}

static void another_module_or_token_is_probed(void **state)
{
	const struct timespec touched[] = {{1000000000, 0}, {1000000000, 0}};
	struct signer_fixture *f = *state;
	char said[1024];

	use_copy_of_shim(f, NO_RSA);
	assert_true(live(f, said) > 1);
	assert_int_equal(live(f, said), 1);
	assert_int_equal(utimensat(AT_FDCWD, f->module, touched, 0), 0);
	assert_true(live(f, said) > 1);
	signer_set_rules(f,
			 NO_RSA "C_GetMechanismInfo return CKR_MECHANISM_INVALID if CKM_SHA512_RSA_PKCS\n");
	assert_true(live(f, said) > 1);
	assert_int_equal(live(f, said), 1);
	f->module = NULL; /* the module behind the shim */
	signer_start(f);
	signer_wait_for_log(f, "is outdated or damaged");
	signer_wait_for_log(f, "serving token ");
	signer_stop(f);
}

/* What a token refuses is remembered as well; what may have been an accident is not. */
static void only_what_is_sure_is_remembered(void **state)
{
	struct signer_fixture *f = *state;
	char said[1024];

	signer_use_shim(f, NO_RSA "template-refuse CKA_COPYABLE CKR_ATTRIBUTE_TYPE_INVALID\n");
	assert_true(live(f, said) > 10);
	assert_non_null(strstr(said, "ec: 112-521 bits template strictest but no-copy;"));
	assert_int_equal(live(f, said), 1);
	assert_int_equal(unlink(signer_path(f, MEMORY)), 0);
	signer_set_rules(f, NO_RSA "template-refuse CKA_COPYABLE CKR_GENERAL_ERROR\n");
	assert_true(live(f, said) > 10);
	assert_non_null(strstr(said, "strictest but no-copy;"));
	assert_true(live(f, said) > 10);
	signer_set_rules(f, NO_RSA);
	assert_true(live(f, said) > 1);
	assert_null(strstr(said, "but no-copy"));
	assert_int_equal(live(f, said), 1);
}

/* The token took it when it was probed, and does not any more: at a start, and at work. */
static void what_is_refused_later_is_probed_anew(void **state)
{
	static const char rule[] =
	    NO_RSA "template-refuse CKA_ALLOWED_MECHANISMS CKR_TEMPLATE_INCONSISTENT\n";
	struct signer_fixture *f = *state;
	struct signer_client c;
	char said[1024];

	signer_use_shim(f, NO_RSA);
	live(f, said);
	signer_set_rules(f, rule);
	assert_true(live(f, said) > 10);
	assert_non_null(strstr(said, "but allowed-mechanisms"));

	signer_set_rules(f, NO_RSA);
	assert_int_equal(unlink(signer_path(f, MEMORY)), 0);
	live(f, said);
	assert_null(strstr(said, "allowed-mechanisms"));
	signer_start(f); /* on what it remembers */
	signer_client_open(&c, f->socket, NULL);
	signer_set_rules(f, rule);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_HSM);
	signer_wait_until_usable(&c);
	assert_int_equal(signer_create(&c, ID_B, KEY_P256V1, NULL), E_OK);
	signer_client_close(&c);
	signer_stop(f);
	assert_int_equal(live(f, said), 1);
	assert_non_null(strstr(said, "but allowed-mechanisms"));
}

/* A generation that is under way reads the templates that a probe tries: they wait for each other. */
static void a_probe_has_the_token_for_itself_F221(void **state)
{
	static const char rules[] =
	    NO_RSA "C_GenerateKeyPair@1 sleep 6s\n"
		   "template-refuse CKA_ALLOWED_MECHANISMS CKR_TEMPLATE_INCONSISTENT\n";
	struct signer_fixture *f = *state;
	struct message_create_csr_reply created;
	struct message_status_reply status;
	struct signer_client c;
	struct csr_spec spec;
	char said[1024];
	uint64_t until;
	uint32_t slow;
	long made;

	signer_use_shim(f, NO_RSA);
	live(f, said); /* which is remembered: what was probed a moment ago is not probed anew */
	f->threads = 3;
	signer_open(f, &c, NO_RSA);
	made = signer_shim_count(f, MADE);
	signer_set_rules(f, rules);
	signer_spec(&spec, KEY_P256V1);
	slow = signer_create_send(&c, "0c000000-0000-4000-8000-00000000000c", &spec, CLIENT_DEADLINE_MS);
	csr_spec_release(&spec);
	signer_wait_for_trace(f, "= sleep");
	until = clock_ms() + 5000;
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_HSM);
	while (clock_ms() < until) { /* keys of self-tests, and of nothing else; and nobody is kept out */
		uint64_t started = clock_ms();

		assert_true(signer_shim_count(f, MADE) - made < 16);
		assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_NONE);
		assert_true(clock_ms() - started < 700);
		usleep(20000);
	}
	if (signer_create_get(&c, slow, &created) == E_OK)
		message_create_csr_reply_release(&created);
	signer_wait_until_usable(&c);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_status(&c, &status);
	assert_non_null(strstr(status.capabilities, "but allowed-mechanisms"));
	message_status_reply_release(&status);
	signer_close(f, &c);
}

/* What the start of one destroys, the other may be testing itself with. */
static void two_signers_leave_each_other_s_probe_alone_F223(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	signer_use_shim(f, "C_SignInit kill\n");
	signer_start(f);
	assert_int_equal(signer_wait(f), -SIGKILL);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 1);
	f->state_dir = "other-state"; /* the same token, the same host */
	signer_open(f, &c, "");
	signer_close(f, &c);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 1);
	f->state_dir = NULL;
	signer_open(f, &c, "");
	signer_close(f, &c);
	assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 0);
}

/* It is there, it was served, and yet no start will ever load it: that is for a person. */
static void a_module_that_does_not_load_is_no_outage_F220(void **state)
{
	struct signer_fixture *f = *state;
	char said[1024];

	use_copy_of_shim(f, NO_RSA);
	live(f, said);
	signer_write_file(f->module, "of another architecture\n", 0700);
	signer_expect_exit(f, EXIT_CODE_NO_MODULE, "does not load");
	signer_use_shim(f, "C_Initialize return CKR_DEVICE_ERROR\n"); /* but this may be one */
	signer_start(f);
	signer_wait_for_log(f, "it was served before");
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	signer_wait(f);
}

/* ---- what the probe finds out ---- */

/* One family that cannot be made takes itself out, at this start and the next; the others serve. */
static void one_family_takes_only_itself_out_F184(void **state)
{
	static const struct {
		const char *rule;
		enum key_type out, in;
		bool sure;
	} cases[] = {
	    {"C_GenerateKeyPair return CKR_CURVE_NOT_SUPPORTED if CKM_EC_EDWARDS_KEY_PAIR_GEN\n", KEY_ED25519,
	     KEY_RSA2048, true},
	    {"C_GenerateKeyPair return CKR_MECHANISM_INVALID if CKM_RSA_PKCS_KEY_PAIR_GEN\n", KEY_RSA2048,
	     KEY_P256V1, true},
	    {"C_GenerateKeyPair return CKR_FUNCTION_FAILED if CKM_EC_KEY_PAIR_GEN\n", KEY_P384V1, KEY_ED25519,
	     false},
	};
	struct signer_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct message_hello_reply hello;
		struct signer_client c;
		long made;

		signer_use_shim(f, cases[i].rule);
		unlink(signer_path(f, MEMORY));
		for (unsigned start = 0; start < 2; start++) {
			made = signer_shim_count(f, MADE);
			signer_start(f);
			signer_client_open(&c, f->socket, &hello);
			if (start > 0 && cases[i].sure)
				assert_int_equal(signer_shim_count(f, MADE) - made, 1); /* it is remembered */
			assert_true(hello.key_types & KEY_TYPE_BIT(cases[i].in));
			assert_false(hello.key_types & KEY_TYPE_BIT(cases[i].out));
			message_hello_reply_release(&hello);
			signer_wait_until_usable(&c);
			assert_int_equal(signer_create(&c, ID_A, cases[i].in, NULL), E_OK);
			assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_OK);
			made = signer_shim_count(f, MADE);
			assert_int_equal(signer_create(&c, ID_A, cases[i].out, NULL), E_UNSUPPORTED);
			assert_int_equal(signer_shim_count(f, MADE), made);
			signer_client_close(&c);
			signer_stop(f);
		}
	}
	signer_wait_for_log(f, "makes no usable ec keys: C_GenerateKeyPair: CKR_FUNCTION_FAILED");
}

/* Each attribute by itself: one that the token does not know costs no other. */
static void one_option_for_each_attribute_F185(void **state)
{
	static const struct {
		const char *rule, *said;
	} cases[] = {
	    {"template-refuse CKA_SIGN_RECOVER CKR_ATTRIBUTE_TYPE_INVALID\n",
	     "strictest but no-sign-recover;"},
	    {"template-refuse CKA_WRAP CKR_TEMPLATE_INCONSISTENT\n", "strictest but public-no-wrap;"},
	    {"public-private-refuse CKR_ATTRIBUTE_VALUE_INVALID\n", "strictest but public-open;"},
	};
	struct signer_fixture *f = *state;
	char said[1024];

	f->extra = "allow_usage = sign_recover\n"; /* SoftHSM permits what it is not forbidden */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char rules[256];

		snprintf(rules, sizeof(rules), NO_RSA "%s", cases[i].rule);
		signer_use_shim(f, rules);
		unlink(signer_path(f, MEMORY));
		live(f, said);
		assert_non_null(strstr(said, cases[i].said));
	}
}

/* The probe's key is judged as a create's is: then none is tried, and everybody hears why. */
static void a_token_whose_keys_would_all_fail_is_not_usable_F186(void **state)
{
	static const struct {
		const char *rule, *why;
	} cases[] = {
	    {"C_GetAttributeValue attr CKA_DERIVE true\n", "wrongly set [derive"},
	    {"C_GetAttributeValue attr CKA_LOCAL false\n", "private key attributes: not set [local]"},
	    {"C_GetAttributeValue attr CKA_SIGN_RECOVER missing\n", "not answered [sign_recover"},
	    {"label-max 30\n", "keeps 30 characters of a key's label, and csrd needs 31"},
	    {"C_GetAttributeValue attr CKA_EC_POINT hex 0400\nC_GetAttributeValue attr CKA_PUBLIC_EXPONENT "
	     "hex 03\n",
	     "point has the wrong length"},
	};
	struct signer_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct message_status_reply status;
		struct signer_client c;
		long made;

		signer_open(f, &c, cases[i].rule);
		signer_status(&c, &status);
		assert_false(status.usable);
		assert_non_null(strstr(status.detail, cases[i].why));
		message_status_reply_release(&status);
		assert_true(signer_log_has(f, cases[i].why));
		made = signer_shim_count(f, MADE);
		for (unsigned n = 0; n < 20; n++)
			assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_UNAVAIL);
		assert_true(signer_shim_count(f, MADE) - made < 10); /* and it is not probed for ever */
		signer_set_rules(f, "");
		signer_wait_until_usable(&c);
		assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
		assert_int_equal(signer_destroy(&c, ID_A, &(uint32_t){0}), E_OK);
		signer_client_close(&c);
		signer_stop(f);
		assert_int_equal(signer_token_count(f, CKO_PRIVATE_KEY, NULL), 0);
		assert_int_equal(signer_token_count(f, CKO_PUBLIC_KEY, NULL), 0);
		unlink(signer_path(f, MEMORY));
	}
}

/* ---- refusals of what it can do ---- */

/* It made such keys before, so it is the token that is wrong and not the request. */
static void a_refusal_at_work_is_a_fault_of_the_token(void **state)
{
	static const char *const rules[] = {
	    "C_GenerateKeyPair return CKR_TEMPLATE_INCONSISTENT\n",
	    "C_GenerateKeyPair return CKR_MECHANISM_INVALID\n",
	    "C_GenerateKeyPair return CKR_CURVE_NOT_SUPPORTED\n",
	    "C_GenerateKeyPair return CKR_KEY_SIZE_RANGE\n",
	    "C_SignInit return CKR_MECHANISM_INVALID\n",
	    "C_SignInit return CKR_KEY_FUNCTION_NOT_PERMITTED\n",
	};
	struct signer_fixture *f = *state;
	struct message_status_reply status;
	struct signer_client c;

	signer_open(f, &c, "");
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		signer_set_rules(f, rules[i]);
		assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_HSM);
		signer_status(&c, &status);
		assert_false(status.usable); /* a throw-away key fails likewise */
		message_status_reply_release(&status);
		signer_set_rules(f, "");
		signer_wait_until_usable(&c);
		assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_NONE);
	}
	signer_wait_for_log(f, "error: cannot create csr: C_SignInit: CKR_MECHANISM_INVALID");
	/* Of a type that was not tried it may be the token's word that it does not do it. */
	signer_set_rules(f, "C_GenerateKeyPair return CKR_CURVE_NOT_SUPPORTED\n");
	assert_int_equal(signer_create(&c, ID_A, KEY_P384V1, NULL), E_UNSUPPORTED);
	signer_close(f, &c);
}

/* ---- objects that are neither there nor gone ---- */

/* After three the module is reinitialised; where that does not help it is not done again and again. */
static void destroys_without_an_end_renew_the_module_F71(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;
	uint32_t destroyed = 0;

	signer_open(f, &c, "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_set_rules(f, "C_DestroyObject return CKR_OK\n"); /* said, not done */
	for (int i = 0; i < 8; i++) {
		if (i == 3)
			signer_wait_for_log(f, "the module is reinitialised");
		assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_UNCERTAIN);
		if (i == 1)
			assert_int_equal(signer_shim_count(f, "C_Finalize"), 0);
	}
	signer_wait_until_usable(&c);
	assert_int_equal(signer_shim_count(f, "C_Initialize"), 3); /* two at start: libp11's and ours */
	assert_int_equal(signer_shim_count(f, "C_Finalize"), 2);
	signer_set_rules(f, "");
	assert_int_equal(signer_find(&c, ID_A), MESSAGE_KEY_PAIR);
	assert_int_equal(signer_destroy(&c, ID_A, &destroyed), E_OK);
	assert_int_equal(destroyed, 2);
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	signer_client_close(&c);
	signer_stop(f);
}

/* A list is not taken for whole when objects in it would not say what they are. */
static void a_list_says_what_it_could_not_read(void **state)
{
	static const char *const rules[] = {
	    "C_GetAttributeValue return CKR_OBJECT_HANDLE_INVALID\n",
	    "C_GetAttributeValue return CKR_GENERAL_ERROR\n",
	    "C_GetAttributeValue return CKR_FUNCTION_FAILED\n",
	    "C_GetAttributeValue return CKR_ATTRIBUTE_SENSITIVE\n",
	};
	struct signer_fixture *f = *state;
	struct message_list_keys_part list;
	struct signer_client c;
	unsigned parts;

	signer_open(f, &c, "");
	assert_int_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		signer_set_rules(f, rules[i]);
		signer_list(&c, &list, &parts);
		assert_int_equal(list.keys_len, 0);
		assert_int_equal(list.unread, 2);
		message_list_keys_part_release(&list);
	}
	signer_wait_for_log(f, "2 key objects on the token cannot be read");
	/* Read at the second look. */
	signer_set_rules(f, "C_GetAttributeValue@1 return CKR_GENERAL_ERROR\n");
	signer_list(&c, &list, &parts);
	assert_int_equal(list.keys_len, 1);
	assert_int_equal(list.keys[0].presence, MESSAGE_KEY_PAIR);
	assert_int_equal(list.unread, 0);
	message_list_keys_part_release(&list);
	signer_client_close(&c);
	signer_stop(f);
}

/* ---- the end ---- */

static void ends_within(struct signer_fixture *f, uint64_t ms)
{
	uint64_t started = clock_ms();

	assert_int_equal(kill(f->pid, SIGTERM), 0);
	assert_int_equal(signer_wait(f), EXIT_CODE_OK);
	assert_true(clock_ms() - started < ms);
}

/* F28: work that nobody waits for keeps nobody waiting, but for the call that is on its way. */
static void sigterm_breaks_a_fill_off_F28(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c;

	f->threads = 1;
	f->extra = "pool_p256v1 = 8\n";
	signer_use_shim(f, "");
	signer_start(f);
	signer_client_open(&c, f->socket, NULL);
	signer_wait_for_stock(&c, POOL_KEYS);
	signer_client_close(&c);
	signer_stop(f);

	/* Keys of an earlier run are looked at: some calls for each of them, each as slow as this. */
	signer_set_rules(f, "C_GetAttributeValue sleep 700ms\n");
	signer_start(f);
	signer_wait_for_trace(f, "C_GetAttributeValue");
	signer_wait_for_log(f, "serving token ");
	signer_wait_for_trace(f, "sleep");
	ends_within(f, 700 + 3000);
	assert_int_equal(signer_token_count_keys(f, CKO_PRIVATE_KEY), POOL_KEYS);

	/* One is being made. */
	f->extra = "pool_p256v1 = 16\n";
	signer_set_rules(f, "");
	signer_start(f);
	signer_wait_for_log(f, "serving token ");
	signer_set_rules(f, "C_GenerateKeyPair sleep 1s\n");
	signer_wait_for_trace(f, "= sleep");
	ends_within(f, 1000 + 3000);
}

/* openCryptoki's modules do: the connection of a caller is not among the numbers that they had. */
static void a_module_that_closes_a_number_twice_F295(void **state)
{
	struct signer_fixture *f = *state;
	struct signer_client c, later;

	signer_open(f, &c, "double-close\n");
	for (unsigned round = 0; round < 2; round++) {
		long before = signer_shim_count(f, "C_Finalize");

		signer_set_rules(f, "double-close\ninvalidate-sessions\n"
				    "C_GetSessionInfo return CKR_DEVICE_ERROR\n");
		assert_int_not_equal(signer_create(&c, ID_A, KEY_P256V1, NULL), E_OK);
		signer_wait_for_count(f, "C_Finalize", before + 1);
		signer_set_rules(f, "double-close\n");
		signer_wait_until_usable(&c);
		if (round == 0)
			signer_client_open(&later, f->socket, NULL); /* between the two */
	}
	assert_int_equal(signer_create(&later, ID_A, KEY_P256V1, NULL), E_OK);
	signer_client_close(&later);
	signer_close(f, &c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    SIGNER_CASE(the_probe_is_made_once),
	    SIGNER_CASE(a_damaged_memory_is_none),
	    SIGNER_CASE(another_module_or_token_is_probed),
	    SIGNER_CASE(only_what_is_sure_is_remembered),
	    SIGNER_CASE(what_is_refused_later_is_probed_anew),
	    SIGNER_CASE(a_probe_has_the_token_for_itself_F221),
	    SIGNER_CASE(two_signers_leave_each_other_s_probe_alone_F223),
	    SIGNER_CASE(a_module_that_does_not_load_is_no_outage_F220),
	    SIGNER_CASE(one_family_takes_only_itself_out_F184),
	    SIGNER_CASE(one_option_for_each_attribute_F185),
	    SIGNER_CASE(a_token_whose_keys_would_all_fail_is_not_usable_F186),
	    SIGNER_CASE(a_refusal_at_work_is_a_fault_of_the_token),
	    SIGNER_CASE(destroys_without_an_end_renew_the_module_F71),
	    SIGNER_CASE(a_list_says_what_it_could_not_read),
	    SIGNER_CASE(sigterm_breaks_a_fill_off_F28),
	    SIGNER_CASE(a_module_that_closes_a_number_twice_F295),
	};

	return SIGNER_RUN("csrd-hsm and its token", tests, argc, argv);
}
