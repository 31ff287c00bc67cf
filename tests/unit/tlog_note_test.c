/* SPDX-License-Identifier: Apache-2.0 */
/* Notes, their keys, checkpoints and proofs as texts. */
#include "tests/unit/cmocka_all.h"
#include "tests/unit/tlog_fixture.h"
#include "tlog/checkpoint.h"
#include "tlog/note.h"
#include "tlog/note_key.h"
#include "tlog/tlog_proof.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN "csr.example.org/log/1"
#define REKOR                                                                                                \
	"rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i" \
	"0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc="
#define FOO "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"

/* Notes and keys that others published. */
static const struct published {
	const char *vkey;
	const char *note;
	bool is_checkpoint;
} published[] = {
    /* the example of signed-note, Ed25519 */
    {FOO,
     "This is an example message.\n\n— example.com/foo "
     "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
     false},
    {"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
     "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
     "— PeterNeumann "
     "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
     false},
    /* checkpoints of the logs Rekor and Pixel, ECDSA */
    {REKOR,
     "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n— rekor.sigstore.dev "
     "wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/"
     "XgIgc+qEHS3+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n",
     true},
    {"pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+"
     "4x0Jk1yTwvLFI9A4NDdGZcX0aiWVdWM5XJVy0"
     "M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8=",
     "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n— pixel6_transparency_log "
     "kcFuMDBFAiEAhqMAP8P6qf6QxtUJhzMhbN+"
     "MbZ9dwfUHzGQJmffJHtoCIGD0cNe47dHWBoPwYdgBCepB06/+g5O1FmYjXl06owL4\n",
     true},
};
#define PUBLISHED (sizeof(published) / sizeof(published[0]))

static enum err verify(const char *text, size_t len, const struct note_key *key)
{
	struct note note;
	enum err e = note_parse(text, len, &note);

	return e == E_OK ? note_verify(&note, key) : e;
}

static void published_notes_verify(void **state)
{
	(void)state;
	for (size_t i = 0; i < PUBLISHED; i++) {
		const struct published *p = &published[i];
		struct checkpoint checkpoint;
		struct note_key key;
		struct note note;
		struct buf vkey;

		assert_int_equal(note_key_parse(p->vkey, &key), E_OK);
		assert_int_equal(verify(p->note, strlen(p->note), &key), E_OK);
		assert_int_equal(note_parse(p->note, strlen(p->note), &note), E_OK);
		assert_int_equal(note.lines_len, 1);
		assert_int_equal(checkpoint_parse(note.text, note.text_len, &checkpoint),
				 p->is_checkpoint ? E_OK : E_PROTO);
		/* Their name is not that of the key, which csrd's logs have. */
		assert_int_equal(checkpoint_open(p->note, strlen(p->note), &key, &checkpoint), E_PROTO);
		buf_init(&vkey, 1024);
		note_key_put(&key, &vkey);
		assert_string_equal(buf_text(&vkey), p->vkey);
		buf_release(&vkey);
	}
}

/* F434: in a published note no bit can be another one, and nothing can be cut off or added */
static void changed_notes_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < PUBLISHED; i++) {
		size_t len = strlen(published[i].note);
		char *text = malloc(len + 1);
		struct note_key key;

		assert_int_equal(note_key_parse(published[i].vkey, &key), E_OK);
		memcpy(text, published[i].note, len);
		for (size_t bit = 0; bit < 8 * len; bit++) {
			text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
			if (verify(text, len, &key) == E_OK)
				fail_msg("note %zu with another bit %zu", i, bit);
			text[bit / 8] = published[i].note[bit / 8];
		}
		for (size_t end = 0; end < len; end++)
			assert_int_not_equal(verify(text, end, &key), E_OK);
		for (int c = 0; c < 256; c++) {
			text[len] = (char)c;
			assert_int_not_equal(verify(text, len + 1, &key), E_OK);
		}
		free(text);
	}
	assert_true(ERR_peek_error() == 0);
}

