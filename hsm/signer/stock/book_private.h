/* SPDX-License-Identifier: Apache-2.0 */
/* The book's inside.  Private to book.c and book_start.c. */
#ifndef CSRD_HSM_SIGNER_STOCK_BOOK_PRIVATE_H
#define CSRD_HSM_SIGNER_STOCK_BOOK_PRIVATE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "hsm/signer/key/inventory.h"
#include "hsm/signer/stock/book.h"
#include "hsm/signer/stock/word.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define RESERVE_NAMES 16

struct reserved {
	char names[RESERVE_NAMES][KEY_NAME_SIZE];
	size_t len;
};

/* A key that may be on the token and is to go, or that is gone, which is to be written yet. */
struct doomed {
	TAILQ_ENTRY(doomed) next;
	char name[KEY_NAME_SIZE];
	char why[160];
	uint32_t objects; /* that were destroyed already */
};
TAILQ_HEAD(doomed_list, doomed);

/* Of the journal, at the start. */
enum book_verdict {
	BOOK_BELIEVED,
	BOOK_NO_WORDS,  /* the token keeps none */
	BOOK_WORD_LOST, /* it should have one, and has none */
	BOOK_WENT_BACK, /* it is older than the word, or than its own snapshot */
	BOOK_NEW,       /* it was just begun, and there is a word */
};

struct book_tally {
	size_t ready[KEY_TYPE_MAX + 1];
	size_t half;  /* made, and no more: destroyed */
	size_t spent; /* ready once: destroyed */
	size_t bad;   /* destroyed */
	size_t gone, left, unread;
};

struct book {
	struct journal *journal;
	struct stock *stock;
	struct journal_report report;
	uint8_t run[WORD_RUN_BYTES];

	/* Held while names are reserved; all others but doomed_lock may be taken under it. */
	pthread_mutex_t names_lock;
	pthread_mutex_t reserved_lock; /* nothing is taken under it */
	struct reserved reserved[KEY_TYPE_MAX + 1];
	struct log_gate anchor_gate;

	/* Held while the token is read and written; only reserved_lock, the stock's and the journal's are
	 * taken under it. */
	pthread_mutex_t word_lock;
	bool has_word; /* one of ours is on the token: */
	struct word_object known;
	uint64_t known_epoch; /* session_epoch() of its handle */
	uint64_t opens;
	uint64_t serial;

	/* at the start, by the one thread that is at it */
	bool is_judged;
	bool is_renamed; /* the word that is known has an earlier name of this node */
	enum book_verdict verdict;
	struct journal_key *left; /* by an earlier run, still to be settled */
	size_t left_len;
	struct stock_list found;    /* ready keys of it */
	struct inventory inventory; /* taken when there is much to settle */
	bool is_listed;
	struct book_tally tally;

	pthread_mutex_t doomed_lock;
	struct doomed_list doomed;
	bool untidy; /* something is doomed that is not in the list, for want of memory */
};

/* A name that is reserved already is the next one to be used.  False: there are enough of them. */
MUST_USE bool book_keep_name(struct book *book, enum key_type type, const char *name);

/* Under word_lock.  Logs nothing. */
MUST_USE enum err book_write_word(struct book *book, struct session *s, uint64_t opens, bool all);

#endif
