/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The filter interpreter against the kernel's own: random programs that the kernel
 * takes are attached to a kernel socket, and what arrives of a message there is what
 * the verdict of ours must say.  And against programs that no kernel has checked.
 */
#include "socket/filter.h"

#include "base/sys.h"
#include "tap.h"

#include <errno.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PROGRAMS = 20000, LONGEST = 60, MESSAGE = 700 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const uint16_t codes[] = {
	BPF_LD | BPF_W | BPF_ABS,
	BPF_LD | BPF_H | BPF_ABS,
	BPF_LD | BPF_B | BPF_ABS,
	BPF_LD | BPF_W | BPF_IND,
	BPF_LD | BPF_H | BPF_IND,
	BPF_LD | BPF_B | BPF_IND,
	BPF_LD | BPF_W | BPF_LEN,
	BPF_LD | BPF_IMM,
	BPF_LD | BPF_MEM,
	BPF_LDX | BPF_W | BPF_LEN,
	BPF_LDX | BPF_B | BPF_MSH,
	BPF_LDX | BPF_IMM,
	BPF_LDX | BPF_MEM,
	BPF_ST,
	BPF_STX,
	BPF_MISC | BPF_TAX,
	BPF_MISC | BPF_TXA,
	BPF_ALU | BPF_ADD | BPF_K,
	BPF_ALU | BPF_ADD | BPF_X,
	BPF_ALU | BPF_SUB | BPF_K,
	BPF_ALU | BPF_SUB | BPF_X,
	BPF_ALU | BPF_MUL | BPF_K,
	BPF_ALU | BPF_MUL | BPF_X,
	BPF_ALU | BPF_DIV | BPF_K,
	BPF_ALU | BPF_DIV | BPF_X,
	BPF_ALU | BPF_MOD | BPF_K,
	BPF_ALU | BPF_MOD | BPF_X,
	BPF_ALU | BPF_AND | BPF_K,
	BPF_ALU | BPF_AND | BPF_X,
	BPF_ALU | BPF_OR | BPF_K,
	BPF_ALU | BPF_OR | BPF_X,
	BPF_ALU | BPF_XOR | BPF_K,
	BPF_ALU | BPF_XOR | BPF_X,
	BPF_ALU | BPF_LSH | BPF_K,
	BPF_ALU | BPF_LSH | BPF_X,
	BPF_ALU | BPF_RSH | BPF_K,
	BPF_ALU | BPF_RSH | BPF_X,
	BPF_ALU | BPF_NEG,
	BPF_JMP | BPF_JA,
	BPF_JMP | BPF_JEQ | BPF_K,
	BPF_JMP | BPF_JEQ | BPF_X,
	BPF_JMP | BPF_JGE | BPF_K,
	BPF_JMP | BPF_JGE | BPF_X,
	BPF_JMP | BPF_JGT | BPF_K,
	BPF_JMP | BPF_JGT | BPF_X,
	BPF_JMP | BPF_JSET | BPF_K,
	BPF_JMP | BPF_JSET | BPF_X,
	BPF_RET | BPF_K,
	BPF_RET | BPF_A,
};

/* All but the processor and the random number, which nobody can foretell. */
static const uint32_t ancillary[] = {
	SKF_AD_PROTOCOL,    SKF_AD_PKTTYPE,   SKF_AD_IFINDEX,  SKF_AD_NLATTR,
	SKF_AD_NLATTR_NEST, SKF_AD_MARK,      SKF_AD_QUEUE,    SKF_AD_HATYPE,
	SKF_AD_RXHASH,	    SKF_AD_ALU_XOR_X, SKF_AD_VLAN_TAG, SKF_AD_VLAN_TAG_PRESENT,
	SKF_AD_PAY_OFFSET,  SKF_AD_VLAN_TPID,
};

static uint32_t constant(void)
{
	switch (tap_below(6)) {
	case 0:
		return (uint32_t)tap_random();
	case 1:
		return (uint32_t)tap_below(4);
	case 2:
		return UINT32_MAX - (uint32_t)tap_below(4);
	default:
		return (uint32_t)tap_below(MESSAGE + 8);
	}
}

static uint32_t place(int indirect)
{
	switch (tap_below(indirect ? 6 : 8)) {
	case 0:
		return (uint32_t)SKF_NET_OFF + (uint32_t)tap_below(MESSAGE + 8);
	case 1:
		return tap_below(8) ? (uint32_t)tap_below(MESSAGE)
				    : (uint32_t)SKF_LL_OFF + (uint32_t)tap_below(64);
	case 6:
	case 7:
		return (uint32_t)SKF_AD_OFF + ancillary[tap_below(COUNT(ancillary))];
	default:
		return (uint32_t)tap_below(tap_below(4) ? 64 : MESSAGE + 8);
	}
}

static struct sock_filter instruction(unsigned int left)
{
	struct sock_filter f = {.code = codes[tap_below(COUNT(codes))], .k = constant()};