static void malformed_keys_are_refused(void **state)
{
	/* F435 */
	static const char *const bad[] = {
	    "",
	    "name",
	    "name+",
	    "name+530d903a",
	    "name+530d903a+",
	    "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
	    "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", /* the id of another name
										      */
	    "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
	    "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
	    "example.com/foo+530d903+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
	    "example.com/foo+0530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
	    "example.com /foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
	    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", /* not base 64 */
	    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
	    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3Q==", /* too short */
	    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2kAA==",
	    "rekor.sigstore.dev+00000000+"
	    "AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i"
	    "0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=",
	    /* a point that is not on the curve */
	    "rekor.sigstore.dev+c0d23d6a+"
	    "AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBogSMdGvXwBcK5AW5i"
	    "0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLg=",
	};
	char name[NOTE_NAME_MAX + 2];
	struct note_key key;
	uint8_t seed[32] = {1}, other_curve[NOTE_ECDSA_BYTES], *at = other_curve;
	EVP_PKEY *pkey;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (note_key_parse(bad[i], &key) != E_INVAL)
			fail_msg("'%s' is a key", bad[i]);
	/* ML-DSA-44, of which there is nothing here but the beginning */
	assert_int_equal(note_key_parse("w+12345678+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", &key),
			 E_UNSUPPORTED);
	memset(name, 'a', sizeof(name));
	name[NOTE_NAME_MAX] = '\0';
	assert_int_equal(note_key_make(name, NOTE_ED25519, seed, 32, &key), E_OK);
	name[NOTE_NAME_MAX] = 'a';
	name[NOTE_NAME_MAX + 1] = '\0';
	assert_int_equal(note_key_make(name, NOTE_ED25519, seed, 32, &key), E_INVAL);
	assert_int_equal(note_key_make("a+b", NOTE_ED25519, seed, 32, &key), E_INVAL);
	assert_int_equal(note_key_make("a\xe2\x80\x83"
				       "b",
				       NOTE_ED25519, seed, 32, &key),
			 E_INVAL);
	assert_int_equal(note_key_make("a\xff", NOTE_ED25519, seed, 32, &key), E_INVAL);
	assert_int_equal(note_key_make("", NOTE_ED25519, seed, 32, &key), E_INVAL);
	assert_int_equal(note_key_make("a", NOTE_ED25519, seed, 31, &key), E_INVAL);
	assert_int_equal(note_key_make("a", NOTE_ECDSA, seed, 32, &key), E_INVAL);
	/* another curve, whose keys are as long */
	pkey = EVP_EC_gen("SM2");
	assert_int_equal(i2d_PUBKEY(pkey, &at), NOTE_ECDSA_BYTES);
	assert_int_equal(note_key_make("a", NOTE_ECDSA, other_curve, NOTE_ECDSA_BYTES, &key), E_INVAL);
	EVP_PKEY_free(pkey);
	assert_true(ERR_peek_error() == 0);
}

#define LINE                                                                                                 \
	"— example.com/foo "                                                                               \
	"Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
#define TEXT "This is an example message.\n"

