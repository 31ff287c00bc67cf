/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier run left is settled.  Whether the journal can be believed is
 * asked of the token: if the journal was copied back, a name that it calls
 * ready may be the key of a CSR by now, and only what the word on the token has
 * among the closed keys is known to be used for nothing.
 */
#include "hsm/signer/stock/book.h"

#include "base/log.h"
#include "hsm/signer/key/inventory.h"
#include "hsm/signer/stock/book_private.h"
#include "hsm/signer/stock/stock_key.h"
#include "hsm/signer/token/data_object.h"
#include "hsm/signer/token/state_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_STOCK_0_1 "no-pool-0.1" /* in state_dir */
#define SEARCH_MAX 64 /* names that are searched for one by one; for more all objects are listed once */

/* ---- the journal and the word ---- */

static const struct word_object *newer(const struct word_object *a, const struct word_object *b)
{
	if (!a)
		return b;
	if (a->word.opens != b->word.opens)
		return a->word.opens > b->word.opens ? a : b;
	if (a->word.entries != b->word.entries)
		return a->word.entries > b->word.entries ? a : b;
	return a->word.serial > b->word.serial ? a : b;
}

static bool is_own(const struct book *b, const struct word_object *object)
{
	return strcmp(object->word.node, stock_node(b->stock)) == 0;
}

/*
 * A word of another node is this signer's if it names an entry of this journal: the node's name was changed.
 * Its keys are used from here on, so it must not stay what `csrctl pool destroy` goes by.
 */
static enum err adopt_renamed(struct book *b, struct word *word)
{
	uint8_t leaf[JOURNAL_HASH_BYTES];
	enum err e;

	if (!word->entries || word->entries > journal_size(b->journal))
		return E_OK;
	e = journal_leaf(b->journal, word->entries - 1, leaf);
	if (e != E_OK || memcmp(leaf, word->leaf, sizeof(leaf)) != 0)
		return e;
	log_notice("the node was called '%s' and is called '%s' now", word->node, stock_node(b->stock));
	snprintf(word->node, sizeof(word->node), "%s", stock_node(b->stock));
	b->is_renamed = true;
	return E_OK;
}

/* Of this node's words the newest one is known from here on; what a crash left beside it goes. */
static enum err find_word(struct book *b, struct session *s)
{
	const struct word_object *newest = NULL;
	struct word_list words = {0};
	enum err e = word_read_all(s, &words);

	if (e != E_OK)
		return e;
	if (words.unread) {
		session_explain(s, "%zu data objects of csrd on the token cannot be read", words.unread);
		e = E_HSM;
	}
	for (size_t i = 0; i < words.len && e == E_OK; i++)
		if (!is_own(b, &words.at[i]))
			e = adopt_renamed(b, &words.at[i].word);
	for (size_t i = 0; i < words.len; i++)
		if (is_own(b, &words.at[i]))
			newest = newer(newest, &words.at[i]);
	for (size_t i = 0; i < words.len && e == E_OK; i++)
		if (&words.at[i] != newest && is_own(b, &words.at[i]))
			e = data_object_destroy(s, words.at[i].object);
	if (e == E_OK && newest) {
		word_release(&b->known.word);
		b->known = *newest;
		b->known_epoch = session_epoch(s);
		b->has_word = true;
		words.at[newest - words.at].word.names = NULL; /* the book's now */
	}
	word_list_release(&words);
	return e;
}

/* Whether the journal has the entry up to which the word says it had got. */
static enum err word_fits(struct book *b, bool *ret_fits)
{
	const struct word *word = &b->known.word;
	uint8_t leaf[JOURNAL_HASH_BYTES] = {0};
	enum err e = E_OK;

	*ret_fits = false;
	if (word->opens > b->opens || word->entries > journal_size(b->journal))
		return E_OK;
	if (word->entries)
		e = journal_leaf(b->journal, word->entries - 1, leaf);
	*ret_fits = e == E_OK && memcmp(leaf, word->leaf, sizeof(leaf)) == 0;
	return e;
}

