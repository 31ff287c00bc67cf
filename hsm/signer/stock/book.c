/* SPDX-License-Identifier: Apache-2.0 */
/* Names, blocks and the word on the token, while the signer serves. */
#include "hsm/signer/stock/book.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/random.h"
#include "hsm/signer/stock/book_private.h"
#include "hsm/signer/stock/stock_key.h"
#include "hsm/signer/token/ckr.h"
#include "hsm/signer/token/data_object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIDY_LOG_EVERY_MS 600000

/* ---- life ---- */

enum err book_new(struct journal *journal, const struct journal_report *report, struct stock *stock,
		  struct book **ret_book)
{
	struct book *b = calloc(1, sizeof(*b));
	enum err e;

	if (!b)
		return E_NOMEM;
	b->journal = journal;
	b->report = *report;
	b->stock = stock;
	b->opens = journal_opens(journal);
	TAILQ_INIT(&b->found);
	TAILQ_INIT(&b->doomed);
	e = random_fill(b->run, sizeof(b->run));
	if (e == E_OK)
		e = journal_list(journal, JOURNAL_RESERVED | JOURNAL_MADE, &b->left, &b->left_len);
	if (e != E_OK) {
		free(b);
		return e;
	}
	pthread_mutex_init(&b->word_lock, NULL);
	pthread_mutex_init(&b->names_lock, NULL);
	pthread_mutex_init(&b->reserved_lock, NULL);
	pthread_mutex_init(&b->doomed_lock, NULL);
	*ret_book = b;
	return E_OK;
}

static void doomed_free(struct doomed_list *list)
{
	struct doomed *doomed;

	while ((doomed = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, doomed, next);
		free(doomed);
	}
}

void book_free(struct book *b)
{
	if (!b)
		return;
	stock_list_free(&b->found);
	free(b->left);
	doomed_free(&b->doomed);
	word_release(&b->known.word);
	pthread_mutex_destroy(&b->word_lock);
	pthread_mutex_destroy(&b->names_lock);
	pthread_mutex_destroy(&b->reserved_lock);
	pthread_mutex_destroy(&b->doomed_lock);
	free(b);
}

struct journal *book_journal(struct book *b)
{
	return b->journal;
}

struct stock *book_stock(struct book *b)
{
	return b->stock;
}

/* ---- the word ---- */

/* What this process or the one before wrote, and could not destroy when it wrote the next one. */
static bool is_stray(const struct book *b, const struct word *word)
{
	return memcmp(word->run, b->run, sizeof(b->run)) == 0 ||
	       (b->has_word && memcmp(word->run, b->known.word.run, sizeof(b->run)) == 0);
}

static enum err refuse_foreign(struct book *b, struct session *s)
{
	log_error(
	    "pool: another signer with the node name '%s' uses token '%s': no ready key is used any more; "
	    "give each signer a node name of its own",
	    stock_node(b->stock), s->token->label);
	stock_turn_off(b->stock, "off: another signer with this node name uses the token");
	session_explain(s, "another signer has this node name");
	return E_UNAVAIL;
}

/* One of this node's words.  True: somebody else wrote it. */
static bool look_at_word(struct book *b, struct session *s, const struct word_object *object, bool *found)
{
	if (b->has_word && word_is_same(&object->word, &b->known.word)) {
		b->known.object = object->object;
		b->known_epoch = session_epoch(s);
		*found = true;
		return false;
	}
	if (!is_stray(b, &object->word))
		return true;
	if (data_object_destroy(s, object->object) != E_OK)
		log_debug("an outdated word is left on the token: %s", s->failure);
	return false;
}

/* The one that is known must be there, and no other of this node but strays. */
static enum err look_for_word(struct book *b, struct session *s)
{
	bool found = false, foreign = false;
	struct word_list words = {0};
	bool is_sure;
	enum err e = word_read_all(s, &words);

	for (size_t i = 0; i < words.len; i++)
		if (strcmp(words.at[i].word.node, stock_node(b->stock)) == 0 ||
		    (b->has_word && word_is_same(&words.at[i].word, &b->known.word)))
			foreign |= look_at_word(b, s, &words.at[i], &found);
	is_sure = !words.unread;
	word_list_release(&words);
	if (e != E_OK)
		return e;
	if (foreign || (b->has_word && !found && is_sure))
		return refuse_foreign(b, s);
	if (b->has_word && !found) {
		session_explain(s, "the word on the ready keys cannot be read");
		return E_HSM;
	}
	return E_OK;
}