static void what_is_no_note(void **state)
{
	/* F434 */
	static const char *const bad[] = {
	    "",
	    "\n",
	    TEXT,
	    TEXT "\n",
	    TEXT LINE,
	    TEXT "\n" LINE "x",
	    TEXT "\n" LINE "\n",
	    TEXT "\n\t" LINE,
	    TEXT "\r\n\n" LINE,
	    TEXT "\xff\n\n" LINE,
	    TEXT "\n" LINE TEXT,
	    TEXT "\n- example.com/foo Uw2QOkn8srV1yA==\n",
	    TEXT "\n—example.com/foo Uw2QOkn8srV1yA==\n",
	    TEXT "\n—  example.com/foo Uw2QOkn8srV1yA==\n",
	    TEXT "\n— example.com/foo  Uw2QOkn8srV1yA==\n",
	    TEXT "\n— example.com/foo\n",
	    TEXT "\n— example.com/foo \n",
	    TEXT "\n— example.com/foo Uw2QOg==\n", /* an id alone */
	    TEXT "\n— example.com/foo Uw2QOkn8srV1yA\n",
	    TEXT "\n— example.com/foo Uw2QOkn8srV1yB==\n", /* bits left over */
	    TEXT "\n— example.com/foo Uw2Q=kn8srV1yA==\n",
	    TEXT "\n— example.com/foo Uw2QOkn8srV1====\n",
	    TEXT "\n— example.com/foo Uw2QOkn8srV1yA== \n",
	    TEXT "\n— a+b Uw2QOkn8srV1yA==\n",
	};
	struct note note;
	struct note_key key;
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (note_parse(bad[i], strlen(bad[i]), &note) != E_PROTO)
			fail_msg("'%s' is a note", bad[i]);
	assert_int_equal(note_parse("a\0\n\n" LINE, strlen(LINE) + 4, &note), E_PROTO);
	assert_int_equal(note_key_parse(FOO, &key), E_OK);
	/* as many lines as are taken, and one more */
	buf_init(&b, 2 * NOTE_BYTES_MAX);
	buf_put_str(&b, TEXT "\n");
	for (size_t i = 0; i < NOTE_SIGNATURES_MAX; i++)
		buf_put_str(&b, LINE);
	assert_int_equal(verify(buf_text(&b), b.len, &key), E_OK);
	buf_put_str(&b, LINE);
	assert_int_equal(verify(buf_text(&b), b.len, &key), E_PROTO);
	/* as long as is taken, and longer */
	buf_reset(&b);
	while (b.len + strlen(LINE) + 1 < NOTE_BYTES_MAX)
		buf_put_u8(&b, '\n');
	buf_put_str(&b, "\n" LINE);
	assert_int_equal(note_parse(buf_text(&b), b.len, &note), E_OK);
	assert_int_equal(note_verify(&note, &key), E_DENIED);
	buf_consume(&b, 1);
	buf_put_str(&b, "— a Uw2QOkn8srV1yA==\n");
	assert_int_equal(note_parse(buf_text(&b), b.len, &note), E_PROTO);
	buf_release(&b);
}

static void sign_checkpoint(const struct note_signer *signers, size_t len, const struct tree_head *head,
			    struct buf *out)
{
	struct buf text;

	buf_init(&text, 1024);
	assert_int_equal(checkpoint_put(ORIGIN, head, &text), E_OK);
	assert_int_equal(note_sign(buf_text(&text), signers, len, out), E_OK);
	buf_release(&text);
}

static void signatures_of_others_do_not_count(void **state)
{
	static const uint8_t seed[32] = {1}, other_seed[32] = {2};
	struct note_pair ecdsa, ed25519, same_name, stranger, longer;
	struct tree_head head = {.size = 5, .root = {{0xaa, 1}}};
	struct checkpoint checkpoint;
	struct note_signature long_one = {.len = NOTE_SIGNATURE_MAX};
	struct buf note;

	(void)state;
	note_pair_make(&ecdsa, ORIGIN, NOTE_ECDSA, NULL);
	note_pair_make(&ed25519, ORIGIN, NOTE_ED25519, seed);
	note_pair_make(&same_name, ORIGIN, NOTE_ED25519, other_seed);
	note_pair_make(&stranger, "witness.example", NOTE_ED25519, seed);
	note_pair_make(&longer, ORIGIN "0", NOTE_ED25519, seed);
	buf_init(&note, NOTE_BYTES_MAX);
	sign_checkpoint((struct note_signer[]){ecdsa.signer, ed25519.signer, stranger.signer, longer.signer},
			4, &head, &note);
	assert_int_equal(checkpoint_open(note.data, note.len, &ecdsa.key, &checkpoint), E_OK);
	assert_true(checkpoint.head.size == 5);
	assert_true(tree_hash_equal(&checkpoint.head.root, &head.root));
	assert_int_equal(checkpoint.extension_len, 0);
	assert_int_equal(checkpoint_open(note.data, note.len, &ed25519.key, &checkpoint), E_OK);
	assert_int_equal(verify(buf_text(&note), note.len, &stranger.key), E_OK);
	assert_int_equal(checkpoint_open(note.data, note.len, &stranger.key, &checkpoint), E_PROTO);
	assert_int_equal(checkpoint_open(note.data, note.len, &longer.key, &checkpoint), E_PROTO);
	assert_int_equal(checkpoint_open(note.data, note.len, &same_name.key, &checkpoint), E_NOTFOUND);
	/* A line of a known key that is wrong spoils the note for that key, and for no other. */
	note_put_line(&ecdsa.key, &long_one, &note);
	assert_int_equal(verify(buf_text(&note), note.len, &ecdsa.key), E_DENIED);
	assert_int_equal(verify(buf_text(&note), note.len, &ed25519.key), E_OK);
	buf_release(&note);
	note_pair_release(&ecdsa);
	note_pair_release(&ed25519);
	note_pair_release(&same_name);
	note_pair_release(&stranger);
	note_pair_release(&longer);
}

