/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The generator: sequences from a seed, reproducible on every machine.
 *
 * It keeps a rough model of what the calls so far did, and prefers what has an effect:
 * connected sockets to send on, names on which somebody listens.  The model never sees
 * a result, so that the sequence is the same whatever implementation runs it; where it
 * is wrong, the sequence is merely duller.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <asm/ioctls.h>

#include "diff.h"

enum state { CLOSED, FRESH, BOUND, LISTENING, CONNECTED, OTHER };

struct model {
	enum state state[SLOTS];
	int type[SLOTS];
	int name[SLOTS]; /* address, or -1 */
	/* Sockets that can reach one another have the same; later ones a greater. */
	int group[SLOTS];
	int groups;
	int peer[SLOTS]; /* who gets what is sent, or -1 */
	int data[SLOTS]; /* messages that wait, roughly */
	bool member[EPOLLS][SLOTS];
	bool child[PROCESSES];
	int forks;
	bool may_block, threads, thread; /* the last: one is under way */
	int favourite;			 /* the type most sockets have */
};

struct generator {
	const struct plan *plan;
	struct sequence *sequence;
	struct model model;
	uint64_t random;
};

/* splitmix64 */
static uint64_t next(struct generator *g)
{
	uint64_t z = (g->random += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static int below(struct generator *g, int n)
{
	return (int)(next(g) % (uint64_t)n);
}

static bool chance(struct generator *g, int percent)
{
	return below(g, 100) < percent;
}

#define PICK(g, table) ((table)[below(g, (int)(sizeof(table) / sizeof((table)[0])))])

static int words_count(const struct word *words)
{
	int n = 0;

	while (words[n].name)
		n++;
	return n;
}

static bool type_wanted(const struct plan *plan, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = plan->types; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (!strncmp(p, name, n) && (p[n] == '\0' || p[n] == ','))
			return true;
	return !plan->types;
}

static int type_any(struct generator *g)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

	for (;;) {
		int type = PICK(g, types);

		for (const struct word *w = words_type; w->name; w++)
			if (w->value == type && type_wanted(g->plan, w->name))
				return type;
	}
}

/* Descriptors. */

static bool fits(const struct model *m, int slot, char kind)
{
	enum state s = m->state[slot];

	switch (kind) {
	case 'D': /* something to receive */
		return s != CLOSED && m->data[slot] > 0;
	case 'F':
		return s == CONNECTED || (s != CLOSED && s != OTHER && m->type[slot] == SOCK_DGRAM);
	case 'L':
		return s == LISTENING;
	case 'U':
		return s == FRESH || s == BOUND;
	default:
		return s != CLOSED;
	}
}

static int slot_where(struct generator *g, char kind, int limit)
{
	int found = -1, n = 0;

	for (int i = 0; i < limit; i++)
		if (fits(&g->model, i, kind) && below(g, ++n) == 0)
			found = i;
	return found;
}

static bool receives(const char *call)
{
	return !strncmp(call, "recv", 4) || !strncmp(call, "read", 4) || !strcmp(call, "drain");
}

static long pick_slot(struct generator *g, char kind, const char *call)
{
	int slot = -1, fate = below(g, 100);

	if (kind == 'f') {
		for (int i = 0; i < FIRST_RECEIVED; i++)
			if (g->model.state[i] == CLOSED)
				return i;
		return below(g, FIRST_RECEIVED);
	}
	if (kind == 'E')
		return SOCKETS + (chance(g, 80) ? 0 : 1);
	if (kind == 'G')
		fate = fate < 90 ? 95 : fate;
	if (kind == 'F' && receives(call) && fate < 65)
		slot = slot_where(g, 'D', SOCKETS);
	if (slot < 0 && fate < 93)
		slot = slot_where(g, kind, SOCKETS);
	if (slot < 0 && fate < 99)
		slot = slot_where(g, 'G', fate < 97 ? SOCKETS : SLOTS);
	return slot < 0 ? below(g, SLOTS) : slot;
}

/* Other arguments. */

static long pick_size(struct generator *g)
{
	static const long small[] = {1, 1, 2, 3, 5, 10, 10, 10, 20, 100};
	static const long large[] = {0,	    0,	   1000,  4000,	 4096,	 5000,	 8192,	 16384,	 32768,
				     36544, 36545, 40000, 65536, 100000, 106464, 212960, 212992, 250000};

	return chance(g, 72) ? PICK(g, small) : PICK(g, large);
}

static long pick_address(struct generator *g, const char *call)
{
	int fate = below(g, 100), n = 0;
	long found = -1;

	if (strcmp(call, "bind") != 0 && fate < 75) {
		for (int i = 0; i < SOCKETS; i++) {
			int weight = g->model.state[i] == LISTENING ? 6 : 1;

			if (g->model.name[i] >= 0 && g->model.name[i] < ADDRESS_AUTO &&
			    below(g, n += weight) < weight)
				found = g->model.name[i];
		}
		if (found >= 0)
			return found;
	}
	if (!strcmp(call, "connect") && chance(g, 6))
		return ADDRESS_UNSPEC;
	if (!strcmp(call, "bind") && chance(g, 12))
		return ADDRESS_AUTO;
	/* Two names of each kind are most of them, so that they meet. */
	if (fate < 90)
		return (chance(g, 50) ? ADDRESS_PATH : ADDRESS_ABSTRACT) +
		       (chance(g, 75) ? below(g, 2) : below(g, NAMES));
	/* The shortest name can't be made the sequence's own. */
	do
		found = ADDRESS_AUTO + below(g, ADDRESSES - ADDRESS_AUTO);
	while (found == ADDRESS_ABSTRACT_SHORTEST);
	return found;
}

static long pick_path(struct generator *g)
{
	long found = ADDRESS_PATH + below(g, NAMES);
	int n = 0;

	if (chance(g, 75))
		for (int i = 0; i < SOCKETS; i++)
			if (g->model.name[i] >= 0 && g->model.name[i] < ADDRESS_PATH + NAMES &&
			    below(g, ++n) == 0)
				found = g->model.name[i];
	return found;
}

static long pick_flags(struct generator *g, bool receiving)
{
	static const long sending[] = {MSG_NOSIGNAL, MSG_NOSIGNAL, MSG_OOB, MSG_OOB, MSG_MORE, MSG_EOR};
	static const long taking[] = {MSG_PEEK,	   MSG_PEEK, MSG_PEEK, MSG_TRUNC,
				      MSG_WAITALL, MSG_OOB,  MSG_OOB,  MSG_CMSG_CLOEXEC};
	long flags = 0;

	if (chance(g, g->model.threads ? 95 : g->model.may_block ? 30 : 10))
		flags |= MSG_DONTWAIT;
	if (chance(g, receiving ? 45 : 30))
		flags |= receiving ? PICK(g, taking) : PICK(g, sending);
	if (receiving && chance(g, 10))
		flags |= PICK(g, taking);
	if (chance(g, 2))
		flags |= words_message[below(g, words_count(words_message))].value;
	return flags;
}

static long pick_bits(struct generator *g, const struct word *words, long usual)
{
	long bits = usual;

	if (chance(g, 40)) {
		bits = 0;
		for (int i = 0; i < 3; i++)
			bits |= words[below(g, words_count(words))].value;
	}
	return bits;
}

static long pick_epoll(struct generator *g)
{
	static const long modes[] = {0,
				     0,
				     (long)(unsigned int)EPOLLET,
				     (long)(unsigned int)EPOLLET,
				     EPOLLONESHOT,
				     (long)((unsigned int)EPOLLET | EPOLLONESHOT)};
	static const long usual[] = {EPOLLIN, EPOLLIN | EPOLLOUT, EPOLLOUT, EPOLLIN | EPOLLRDHUP,
				     EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI};

	if (chance(g, 3))
		return pick_bits(g, words_epoll, EPOLLIN | EPOLLEXCLUSIVE);
	if (chance(g, 6))
		return EPOLLEXCLUSIVE | EPOLLIN | (chance(g, 50) ? EPOLLOUT : 0) |
		       (chance(g, 40) ? (long)(unsigned int)EPOLLET : 0);
	return PICK(g, usual) | PICK(g, modes);
}

static long pick_length(struct generator *g, long usual, const long *odd, int n)
{
	return chance(g, 85) ? usual : odd[below(g, n)];
}

static long pick_creation(struct generator *g)
{
	long flags = SOCK_NONBLOCK;

	if (g->model.may_block && chance(g, g->model.threads ? 90 : 50))
		flags = 0;
	if (chance(g, 10))
		flags |= SOCK_CLOEXEC;
	if (chance(g, 1))
		flags |= 0x100;
	return flags;
}

static long pick_control(struct generator *g)
{
	return chance(g, 55) ? CONTROL_NONE : CONTROL_RIGHTS + below(g, CONTROL_LEVEL);
}

static long pick(struct generator *g, char kind, const char *call)
{
	static const long backlogs[] = {0, 0, 1, 1, 2, 3, 5, 128, -1, 4096, 100000};
	static const long lengths[] = {0, 1, 2, 3, 5, 11, 12, 20, 30, 128, -1, -2, -3};
	static const long option_lengths[] = {0, 1, 2, 3, 8, 16, 36, 100, -1, -2};
	static const int hows[] = {SHUT_RD, SHUT_WR, SHUT_WR, SHUT_RDWR};
	static const int ops[] = {EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_ADD,
				  EPOLL_CTL_MOD, EPOLL_CTL_MOD, EPOLL_CTL_DEL};
	static const long controls[] = {SIOCINQ, SIOCINQ, SIOCOUTQ, SIOCOUTQ, SIOCATMARK, FIONBIO, TCGETS};

	switch (kind) {
	case 'd':
		return chance(g, 98) ? AF_UNIX : words_domain[below(g, 3)].value;
	case 't':
		return chance(g, 97)	? (chance(g, 80) ? g->model.favourite : type_any(g))
		       : g->plan->types ? type_any(g)
					: words_type[below(g, words_count(words_type))].value;
	case 'k':
		return pick_creation(g);
	case 'a':
		return pick_address(g, call);
	case 'n':
		return pick_path(g);
	case 'b':
		return PICK(g, backlogs);
	case 'z':
		return pick_size(g);
	case 'c':
		return chance(g, 97) ? 1 + below(g, 4) : 0;
	case 'm':
	case 'r':
		return pick_flags(g, kind == 'r');
	case 'B':
		return chance(g, 95) ? BUFFER_GOOD : chance(g, 50) ? BUFFER_BAD : BUFFER_HALF;
	case 'C':
		return pick_control(g);
	case 'h':
		return chance(g, 98) ? PICK(g, hows) : chance(g, 50) ? 3 : -1;
	case 'o':
		return words_option[below(g, words_count(words_option))].value;
	case 'l':
		return pick_length(g, 4, option_lengths, 10);
	case 'x':
		return pick_length(g, 110, lengths, 13);
	case 'p':
		return pick_bits(g, words_poll, POLLIN | POLLOUT | POLLRDHUP);
	case 'e':
		return pick_epoll(g);
	case 'y':
		return chance(g, 99) ? PICK(g, ops) : 9;
	case 'w':
		return below(g, 6) == 0 ? F_GETFD : below(g, 2) ? F_GETFL : below(g, 2) ? F_SETFL : F_SETOWN;
	case 'i':
		return PICK(g, controls);
	case 'K':
		return 1 + below(g, PROCESSES - 1);
	default:
		return pick_slot(g, kind, call);
	}
}

/* Options that change what later calls do are set more often than the others. */
static void fix_option(struct generator *g, struct op *op)
{
	static const long useful[] = {SO_SNDBUF,   SO_SNDBUF,	SO_SNDBUF,    SO_RCVLOWAT,
				      SO_PEEK_OFF, SO_PEEK_OFF, SO_OOBINLINE, SO_PASSCRED};
	static const long values[] = {0, 1, 1, 2, 3, 5, 10, 100, 1000, -1, 5000};
	static const long buffers[] = {0, 1, 2304, 4608, 8192, 10000, 20000, 65536, 212992, 300000, -1};
	static const long times[] = {0, 1000, 4000, 5000, 5000000, 1500000, -1000000};
	bool set = !strcmp(op->call->name, "setsockopt");

	if (chance(g, 60))
		op->arg[1] = PICK(g, useful);
	if (!set)
		return;
	op->arg[2] = PICK(g, values);
	if (op->arg[1] == SO_SNDBUF || op->arg[1] == SO_RCVBUF || op->arg[1] == SO_SNDBUFFORCE)
		op->arg[2] = PICK(g, buffers);
	if (op->arg[1] == SO_RCVTIMEO || op->arg[1] == SO_SNDTIMEO)
		op->arg[2] = PICK(g, times);
	if (op->arg[3] == 4 &&
	    (op->arg[1] == SO_LINGER || op->arg[1] == SO_RCVTIMEO || op->arg[1] == SO_SNDTIMEO))
		op->arg[3] = 16;
}

/*
 * What the kernel's garbage collector frees, it frees some time later.  So no cycle is
 * made: a socket travels only over those that are older.
 */
static long fix_rights(struct generator *g, const struct op *op)
{
	const struct model *m = &g->model;
	long slot = op->arg[6];

	for (int i = 0; i < FIRST_RECEIVED && slot < SOCKETS; i++) {
		if (slot < FIRST_RECEIVED && m->group[slot] > m->group[op->arg[0]])
			return slot;
		slot = below(g, FIRST_RECEIVED);
	}
	return slot >= SOCKETS && op->arg[0] < FIRST_RECEIVED ? slot : SOCKETS + EPOLLS + below(g, PIPES);
}

static long fix_address(struct generator *g, const struct op *op, int at)
{
	int type = g->model.type[op->arg[0]];

	return chance(g, type == SOCK_DGRAM ? 30 : 85) ? ADDRESS_NULL : op->arg[at];
}

/* Mostly one that is in the set, or for EPOLL_CTL_ADD is not. */
static void fix_member(struct generator *g, struct op *op)
{
	const bool *member = g->model.member[op->arg[0] - SOCKETS];
	bool any = false;

	for (int i = 0; i < SLOTS; i++)
		any = any || (member[i] && g->model.state[i] != CLOSED);
	if (!any && chance(g, 90))
		op->arg[1] = EPOLL_CTL_ADD;

	for (int tries = 0; tries < 10 && chance(g, 90); tries++) {
		if (member[op->arg[2]] == (op->arg[1] != EPOLL_CTL_ADD))
			return;
		op->arg[2] = pick_slot(g, 'G', op->call->name);
	}
}

/* One instance inside the other, e0 in e1. */
static void fix_nested(struct generator *g, struct op *op)
{
	if (g->model.state[SOCKETS] == CLOSED || g->model.state[SOCKETS + 1] == CLOSED || !chance(g, 25))
		return;
	op->arg[0] = SOCKETS + 1;
	op->arg[2] = SOCKETS;
}

/* Arguments that depend on one another. */
static void fix(struct generator *g, struct op *op)
{
	const char *name = op->call->name;

	if (strstr(name, "sockopt")) {
		fix_option(g, op);
	} else if (!strcmp(name, "fcntl") && op->arg[1] == F_SETFL) {
		op->arg[2] = (g->model.may_block && chance(g, 50) ? 0 : O_NONBLOCK) |
			     (chance(g, 5) ? O_APPEND : 0);
	} else if (!strcmp(name, "fcntl")) {
		op->arg[2] = below(g, 2);
	} else if (!strcmp(name, "ioctl")) {
		op->arg[2] = g->model.may_block ? below(g, 2) : 1;
	} else if (!strcmp(name, "lseek")) {
		op->arg[1] = below(g, 3);
	} else if (!strcmp(name, "epoll_ctl")) {
		fix_member(g, op);
		fix_nested(g, op);
	} else if (!strcmp(name, "close_range")) {
		op->arg[1] = chance(g, 70) ? 0 : below(g, 4);
		op->arg[2] = chance(g, 20);
	} else if (!strcmp(name, "static")) {
		op->arg[0] = below(g, 2);
	} else if (!strcmp(name, "setuid")) {
		op->arg[0] = below(g, 3);
		op->arg[1] = chance(g, 30);
	} else if (!strcmp(name, "seteuid")) {
		op->arg[0] = chance(g, 60) ? 1000 : 0;
	} else if (!strcmp(name, "epoll_wait")) {
		op->arg[1] = chance(g, 98) ? 16 : below(g, 2) - 1;
	} else if (!strcmp(name, "recvmsg")) {
		static const long rooms[] = {0, 0, 16, 20, 24, 32, 64, 256, 256, 256};

		op->arg[4] = PICK(g, rooms);
	} else if (!strcmp(name, "sendto") || !strcmp(name, "sendmsg")) {
		int at = !strcmp(name, "sendto") ? 3 : 4;

		op->arg[at] = fix_address(g, op, at);
		if (at == 4)
			op->arg[6] = fix_rights(g, op);
	} else if (!strcmp(name, "socket")) {
		op->arg[4] = chance(g, 98) ? 0 : below(g, 4) - 1;
	} else if (!strcmp(name, "socketpair")) {
		op->arg[5] = chance(g, 98) ? 0 : below(g, 4) - 1;
		while (op->arg[1] == op->arg[0])
			op->arg[1] = below(g, FIRST_RECEIVED);
		for (int i = 0; i < FIRST_RECEIVED; i++)
			if (i != op->arg[0] && g->model.state[i] == CLOSED)
				op->arg[1] = i;
	}
}

/* The model. */

static void learn_open(struct model *m, long slot, enum state state, long type)
{
	m->state[slot] = state;
	m->type[slot] = (int)(type == SOCK_RAW ? SOCK_DGRAM : type);
	m->name[slot] = -1;
	m->group[slot] = m->groups;
	m->peer[slot] = -1;
	m->data[slot] = 0;
	for (int e = 0; e < EPOLLS; e++)
		m->member[e][slot] = false;
}

static void learn_connect(struct model *m, long slot, long address)
{
	if (m->state[slot] != FRESH && m->state[slot] != BOUND)
		return;
	for (int i = 0; i < SOCKETS; i++)
		if (m->name[i] == address && m->type[i] == m->type[slot] &&
		    (m->state[i] == LISTENING || m->type[i] == SOCK_DGRAM)) {
			m->group[slot] = m->group[i];
			m->peer[slot] = i;
			m->state[slot] = m->type[i] == SOCK_DGRAM ? m->state[slot] : CONNECTED;
		}
}

/* The listener gives way to the accepted socket as the peer of one client. */
static void learn_accept(struct model *m, const long *a)
{
	learn_open(m, a[0], CONNECTED, m->type[a[1]]);
	m->group[a[0]] = m->group[a[1]];
	for (int i = 0; i < SOCKETS; i++)
		if (m->peer[i] == a[1] && i != a[0]) {
			m->peer[i] = (int)a[0];
			m->peer[a[0]] = i;
			m->data[a[0]] = m->data[a[1]];
			m->data[a[1]] = 0;
			break;
		}
}

static void learn_transfer(struct model *m, const struct op *op)
{
	const char *name = op->call->name;
	long slot = op->arg[0];

	if (receives(name) && m->data[slot] > 0)
		m->data[slot] = !strcmp(name, "drain") ? 0 : m->data[slot] - 1;
	else if ((strstr(name, "send") || strstr(name, "write") || !strcmp(name, "fill")) &&
		 m->peer[slot] >= 0)
		m->data[m->peer[slot]]++;
}

static void learn_close(struct model *m, long slot)
{
	m->state[slot] = CLOSED;
	m->name[slot] = -1;
}

static void learn_epoll(struct model *m, const long *a)
{
	m->member[a[0] - SOCKETS][a[2]] = a[1] != EPOLL_CTL_DEL;
}

static void learn(struct model *m, const struct op *op)
{
	const char *name = op->call->name;
	const long *a = op->arg;

	if (op->process && op->process != THREAD) /* what a child does with its copies is its own */
		return;
	m->groups++;
	if (!strcmp(name, "socket")) {
		learn_open(m, a[0], FRESH, a[2]);
	} else if (!strcmp(name, "socketpair")) {
		learn_open(m, a[0], CONNECTED, a[3]);
		learn_open(m, a[1], CONNECTED, a[3]);
		m->peer[a[0]] = (int)a[1];
		m->peer[a[1]] = (int)a[0];
	} else if (!strcmp(name, "bind") && m->name[a[0]] < 0 && m->state[a[0]] != CLOSED) {
		m->name[a[0]] = (int)a[1];
		if (m->state[a[0]] == FRESH)
			m->state[a[0]] = BOUND;
	} else if (!strcmp(name, "listen") && m->state[a[0]] == BOUND && m->type[a[0]] != SOCK_DGRAM) {
		m->state[a[0]] = LISTENING;
	} else if (!strcmp(name, "connect")) {
		learn_connect(m, a[0], a[1]);
	} else if (!strcmp(name, "accept") && m->state[a[1]] == LISTENING) {
		learn_accept(m, a);
	} else if (!strcmp(name, "close")) {
		learn_close(m, a[0]);
	} else if (!strcmp(name, "close_range") && !a[2]) {
		/* numbers are given in the order of slots, mostly */
		for (long i = a[0]; i <= a[0] + a[1] && i < SOCKETS; i++)
			learn_close(m, i);
	} else if (!strncmp(name, "dup", 3)) {
		m->state[a[0]] = m->state[a[1]];
		m->type[a[0]] = m->type[a[1]];
		m->name[a[0]] = m->name[a[1]];
		m->group[a[0]] = m->group[a[1]];
		m->peer[a[0]] = m->peer[a[1]];
		m->data[a[0]] = m->data[a[1]];
	} else if (!strcmp(name, "epoll_create")) {
		learn_open(m, a[0], OTHER, 0);
		memset(m->member[a[0] - SOCKETS], 0, sizeof(m->member[0]));
	} else if (!strcmp(name, "epoll_ctl")) {
		learn_epoll(m, a);
	} else if (!strcmp(name, "pipe")) {
		m->state[SOCKETS + EPOLLS] = m->state[SOCKETS + EPOLLS + 1] = OTHER;
	} else if (!strcmp(name, "fork")) {
		m->child[a[0]] = true;
		m->forks++;
	} else if (!strcmp(name, "exit") || !strcmp(name, "kill")) {
		m->child[a[0]] = false;
	} else {
		learn_transfer(m, op);
	}
}

/* Sequences. */

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = strstr(text, word); p; p = strstr(p + 1, word))
		if ((p == text || strchr(" |:", p[-1])) && (!p[n] || strchr(" |", p[n])))
			return true;
	return false;
}