/* Nobody else has written in our name.  Usually one read. */
static enum err check_word(struct book *b, struct session *s)
{
	struct word word = {0};
	bool same;
	enum err e;

	if (b->has_word && b->known_epoch == session_epoch(s)) {
		e = word_read(s, b->known.object, &word);
		if (e == E_OK) {
			same = word_is_same(&word, &b->known.word);
			word_release(&word);
			if (same)
				return E_OK;
		} else if (e != E_NOTFOUND) {
			return e;
		}
	}
	return look_for_word(b, s);
}

static enum err fill_word(struct book *b, uint64_t opens, bool all, struct word *word)
{
	char(*names)[KEY_NAME_SIZE] = NULL;
	size_t len = 0;
	enum err e;

	snprintf(word->node, sizeof(word->node), "%s", stock_node(b->stock));
	memcpy(word->run, b->run, sizeof(word->run));
	word->serial = ++b->serial;
	word->opens = opens;
	word->entries = journal_size(b->journal);
	if (word->entries && (e = journal_leaf(b->journal, word->entries - 1, word->leaf)) != E_OK)
		return e;
	if ((e = stock_names(b->stock, all, &names, &len)) != E_OK)
		return e;
	if (len > WORD_NAMES_MAX)
		len = WORD_NAMES_MAX;
	word->names = calloc(len + 1, sizeof(word->names[0]));
	for (size_t i = 0; word->names && i < len; i++)
		if (key_name_parse(names[i], word->names[word->names_len]))
			word->names_len++;
	free(names);
	if (!word->names)
		return E_NOMEM;
	word_sort(word);
	return E_OK;
}

static void destroy_known(struct book *b, struct session *s)
{
	if (b->has_word && b->known_epoch == session_epoch(s) &&
	    data_object_destroy(s, b->known.object) != E_OK)
		log_debug("an outdated word is left on the token: %s", s->failure);
}

/*
 * The new one first, then the old one goes: a crash between the two leaves both, and the newer one counts.
 * A token that has no room for both has the old one destroyed first.
 */
enum err book_write_word(struct book *b, struct session *s, uint64_t opens, bool all)
{
	CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
	struct word word = {0};
	enum err e = fill_word(b, opens, all, &word);
	bool had_room = true;

	if (e == E_OK)
		e = word_make(s, &word, &object);
	if (e != E_OK && s->last == CKR_DEVICE_MEMORY && b->has_word) {
		had_room = false;
		destroy_known(b, s);
		b->has_word = false;
		e = word_make(s, &word, &object);
	}
	if (e != E_OK) {
		word_release(&word);
		return e;
	}
	FAILPOINT("stock.word.both");
	if (had_room)
		destroy_known(b, s);
	word_release(&b->known.word);
	b->known = (struct word_object){word, object};
	b->known_epoch = session_epoch(s);
	b->has_word = true;
	stock_is_told(b->stock, clock_ms());
	return E_OK;
}

enum err book_tell(struct book *b, struct session *s, bool all)
{
	enum err e = E_OK;

	pthread_mutex_lock(&b->word_lock);
	if (s->token->data == TOKEN_DATA_NONE || (all && !b->serial)) /* or nothing was done in this run */
		stock_is_told(b->stock, clock_ms());
	else if ((e = check_word(b, s)) == E_OK)
		e = book_write_word(b, s, b->opens, all);
	pthread_mutex_unlock(&b->word_lock);
	return e;
}

/* ---- blocks ---- */

/* In the journal first: it is never behind the token's word unless it was copied back. */
static enum err open_keys(struct book *b, struct session *s, const struct stock_list *keys)
{
	const char *names[STOCK_BLOCK];
	const struct stock_key *key;
	size_t len = 0;
	enum err e;