/* What omniwitness answered when it was given this checkpoint. */
static void cosignatures_of_witnesses_verify(void **state)
{
#define COSIGNED ORIGIN "\n70000\nMkAJvhiMmpM/ztx6LbTLh5sg3MbJOZM+eiJ6rzqIMIY=\n"
#define COSIGNATURE                                                                                          \
	"— witness.example/w "                                                                             \
	"SVJi8wAAAABrCtqczBP6JFJgyKgcFMO5fexdLysLPnOA0flEkGnkfkv1bIdIq5WsdtuzOarLNNjgdWu55OF7FX1HBJTAyRgPax" \
	"3oBQ==\n"
#define COSIGNED_AT 1795873436
	static const char vkey[] = "witness.example/w+495262f3+BP0bI6bSMC5YylW8vE4pB30ycCNISProb+SzTV6uoUA2";
	static const char plain_vkey[] =
	    "witness.example/w+53eb5c3d+Af0bI6bSMC5YylW8vE4pB30ycCNISProb+SzTV6uoUA2";
	char text[] = COSIGNED "\n" COSIGNATURE;
	size_t len = strlen(text);
	struct note_key key, plain;
	uint64_t seconds = 0;
	struct note note;

	(void)state;
	assert_int_equal(note_key_parse(vkey, &key), E_OK);
	assert_int_equal(note_key_parse(plain_vkey, &plain), E_OK);
	assert_int_equal(note_parse(text, len, &note), E_OK);
	assert_int_equal(note_verify(&note, &key), E_OK);
	assert_int_equal(note_verify_cosignature(&note, &key, &seconds), E_OK);
	assert_true(seconds == COSIGNED_AT);
	assert_int_equal(note_verify(&note, &plain), E_NOTFOUND);
	assert_int_equal(note_verify_cosignature(&note, &plain, &seconds), E_INVAL);
	for (size_t bit = 0; bit < 8 * len; bit++) { /* F434 */
		text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
		if (verify(text, len, &key) == E_OK)
			fail_msg("another bit %zu", bit);
		text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
	}
	assert_int_equal(verify(text, len, &key), E_OK);
}

static enum err sign_other_text(void *arg, const void *text, size_t len, struct note_signature *ret_signature)
{
	struct note_pair *p = arg;

	(void)text;
	return p->signer.sign(p->signer.arg, "other", len > 5 ? 5 : len, ret_signature);
}

static enum err sign_nothing(void *arg, const void *text, size_t len, struct note_signature *ret_signature)
{
	(void)arg;
	(void)text;
	(void)len;
	(void)ret_signature;
	return E_UNAVAIL;
}

/* F438 */
static void a_token_that_signs_wrongly_is_noticed(void **state)
{
	struct note_pair pair;
	struct note_signer signer;
	struct buf out;

	(void)state;
	note_pair_make(&pair, ORIGIN, NOTE_ECDSA, NULL);
	signer = pair.signer;
	buf_init(&out, 4096);
	assert_int_equal(note_sign("no newline", &signer, 1, &out), E_INVAL);
	assert_int_equal(note_sign("tab\t\n", &signer, 1, &out), E_INVAL);
	assert_int_equal(note_sign("\xff\n", &signer, 1, &out), E_INVAL);
	assert_int_equal(note_sign("text\n", &signer, 0, &out), E_INVAL);
	assert_int_equal(out.len, 0);
	signer.arg = &pair;
	signer.sign = sign_other_text;
	assert_int_equal(note_sign("text\n", &signer, 1, &out), E_HSM);
	signer.sign = sign_nothing;
	assert_int_equal(note_sign("text\n", &signer, 1, &out), E_UNAVAIL);
	buf_release(&out);
	note_pair_release(&pair);
}

