/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What the process that executes operations knows: which descriptor is which symbol,
 * which name is whose, and the buffers.  Output goes to memory that all processes of
 * the run share, so that it survives the one that crashes.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "diff.h"

struct shared *shared;
int fd_of[SLOTS];
bool is_socket[SLOTS];

static char prefix[32];
static _Thread_local char *buffer; /* BUFFER bytes, then a page that faults */
static _Thread_local char *private_out;
static _Thread_local size_t private_n, private_size;
static volatile sig_atomic_t pipes_seen, ios_seen, urgs_seen;
static sig_atomic_t pipes_told, ios_told, urgs_told;

void note(const char *format, ...)
{
	char *out = private_out ? private_out : shared->out;
	size_t *at = private_out ? &private_n : &shared->out_n;
	size_t room = (private_out ? private_size : sizeof(shared->out)) - *at;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(out + *at, room, format, ap);
	va_end(ap);
	if (n > 0)
		*at += (size_t)n < room ? (size_t)n : room - 1;
}

static void buffer_init(void)
{
	long page = sysconf(_SC_PAGESIZE);

	buffer =
		mmap(NULL, BUFFER + (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED || mprotect(buffer + BUFFER, (size_t)page, PROT_NONE) < 0)
		abort();
}

bool note_is_private(void)
{
	return private_out != NULL;
}

void note_privately(char *buf, size_t size)
{
	private_out = buf;
	private_n = 0;
	private_size = size;
	if (buf)
		buffer_init();
	else
		munmap(buffer, BUFFER + (size_t)sysconf(_SC_PAGESIZE));
}

void number_note(const char *before, int fd)
{
	if (shared->vague)
		note("%s*", before);
	else
		note("%s%d", before, fd);
}

void slot_set(long slot, int fd)
{
	int old = fd_of[slot];

	fd_of[slot] = fd;
	is_socket[slot] = slot < SOCKETS;
	if (old >= 0)
		close(old);
}

int slot_received(void)
{
	for (int i = FIRST_RECEIVED; i < SOCKETS; i++)
		if (fd_of[i] < 0)
			return i;
	return -1;
}

int pid_number(long pid)
{
	for (int i = 0; i < PROCESSES; i++)
		if (shared->pid[i] == pid)
			return i;
	return -1;
}

/* The buffers. */

void *fault_pointer(void)
{
	return buffer + BUFFER;
}

char *buffer_place(long mode, size_t n)
{
	if (mode == BUFFER_BAD)
		return fault_pointer();
	if (mode == BUFFER_HALF)
		return buffer + BUFFER - n / 2;
	return buffer;
}

void buffer_fill(char *at, long mode, size_t n)
{
	unsigned int k = shared->fills++ * 37;

	if (mode == BUFFER_BAD)
		return;
	if (mode == BUFFER_HALF)
		n /= 2;
	for (size_t i = 0; i < n; i++)
		at[i] = (char)(k + (unsigned int)i * 7 + (unsigned int)(i >> 8) * 13);
}

void buffer_note(const char *at, size_t n)
{
	uint64_t h = 0x9e3779b97f4a7c15u, word = 0;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		memcpy(&word, at + i, 8);
		h = (h ^ word) * 0x100000001b3u;
		h ^= h >> 29;
	}
	for (; i < n; i++)
		h = (h ^ (unsigned char)at[i]) * 0x100000001b3u;
	if (n)
		note(" [%02x..%02x %08x]", (unsigned char)at[0], (unsigned char)at[n - 1],
		     (unsigned int)(h ^ (h >> 32)));
}

/* Names. */

void name_path(long name, char *buf, size_t size)
{
	if (name >= ADDRESS_PATH && name < ADDRESS_PATH + NAMES)
		snprintf(buf, size, "%s.p%ld", prefix, name - ADDRESS_PATH);
	else
		snprintf(buf, size, "%s.none", prefix);
}