	TAILQ_FOREACH (key, keys, next)
		names[len++] = key->name;
	FAILPOINT("stock.open.before");
	if ((e = check_word(b, s)) != E_OK)
		return e;
	if ((e = journal_opened(b->journal, b->opens + 1, names, len, NULL)) != E_OK) {
		session_explain(s, "the journal cannot be written: %s", err_str(e));
		return e;
	}
	b->opens++;
	FAILPOINT("stock.open.after-journal");
	e = book_write_word(b, s, b->opens, false);
	FAILPOINT("stock.open.after-write");
	/*
	 * Once more, since somebody may have written between the first look and our word.  Who replaces the
	 * word of another node looks again behind his own, too: at least one of the two sees the other.
	 */
	return e == E_OK ? look_for_word(b, s) : e;
}

static enum err open_block_locked(struct book *b, struct session *s, enum key_type type, bool ahead)
{
	struct stock_list keys = TAILQ_HEAD_INITIALIZER(keys);
	enum err e = E_OK;

	if (!ahead && !stock_needs_opening(b->stock, type)) /* somebody was faster */
		return E_OK;
	stock_take_closed(b->stock, type, &keys);
	if (TAILQ_EMPTY(&keys))
		return E_OK;
	/* Where the token keeps no word, no ready key outlives the process anyway. */
	if (s->token->data != TOKEN_DATA_NONE)
		e = open_keys(b, s, &keys);
	if (e == E_OK)
		stock_put_open(b->stock, &keys);
	else
		stock_give_back(b->stock, &keys);
	return e;
}

enum err book_open_block(struct book *b, struct session *s, enum key_type type, bool ahead)
{
	enum err e;

	pthread_mutex_lock(&b->word_lock);
	e = open_block_locked(b, s, type, ahead);
	pthread_mutex_unlock(&b->word_lock);
	return e;
}

/* ---- names ---- */

/* So that a journal that was copied back is noticed before the keys of this block are judged by it. */
static void anchor(struct book *b, struct session *s)
{
	enum err e;

	if (s->token->data == TOKEN_DATA_NONE || !stock_is_taken_over(b->stock) || stock_is_off(b->stock))
		return;
	e = book_tell(b, s, false);
	if (e != E_OK && log_gate_pass(&b->anchor_gate, TIDY_LOG_EVERY_MS, &(unsigned){0}))
		log_warn("cannot write how far the journal is to token '%s': %s", s->token->label,
			 s->failure);
	s->last = CKR_OK;
	s->failure[0] = '\0';
}

static bool book_take_name(struct book *b, enum key_type type, char ret_name[KEY_NAME_SIZE])
{
	struct reserved *reserved = &b->reserved[type];
	bool taken;

	pthread_mutex_lock(&b->reserved_lock);
	taken = reserved->len > 0;
	if (taken)
		memcpy(ret_name, reserved->names[--reserved->len], KEY_NAME_SIZE);
	pthread_mutex_unlock(&b->reserved_lock);
	return taken;
}

bool book_keep_name(struct book *b, enum key_type type, const char *name)
{
	struct reserved *reserved = &b->reserved[type];
	bool kept;

	pthread_mutex_lock(&b->reserved_lock);
	kept = reserved->len < RESERVE_NAMES;
	if (kept)
		memcpy(reserved->names[reserved->len++], name, KEY_NAME_SIZE);
	pthread_mutex_unlock(&b->reserved_lock);
	return kept;
}

static enum err reserve_locked(struct book *b, struct session *s, enum key_type type,
			       char ret_name[KEY_NAME_SIZE])
{
	char names[RESERVE_NAMES][KEY_NAME_SIZE];
	enum err e;

	if (book_take_name(b, type, ret_name))
		return E_OK;
	if ((e = journal_reserve(b->journal, type, RESERVE_NAMES, names, NULL)) != E_OK)
		return e;
	FAILPOINT("signer.create.after-reserve");
	anchor(b, s);
	memcpy(ret_name, names[0], KEY_NAME_SIZE);
	for (size_t i = 1; i < RESERVE_NAMES; i++)
		book_give_back(b, type, names[i]);
	return E_OK;
}

enum err book_reserve(struct book *b, struct session *s, enum key_type type, char ret_name[KEY_NAME_SIZE])
{
	enum err e;

	pthread_mutex_lock(&b->names_lock);
	e = reserve_locked(b, s, type, ret_name);
	pthread_mutex_unlock(&b->names_lock);
	if (e != E_OK)
		session_explain(s, "the journal cannot be written: %s", err_str(e));
	return e;
}