static void checkpoints_are_read_strictly(void **state)
{
#define ROOT "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
	static const struct {
		const char *text;
		enum err e;
	} texts[] = {
	    {"example.com/behind-the-sofa\n20852163\n" ROOT "\n", E_OK},
	    {"Go SunDB 😀\n0\n" ROOT "\n", E_OK},
	    {"a\n9007199254740992\n" ROOT "\nextension\nmore\n", E_OK},
	    {"a\n9007199254740993\n" ROOT "\n", E_PROTO},
	    {"a\n18446744073709551616\n" ROOT "\n", E_PROTO},
	    {"a\n01\n" ROOT "\n", E_PROTO},
	    {"a\n+1\n" ROOT "\n", E_PROTO},
	    {"a\n-1\n" ROOT "\n", E_PROTO},
	    {"a\n\n" ROOT "\n", E_PROTO},
	    {"a\n1 \n" ROOT "\n", E_PROTO},
	    {"\n1\n" ROOT "\n", E_PROTO},
	    {"a\n1\n" ROOT, E_PROTO},
	    {"a\n1\n" ROOT "\n\n", E_PROTO},
	    {"a\n1\n" ROOT "\nx\n\n", E_PROTO},
	    {"a\n1\n" ROOT "\nx", E_PROTO},
	    {"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2\n", E_PROTO},
	    {"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n", E_PROTO},
	    {"a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2IA\n", E_PROTO},
	    {"a\n1\n", E_PROTO},
	    {"a\n", E_PROTO},
	    {"", E_PROTO},
	};
	struct tree_head head = {.size = TREE_SIZE_MAX + 1};
	struct checkpoint checkpoint;
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (checkpoint_parse(texts[i].text, strlen(texts[i].text), &checkpoint) != texts[i].e)
			fail_msg("'%s'", texts[i].text);
	buf_init(&out, 1024);
	assert_int_equal(checkpoint_put("a", &head, &out), E_INVAL);
	head.size = 1;
	assert_int_equal(checkpoint_put("a b", &head, &out), E_INVAL);
	assert_int_equal(checkpoint_put("a\nb", &head, &out), E_INVAL);
	assert_int_equal(checkpoint_put("", &head, &out), E_INVAL);
	buf_release(&out);
}

/* ---- proofs as texts ---- */

/* Of an entry of a log of 300, which the key signed. */
static void make_proof(struct grown *g, struct note_pair *pair, uint64_t index, struct buf *out)
{
	struct proof_source source = grown_source(g);
	struct tlog_proof proof = {.index = index};
	struct tree_head head = grown_head(g, g->tree.size);
	struct buf note;
	char entry[32];

	buf_init(&note, NOTE_BYTES_MAX);
	sign_checkpoint(&pair->signer, 1, &head, &note);
	snprintf(entry, sizeof(entry), "entry %d", (int)index);
	proof.extra = entry;
	proof.extra_len = strlen(entry);
	proof.checkpoint = note.data;
	proof.checkpoint_len = note.len;
	assert_int_equal(proof_make_inclusion(&source, index, g->tree.size, &proof.inclusion), E_OK);
	assert_int_equal(tlog_proof_put(&proof, out), E_OK);
	buf_release(&note);
}

/* Of the entry that it has with it. */
static enum err check_proof(const char *text, size_t len, const struct note_key *key)
{
	struct tlog_proof proof;
	struct tree_hash leaf;
	struct buf extra;
	enum err e;

	buf_init(&extra, TLOG_PROOF_EXTRA_MAX);
	e = tlog_proof_parse(text, len, &extra, &proof);
	if (e == E_OK)
		assert_int_equal(tree_hash_leaf(proof.extra, proof.extra_len, &leaf), E_OK);
	if (e == E_OK)
		e = tlog_proof_check(&proof, &leaf, key);
	buf_release(&extra);
	return e;
}