static bool word_used(const struct sequence *s, const char *word)
{
	char text[512];

	for (int i = 0; i < s->n; i++) {
		op_format(&s->op[i], text, sizeof(text));
		if (has_word(text, word))
			return true;
	}
	return false;
}

/* A word that may not occur, or "A+B": two that may not occur in one sequence. */
static bool excluded(const struct sequence *s, const char *text, const char *rule)
{
	char one[64];
	const char *plus = strchr(rule, '+');

	if (!plus)
		return has_word(text, rule);
	snprintf(one, sizeof(one), "%.*s", (int)(plus - rule), rule);
	return (has_word(text, one) && word_used(s, plus + 1)) ||
	       (has_word(text, plus + 1) && word_used(s, one));
}

static void add(struct generator *g, const struct op *op)
{
	struct sequence *s = g->sequence;
	char text[512];

	op_format(op, text, sizeof(text));
	for (const char **rule = g->plan->exclude; *rule; rule++)
		if (excluded(s, text, *rule))
			return;
	if (s->n == MAX_OPS)
		return;
	s->op[s->n++] = *op;
	learn(&g->model, op);
}

__attribute__((format(printf, 2, 3))) static void say(struct generator *g, const char *format, ...)
{
	char text[512];
	struct op op;
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (op_parse(text, &op) < 0)
		abort();
	add(g, &op);
}

