/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The differential test: random sequences of calls, of which every observable result
 * is printed, so that the same sequence on two implementations can be compared as text.
 *
 * A sequence is a list of operations, one a line: "[PROCESS:]call argument ...".
 * Descriptors, names and processes are symbols (s0, p1, 1:), and so are they in the
 * output: nothing that is printed may depend on the run.  Nothing here knows afunix.
 */
#ifndef DIFF_DIFF_H
#define DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	MAX_ARGS = 8,
	MAX_OPS = 256,
	/* s0 to s15; the last four take what is received. */
	SOCKETS = 16,
	FIRST_RECEIVED = 12,
	EPOLLS = 2,
	PIPES = 2,
	SLOTS = SOCKETS + EPOLLS + PIPES,
	PROCESSES = 3,
	THREAD = 9,
	NAMES = 4,
	OUTPUT = 1 << 20,
	/* The largest transfer. */
	BUFFER = 512 * 1024,
};

struct op {
	int process; /* 0, the child that executes it, or THREAD */
	const struct call *call;
	long arg[MAX_ARGS];
};

struct sequence {
	uint64_t number;
	int n;
	struct op op[MAX_OPS];
};

/* The value is a descriptor; the call can sleep. */
#define RETURNS_FD 1u
#define MAY_BLOCK 2u
#define BLOCKS 4u /* also when all descriptors are non-blocking */

/* A call: its arguments are one letter each, see words.c. */
struct call {
	const char *name;
	const char *kinds;
	int weight;
	long (*run)(const long *arg);
	unsigned int flags;
};

extern const struct call calls[];
const struct call *call_find(const char *name);

/* A word and its value; the last has no name. */
struct word {
	const char *name;
	long value;
};

extern const struct word words_message[], words_poll[], words_epoll[], words_option[], words_type[],
	words_address[], words_domain[];

/* Control messages that sendmsg() can carry. */
enum control {
	CONTROL_NONE,
	CONTROL_RIGHTS,
	CONTROL_RIGHTS_TWO,
	CONTROL_RIGHTS_EMPTY,
	CONTROL_RIGHTS_CLOSED,
	CONTROL_CREDENTIALS,
	CONTROL_CREDENTIALS_FALSE,
	CONTROL_BOTH,
	CONTROL_SHORT,
	CONTROL_LEVEL,
};

/* Where a buffer lies. */
enum buffer_mode { BUFFER_GOOD, BUFFER_BAD, BUFFER_HALF };

/* Addresses: NAMES paths, NAMES abstract names, then these. */
enum address {
	ADDRESS_PATH,
	ADDRESS_ABSTRACT = ADDRESS_PATH + NAMES,
	ADDRESS_AUTO = ADDRESS_ABSTRACT + NAMES,
	ADDRESS_UNSPEC,
	ADDRESS_INET,
	ADDRESS_EMPTY,
	ADDRESS_ONE_BYTE,
	ADDRESS_TOO_LONG,
	ADDRESS_NEGATIVE,
	ADDRESS_HUGE,
	ADDRESS_FAULT,
	ADDRESS_NOWHERE,
	ADDRESS_NOT_DIRECTORY,
	ADDRESS_DIRECTORY,
	ADDRESS_UNTERMINATED,
	ADDRESS_ABSTRACT_SHORTEST,
	ADDRESS_ABSTRACT_LONGEST,
	ADDRESS_FAMILY_SHORT,
	ADDRESS_NULL,
	ADDRESSES,
};

/* words.c: the text form. */
int word_slot(const char *text);
const char *slot_name(long slot, char *buf, size_t size);
int op_format(const struct op *op, char *buf, size_t size);
/* 0, or -1 if the line is no operation. */
int op_parse(char *line, struct op *op);
int words_bits(const struct word *words, unsigned long value, char *buf, size_t size);
const char *errno_word(int error);

/* generate.c */
struct plan {
	uint64_t seed;
	int length;	      /* operations at most */
	const char *types;    /* comma-separated; all if null */
	const char **exclude; /* words no operation may contain, ends with null */
};
void generate(const struct plan *plan, uint64_t number, struct sequence *sequence);

/* What the processes of a run share: progress, output and what must be one for all of them. */
struct shared {
	_Atomic uint64_t started, finished;
	_Atomic bool running;
	uint64_t number;
	size_t out_n;
	char unique[16];
	int pid[PROCESSES];
	int autobinds;
	char autobind[32][8];
	bool watch, blocking, thread;
	/* Some sockets may have become another implementation's, which one poll() looks at less often. */
	bool apart;
	/* An accept() that sleeps may or may not hold the number it will return. */
	bool vague;
	unsigned int fills;
	char out[OUTPUT];
};
extern struct shared *shared;

/* state.c: what the executing process knows. */
extern int fd_of[SLOTS];
extern bool is_socket[SLOTS];
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A new descriptor's number, unless numbers are vague. */
void number_note(const char *before, int fd);
void slot_set(long slot, int fd);
/* The free slot for a received descriptor, or -1. */
int slot_received(void);
int pid_number(long pid);
void state_init(const char *unique);
void sequence_begin(uint64_t number);
/* In a new image of a process in the midst of it. */
void state_resume(void);
void sequence_end(void);
void name_path(long name, char *buf, size_t size);
/* The address and its length; a pointer into a static buffer, or one that faults. */
const void *address_make(long address, long *len);
void address_note(const void *address, size_t room, size_t len);
/* n bytes to send, or to receive into. */
char *buffer_place(long mode, size_t n);
void buffer_fill(char *at, long mode, size_t n);
void buffer_note(const char *at, size_t n);
void *fault_pointer(void);
void readiness_note(void);
void signals_note(void);
void signals_init(void);
void tick_arm(bool on);

/* What a thread does is noted in memory of its own. */
void note_privately(char *buf, size_t size);
bool note_is_private(void);

/* run.c */
void op_run(const struct op *op);
void op_result_note(const struct op *op, long r, int error);
long child_fork(long child);
long child_exit(long child, bool killed);
long child_exec(void);
/* Executes a program that no preload reaches and that inherits what is not closed on exec. */
long static_run(bool spawned);

/* thread.c: one operation at a time that may block while others run. */
void thread_start(const struct op *op);
/* Waits until it is done or asleep; says so when it was done. */
void thread_settle(void);
/* Its result; interrupts it if it is asleep. */
bool thread_join(void);
/* In a forked child, which doesn't have it. */
void thread_forget(void);

#endif
