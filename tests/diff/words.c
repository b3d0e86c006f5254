/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The text form of operations: every kind of argument is a number, one word of a
 * table, or several of them joined by "|".  What the tables don't know is a number.
 *
 * The letters of call.kinds: f a new descriptor; F, L, U a socket, preferably
 * connected, listening, unconnected; G any descriptor; E, Q an epoll instance, a pipe;
 * d t k domain, type, flags of creation; a address; n path; b backlog; z size; c count;
 * m r flags of sending and receiving; B buffer; C control; h how; o v l option, value,
 * its length; x length of an address; p e poll and epoll events; y epoll operation;
 * w fcntl command; i ioctl; K child; N any number.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <asm/ioctls.h>

#include "diff.h"

const struct word words_domain[] = {{"unix", AF_UNIX}, {"unspec", AF_UNSPEC}, {"bad", 99}, {NULL, 0}};
const struct word words_type[] = {{"stream", SOCK_STREAM},
				  {"dgram", SOCK_DGRAM},
				  {"seqpacket", SOCK_SEQPACKET},
				  {"raw", SOCK_RAW},
				  {"rdm", SOCK_RDM},
				  {"packet", SOCK_PACKET},
				  {NULL, 0}};
static const struct word words_creation[] = {
	{"nonblock", SOCK_NONBLOCK}, {"cloexec", SOCK_CLOEXEC}, {"bad", 0x100}, {NULL, 0}};
const struct word words_address[] = {{"p0", 0},
				     {"p1", 1},
				     {"p2", 2},
				     {"p3", 3},
				     {"a0", 4},
				     {"a1", 5},
				     {"a2", 6},
				     {"a3", 7},
				     {"auto", ADDRESS_AUTO},
				     {"unspec", ADDRESS_UNSPEC},
				     {"inet", ADDRESS_INET},
				     {"empty", ADDRESS_EMPTY},
				     {"onebyte", ADDRESS_ONE_BYTE},
				     {"toolong", ADDRESS_TOO_LONG},
				     {"negative", ADDRESS_NEGATIVE},
				     {"huge", ADDRESS_HUGE},
				     {"fault", ADDRESS_FAULT},
				     {"nowhere", ADDRESS_NOWHERE},
				     {"notdir", ADDRESS_NOT_DIRECTORY},
				     {"directory", ADDRESS_DIRECTORY},
				     {"unterminated", ADDRESS_UNTERMINATED},
				     {"shortest", ADDRESS_ABSTRACT_SHORTEST},
				     {"longest", ADDRESS_ABSTRACT_LONGEST},
				     {"family", ADDRESS_FAMILY_SHORT},
				     {"null", ADDRESS_NULL},
				     {NULL, 0}};
const struct word words_message[] = {{"OOB", MSG_OOB},
				     {"PEEK", MSG_PEEK},
				     {"DONTROUTE", MSG_DONTROUTE},
				     {"CTRUNC", MSG_CTRUNC},
				     {"TRUNC", MSG_TRUNC},
				     {"DONTWAIT", MSG_DONTWAIT},
				     {"EOR", MSG_EOR},
				     {"WAITALL", MSG_WAITALL},
				     {"FIN", MSG_FIN},
				     {"SYN", MSG_SYN},
				     {"CONFIRM", MSG_CONFIRM},
				     {"RST", MSG_RST},
				     {"ERRQUEUE", MSG_ERRQUEUE},
				     {"NOSIGNAL", MSG_NOSIGNAL},
				     {"MORE", MSG_MORE},
				     {"WAITFORONE", MSG_WAITFORONE},
				     {"ZEROCOPY", MSG_ZEROCOPY},
				     {"FASTOPEN", MSG_FASTOPEN},
				     {"CMSG_CLOEXEC", MSG_CMSG_CLOEXEC},
				     {"COMPAT", 0x80000000L},
				     {NULL, 0}};
const struct word words_poll[] = {{"in", POLLIN},
				  {"pri", POLLPRI},
				  {"out", POLLOUT},
				  {"err", POLLERR},
				  {"hup", POLLHUP},
				  {"nval", POLLNVAL},
				  {"rdnorm", POLLRDNORM},
				  {"rdband", POLLRDBAND},
				  {"wrnorm", POLLWRNORM},
				  {"wrband", POLLWRBAND},
				  {"msg", POLLMSG},
				  {"rdhup", POLLRDHUP},
				  {NULL, 0}};