static socklen_t address_special(long address, struct sockaddr_un *un)
{
	switch (address) {
	case ADDRESS_UNSPEC:
		un->sun_family = AF_UNSPEC;
		return sizeof(*un);
	case ADDRESS_INET:
		un->sun_family = AF_INET;
		return 16;
	case ADDRESS_NOWHERE:
		snprintf(un->sun_path, sizeof(un->sun_path), "%s.d/x", prefix);
		return sizeof(*un);
	case ADDRESS_NOT_DIRECTORY:
		snprintf(un->sun_path, sizeof(un->sun_path), "file/x");
		return sizeof(*un);
	case ADDRESS_DIRECTORY:
		snprintf(un->sun_path, sizeof(un->sun_path), ".");
		return 2 + 2;
	case ADDRESS_UNTERMINATED:
		memset(un->sun_path, 'u', sizeof(un->sun_path));
		memcpy(un->sun_path, prefix, strlen(prefix));
		return sizeof(*un);
	case ADDRESS_ABSTRACT_SHORTEST:
		return 3;
	case ADDRESS_ABSTRACT_LONGEST:
		memset(un->sun_path + 1, 'l', sizeof(un->sun_path) - 1);
		memcpy(un->sun_path + 1, prefix, strlen(prefix));
		return sizeof(*un);
	case ADDRESS_FAMILY_SHORT:
		un->sun_family = AF_INET;
		return 2;
	}
	return 2;
}

const void *address_make(long address, long *len)
{
	static _Thread_local char room[256];
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	socklen_t n = 0;

	memset(room, 0, sizeof(room));
	if (address < ADDRESS_ABSTRACT) {
		name_path(address, un.sun_path, sizeof(un.sun_path));
		/* With the terminator for even names, the whole structure, or without it. */
		n = (socklen_t)(address & 1 ? offsetof(struct sockaddr_un, sun_path) + strlen(un.sun_path)
					    : sizeof(un));
	} else if (address < ADDRESS_AUTO) {
		n = (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1 +
		    (socklen_t)snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "%s.a%ld", prefix,
					address - ADDRESS_ABSTRACT);
		if (address & 1) /* a zero belongs to the name */
			n++;
	} else {
		n = address_special(address, &un);
	}
	memcpy(room, &un, sizeof(un));
	*len = (long)n;
	switch (address) {
	case ADDRESS_EMPTY:
		*len = 0;
		break;
	case ADDRESS_ONE_BYTE:
		*len = 1;
		break;
	case ADDRESS_TOO_LONG:
		*len = 111;
		break;
	case ADDRESS_NEGATIVE:
		*len = -1;
		break;
	case ADDRESS_HUGE:
		*len = 129;
		break;
	case ADDRESS_FAULT:
		*len = 20;
		return fault_pointer();
	case ADDRESS_NULL:
		*len = 0;
		return NULL;
	}
	return room;
}

static int autobind_number(const char *name)
{
	for (int i = 0; i < shared->autobinds; i++)
		if (!memcmp(shared->autobind[i], name, 5))
			return i;
	if (shared->autobinds == 32)
		return -1;
	memcpy(shared->autobind[shared->autobinds], name, 5);
	return shared->autobinds++;
}

/* Of a name of len bytes, room of which were stored. */
void address_note(const void *address, size_t room, size_t len)
{
	struct sockaddr_un un = {0};
	size_t n = len < room ? len : room, p = strlen(prefix);
	const char *name = un.sun_path;

	note(" addr(%zu", len);
	if (n > sizeof(un))
		n = sizeof(un);
	memcpy(&un, address, n);
	if (n >= 2)
		note(" family=%d", un.sun_family);
	if (n > 2) {
		bool abstract = !name[0];

		n -= 2 + (size_t)abstract;
		name += abstract;
		if (abstract && len == 8) {
			if (n == 5)
				note(" auto%d", autobind_number(name));
			n = 0;
		} else if (!memcmp(name, prefix, n < p ? n : p)) {
			size_t own = n < p ? n : p;

			note(" %s*", abstract ? "@" : "");
			name += own;
			n -= own;
		} else {
			note(" %s", abstract ? "@" : "");
		}
		for (size_t i = 0; i < n; i++)
			note(name[i] > ' ' && name[i] < 127 ? "%c" : "\\%d", name[i]);
	}
	note(")");
}

