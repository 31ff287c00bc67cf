/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reference for csrd's speed: the same PKCS#11 calls on the same kind of
 * token with the same number of threads, and nothing else around them.
 *
 *   pair    generate a pair, read its public key, sign     (a create without a pool)
 *   ready   relabel both objects of a ready pair, sign     (a create from a warm pool)
 *   count   how many private keys stand on the token under a label that starts with --label
 *
 * Prints one line of JSON.
 */
#include "base/exit_code.h"
#include "base/key.h"
#include "bench/stats.h"

#include <dlfcn.h>
#include <getopt.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#define THREADS_MAX 64
#define LABEL_SIZE 48
#define READY_MAX 256 /* ready pairs of one thread */

struct options {
	const char *module;
	const char *token;
	const char *pin_file;
	const char *mode;
	const char *label; /* count: what the labels start with */
	enum key_type key_type;
	unsigned threads;
	unsigned keys; /* ready: pairs of one thread */
	double seconds;
	double warm_up;
};

struct pair {
	CK_OBJECT_HANDLE public_key;
	CK_OBJECT_HANDLE private_key;
};

struct worker {
	pthread_t thread;
	CK_SESSION_HANDLE session;
	struct pair ready[READY_MAX];
	struct stats stats;
};

static struct options options = {
    .mode = "pair",
    .key_type = KEY_P256V1,
    .threads = 4,
    .keys = 16,
    .seconds = 3,
};
static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static bool signs_sha256_rsa;
static pthread_barrier_t gate;
static uint64_t counted_from_us, ends_us;

static void must(const char *call, CK_RV rv)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "raw_p11: %s: 0x%lx\n", call, rv);
	exit(EXIT_CODE_UNAVAILABLE);
}

static void must_have(bool is_fine, const char *what)
{
	if (is_fine)
		return;
	fprintf(stderr, "raw_p11: %s\n", what);
	exit(EXIT_CODE_USAGE);
}

/* ---- the token ---- */

static void load_module(void)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
	void *library = dlopen(options.module, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get = NULL;

	must_have(library, "cannot load the module");
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	must_have(get, "the module has no C_GetFunctionList");
	must("C_GetFunctionList", get(&p11));
	must("C_Initialize", p11->C_Initialize(&args));
}

static void find_token(void)
{
	CK_SLOT_ID slots[64];
	CK_ULONG slots_len = 64;
	size_t wanted = strlen(options.token);

	must("C_GetSlotList", p11->C_GetSlotList(CK_TRUE, slots, &slots_len));
	for (CK_ULONG i = 0; i < slots_len; i++) {
		CK_TOKEN_INFO info;

		must("C_GetTokenInfo", p11->C_GetTokenInfo(slots[i], &info));
		if (wanted > sizeof(info.label) || memcmp(info.label, options.token, wanted) != 0 ||
		    (wanted < sizeof(info.label) && info.label[wanted] != ' '))
			continue;
		slot = slots[i];
		return;
	}
	must_have(false, "no token of that label");
}

static void log_in(CK_SESSION_HANDLE session)
{
	char pin[128];
	FILE *file = fopen(options.pin_file, "r");

	must_have(file && fgets(pin, sizeof(pin), file), "cannot read the PIN");
	fclose(file);
	pin[strcspn(pin, "\r\n")] = '\0';
	must("C_Login", p11->C_Login(session, CKU_USER, (unsigned char *)pin, strlen(pin)));
}

static void see_mechanisms(void)
{
	CK_MECHANISM_INFO info;

	signs_sha256_rsa =
	    p11->C_GetMechanismInfo(slot, CKM_SHA256_RSA_PKCS, &info) == CKR_OK && (info.flags & CKF_SIGN);
}

/* ---- one operation ---- */

static unsigned char oid_p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};

/* As long as the labels of csrd: "csrd:" and a UUID. */
static void make_label(char label[LABEL_SIZE])
{
	unsigned char raw[18];

	must_have(getrandom(raw, sizeof(raw), 0) == sizeof(raw), "no random bytes");
	memcpy(label, "test:", 5);
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(label + 5 + 2 * i, 3, "%02x", raw[i]);
}