static void say_went_back(struct book *b, const struct session *s)
{
	const struct word *word = &b->known.word;

	log_error(
	    "the journal went back: token '%s' knows of %llu entries and %llu openings, the journal has "
	    "%llu and %llu: no key that was ready is used; was state_dir restored from a copy?",
	    s->token->label, (unsigned long long)(b->has_word ? word->entries : b->report.missing),
	    (unsigned long long)(b->has_word ? word->opens : b->opens),
	    (unsigned long long)journal_size(b->journal), (unsigned long long)b->opens);
	stock_warn(b->stock, "the journal went back: see the log of the signer's start");
}

static void say_new(struct book *b, const struct session *s)
{
	log_error(
	    "the journal is new, but token '%s' has a word of node '%s' on %zu ready keys: they are left "
	    "alone and not used; was state_dir lost, or is the node name in use elsewhere?",
	    s->token->label, stock_node(b->stock), b->known.word.names_len);
	stock_warn(b->stock, "the journal is new, and ready keys of an earlier one are left alone");
}

static enum err judge_journal(struct book *b, struct session *s)
{
	bool fits = true;
	enum err e;

	if (s->token->data != TOKEN_DATA_NONE && (e = find_word(b, s)) != E_OK)
		return e;
	b->verdict = s->token->data == TOKEN_DATA_NONE ? BOOK_NO_WORDS
		     : !b->has_word && b->opens        ? BOOK_WORD_LOST
						       : BOOK_BELIEVED;
	if (b->has_word && !b->report.created && (e = word_fits(b, &fits)) != E_OK)
		return e;
	if (b->report.missing || !fits) {
		b->verdict = BOOK_WENT_BACK;
		say_went_back(b, s);
	} else if (b->has_word && b->report.created) {
		b->verdict = BOOK_NEW;
		say_new(b, s);
	} else if (b->verdict == BOOK_WORD_LOST) {
		log_error("token '%s' has no word of node '%s' any more: the ready keys are destroyed",
			  s->token->label, stock_node(b->stock));
	}
	b->is_judged = true;
	return E_OK;
}

/* ---- one name ---- */

enum fate {
	FATE_KEEP,
	FATE_DESTROY,
	FATE_LEAVE, /* on the token, and forget it */
};

static enum fate fate_of(const struct book *b, const struct journal_key *key)
{
	switch (b->verdict) {
	case BOOK_BELIEVED:
		if (key->state == JOURNAL_MADE && key->opened && !b->report.clean)
			return FATE_DESTROY;
		return FATE_KEEP;
	case BOOK_NO_WORDS:
	case BOOK_WORD_LOST:
		return key->state == JOURNAL_RESERVED ? FATE_KEEP : FATE_DESTROY;
	case BOOK_WENT_BACK:
	case BOOK_NEW:
		break;
	}
	return word_has(&b->known.word, key->name) ? FATE_DESTROY : FATE_LEAVE;
}

static bool may_be_there(const struct book *b, const char *name)
{
	return !b->is_listed || inventory_has(&b->inventory, name);
}

static enum err write_gone(struct book *b, const char *name, uint32_t objects, const char *why)
{
	enum err e = journal_destroyed(b->journal, name, objects, why, NULL);

	return e == E_NOTFOUND ? E_OK : e;
}

static enum err destroy_left(struct book *b, struct session *s, const struct journal_key *key,
			     const char *why, size_t *count)
{
	uint32_t destroyed = 0;
	enum err e = E_OK;

	if (may_be_there(b, key->name))
		e = stock_key_destroy(s, key->name, &destroyed);
	*count += e == E_OK && destroyed;
	return e == E_OK ? write_gone(b, key->name, destroyed, why) : e;
}