const struct word words_epoll[] = {{"in", EPOLLIN},
				   {"pri", EPOLLPRI},
				   {"out", EPOLLOUT},
				   {"err", EPOLLERR},
				   {"hup", EPOLLHUP},
				   {"rdnorm", EPOLLRDNORM},
				   {"rdband", EPOLLRDBAND},
				   {"wrnorm", EPOLLWRNORM},
				   {"wrband", EPOLLWRBAND},
				   {"msg", EPOLLMSG},
				   {"rdhup", EPOLLRDHUP},
				   {"exclusive", EPOLLEXCLUSIVE},
				   {"wakeup", EPOLLWAKEUP},
				   {"oneshot", EPOLLONESHOT},
				   {"edge", (long)(unsigned int)EPOLLET},
				   {NULL, 0}};
static const struct word words_epoll_op[] = {
	{"add", EPOLL_CTL_ADD}, {"mod", EPOLL_CTL_MOD}, {"del", EPOLL_CTL_DEL}, {"bad", 9}, {NULL, 0}};
static const struct word words_how[] = {{"rd", SHUT_RD}, {"wr", SHUT_WR},  {"rdwr", SHUT_RDWR},
					{"bad", 3},	 {"negative", -1}, {NULL, 0}};
static const struct word words_buffer[] = {
	{"good", BUFFER_GOOD}, {"bad", BUFFER_BAD}, {"half", BUFFER_HALF}, {NULL, 0}};
static const struct word words_control[] = {{"none", CONTROL_NONE},
					    {"rights", CONTROL_RIGHTS},
					    {"rights-two", CONTROL_RIGHTS_TWO},
					    {"rights-empty", CONTROL_RIGHTS_EMPTY},
					    {"rights-closed", CONTROL_RIGHTS_CLOSED},
					    {"creds", CONTROL_CREDENTIALS},
					    {"creds-false", CONTROL_CREDENTIALS_FALSE},
					    {"creds-rights", CONTROL_BOTH},
					    {"cmsg-short", CONTROL_SHORT},
					    {"cmsg-level", CONTROL_LEVEL},
					    {NULL, 0}};
const struct word words_option[] = {{"TYPE", SO_TYPE},
				    {"ERROR", SO_ERROR},
				    {"SNDBUF", SO_SNDBUF},
				    {"RCVBUF", SO_RCVBUF},
				    {"OOBINLINE", SO_OOBINLINE},
				    {"PRIORITY", SO_PRIORITY},
				    {"LINGER", SO_LINGER},
				    {"REUSEADDR", SO_REUSEADDR},
				    {"REUSEPORT", SO_REUSEPORT},
				    {"KEEPALIVE", SO_KEEPALIVE},
				    {"BROADCAST", SO_BROADCAST},
				    {"PASSCRED", SO_PASSCRED},
				    {"PASSPIDFD", 76},
				    {"PASSRIGHTS", 83},
				    {"PEERCRED", SO_PEERCRED},
				    {"PEERGROUPS", SO_PEERGROUPS},
				    {"PEERNAME", SO_PEERNAME},
				    {"PEERSEC", SO_PEERSEC},
				    {"RCVLOWAT", SO_RCVLOWAT},
				    {"SNDLOWAT", SO_SNDLOWAT},
				    {"RCVTIMEO", SO_RCVTIMEO},
				    {"SNDTIMEO", SO_SNDTIMEO},
				    {"ACCEPTCONN", SO_ACCEPTCONN},
				    {"PEEK_OFF", SO_PEEK_OFF},
				    {"PROTOCOL", SO_PROTOCOL},
				    {"DOMAIN", SO_DOMAIN},
				    {"MEMINFO", SO_MEMINFO},
				    {"TIMESTAMP", SO_TIMESTAMP},
				    {"MARK", SO_MARK},
				    {"BUSY_POLL", SO_BUSY_POLL},
				    {"ZEROCOPY", SO_ZEROCOPY},
				    {"INCOMING_CPU", SO_INCOMING_CPU},
				    {"BUF_LOCK", 72},
				    {"SNDBUFFORCE", SO_SNDBUFFORCE},
				    {"INQ", 84},
				    {"UNKNOWN", 300},
				    {NULL, 0}};
static const struct word words_fcntl[] = {{"GETFL", F_GETFL}, {"SETFL", F_SETFL},   {"GETFD", F_GETFD},
					  {"SETFD", F_SETFD}, {"GETOWN", F_GETOWN}, {"SETOWN", F_SETOWN},
					  {NULL, 0}};
static const struct word words_ioctl[] = {{"INQ", SIOCINQ},  {"OUTQ", SIOCOUTQ}, {"ATMARK", SIOCATMARK},
					  {"NBIO", FIONBIO}, {"TCGETS", TCGETS}, {NULL, 0}};

struct kind {
	const struct word *words;
	bool bits;
};