static const char *type_name(int type)
{
	return type == SOCK_STREAM ? "stream" : type == SOCK_DGRAM ? "dgram" : "seqpacket";
}

/* Something to begin with. */
static void overture(struct generator *g)
{
	int type = g->model.favourite, fate = below(g, 100);
	const char *name = words_address[below(g, 2 * NAMES)].name, *t = type_name(type);
	const char *flags = g->model.may_block && chance(g, g->model.threads ? 90 : 50) ? "0" : "nonblock";

	if (chance(g, 60))
		say(g, "watch");
	if (chance(g, 45))
		say(g, "epoll_create e0");
	if (g->model.state[SOCKETS] != CLOSED && chance(g, 25))
		say(g, "epoll_create e1");
	if (fate < 35) {
		say(g, "socketpair s0 s1 unix %s %s 0", t, flags);
		return;
	}
	if (fate > 85)
		return;
	say(g, "socket s0 unix %s %s 0", t, flags);
	say(g, "bind s0 %s", name);
	if (chance(g, 30))
		say(g, "setsockopt s0 %s 1 4", chance(g, 50) ? "PASSCRED" : "OOBINLINE");
	if (type != SOCK_DGRAM)
		say(g, "listen s0 %d", chance(g, 70) ? 5 : below(g, 3));
	say(g, "socket s1 unix %s %s 0", t, flags);
	if (type == SOCK_DGRAM && chance(g, 70))
		say(g, "bind s1 %s", words_address[below(g, 2 * NAMES)].name);
	say(g, "connect s1 %s", name);
	if (type != SOCK_DGRAM && chance(g, 80))
		say(g, "accept s2 s0 %s 110", flags);
	if (type == SOCK_DGRAM && chance(g, 30))
		say(g, "connect s0 %s", words_address[below(g, 2 * NAMES)].name);
}