/* F436: in a proof with its entry no bit can be another one */
static void changed_proofs_are_refused(void **state)
{
	static const uint8_t seed[32] = {3};
	struct grown g = {0};
	struct note_pair pair;
	struct buf text;

	(void)state;
	grown_append_until(&g, 300);
	note_pair_make(&pair, ORIGIN, NOTE_ED25519, seed);
	buf_init(&text, 65536);
	make_proof(&g, &pair, 42, &text);
	assert_int_equal(check_proof(buf_text(&text), text.len, &pair.key), E_OK);
	for (size_t bit = 0; bit < 8 * text.len; bit++) {
		text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (check_proof(buf_text(&text), text.len, &pair.key) == E_OK)
			fail_msg("a proof with another bit %zu", bit);
		text.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t len = 0; len < text.len; len++)
		assert_int_not_equal(check_proof(buf_text(&text), len, &pair.key), E_OK);
	buf_release(&text);
	note_pair_release(&pair);
	grown_release(&g);
}

static void proofs_have_one_form(void **state)
{
#define START "c2sp.org/tlog-proof@v1\n"
#define HASH ROOT "\n"
	static const struct {
		const char *text;
		enum err e;
	} texts[] = {
	    {START "index 0\n\n", E_OK},
	    {START "extra \nindex 0\n" HASH HASH "\nanything", E_OK},
	    {START "extra YQ==\nindex 9007199254740991\n\n", E_OK},
	    {START "extra YQ==\nindex 9007199254740992\n\n", E_PROTO},
	    {START "extra YR==\nindex 0\n\n", E_PROTO},
	    {START "extra YQ\nindex 0\n\n", E_PROTO},
	    {START "extra\nindex 0\n\n", E_PROTO},
	    {START "extra YQ==\nextra YQ==\nindex 0\n\n", E_PROTO},
	    {START "index 0\nextra YQ==\n\n", E_PROTO},
	    {START "index 00\n\n", E_PROTO},
	    {START "index 0", E_PROTO},
	    {START "index 0\n", E_PROTO},
	    {START "index 0\n" HASH, E_PROTO},
	    {START "index 0\nYQ==\n\n", E_PROTO},
	    {START, E_PROTO},
	    {"c2sp.org/tlog-proof@v2\nindex 0\n\n", E_PROTO},
	    {"c2sp.org/tlog-proof@v1 \nindex 0\n\n", E_PROTO},
	    /* padding where there is more to come */
	    {START "extra AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==AAAA\nindex 0\n\n",
	     E_PROTO},
	    {"", E_PROTO},
	};
	struct tlog_proof proof;
	struct buf extra, text;

	(void)state;
	buf_init(&extra, 100);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (tlog_proof_parse(texts[i].text, strlen(texts[i].text), &extra, &proof) != texts[i].e)
			fail_msg("'%s'", texts[i].text);
	assert_int_equal(tlog_proof_parse(START "extra YQ==\nindex 7\n\nnote", 44, &extra, &proof), E_OK);
	assert_int_equal(proof.extra_len, 1);
	assert_memory_equal(proof.extra, "a", 1);
	assert_true(proof.index == 7);
	/* more than its buffer takes; more hashes than any proof has */
	buf_release(&extra);
	buf_init(&extra, 10);
	assert_int_equal(tlog_proof_parse(START "extra MTIzNDU2Nzg5MDE=\nindex 7\n\n", 55, &extra, &proof),
			 E_PROTO);
	buf_init(&text, 65536);
	buf_put_str(&text, START "index 1\n");
	for (size_t i = 0; i <= PROOF_HASHES_MAX; i++)
		buf_put_str(&text, HASH);
	buf_put_str(&text, "\n");
	assert_int_equal(tlog_proof_parse(text.data, text.len, &extra, &proof), E_PROTO);
	buf_release(&text);
	buf_release(&extra);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(published_notes_verify),
	    cmocka_unit_test(changed_notes_are_refused),
	    cmocka_unit_test(malformed_keys_are_refused),
	    cmocka_unit_test(what_is_no_note),
	    cmocka_unit_test(signatures_of_others_do_not_count),
	    cmocka_unit_test(cosignatures_of_witnesses_verify),
	    cmocka_unit_test(a_token_that_signs_wrongly_is_noticed),
	    cmocka_unit_test(checkpoints_are_read_strictly),
	    cmocka_unit_test(changed_proofs_are_refused),
	    cmocka_unit_test(proofs_have_one_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