/*
 * What was never made may be given to a new key, unless the run before was killed: an HSM may still be making
 * what it was asked for then.  Such a name stays reserved, and the next start looks for it again.  Of the
 * rest nothing may be left.
 */
static enum err settle_reserved(struct book *b, struct session *s, const struct journal_key *key)
{
	uint32_t destroyed = 0;
	enum err e = E_OK;

	if (may_be_there(b, key->name))
		e = stock_key_destroy(s, key->name, &destroyed);
	if (e != E_OK)
		return e;
	b->tally.half += destroyed > 0;
	if (!destroyed && !b->report.clean)
		return E_OK;
	if (!destroyed && book_keep_name(b, key->type, key->name))
		return E_OK;
	return write_gone(b, key->name, destroyed,
			  destroyed ? "half made when the signer ended" : "never made");
}

static enum err take_over_key(struct book *b, struct session *s, const struct journal_key *key)
{
	struct stock_key_look look = {0};
	enum err e;

	if (!(s->token->key_types & KEY_TYPE_BIT(key->type)))
		return E_OK; /* it will again, perhaps */
	if ((e = stock_key_look_up(s, b->is_listed ? &b->inventory : NULL, key->name, key->type, &look)) !=
	    E_OK)
		return e;
	switch (look.state) {
	case STOCK_KEY_READY:
		TAILQ_INSERT_TAIL(&b->found, look.key, next);
		b->tally.ready[key->type]++;
		return E_OK;
	case STOCK_KEY_GONE:
		b->tally.gone++;
		return write_gone(b, key->name, 0, "no longer on the token");
	case STOCK_KEY_BAD:
		return destroy_left(b, s, key, "it did not pass at the start", &b->tally.bad);
	case STOCK_KEY_UNREAD:
		b->tally.unread++;
		break;
	}
	return E_OK;
}

static enum err settle_left(struct book *b, struct session *s, const struct journal_key *key)
{
	switch (fate_of(b, key)) {
	case FATE_KEEP:
		return key->state == JOURNAL_RESERVED ? settle_reserved(b, s, key) : take_over_key(b, s, key);
	case FATE_DESTROY:
		return destroy_left(b, s, key, "ready, and not to be used after the start", &b->tally.spent);
	case FATE_LEAVE:
		b->tally.left++;
		return write_gone(b, key->name, 0,
				  "the journal went back: left on the token, if it is there");
	}
	return E_BUG;
}

/* ---- all names ---- */

static void tell_tally(struct book *b, const struct session *s)
{
	const struct book_tally *t = &b->tally;

	for (unsigned type = 1; type <= KEY_TYPE_MAX; type++)
		if (t->ready[type])
			log_notice("pool: %zu %s keys of an earlier run are ready", t->ready[type],
				   key_type_name((enum key_type)type));
	if (t->half)
		log_notice("%zu keys that were half made when the signer ended are destroyed", t->half);
	if (t->spent && b->verdict == BOOK_BELIEVED)
		log_notice(
		    "pool: %zu ready keys are destroyed: their block was open when the signer was killed",
		    t->spent);
	else if (t->spent && b->verdict == BOOK_NO_WORDS)
		log_notice(
		    "pool: %zu ready keys are destroyed: token '%s' keeps no data objects, so they do not "
		    "outlive the signer",
		    t->spent, s->token->label);
	else if (t->spent)
		log_notice("pool: %zu ready keys are destroyed", t->spent);
	if (t->left)
		log_error("%zu names of the journal may be in use: what the token has of them is left alone",
			  t->left);
	if (t->gone)
		log_warn("pool: %zu ready keys of an earlier run are no longer on the token", t->gone);
	if (t->unread)
		log_error("pool: %zu keys of an earlier run cannot be read (%s), left alone", t->unread,
			  s->failure);
	if (t->bad)
		log_error("pool: %zu keys of an earlier run did not pass and are destroyed", t->bad);
}

static enum err settle_all(struct book *b, struct session *s)
{
	enum err e = E_OK;