static const struct call *pick_call(struct generator *g)
{
	static int total;
	int n;

	if (!total)
		for (const struct call *c = calls; c->name; c++)
			total += c->weight;
	n = below(g, total);
	for (const struct call *c = calls;; c++)
		if ((n -= c->weight) < 0)
			return c;
}

static bool child_only(const struct call *call)
{
	return !strcmp(call->name, "exec") || strstr(call->name, "uid");
}

static int pick_process(struct generator *g, const struct call *call)
{
	if (!strcmp(call->name, "fork") || !strcmp(call->name, "exit") || !strcmp(call->name, "kill"))
		return 0;
	for (int i = 1; i < PROCESSES; i++)
		if (g->model.child[i] && chance(g, child_only(call) ? 90 : 40))
			return i;
	return 0;
}

static bool any_socket(const struct model *m)
{
	for (int i = 0; i < SOCKETS; i++)
		if (m->state[i] != CLOSED)
			return true;
	return false;
}

/* What could only fail is not worth a line, nearly always. */
static bool worthwhile(struct generator *g, const struct op *op)
{
	const char *name = op->call->name;
	const struct model *m = &g->model;
	bool dull = false;

	if (!strcmp(name, "fork"))
		return m->forks < 3 && !m->child[op->arg[0]];
	if (!strcmp(name, "exit") || !strcmp(name, "kill"))
		return m->child[op->arg[0]];
	if (!strcmp(name, "exec"))
		return op->process != 0;
	if (!strncmp(name, "epoll_", 6) && strcmp(name, "epoll_create") != 0)
		dull = m->state[op->arg[0]] == CLOSED;
	for (int i = 0; op->call->kinds[i]; i++)
		if (strchr("FLUGQ", op->call->kinds[i]) && m->state[op->arg[i]] == CLOSED &&
		    strcmp(name, "sendmsg") != 0)
			dull = true;
	if (!strcmp(name, "listen") || !strcmp(name, "accept"))
		dull = dull || m->type[op->arg[op->call->kinds[0] == 'f']] == SOCK_DGRAM;
	if (!any_socket(m))
		dull = dull || (strncmp(name, "socket", 6) != 0 && strcmp(name, "epoll_create") != 0);
	if (strstr(name, "uid"))
		dull = !op->process;
	return !dull || chance(g, 3);
}