static const struct kind kinds[128] = {
	['d'] = {words_domain, false},	 ['t'] = {words_type, false},	 ['k'] = {words_creation, true},
	['a'] = {words_address, false},	 ['n'] = {words_address, false}, ['m'] = {words_message, true},
	['r'] = {words_message, true},	 ['p'] = {words_poll, true},	 ['e'] = {words_epoll, true},
	['y'] = {words_epoll_op, false}, ['h'] = {words_how, false},	 ['B'] = {words_buffer, false},
	['C'] = {words_control, false},	 ['o'] = {words_option, false},	 ['w'] = {words_fcntl, false},
	['i'] = {words_ioctl, false},
};

static bool is_slot(char kind)
{
	return strchr("fFLUGEQ", kind) != NULL;
}

const char *slot_name(long slot, char *buf, size_t size)
{
	if (slot < SOCKETS)
		snprintf(buf, size, "s%ld", slot);
	else if (slot < SOCKETS + EPOLLS)
		snprintf(buf, size, "e%ld", slot - SOCKETS);
	else
		snprintf(buf, size, "q%ld", slot - SOCKETS - EPOLLS);
	return buf;
}

int word_slot(const char *text)
{
	int i = atoi(text + (text[0] != '\0'));

	if (i < 0)
		return -1;
	if (text[0] == 's' && i < SOCKETS)
		return i;
	if (text[0] == 'e' && i < EPOLLS)
		return SOCKETS + i;
	if (text[0] == 'q' && i < PIPES)
		return SOCKETS + EPOLLS + i;
	return -1;
}

int words_bits(const struct word *words, unsigned long value, char *buf, size_t size)
{
	int n = 0;

	buf[0] = '\0';
	for (const struct word *w = words; w->name; w++) {
		unsigned long bit = (unsigned long)w->value;

		if (bit && (value & bit) == bit) {
			n += snprintf(buf + n, size - (size_t)n, "%s%s", n ? "|" : "", w->name);
			value &= ~bit;
		}
	}
	if (value || n == 0)
		n += snprintf(buf + n, size - (size_t)n, "%s%#lx", n ? "|" : "", value);
	return n;
}

static void format_argument(char kind, long value, char *buf, size_t size)
{
	const struct kind *k = &kinds[(unsigned char)kind];

	if (is_slot(kind)) {
		slot_name(value, buf, size);
		return;
	}
	if (k->bits) {
		words_bits(k->words, (unsigned long)value, buf, size);
		return;
	}
	for (const struct word *w = k->words; w && w->name; w++) {
		if (w->value == value) {
			snprintf(buf, size, "%s", w->name);
			return;
		}
	}
	snprintf(buf, size, "%ld", value);
}

int op_format(const struct op *op, char *buf, size_t size)
{
	int n = op->process == THREAD ? snprintf(buf, size, "t:")
		: op->process	      ? snprintf(buf, size, "%d:", op->process)
				      : 0;

	n += snprintf(buf + n, size - (size_t)n, "%s", op->call->name);
	for (int i = 0; op->call->kinds[i]; i++) {
		char argument[160];

		format_argument(op->call->kinds[i], op->arg[i], argument, sizeof(argument));
		n += snprintf(buf + n, size - (size_t)n, " %s", argument);
	}
	return n;
}

static int parse_word(const struct word *words, const char *text, long *value)
{
	char *end;

	for (const struct word *w = words; w && w->name; w++) {
		if (!strcmp(w->name, text)) {
			*value = w->value;
			return 0;
		}
	}
	*value = strtol(text, &end, 0);
	return *text && !*end ? 0 : -1;
}

static int parse_argument(char kind, char *text, long *value)
{
	const struct kind *k = &kinds[(unsigned char)kind];
	char *rest = NULL;

	if (is_slot(kind)) {
		*value = word_slot(text);
		return *value < 0 ? -1 : 0;
	}
	if (!k->bits)
		return parse_word(k->words, text, value);
	*value = 0;
	for (char *part = strtok_r(text, "|", &rest); part; part = strtok_r(NULL, "|", &rest)) {
		long bit;

		if (parse_word(k->words, part, &bit) < 0)
			return -1;
		*value |= bit;
	}
	return 0;
}

int op_parse(char *line, struct op *op)
{
	char *rest = NULL, *name = strtok_r(line, " \t\n", &rest);

	*op = (struct op){0};
	if (!name)
		return -1;
	if (name[0] > '0' && name[0] < '0' + PROCESSES && name[1] == ':') {
		op->process = name[0] - '0';
		name += 2;
	} else if (name[0] == 't' && name[1] == ':') {
		op->process = THREAD;
		name += 2;
	}
	op->call = call_find(name);
	if (!op->call)
		return -1;
	for (int i = 0; op->call->kinds[i]; i++) {
		char *text = strtok_r(NULL, " \t\n", &rest);

		if (!text || parse_argument(op->call->kinds[i], text, &op->arg[i]) < 0)
			return -1;
	}
	return 0;
}

const char *errno_word(int error)
{
	const char *name = strerrorname_np(error);

	return name ? name : "?";
}