	b->is_listed = b->left_len > SEARCH_MAX;
	if (b->is_listed)
		e = inventory_take(s, &b->inventory);
	while (e == E_OK && b->left_len) {
		e = session_must_stop(s) ? session_break_off(s)
					 : settle_left(b, s, &b->left[b->left_len - 1]);
		if (e == E_OK)
			b->left_len--;
	}
	inventory_release(&b->inventory);
	return e;
}

/* Remembered, since that are six searches.  Where it cannot be they are made again. */
static void book_note_stock_0_1(const struct session *s)
{
	struct buf text;

	buf_init(&text, 256);
	buf_put_str(&text, "The token has no ready keys of csrd 0.1: they are not looked for again.\n");
	if (state_dir_write(s->token->state, NO_STOCK_0_1, &text) != E_OK)
		log_debug("cannot write '%s/%s'", state_dir_path(s->token->state), NO_STOCK_0_1);
	buf_release(&text);
}

/* They were used for nothing: a claim gave a key another label first. */
static enum err book_destroy_stock_0_1(struct book *b, struct session *s)
{
	uint32_t all = 0;
	struct buf text;
	enum err e;

	buf_init(&text, 256);
	e = state_dir_read(s->token->state, NO_STOCK_0_1, &text);
	buf_release(&text);
	if (e == E_OK)
		return E_OK;
	e = E_OK;
	for (unsigned type = 1; type <= KEY_TYPE_MAX && e == E_OK; type++) {
		char label[sizeof(STOCK_LABEL_PREFIX_0_1) + NODE_NAME_MAX + 16];
		uint32_t destroyed = 0;

		snprintf(label, sizeof(label), "%s%s:%s", STOCK_LABEL_PREFIX_0_1, stock_node(b->stock),
			 key_type_name((enum key_type)type));
		e = stock_key_destroy_0_1(s, label, &destroyed);
		all += destroyed;
	}
	if (all)
		log_notice("pool: %lu objects of ready keys of csrd 0.1 are destroyed", (unsigned long)all);
	if (e == E_OK)
		book_note_stock_0_1(s);
	return e;
}

/* So that the next start does not say it again. */
static enum err begin_anew(struct book *b, struct session *s)
{
	uint64_t opens = b->opens;
	enum err e;

	if (b->has_word && b->known.word.opens > opens)
		opens = b->known.word.opens;
	e = journal_opened(b->journal, opens + 1, NULL, 0, NULL);
	if (e != E_OK)
		return e;
	b->opens = opens + 1;
	return s->token->data == TOKEN_DATA_NONE ? E_OK : book_write_word(b, s, b->opens, false);
}

static enum err take_over_locked(struct book *b, struct session *s)
{
	enum err e = b->is_judged ? E_OK : judge_journal(b, s);

	if (e == E_OK)
		e = settle_all(b, s);
	if (e == E_OK)
		e = book_destroy_stock_0_1(b, s);
	if (e == E_OK && (b->verdict == BOOK_WENT_BACK || b->verdict == BOOK_NEW))
		e = begin_anew(b, s);
	return e;
}

enum err book_take_over(struct book *b, struct session *s)
{
	struct stock_key *key;
	enum err e;

	pthread_mutex_lock(&b->word_lock);
	e = take_over_locked(b, s);
	while (e == E_OK && (key = TAILQ_FIRST(&b->found))) {
		TAILQ_REMOVE(&b->found, key, next);
		stock_put(b->stock, key);
	}
	if (e == E_OK && b->is_renamed && (e = book_write_word(b, s, b->opens, false)) == E_OK)
		b->is_renamed = false;
	pthread_mutex_unlock(&b->word_lock);
	if (e != E_OK)
		return e;
	if (s->token->data != TOKEN_DATA_NONE)
		stock_is_told(b->stock, 0); /* as the word that is there */
	tell_tally(b, s);
	return E_OK;
}
