/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Who is shown as the sender when somebody who shares a socket writes what he likes into its
 * memory: impostor [PART OF A CASE'S NAME].  Run as root under 'afunix run'.
 *
 * The honest one is this process, root.  The impostor gets the socket by inheritance or by a message,
 * gives up root, fetches the memory as the library would, and writes records by hand.  What it
 * wrote arrives, but as nobody's; what others sent is shown as theirs.
 */
#include "enemy.h"

#include "base/sys.h"
#include "library/parking.h"
#include "socket/sock.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { OTHER = 1000, NOBODY = 65534 };

/* A socket's memory in the hands of somebody who does not use the library. */
struct stolen {
	struct enemy e;
	uint64_t socket, flow;
	struct afu_endpoint *page;
	struct afu_ring ring; /* towards the honest reader */
	struct afu_ring_tx *tx;
	struct afu_ring_rx look; /* where a reader would be */
	int parking;		 /* where to put what was taken out */
};

static void give_up_root(void)
{
	if (afu_sys(SYS_setresgid, OTHER, OTHER, OTHER) < 0 ||
	    afu_sys(SYS_setresuid, OTHER, OTHER, OTHER) < 0)
		_exit(2);
}

static void *map(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		_exit(3);
	return p;
}

/* Whose ring it is: that of what the socket sends, or, reads, of what it receives. */
static void steal(int token, int type, int reads, struct stolen *to)
{
	struct afu_request req = {.op = AFU_OP_SHOW};
	struct answer shown, a;
	unsigned int side, slot = 0;
	int memory;

	if (enemy_attach(&to->e) < 0 || enemy_ask(&to->e, &req, &token, 1, &shown) || shown.n < 2)
		_exit(4);
	to->page = map(shown.fd[0], afu_endpoint_size(type));
	to->socket = shown.reply.socket;
	to->flow = 0;
	memory = shown.fd[1];
	side = (unsigned int)shown.reply.arg[1];
	if (type == SOCK_DGRAM) {
		req = (struct afu_request){.op = AFU_OP_FLOWS, .socket = to->socket};
		if (enemy_ask(&to->e, &req, NULL, 0, &a))
			_exit(5);
		/* the first is from the pair's first to its second */
		memcpy(&to->flow, a.reply.data, sizeof to->flow);
		req = (struct afu_request){.op = AFU_OP_FLOW, .socket = to->socket, .arg = {to->flow}};
		if (enemy_ask(&to->e, &req, NULL, 0, &a))
			_exit(6);
		memory = a.fd[0];
		slot = (unsigned int)a.reply.arg[0] & 0xffff;
		side = 0;
	} else if (reads) {
		side = 1 - side;
	}
	to->ring = afu_channel_ring(map(memory, AFU_CHANNEL_SIZE), side);
	to->tx = type == SOCK_DGRAM
			 ? (void *)((char *)to->page + AFU_ENDPOINT_TX_AT + (size_t)slot * AFU_ENDPOINT_SLOT)
			 : &to->page->tx;
	memset(&to->look, 0, sizeof to->look);
	atomic_store(&to->look.head, atomic_load(&to->ring.head->position));
}

/* The first record that nobody has read. */
static void find(struct stolen *m, struct afu_ring_record *rec, uint64_t words[AFU_RING_WORDS])
{
	if (afu_ring_front(&m->ring, &m->look, rec) != 1)
		_exit(7);
	afu_ring_words(&m->ring, rec, words);
}

static void put(struct stolen *m, const struct afu_ring_record *like, const uint64_t *words, char byte)
{
	struct iovec iov = {&byte, 1};
	struct afu_iter it = {&iov, 1, 0};

	if (afu_ring_put(&m->ring, m->tx, words, &it, 1, like->flags, 1024) < 0)
		_exit(8);
}

/* Another record behind those that are there, in the name of the first one's speaker. */
static void forge(struct stolen *m, char byte)
{
	uint64_t words[AFU_RING_WORDS];
	struct afu_ring_record rec;

	find(m, &rec, words);
	put(m, &rec, words, byte);
}

/* Other bytes in the first record. */
static void swap(struct stolen *m, char byte)
{
	uint64_t words[AFU_RING_WORDS];
	struct afu_ring_record rec;
	size_t at;

	find(m, &rec, words);
	at = (rec.at + 8 + 8 * (rec.flags & AFU_RECORD_WORDS)) & ((1u << AFU_RING_SMALL_SHIFT) - 1);
	m->ring.area[0][at] = byte;
}

static long send_parcel(int fd, struct afu_parcel_note *note, int passed)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof passed)];
	} c;
	struct iovec iov = {note, offsetof(struct afu_parcel_note, socket)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};

	memset(&c, 0, sizeof c);
	c.align.cmsg_level = SOL_SOCKET;
	c.align.cmsg_type = SCM_RIGHTS;
	c.align.cmsg_len = CMSG_LEN(sizeof passed);
	memcpy(CMSG_DATA(&c.align), &passed, sizeof passed);
	return afu_sys(SYS_sendmsg, fd, &msg, 0);
}