	/* an end in the middle is tried, but not always, or nothing else would be */
	if (BPF_CLASS(f.code) == BPF_RET && tap_below(8))
		f.code = BPF_LD | BPF_W | BPF_ABS;
	switch (BPF_CLASS(f.code)) {
	case BPF_LD:
	case BPF_LDX:
		if (BPF_MODE(f.code) == BPF_MEM)
			f.k = (uint32_t)tap_below(4);
		else if (BPF_MODE(f.code) != BPF_IMM)
			f.k = place(BPF_MODE(f.code) != BPF_ABS);
		break;
	case BPF_ST:
	case BPF_STX:
		f.k = (uint32_t)tap_below(4);
		break;
	case BPF_ALU:
		if (BPF_SRC(f.code) == BPF_K && (BPF_OP(f.code) == BPF_LSH || BPF_OP(f.code) == BPF_RSH))
			f.k %= 32;
		break;
	case BPF_JMP:
		f.k = (uint32_t)(BPF_OP(f.code) == BPF_JA ? tap_below(left) : f.k);
		f.jt = (uint8_t)tap_below(left);
		f.jf = (uint8_t)tap_below(left);
		break;
	default:
		break;
	}
	return f;
}

/* The last two make more of the accumulator visible than "kept" or "dropped". */
static unsigned int program(struct sock_filter *prog)
{
	unsigned int n = 0, length = 2 + (unsigned int)tap_below(LONGEST - 8);

	for (uint32_t i = 0; i < 4 && tap_below(2); i++)
		prog[n++] = (struct sock_filter){.code = BPF_ST, .k = i};
	for (; length; length--)
		prog[n++] = instruction(length);
	prog[n++] = (struct sock_filter){.code = BPF_ALU | BPF_AND | BPF_K, .k = 0x1ff};
	prog[n++] = (struct sock_filter){.code = BPF_RET | BPF_A};
	return n;
}

static int attach(int fd, struct sock_filter *prog, unsigned int n)
{
	struct sock_fprog f = {(unsigned short)n, prog};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f);
}

/* Noise in which there are attributes as well, for SKF_AD_NLATTR. */
static uint32_t message(uint8_t *data)
{
	uint32_t len = (uint32_t)tap_below(tap_below(3) ? MESSAGE : 16);

	for (uint32_t i = 0; i < len; i++)
		data[i] = tap_below(3) ? (uint8_t)tap_random() : (uint8_t)tap_below(16);
	for (uint32_t at = 0; tap_below(8) && at + 40 < len;) {
		struct nlattr attr = {(uint16_t)(4 + tap_below(20)), (uint16_t)tap_below(8)};

		memcpy(data + at, &attr, sizeof attr);
		at += ((uint32_t)attr.nla_len + 3) & ~3u;
	}
	return len;
}

/* What is left of the message behind the kernel's filter; -1: it was dropped. */
static long kernel_says(const int sv[2], const uint8_t *data, uint32_t len)
{
	static uint8_t buf[MESSAGE];
	long n;

	if (send(sv[0], data, len, 0) != (long)len)
		return -2;
	n = recv(sv[1], buf, sizeof buf, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? -1 : -2;
	return memcmp(buf, data, (size_t)n) ? -2 : n;
}

static long ours_says(uint32_t verdict, uint32_t len)
{
	if (!verdict)
		return -1;
	return verdict < len ? (long)verdict : (long)len;
}

static void show(const struct sock_filter *prog, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		tap_note("{ 0x%02x, %u, %u, 0x%08x },", prog[i].code, prog[i].jt, prog[i].jf, prog[i].k);
}

static void as_the_kernel(int type)
{
	struct sock_filter prog[LONGEST];
	unsigned int n;
	uint8_t data[MESSAGE];
	unsigned int taken = 0, partial = 0, dropped = 0;
	int sv[2];

	NEED(socketpair(AF_UNIX, type, 0, sv) == 0);
	for (int i = 0; i < PROGRAMS && !tap_failures(); i++) {
		n = program(prog);
		if (attach(sv[1], prog, n) < 0)
			continue; /* reads of memory that may be unset, jumps too far */
		taken++;
		for (int j = 0; j < 4; j++) {
			uint32_t len = message(data);
			long want = kernel_says(sv, data, len),
			     got = ours_says(afu_filter_run(prog, n, data, len, len), len);

			CHECK_EQ(got, want);
			if (got != want) {
				tap_note("message of %u bytes", len);
				show(prog, n);
				break;
			}
			partial += want > 0 && want < (long)len;
			dropped += want == -1;
		}
	}
	tap_note("%u programs, %u messages cut, %u dropped", taken, partial, dropped);
	/* or the comparison would say nothing */
	CHECK(taken > PROGRAMS / 10);
	CHECK(partial > taken / 20);
	CHECK(dropped > taken / 20);
	close(sv[0]);
	close(sv[1]);
}

static void datagrams_as_the_kernel(void)
{
	as_the_kernel(SOCK_DGRAM);
}

static void seqpackets_as_the_kernel(void)
{
	as_the_kernel(SOCK_SEQPACKET);
}

/* Nothing outside the message is read, whatever the program is: a page that is no memory follows. */
static void noise_is_harmless(void)
{
	uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sock_filter prog[64];
	unsigned int verdicts = 0;

	NEED(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_NONE) == 0);
	for (int i = 0; i < 300000; i++) {
		unsigned int n = (unsigned int)tap_below(COUNT(prog) + 1);
		uint32_t len = (uint32_t)tap_below(64);

		for (unsigned int j = 0; j < n; j++) {
			uint64_t word = tap_random();

			memcpy(&prog[j], &word, sizeof word);
			if (tap_below(2))
				prog[j].code = codes[tap_below(COUNT(codes))];
			if (tap_below(2))
				prog[j].k = place(1);
		}
		verdicts += afu_filter_run(prog, n, pages + 4096 - len, len, (uint32_t)tap_random()) != 0;
	}
	CHECK(verdicts > 0);
	CHECK_EQ(afu_filter_run(prog, 0, pages, 1, 1), 0);
	munmap(pages, 8192);
}

