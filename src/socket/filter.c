/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "socket/filter.h"

#include "base/clock.h"
#include "base/relax.h"
#include "base/sys.h"

#include <linux/netlink.h>
#include <string.h>

#define SPINS 1000
#define NAPS 500

static_assert(sizeof(struct sock_filter) == sizeof(uint64_t), "an instruction is a word");

struct machine {
	uint32_t a, x, memory[BPF_MEMWORDS];
	const uint8_t *data;
	uint32_t len, wirelen;
	int over; /* the program has ended with the verdict in a */
};

static void end(struct machine *m, uint32_t verdict)
{
	m->a = verdict;
	m->over = 1;
}

/* A big-endian number of the message, or the end with 0: at least, what the kernel does outside of it. */
static uint32_t load(struct machine *m, uint32_t at, uint32_t size)
{
	int32_t offset = (int32_t)at;
	uint32_t value = 0;

	/* the network header of a message that never saw a network is its first byte; it has no other */
	if (offset < 0 && offset >= SKF_NET_OFF)
		offset -= SKF_NET_OFF;
	if (offset < 0 || (uint32_t)offset > m->len || m->len - (uint32_t)offset < size) {
		end(m, 0);
		return 0;
	}
	for (uint32_t i = 0; i < size; i++)
		value = value << 8 | m->data[(uint32_t)offset + i];
	return value;
}

/* SKF_AD_NLATTR: where among netlink attributes from a on one of type x begins; nested: inside that at a. */
static uint32_t find_attribute(const struct machine *m, int nested)
{
	uint32_t at = m->a, end_at = m->len;
	struct nlattr attr;

	if (m->len < sizeof attr || at > m->len - sizeof attr)
		return 0;
	if (nested) {
		memcpy(&attr, m->data + at, sizeof attr);
		if (attr.nla_len < sizeof attr || attr.nla_len > m->len - at)
			return 0;
		end_at = at + attr.nla_len;
		at += (uint32_t)sizeof attr;
	}
	while (end_at - at >= sizeof attr) {
		uint32_t step;

		memcpy(&attr, m->data + at, sizeof attr);
		if (attr.nla_len < sizeof attr || attr.nla_len > end_at - at)
			return 0;
		if ((uint32_t)(attr.nla_type & NLA_TYPE_MASK) == m->x)
			return at;
		step = ((uint32_t)attr.nla_len + 3) & ~3u;
		if (step > end_at - at)
			return 0;
		at += step;
	}
	return 0;
}

static uint32_t processor(void)
{
	unsigned int cpu = 0;

	afu_sys(SYS_getcpu, &cpu, 0, 0);
	return cpu;
}

static uint32_t chance(void)
{
	uint64_t z = (uint64_t)afu_clock_ns() * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)((z ^ z >> 29) * UINT64_C(0xbf58476d1ce4e5b9) >> 32);
}

/* What the kernel knows of a packet besides its bytes; of a local message that is little. */
static void load_ancillary(struct machine *m, uint32_t which)
{
	switch (which) {
	case SKF_AD_IFINDEX:
	case SKF_AD_HATYPE:
		end(m, m->a); /* there is no device: the kernel's translation ends with what it has */
		break;
	case SKF_AD_NLATTR:
		m->a = find_attribute(m, 0);
		break;
	case SKF_AD_NLATTR_NEST:
		m->a = find_attribute(m, 1);
		break;
	case SKF_AD_ALU_XOR_X:
		m->a ^= m->x;
		break;
	case SKF_AD_CPU:
		m->a = processor();
		break;
	case SKF_AD_RANDOM:
		m->a = chance();
		break;
	default:
		m->a = 0;
		break;
	}
}