static int parking_of(struct stolen *m)
{
	struct afu_request req = {.op = AFU_OP_PARKING, .socket = m->socket, .arg = {m->flow, 1}};
	struct answer a;

	if (enemy_ask(&m->e, &req, NULL, 0, &a) || a.n != 1)
		_exit(12);
	return a.fd[0];
}

/* A descriptor that is to come with what somebody else will send next. */
static void park(struct stolen *m, int fd, uint64_t number)
{
	static struct afu_parcel_note note;

	note.number = number;
	if (send_parcel(parking_of(m), &note, fd) < 0)
		_exit(12);
}

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
};

/* The byte that came, and from whom; 0: nothing. */
static char receive(int fd, int flags, struct ucred *who)
{
	union control c;
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};

	memset(who, 0xff, sizeof *who);
	if (recvmsg(fd, &msg, flags | MSG_DONTWAIT) != 1)
		return 0;
	for (struct cmsghdr *item = CMSG_FIRSTHDR(&msg); item; item = CMSG_NXTHDR(&msg, item)) {
		if (item->cmsg_type == SCM_CREDENTIALS)
			memcpy(who, CMSG_DATA(item), sizeof *who);
	}
	return byte;
}

/* That byte comes next, from such a one; peeked at before. */
static void comes(int line, int fd, char byte, pid_t pid, uid_t uid)
{
	for (int i = 0; i < 2; i++) {
		struct ucred who;
		char got = receive(fd, i ? 0 : MSG_PEEK, &who);

		if (got != byte || who.pid != pid || who.uid != uid || who.gid != uid)
			tap_failed(__FILE__, line, "'%c' came from %d, %u, %u, expected '%c' from %d, %u",
				   got ? got : '-', (int)who.pid, who.uid, who.gid, byte, (int)pid, uid);
	}
}
#define COMES(fd, byte, pid, uid) comes(__LINE__, fd, byte, pid, uid)