/* A message of which only the beginning is at hand: its length is known, its rest is not. */
static void parts_of_a_message(void)
{
	const struct sock_filter length[] = {{BPF_LD | BPF_W | BPF_LEN, 0, 0, 0}, {BPF_RET | BPF_A, 0, 0, 0}};
	const struct sock_filter third[] = {{BPF_LD | BPF_B | BPF_ABS, 0, 0, 2}, {BPF_RET | BPF_A, 0, 0, 0}};

	CHECK_EQ(afu_filter_run(length, 2, "ab", 2, 1000), 1000);
	CHECK_EQ(afu_filter_run(third, 2, "ab", 2, 1000), 0);
	CHECK_EQ(afu_filter_run(third, 2, "abc", 3, 1000), 'c');
}

static struct afu_endpoint_filter shared;
static _Atomic int over;

/* All instructions of a program name the same number. */
static void uniform(struct sock_filter *prog, unsigned int n, uint32_t k)
{
	for (unsigned int i = 0; i < n; i++)
		prog[i] = (struct sock_filter){BPF_RET | BPF_K, 0, 0, k};
}

static void *set_for_ever(void *arg)
{
	struct sock_filter prog[AFU_FILTER_ROOM];

	for (uint32_t k = 1; !atomic_load(&over); k++) {
		unsigned int n = 1 + k % AFU_FILTER_ROOM;

		uniform(prog, n, n);
		afu_filter_put(&shared, prog, n);
	}
	return arg;
}

static void readers_see_whole_programs(void)
{
	struct sock_filter prog[AFU_FILTER_ROOM];
	unsigned int different = 0, last = 0;
	pthread_t writer;

	NEED(pthread_create(&writer, NULL, set_for_ever, NULL) == 0);
	while (different < 1000 && !tap_failures()) {
		unsigned int n = afu_filter_get(&shared, prog);

		for (unsigned int j = 0; j < n; j++)
			CHECK_EQ(prog[j].k, n);
		different += n != last;
		last = n;
	}
	atomic_store(&over, 1);
	pthread_join(writer, NULL);
}

/* A writer that died in the middle, or a holder that scribbles: reading and setting end all the same. */
static void a_stuck_turn_keeps_nobody(void)
{
	static struct afu_endpoint_filter f;
	struct sock_filter prog[AFU_FILTER_ROOM];

	CHECK_EQ(afu_filter_verdict(&f, "x", 1, 1), UINT32_MAX);
	uniform(prog, 3, 5);
	afu_filter_put(&f, prog, 3);
	CHECK_EQ(afu_filter_verdict(&f, "x", 1, 1), 5);
	atomic_store(&f.turn, 7);
	CHECK_EQ(afu_filter_verdict(&f, "x", 1, 1), 5);
	atomic_store(&f.length, UINT32_MAX);
	CHECK_EQ(afu_filter_get(&f, prog), AFU_FILTER_ROOM);
	uniform(prog, 1, 6);
	afu_filter_put(&f, prog, 1);
	CHECK_EQ(atomic_load(&f.turn) & 1, 0);
	CHECK_EQ(afu_filter_verdict(&f, "x", 1, 1), 6);
	afu_filter_put(&f, NULL, 0);
	CHECK_EQ(afu_filter_verdict(&f, "x", 1, 1), UINT32_MAX);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"datagrams_as_the_kernel", datagrams_as_the_kernel},
		{"seqpackets_as_the_kernel", seqpackets_as_the_kernel},
		{"noise_is_harmless", noise_is_harmless},
		{"parts_of_a_message", parts_of_a_message},
		{"readers_see_whole_programs", readers_see_whole_programs},
		{"a_stuck_turn_keeps_nobody", a_stuck_turn_keeps_nobody},
	};

	return tap_run(cases, COUNT(cases), 60, argc > 1 ? argv[1] : NULL);
}