static void run_load(struct machine *m, const struct sock_filter *f)
{
	static const uint8_t sizes[] = {4, 2, 1, 0}; /* BPF_W, BPF_H, BPF_B */
	uint32_t size = sizes[BPF_SIZE(f->code) >> 3];

	switch (BPF_MODE(f->code)) {
	case BPF_IMM:
		m->a = f->k;
		break;
	case BPF_LEN:
		m->a = m->wirelen;
		break;
	case BPF_MEM:
		m->a = m->memory[f->k % BPF_MEMWORDS];
		break;
	case BPF_ABS:
		if (f->k >= (uint32_t)SKF_AD_OFF && f->k < (uint32_t)SKF_AD_OFF + SKF_AD_MAX)
			load_ancillary(m, f->k - (uint32_t)SKF_AD_OFF);
		else
			m->a = load(m, f->k, size);
		break;
	case BPF_IND:
		m->a = load(m, m->x + f->k, size);
		break;
	default:
		end(m, 0);
		break;
	}
}

static void run_load_x(struct machine *m, const struct sock_filter *f)
{
	uint32_t byte;

	switch (BPF_MODE(f->code)) {
	case BPF_IMM:
		m->x = f->k;
		break;
	case BPF_LEN:
		m->x = m->wirelen;
		break;
	case BPF_MEM:
		m->x = m->memory[f->k % BPF_MEMWORDS];
		break;
	case BPF_MSH:
		byte = load(m, f->k, 1);
		if (!m->over)
			m->x = (byte & 0xf) << 2;
		break;
	default:
		end(m, 0);
		break;
	}
}

static void divide(struct machine *m, uint32_t by, int remainder)
{
	if (!by)
		end(m, 0);
	else
		m->a = remainder ? m->a % by : m->a / by;
}

static void run_alu(struct machine *m, const struct sock_filter *f)
{
	uint32_t by = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

	switch (BPF_OP(f->code)) {
	case BPF_ADD:
		m->a += by;
		break;
	case BPF_SUB:
		m->a -= by;
		break;
	case BPF_MUL:
		m->a *= by;
		break;
	case BPF_DIV:
		divide(m, by, 0);
		break;
	case BPF_MOD:
		divide(m, by, 1);
		break;
	case BPF_AND:
		m->a &= by;
		break;
	case BPF_OR:
		m->a |= by;
		break;
	case BPF_XOR:
		m->a ^= by;
		break;
	case BPF_LSH:
		m->a <<= by & 31;
		break;
	case BPF_RSH:
		m->a >>= by & 31;
		break;
	case BPF_NEG:
		m->a = 0 - m->a;
		break;
	default:
		end(m, 0);
		break;
	}
}

/* How many instructions to skip. */
static uint32_t run_jump(struct machine *m, const struct sock_filter *f)
{
	uint32_t with = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

	switch (BPF_OP(f->code)) {
	case BPF_JA:
		return f->k;
	case BPF_JEQ:
		return m->a == with ? f->jt : f->jf;
	case BPF_JGT:
		return m->a > with ? f->jt : f->jf;
	case BPF_JGE:
		return m->a >= with ? f->jt : f->jf;
	case BPF_JSET:
		return m->a & with ? f->jt : f->jf;
	default:
		end(m, 0);
		return 0;
	}
}

/* One instruction; how many of the following to skip. */
static uint32_t step(struct machine *m, const struct sock_filter *f)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
		run_load(m, f);
		return 0;
	case BPF_LDX:
		run_load_x(m, f);
		return 0;
	case BPF_ST:
		m->memory[f->k % BPF_MEMWORDS] = m->a;
		return 0;
	case BPF_STX:
		m->memory[f->k % BPF_MEMWORDS] = m->x;
		return 0;
	case BPF_ALU:
		run_alu(m, f);
		return 0;
	case BPF_JMP:
		return run_jump(m, f);
	case BPF_RET:
		end(m, BPF_RVAL(f->code) == BPF_A ? m->a : f->k);
		return 0;
	default: /* BPF_MISC */
		if (BPF_MISCOP(f->code) == BPF_TXA)
			m->a = m->x;
		else
			m->x = m->a;
		return 0;
	}
}