static void make_pair(int type, int sv[2])
{
	const int on = 1;

	if (geteuid() != 0)
		tap_skip("needs root, to give it up");
	NEED(socketpair(AF_UNIX, type, 0, sv) == 0);
	NEED(setsockopt(sv[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
}

static void send_byte(int fd, char byte)
{
	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
		tap_failed(__FILE__, __LINE__, "send: %d", errno);
}

/* A record in the name of who sent the one before; the pid alone is a lie too. */
static void forge_as_child(int type, int as_root)
{
	struct stolen m;
	int sv[2];
	pid_t pid;

	make_pair(type, sv);
	send_byte(sv[0], 'p');
	COMES(sv[1], 'p', getpid(), 0);
	send_byte(sv[0], 'q');
	pid = tap_fork();
	if (!pid) {
		if (!as_root)
			give_up_root();
		steal(sv[0], type, 0, &m);
		forge(&m, 'x');
		_exit(0);
	}
	CHECK_EQ(tap_wait(pid), 0);
	COMES(sv[1], 'q', getpid(), 0);
	COMES(sv[1], 'x', 0, NOBODY);
	/* who speaks for himself goes on being shown */
	send_byte(sv[0], 'r');
	COMES(sv[1], 'r', getpid(), 0);
}

static void forged(int type)
{
	forge_as_child(type, 0);
}

static void forged_by_a_like(int type)
{
	forge_as_child(type, 1);
}

/* The message that was sent when nobody could lie is changed afterwards. */
static void swapped(int type)
{
	struct stolen m;
	int sv[2];
	pid_t pid;

	make_pair(type, sv);
	send_byte(sv[0], 'p');
	pid = tap_fork();
	if (!pid) {
		give_up_root();
		steal(sv[0], type, 0, &m);
		swap(&m, 'x');
		_exit(0);
	}
	CHECK_EQ(tap_wait(pid), 0);
	COMES(sv[1], 'x', 0, NOBODY);
}

/* The same to one that was sent when somebody could. */
static void swapped_later(int type)
{
	int sv[2], ready[2], turn[2];
	struct stolen m;
	pid_t pid;
	char c;

	make_pair(type, sv);
	NEED(pipe(ready) == 0 && pipe(turn) == 0);
	pid = tap_fork();
	if (!pid) {
		close(turn[1]);
		give_up_root();
		steal(sv[0], type, 0, &m);
		if (write(ready[1], "", 1) != 1 || read(turn[0], &c, 1) != 1)
			_exit(9);
		swap(&m, 'x');
		forge(&m, 'p'); /* the very same again, further on */
		_exit(0);
	}
	close(ready[1]);
	NEED(read(ready[0], &c, 1) == 1);
	send_byte(sv[0], 'p');
	send_byte(sv[0], 'q');
	NEED(write(turn[1], "", 1) == 1);
	CHECK_EQ(tap_wait(pid), 0);
	COMES(sv[1], 'x', 0, NOBODY);
	COMES(sv[1], 'q', getpid(), 0);
	COMES(sv[1], 'p', 0, NOBODY);
}

/* Who reads beside another writes what that one is to read. */
static void forged_by_a_reader(int type)
{
	struct stolen m, writer;
	int sv[2];
	pid_t pid;

	make_pair(type, sv);
	send_byte(sv[0], 'p');
	pid = tap_fork();
	if (!pid) {
		give_up_root();
		steal(sv[1], type, 1, &m);
		/* nothing but the place is wanted of the other end's page */
		writer = m;
		writer.tx = calloc(1, sizeof *writer.tx);
		atomic_store(&writer.tx->tail, atomic_load(&m.ring.mark->produced));
		forge(&writer, 'x');
		_exit(0);
	}
	CHECK_EQ(tap_wait(pid), 0);
	COMES(sv[1], 'p', getpid(), 0);
	COMES(sv[1], 'x', 0, NOBODY);
}

static void pass(int over, int fd)
{
	union control c;
	struct iovec iov = {(char[1]){'s'}, 1};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = CMSG_SPACE(sizeof fd)};

	memset(&c, 0, sizeof c);
	c.align.cmsg_level = SOL_SOCKET;
	c.align.cmsg_type = SCM_RIGHTS;
	c.align.cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(&c.align), &fd, sizeof fd);
	NEED(sendmsg(over, &msg, 0) == 1);
}

static int take_passed(int from)
{
	union control c;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	int fd;

	if (recvmsg(from, &msg, 0) != 1 || msg.msg_controllen < CMSG_LEN(sizeof fd))
		_exit(10);
	memcpy(&fd, CMSG_DATA(&c.align), sizeof fd);
	return fd;
}

/* A socket comes by a message; its new holder writes as who made it, and then as himself. */
static void passed(int type)
{
	int sv[2], over[2];
	struct stolen m;
	pid_t pid;

	make_pair(type, sv);
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, over) == 0);
	pid = tap_fork();
	if (!pid) {
		int fd;

		if (setgid(OTHER) < 0 || setuid(OTHER) < 0)
			_exit(11);
		fd = take_passed(over[1]);
		steal(fd, type, 0, &m);
		forge(&m, 'x');
		send_byte(fd, 'y');
		_exit(0);
	}
	send_byte(sv[0], 'p');
	pass(over[0], sv[0]);
	CHECK_EQ(tap_wait(pid), 0);
	COMES(sv[1], 'p', getpid(), 0);
	COMES(sv[1], 'x', 0, NOBODY);
	COMES(sv[1], 'y', pid, OTHER);
}