/* Readiness and signals. */

static void readiness_of(const struct pollfd *p, long slot)
{
	char name[8], bits[160];

	if (p->revents) {
		words_bits(words_poll, (unsigned short)p->revents, bits, sizeof(bits));
		note(" %s=%s", slot_name(slot, name, sizeof(name)), bits);
	}
}

/* The sockets in one call, whatever else there is each by itself; also the sockets once some have moved. */
void readiness_note(void)
{
	struct pollfd p[SLOTS];
	int slot[SLOTS], n = 0, r = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < SLOTS; i++) {
			if (fd_of[i] < 0 || is_socket[i] != (pass == 0))
				continue;
			p[n] = (struct pollfd){
				.fd = fd_of[i],
				.events = (short)(POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM |
						  POLLRDBAND | POLLWRNORM | POLLWRBAND),
			};
			slot[n++] = i;
			if (pass || shared->apart)
				r += poll(&p[n - 1], 1, 0) > 0;
		}
		if (pass == 0) {
			if (!shared->apart)
				r = poll(p, (nfds_t)n, 0);
			note(" {%d", r);
		}
	}
	for (int i = 0; i < n; i++)
		readiness_of(&p[i], slot[i]);
	note("}");
}

static void on_signal(int sig)
{
	if (sig == SIGPIPE)
		pipes_seen++;
	else if (sig == SIGIO)
		ios_seen++;
	else if (sig == SIGURG)
		urgs_seen++;
}

void signals_init(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGPIPE, &sa, NULL);
	sigaction(SIGIO, &sa, NULL);
	sigaction(SIGURG, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
}

static void signal_note(const char *name, sig_atomic_t seen, sig_atomic_t *told)
{
	if (seen != *told)
		note(" +%s*%d", name, (int)(seen - *told));
	*told = seen;
}

void signals_note(void)
{
	signal_note("SIGPIPE", pipes_seen, &pipes_told);
	signal_note("SIGIO", ios_seen, &ios_told);
	signal_note("SIGURG", urgs_seen, &urgs_told);
}

/* Interrupts what blocks, again and again in case that it was about to. */
void tick_arm(bool on)
{
	long us = on ? 20000 : 0;

	setitimer(ITIMER_REAL, &(struct itimerval){{0, us}, {0, us}}, NULL);
}

/* A sequence. */

void state_init(const char *unique)
{
	long page = sysconf(_SC_PAGESIZE);

	buffer =
		mmap(NULL, BUFFER + (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED || mprotect(buffer + BUFFER, (size_t)page, PROT_NONE) < 0)
		abort();
	snprintf(prefix, sizeof(prefix), "%.8s", unique);
	for (int i = 0; i < SLOTS; i++)
		fd_of[i] = -1;
}

void state_resume(void)
{
	snprintf(prefix + 8, sizeof(prefix) - 8, "%08x", (unsigned int)shared->number);
}

void sequence_begin(uint64_t number)
{
	shared->number = number;
	state_resume();
	shared->autobinds = 0;
	shared->watch = shared->apart = shared->blocking = shared->thread = shared->vague = false;
	shared->fills = 0;
	for (int i = 0; i < PROCESSES; i++)
		shared->pid[i] = i ? -1 : getpid();
	pipes_told = pipes_seen;
	ios_told = ios_seen;
	urgs_told = urgs_seen;
}

void sequence_end(void)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1] = {0};

	for (int i = 0; i < SLOTS; i++)
		slot_set(i, -1);
	for (long i = 0; i < NAMES; i++) {
		name_path(i, path, sizeof(path));
		unlink(path);
	}
	memset(path, 'u', sizeof(path) - 1);
	memcpy(path, prefix, strlen(prefix));
	unlink(path);
}