void book_give_back(struct book *b, enum key_type type, const char *name)
{
	if (!book_keep_name(b, type, name))
		log_debug("name '%s' stays reserved: there are enough", name); /* a start forgets it */
}

void book_describe_made(const char *name, const struct key *key, const struct spki *public_key,
			struct buf *attributes, struct journal_made *ret_made)
{
	key_protection_format(key->protection, attributes);
	*ret_made = (struct journal_made){.name = name,
					  .type = key->type,
					  .id = key->held_id_len ? key->held_id : key->id,
					  .id_len = key->held_id_len ? key->held_id_len : KEY_ID_BYTES,
					  .spki = public_key->sha256,
					  .attributes = buf_text(attributes)};
}

enum err book_made(struct book *b, const char *name, const struct key *key, const struct spki *public_key)
{
	struct journal_made made;
	struct buf attributes;
	enum err e;

	buf_init(&attributes, 1024);
	book_describe_made(name, key, public_key, &attributes, &made);
	e = journal_made(b->journal, &made, NULL);
	buf_release(&attributes);
	return e;
}

/* ---- what is to go ---- */

static void doom(struct book *b, const char *name, uint32_t objects, const char *why)
{
	struct doomed *doomed = calloc(1, sizeof(*doomed));

	pthread_mutex_lock(&b->doomed_lock);
	if (doomed) {
		snprintf(doomed->name, sizeof(doomed->name), "%s", name);
		snprintf(doomed->why, sizeof(doomed->why), "%s", why);
		doomed->objects = objects;
		TAILQ_INSERT_TAIL(&b->doomed, doomed, next);
	}
	b->untidy |= !doomed; /* the next start does it */
	stock_set_untidy(b->stock, !TAILQ_EMPTY(&b->doomed));
	pthread_mutex_unlock(&b->doomed_lock);
}

void book_doom(struct book *b, const char *name, const char *why)
{
	log_warn("key '%s' may be on the token still (%s): its destruction is tried again", name, why);
	doom(b, name, 0, why);
}

void book_is_gone(struct book *b, const char *name, uint32_t objects, const char *why)
{
	enum err e = journal_destroyed(b->journal, name, objects, why, NULL);

	if (e != E_OK && e != E_NOTFOUND)
		doom(b, name, objects, why);
}

static struct doomed *take_doomed(struct book *b)
{
	struct doomed *doomed;

	pthread_mutex_lock(&b->doomed_lock);
	doomed = TAILQ_FIRST(&b->doomed);
	if (doomed)
		TAILQ_REMOVE(&b->doomed, doomed, next);
	else
		stock_set_untidy(b->stock, false);
	pthread_mutex_unlock(&b->doomed_lock);
	return doomed;
}

static void put_doomed(struct book *b, struct doomed *doomed)
{
	pthread_mutex_lock(&b->doomed_lock);
	TAILQ_INSERT_TAIL(&b->doomed, doomed, next);
	pthread_mutex_unlock(&b->doomed_lock);
}

enum err book_tidy(struct book *b, struct session *s)
{
	struct doomed *doomed;
	enum err e = E_OK;

	while (e == E_OK && (doomed = take_doomed(b))) {
		uint32_t destroyed = 0;

		e = session_must_stop(s) ? session_break_off(s)
					 : stock_key_destroy(s, doomed->name, &destroyed);
		doomed->objects += destroyed;
		if (e == E_OK) {
			e = journal_destroyed(b->journal, doomed->name, doomed->objects, doomed->why, NULL);
			e = e == E_NOTFOUND ? E_OK : e;
		}
		if (e != E_OK) {
			put_doomed(b, doomed);
			return e;
		}
		if (destroyed)
			log_notice("key '%s' was destroyed at last: %lu objects", doomed->name,
				   (unsigned long)doomed->objects);
		free(doomed);
	}
	return e;
}

bool book_is_tidy(struct book *b)
{
	bool tidy;

	pthread_mutex_lock(&b->doomed_lock);
	tidy = TAILQ_EMPTY(&b->doomed) && !b->untidy;
	pthread_mutex_unlock(&b->doomed_lock);
	return tidy;
}