/* The inode of the descriptor that came with that byte from that one; 0: none did. flags: MSG_CTRUNC or not.
 */
static ino_t takes_flagged(int fd, char byte, pid_t pid, int flags)
{
	union control c;
	char got = 0;
	struct iovec iov = {&got, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	struct ucred who = {0};
	struct stat st;
	int file = -1;

	NEED(recvmsg(fd, &msg, MSG_DONTWAIT) == 1);
	CHECK_EQ(msg.msg_flags & MSG_CTRUNC, flags);
	for (struct cmsghdr *item = CMSG_FIRSTHDR(&msg); item; item = CMSG_NXTHDR(&msg, item)) {
		if (item->cmsg_type == SCM_CREDENTIALS)
			memcpy(&who, CMSG_DATA(item), sizeof who);
		else if (item->cmsg_type == SCM_RIGHTS)
			memcpy(&file, CMSG_DATA(item), sizeof file);
	}
	CHECK_EQ(got, byte);
	CHECK_EQ(who.pid, pid);
	return fstat(file, &st) == 0 ? st.st_ino : 0;
}

static ino_t takes_from(int fd, char byte, pid_t pid)
{
	return takes_flagged(fd, byte, pid, 0);
}

/* It had descriptors, and they are lost. */
static ino_t takes_none(int fd, char byte, pid_t pid)
{
	return takes_flagged(fd, byte, pid, MSG_CTRUNC);
}

/* A descriptor of the child's is in the way of the parent's. */
static void parked(int type)
{
	int sv[2], p[2];
	struct stolen m;
	struct stat st;
	pid_t pid;

	make_pair(type, sv);
	NEED(pipe(p) == 0);
	send_byte(sv[0], 'p');
	COMES(sv[1], 'p', getpid(), 0);
	pid = tap_fork();
	if (!pid) {
		int q[2];

		give_up_root();
		steal(sv[0], type, 0, &m);
		if (pipe(q) < 0)
			_exit(13);
		/* with what the parent will send next */
		park(&m, q[1], m.page->parcels + 1);
		_exit(0);
	}
	CHECK_EQ(tap_wait(pid), 0);
	pass(sv[0], p[1]);
	NEED(fstat(p[1], &st) == 0);
	CHECK_EQ(takes_from(sv[1], 's', getpid()), st.st_ino);
}

static void await(int fd)
{
	char c;

	NEED(read(fd, &c, 1) == 1);
}

static void say(int fd)
{
	NEED(write(fd, "", 1) == 1);
}

/* A message that has no descriptors is made to say that it has some, and the child has parked one. */
static void parked_for_none(int type)
{
	int sv[2], ready[2], turn[2];
	struct afu_ring_record rec;
	struct stolen m;
	pid_t pid;

	make_pair(type, sv);
	NEED(pipe(ready) == 0 && pipe(turn) == 0);
	send_byte(sv[0], 'p');
	COMES(sv[1], 'p', getpid(), 0);
	pid = tap_fork();
	if (!pid) {
		uint64_t words[AFU_RING_WORDS];
		int q[2];

		give_up_root();
		steal(sv[0], type, 0, &m);
		if (pipe(q) < 0)
			_exit(13);
		park(&m, q[1], 0);
		say(ready[1]);
		await(turn[0]);
		find(&m, &rec, words);
		afu_ring_reflag(&m.ring, &rec, AFU_RECORD_RIGHTS, 0);
		_exit(0);
	}
	await(ready[0]);
	send_byte(sv[0], 'q');
	say(turn[1]);
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(takes_from(sv[1], 'q', getpid()), 0);
}

/* Who reads beside another takes out what was parked, and puts something else there with the same note. */
static void exchange(struct stolen *m, int fd)
{
	struct afu_request req = {.op = AFU_OP_PARKING, .socket = m->socket, .arg = {m->flow, 0}};
	static struct afu_parcel_note note;
	struct iovec iov = {&note, sizeof note};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct answer a;

	if (enemy_ask(&m->e, &req, NULL, 0, &a) || a.n != 1 ||
	    afu_sys(SYS_recvmsg, a.fd[0], &msg, MSG_DONTWAIT) < 0)
		_exit(14);
	if (send_parcel(m->parking, &note, fd) < 0)
		_exit(15);
}

/* A child that has both ends. */
static void exchanged(int type)
{
	int sv[2], p[2], ready[2], turn[2];
	struct stolen writes, reads;
	pid_t pid;

	make_pair(type, sv);
	NEED(pipe(p) == 0 && pipe(ready) == 0 && pipe(turn) == 0);
	send_byte(sv[0], 'p');
	COMES(sv[1], 'p', getpid(), 0);
	pid = tap_fork();
	if (!pid) {
		int q[2];

		give_up_root();
		steal(sv[0], type, 0, &writes);
		steal(sv[1], type, 1, &reads);
		if (pipe(q) < 0)
			_exit(13);
		reads.parking = parking_of(&writes);
		say(ready[1]);
		await(turn[0]);
		exchange(&reads, q[1]);
		_exit(0);
	}
	await(ready[0]);
	pass(sv[0], p[1]);
	say(turn[1]);
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(takes_none(sv[1], 's', getpid()), 0);
}

/* What one who only receives can write into what he receives is no lie, until he passes the socket on. */
static void receive_and_forge(int type, const struct sockaddr_un *name, int ready, int turn, int over)
{
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + 10;
	int on = 1, l = socket(AF_UNIX, type, 0), fd = l;
	struct stolen m;

	if (setgid(OTHER) < 0 || setuid(OTHER) < 0)
		_exit(11);
	NEED(setsockopt(l, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
	NEED(bind(l, (const struct sockaddr *)name, length) == 0);
	NEED(type == SOCK_DGRAM || listen(l, 1) == 0);
	say(ready);
	if (type != SOCK_DGRAM)
		fd = accept(l, NULL, NULL);
	await(turn);
	say(ready);
	await(turn);
	steal(fd, type, 1, &m);
	m.tx = calloc(1, sizeof *m.tx);
	atomic_store(&m.tx->tail, atomic_load(&m.ring.mark->produced));
	forge(&m, 'x');
	pass(over, fd);
	_exit(0);
}

static void forged_before_passing(int type)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0impostor"};
	socklen_t length = offsetof(struct sockaddr_un, sun_path) + 10;
	int over[2], ready[2], turn[2], fd = socket(AF_UNIX, type, 0);
	pid_t pid;

	if (geteuid() != 0)
		tap_skip("needs root, to give it up");
	NEED(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, over) == 0 && pipe(ready) == 0 && pipe(turn) == 0);
	pid = tap_fork();
	if (!pid)
		receive_and_forge(type, &name, ready[1], turn[0], over[1]);
	await(ready[0]);
	NEED(connect(fd, (struct sockaddr *)&name, length) == 0);
	send_byte(fd, 'p'); /* perhaps before it is accepted */
	say(turn[1]);
	await(ready[0]);
	send_byte(fd, 'q'); /* and after */
	say(turn[1]);
	CHECK_EQ(tap_wait(pid), 0);
	fd = take_passed(over[0]);
	COMES(fd, 'p', getpid(), 0);
	COMES(fd, 'q', getpid(), 0);
	COMES(fd, 'x', 0, NOBODY);
}

/* One process, before and after. */
static void gave_up_root_itself(int type)
{
	struct stolen m;
	int sv[2];
	pid_t pid;

	make_pair(type, sv);
	pid = tap_fork();
	if (!pid) {
		send_byte(sv[0], 'p');
		if (setgid(OTHER) < 0 || setuid(OTHER) < 0)
			_exit(11);
		steal(sv[0], type, 0, &m);
		forge(&m, 'x');
		send_byte(sv[0], 'y');
		_exit(0);
	}
	CHECK_EQ(tap_wait(pid), 0);
	COMES(sv[1], 'p', pid, 0);
	COMES(sv[1], 'x', 0, NOBODY);
	COMES(sv[1], 'y', pid, OTHER);
}

/* Who reads too keeps what came, and when the other has read it puts it back. */
static void put_back(int type)
{
	int sv[2], ready[2], turn[2];
	struct stolen m;
	pid_t pid;

	make_pair(type, sv);
	NEED(pipe(ready) == 0 && pipe(turn) == 0);
	pid = tap_fork();
	if (!pid) {
		static char before[1 << AFU_RING_SMALL_SHIFT];
		uint64_t head;

		give_up_root();
		steal(sv[1], type, 1, &m);
		say(ready[1]);
		await(turn[0]);
		memcpy(before, m.ring.area[0], sizeof before);
		head = atomic_load(&m.ring.head->position);
		say(ready[1]);
		await(turn[0]);
		memcpy(m.ring.area[0], before, sizeof before);
		atomic_store(&m.page->rx.head, head);
		atomic_store(&m.ring.head->position, head);
		_exit(0);
	}
	await(ready[0]);
	send_byte(sv[0], 'p');
	say(turn[1]);
	await(ready[0]);
	COMES(sv[1], 'p', getpid(), 0);
	say(turn[1]);
	CHECK_EQ(tap_wait(pid), 0);
	COMES(sv[1], 'p', 0, NOBODY);
}

static void put_back_packet(void)
{
	put_back(SOCK_SEQPACKET);
}

#define ON_TYPES(name)                                                                                       \
	static void name##_stream(void)                                                                      \
	{                                                                                                    \
		name(SOCK_STREAM);                                                                           \
	}                                                                                                    \
	static void name##_packet(void)                                                                      \
	{                                                                                                    \
		name(SOCK_SEQPACKET);                                                                        \
	}                                                                                                    \
	static void name##_datagram(void)                                                                    \
	{                                                                                                    \
		name(SOCK_DGRAM);                                                                            \
	}
#define CASES(name, text)                                                                                    \
	{text ", stream", name##_stream}, {text ", seqpacket", name##_packet},                               \
	{                                                                                                    \
		text ", datagram", name##_datagram                                                           \
	}

ON_TYPES(forged)
ON_TYPES(forged_by_a_like)
ON_TYPES(swapped)
ON_TYPES(swapped_later)
ON_TYPES(forged_by_a_reader)
ON_TYPES(passed)
ON_TYPES(parked)
ON_TYPES(parked_for_none)
ON_TYPES(exchanged)
ON_TYPES(forged_before_passing)
ON_TYPES(gave_up_root_itself)

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		CASES(forged, "a child writes as its parent"),
		CASES(forged_by_a_like, "a child that is still root writes as its parent"),
		CASES(swapped, "a child changes what its parent sent before"),
		CASES(swapped_later, "a child changes and repeats what its parent sends"),
		CASES(forged_by_a_reader, "one who reads too writes as the sender"),
		CASES(passed, "a passed socket is written to as its maker"),
		CASES(parked, "a child parks what its parent did not send"),
		CASES(parked_for_none, "a child parks for a message that has nothing parked"),
		CASES(exchanged, "a child that reads too exchanges what was parked"),
		CASES(forged_before_passing, "a server writes as its client and passes the socket on"),
		CASES(gave_up_root_itself, "a process that gave up root writes as root"),
		{"one who reads too puts back what was read, seqpacket", put_back_packet},
	};

	return tap_run(cases, sizeof cases / sizeof *cases, 20, argc > 1 ? argv[1] : NULL);
}