/* The templates are those of hsm/signer/key/key.c. */
static void generate(CK_SESSION_HANDLE session, struct pair *pair)
{
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ULONG bits = 2048;
	unsigned char exponent[] = {0x01, 0x00, 0x01}, id[KEY_ID_BYTES];
	char label[LABEL_SIZE];
	bool rsa = options.key_type == KEY_RSA2048;
	CK_MECHANISM mechanism = {rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0};
	CK_ATTRIBUTE public_template[] = {
	    {CKA_TOKEN, &yes, sizeof(yes)},
	    {CKA_PRIVATE, &no, sizeof(no)},
	    {CKA_VERIFY, &yes, sizeof(yes)},
	    {CKA_VERIFY_RECOVER, &no, sizeof(no)},
	    {CKA_ENCRYPT, &no, sizeof(no)},
	    {CKA_WRAP, &no, sizeof(no)},
	    {CKA_DERIVE, &no, sizeof(no)},
	    {CKA_LABEL, label, 41},
	    {CKA_ID, id, sizeof(id)},
	    {rsa ? CKA_MODULUS_BITS : CKA_EC_PARAMS, rsa ? (void *)&bits : (void *)oid_p256,
	     rsa ? sizeof(bits) : sizeof(oid_p256)},
	    {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)}, /* RSA only */
	};
	CK_ATTRIBUTE private_template[] = {
	    {CKA_TOKEN, &yes, sizeof(yes)},     {CKA_PRIVATE, &yes, sizeof(yes)},
	    {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
	    {CKA_SIGN, &yes, sizeof(yes)},      {CKA_SIGN_RECOVER, &no, sizeof(no)},
	    {CKA_DECRYPT, &no, sizeof(no)},     {CKA_UNWRAP, &no, sizeof(no)},
	    {CKA_DERIVE, &no, sizeof(no)},      {CKA_LABEL, label, 41},
	    {CKA_ID, id, sizeof(id)},
	};

	make_label(label);
	must_have(getrandom(id, sizeof(id), 0) == sizeof(id), "no random bytes");
	must("C_GenerateKeyPair",
	     p11->C_GenerateKeyPair(session, &mechanism, public_template, rsa ? 11 : 10, private_template, 11,
				    &pair->public_key, &pair->private_key));
}

static void read_public(CK_SESSION_HANDLE session, const struct pair *pair)
{
	unsigned char first[1024], second[256];
	bool rsa = options.key_type == KEY_RSA2048;
	CK_ATTRIBUTE attributes[] = {
	    {rsa ? CKA_MODULUS : CKA_EC_PARAMS, first, sizeof(first)},
	    {rsa ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT, second, sizeof(second)},
	};

	must("C_GetAttributeValue", p11->C_GetAttributeValue(session, pair->public_key, attributes, 2));
}

/* RSA: a request's to-be-signed bytes, or the DigestInfo of them; EC: their hash. */
static void sign(CK_SESSION_HANDLE session, const struct pair *pair)
{
	unsigned char data[400], out[512];
	CK_ULONG out_len = sizeof(out), len = 32;
	CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};

	memset(data, 0x5a, sizeof(data));
	if (options.key_type == KEY_RSA2048) {
		mechanism.mechanism = signs_sha256_rsa ? CKM_SHA256_RSA_PKCS : CKM_RSA_PKCS;
		len = signs_sha256_rsa ? sizeof(data) : 51;
	}
	must("C_SignInit", p11->C_SignInit(session, &mechanism, pair->private_key));
	must("C_Sign", p11->C_Sign(session, data, len, out, &out_len));
}

static void relabel(CK_SESSION_HANDLE session, const struct pair *pair)
{
	char label[LABEL_SIZE];
	CK_ATTRIBUTE attribute = {CKA_LABEL, label, 41};

	make_label(label);
	must("C_SetAttributeValue", p11->C_SetAttributeValue(session, pair->private_key, &attribute, 1));
	must("C_SetAttributeValue", p11->C_SetAttributeValue(session, pair->public_key, &attribute, 1));
}

/* ---- threads ---- */

static void wait_at_gate(void)
{
	pthread_barrier_wait(&gate); /* all are ready */
	pthread_barrier_wait(&gate); /* the times are set */
}

static void *run(void *arg)
{
	struct worker *w = arg;
	bool ready = strcmp(options.mode, "ready") == 0;

	for (unsigned i = 0; ready && i < options.keys; i++)
		generate(w->session, &w->ready[i]);
	wait_at_gate();
	for (unsigned i = 0;; i++) {
		uint64_t began = stats_now_us(), ended;
		struct pair fresh, *pair = ready ? &w->ready[i % options.keys] : &fresh;

		if (began >= ends_us)
			break;
		if (ready) {
			relabel(w->session, pair);
		} else {
			generate(w->session, pair);
			read_public(w->session, pair);
		}
		sign(w->session, pair);
		ended = stats_now_us();
		if (ended >= counted_from_us && ended < ends_us)
			stats_add(&w->stats, ended - began);
	}
	return NULL;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run_all(void)
{
	struct worker *workers = calloc(options.threads, sizeof(*workers));
	struct stats all = {0};
	double cpu_before;

	must_have(workers, "out of memory");
	pthread_barrier_init(&gate, NULL, options.threads + 1);
	for (unsigned i = 0; i < options.threads; i++) {
		must("C_OpenSession", p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
							 NULL, &workers[i].session));
		if (i == 0)
			log_in(workers[i].session);
		if (pthread_create(&workers[i].thread, NULL, run, &workers[i]))
			must_have(false, "cannot start a thread");
	}
	pthread_barrier_wait(&gate);
	counted_from_us = stats_now_us() + (uint64_t)(options.warm_up * 1e6);
	ends_us = counted_from_us + (uint64_t)(options.seconds * 1e6);
	cpu_before = cpu_seconds();
	pthread_barrier_wait(&gate);
	for (unsigned i = 0; i < options.threads; i++) {
		pthread_join(workers[i].thread, NULL);
		stats_merge(&all, &workers[i].stats);
	}
	printf("{\"mode\":\"%s\",\"key_type\":\"%s\",\"threads\":%u,\"loop_cpu_seconds\":%.3f,", options.mode,
	       key_type_name(options.key_type), options.threads, cpu_seconds() - cpu_before);
	stats_print(&all, options.seconds, stdout);
	printf("}\n");
	stats_release(&all);
	free(workers);
}