uint32_t afu_filter_run(const struct sock_filter *prog, unsigned int n, const void *data, uint32_t len,
			uint32_t wirelen)
{
	struct machine m = {.data = data, .len = len, .wirelen = wirelen};

	/* forward only, so it ends; 64 bits, so a long jump leaves and does not wrap */
	for (uint64_t pc = 0; pc < n; pc++) {
		pc += step(&m, &prog[pc]);
		if (m.over)
			return m.a;
	}
	return 0;
}

static unsigned int copy(const struct afu_endpoint_filter *filter, struct sock_filter prog[AFU_FILTER_ROOM])
{
	/* relaxed, here and below: turn vouches for it */
	unsigned int n = atomic_load_explicit(&filter->length, memory_order_relaxed);

	n = n < AFU_FILTER_ROOM ? n : AFU_FILTER_ROOM;
	for (unsigned int i = 0; i < n; i++) {
		uint64_t word = atomic_load_explicit(&filter->code[i], memory_order_relaxed);

		memcpy(&prog[i], &word, sizeof word);
	}
	return n;
}

/* Time for a writer to come to its end. */
static void pause_turn(int tries)
{
	const struct timespec nap = {0, 100000};

	if (tries < SPINS)
		afu_relax();
	else
		afu_sys(SYS_nanosleep, &nap, 0);
}

/*
 * The turn as it is between writers.  Bounded: a writer that died must not keep us, and
 * after the first to give up nobody waits for it again; what it left is taken.
 */
static uint32_t await_turn(struct afu_endpoint_filter *filter)
{
	uint32_t turn;

	for (int i = 0; i < SPINS + NAPS; i++) {
		turn = atomic_load_explicit(&filter->turn, memory_order_acquire);
		/* acquire: pairs with the release that ends afu_filter_put() */
		if (!(turn & 1))
			return turn;
		pause_turn(i);
	}
	turn = atomic_load(&filter->turn);
	if (turn & 1)
		atomic_compare_exchange_strong(&filter->turn, &turn, turn + 1);
	return (turn | 1) + 1;
}

unsigned int afu_filter_get(struct afu_endpoint_filter *filter, struct sock_filter prog[AFU_FILTER_ROOM])
{
	unsigned int n = 0;

	for (int i = 0; i < SPINS; i++) {
		uint32_t turn = await_turn(filter);

		n = copy(filter, prog);
		atomic_thread_fence(
			memory_order_acquire); /* pairs with the release fence in afu_filter_put() */
		if (atomic_load_explicit(&filter->turn, memory_order_relaxed) == turn)
			break;
	}
	return n;
}

void afu_filter_put(struct afu_endpoint_filter *filter, const struct sock_filter *prog, unsigned int n)
{
	uint32_t turn = await_turn(filter);

	for (int i = 0; i < SPINS && !atomic_compare_exchange_strong(&filter->turn, &turn, turn + 1); i++)
		turn = await_turn(filter);
	atomic_thread_fence(memory_order_release); /* pairs with the acquire fence in afu_filter_get() */
	for (unsigned int i = 0; i < n; i++) {
		uint64_t word;

		memcpy(&word, &prog[i], sizeof word);
		atomic_store_explicit(&filter->code[i], word,
				      memory_order_relaxed); /* turn says when it is whole */
	}
	atomic_store_explicit(&filter->length, n, memory_order_relaxed);
	atomic_store_explicit(&filter->turn, turn + 2, memory_order_release);
}

uint32_t afu_filter_verdict(struct afu_endpoint_filter *filter, const void *data, uint32_t len,
			    uint32_t wirelen)
{
	struct sock_filter prog[AFU_FILTER_ROOM];
	unsigned int n;

	/* relaxed: a filter that is being set now may as well come after this message */
	if (!atomic_load_explicit(&filter->length, memory_order_relaxed))
		return UINT32_MAX;
	n = afu_filter_get(filter, prog);
	return n ? afu_filter_run(prog, n, data, len, wirelen) : UINT32_MAX;
}