/* An operation that is likely to sleep, or the end of the one that does. */
static bool step_thread(struct generator *g)
{
	static const char *const sleepers[] = {"recv",	     "recv",	    "read",	  "accept",
					       "accept",     "connect",	    "send",	  "fill",
					       "poll_sleep", "epoll_sleep", "poll_sleep", "recvmsg"};
	struct op op = {0};

	if (!g->model.threads || !chance(g, g->model.thread ? 15 : 30))
		return false;
	op.call = call_find(g->model.thread ? "join" : PICK(g, sleepers));
	for (int i = 0; op.call->kinds[i]; i++) {
		op.arg[i] = pick(g, op.call->kinds[i], op.call->name);
		if (strchr("mr", op.call->kinds[i]))
			op.arg[i] &= ~MSG_DONTWAIT;
		if (strchr("k", op.call->kinds[i]))
			op.arg[i] = 0;
	}
	fix(g, &op);
	if (!g->model.thread)
		op.process = THREAD;
	g->model.thread = !g->model.thread;
	add(g, &op);
	return true;
}

static void step(struct generator *g)
{
	struct op op = {.call = pick_call(g)};

	if (step_thread(g))
		return;

	for (int i = 0; op.call->kinds[i]; i++)
		op.arg[i] = pick(g, op.call->kinds[i], op.call->name);
	fix(g, &op);
	op.process = pick_process(g, op.call);
	if (worthwhile(g, &op))
		add(g, &op);
}

void generate(const struct plan *plan, uint64_t number, struct sequence *sequence)
{
	struct generator g = {.plan = plan, .sequence = sequence};
	int length;

	g.random = plan->seed * 0x9e3779b97f4a7c15u + number;
	next(&g);
	g.random ^= next(&g) + number * 0xd1342543de82ef95u;
	*sequence = (struct sequence){.number = number};
	for (int i = 0; i < SLOTS; i++)
		g.model.name[i] = g.model.peer[i] = -1;
	g.model.favourite = type_any(&g);
	g.model.threads = chance(&g, 4);
	g.model.may_block = g.model.threads || chance(&g, 4);
	overture(&g);
	length = 5 + below(&g, plan->length > 5 ? plan->length - 4 : 1);
	for (int tries = 0; sequence->n < length && tries < 1000; tries++)
		step(&g);
}