/* ---- counting ---- */

static bool label_fits(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	char label[256];
	CK_ATTRIBUTE attribute = {CKA_LABEL, label, sizeof(label)};
	size_t wanted = strlen(options.label);

	/* An object may go between the search and this. */
	return p11->C_GetAttributeValue(session, object, &attribute, 1) == CKR_OK &&
	       attribute.ulValueLen >= wanted && memcmp(label, options.label, wanted) == 0;
}

static void count(void)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = {CKA_CLASS, &class, sizeof(class)};
	CK_OBJECT_HANDLE handles[512];
	CK_ULONG got;
	CK_SESSION_HANDLE session;
	unsigned long found = 0;

	must("C_OpenSession", p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session));
	log_in(session);
	must("C_FindObjectsInit", p11->C_FindObjectsInit(session, &template, 1));
	do {
		must("C_FindObjects", p11->C_FindObjects(session, handles, 512, &got));
		for (CK_ULONG i = 0; i < got; i++)
			found += label_fits(session, handles[i]);
	} while (got > 0);
	p11->C_FindObjectsFinal(session);
	printf("{\"mode\":\"count\",\"count\":%lu}\n", found);
}

/* ---- the command line ---- */

static void usage(void)
{
	fputs("usage: raw_p11 --module FILE --token LABEL --pin-file FILE [--mode pair|ready|count]\n"
	      "	[--key rsa2048|p256v1] [--threads N] [--keys N] [--seconds S] [--warm-up S] [--label TEXT]\n",
	      stderr);
	exit(EXIT_CODE_USAGE);
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {
	    {"module", required_argument, NULL, 'm'},
	    {"token", required_argument, NULL, 't'},
	    {"pin-file", required_argument, NULL, 'p'},
	    {"mode", required_argument, NULL, 'o'},
	    {"key", required_argument, NULL, 'k'},
	    {"threads", required_argument, NULL, 'n'},
	    {"keys", required_argument, NULL, 'K'},
	    {"seconds", required_argument, NULL, 's'},
	    {"warm-up", required_argument, NULL, 'w'},
	    {"label", required_argument, NULL, 'l'},
	    {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'm':
			options.module = optarg;
			break;
		case 't':
			options.token = optarg;
			break;
		case 'p':
			options.pin_file = optarg;
			break;
		case 'o':
			options.mode = optarg;
			break;
		case 'k':
			must_have(key_type_parse(optarg, &options.key_type) == E_OK &&
				      (options.key_type == KEY_RSA2048 || options.key_type == KEY_P256V1),
				  "the raw loop makes rsa2048 and p256v1 only");
			break;
		case 'n':
			options.threads = (unsigned)stats_parse_number("--threads", optarg);
			break;
		case 'K':
			options.keys = (unsigned)stats_parse_number("--keys", optarg);
			break;
		case 's':
			options.seconds = stats_parse_number("--seconds", optarg);
			break;
		case 'w':
			options.warm_up = stats_parse_number("--warm-up", optarg);
			break;
		case 'l':
			options.label = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc || !options.module || !options.token || !options.pin_file)
		usage();
	must_have(options.threads >= 1 && options.threads <= THREADS_MAX, "--threads: 1 to 64");
	must_have(options.keys >= 1 && options.keys <= READY_MAX, "--keys: 1 to 256");
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	load_module();
	find_token();
	see_mechanisms();
	if (strcmp(options.mode, "count") == 0) {
		must_have(options.label, "count needs --label");
		count();
	} else {
		must_have(!strcmp(options.mode, "pair") || !strcmp(options.mode, "ready"), "no such mode");
		run_all();
	}
	p11->C_Finalize(NULL);
	return EXIT_CODE_OK;
}
