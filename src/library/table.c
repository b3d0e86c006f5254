/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/table.h"

#include "base/limit.h"
#include "base/lock.h"
#include "base/memory.h"
#include "library/epoll.h"
#include "library/view.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define TABLE_MAX (4u << 20)
#define TABLE_MIN 65536u
/* Our own descriptors live this far below the limit. */
#define RESERVE 512

_Atomic uintptr_t *afu_table;
unsigned int afu_table_size;
int afu_table_kept = -1;

static struct afu_plock lock;
static _Atomic unsigned int top; /* only ever grows; written with the lock and without */


static void table_unhide(int fd)
{
	if (afu_fd_hidden(fd))
		afu_table_set(fd, 0);
}

int afu_table_start(void)
{
	struct rlimit r = { 1024, 1024 };
	unsigned int size;
	void *p;

	if (afu_table)
		return 0;
	afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &r);
	size = r.rlim_max > TABLE_MAX ? TABLE_MAX : (unsigned int)r.rlim_max;
	if (size < TABLE_MIN)
		size = TABLE_MIN;
	p = afu_sys_mmap(size * sizeof *afu_table, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	if (afu_sys_failed(p))
		return (int)(intptr_t)p;
	afu_table = p;
	afu_table_size = size;
	afu_hide = afu_table_hide;
	afu_unhide = table_unhide;
	return 0;
}

void afu_table_lock(void)
{
	afu_thread_enter(afu_thread());
	afu_plock_acquire(&lock);
}

void afu_table_unlock(void)
{
	afu_plock_release(&lock);
	afu_thread_leave(afu_thread());
}

void afu_table_set(int fd, uintptr_t entry)
{
	if ((unsigned int)fd >= afu_table_size)
		return;
	atomic_store_explicit(&afu_table[fd], entry, memory_order_release);
	if (entry) {
		unsigned int seen = atomic_load_explicit(&top, memory_order_relaxed); /* the exchange decides */

		while ((unsigned int)fd >= seen &&
		       !atomic_compare_exchange_weak(&top, &seen, (unsigned int)fd + 1))
			;
	}
}

unsigned int afu_table_top(void)
{
	return atomic_load(&top);
}

int afu_table_spare(int fd)
{
	struct afu_limit old = afu_limit_raise();
	unsigned int soft = old.soft > afu_table_size ? afu_table_size : (unsigned int)old.soft;
	unsigned int from = soft > 4 * RESERVE ? soft - RESERVE : soft - soft / 4;
	int high = (int)afu_sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, old.raised ? soft : from);

	if (high < 0)
		high = (int)afu_sys(SYS_fcntl, fd, F_DUPFD_CLOEXEC, soft / 2);
	afu_limit_restore(old);
	return high;
}

int afu_table_within(int fd)
{
	if ((rlim_t)fd < afu_limit_soft())
		return 0;
	afu_sys_close(fd);
	return -EMFILE;
}

int afu_table_hide(int fd)
{
	int high = afu_table_spare(fd);

	if (high < 0)
		high = fd;
	else
		afu_sys_close(fd);
	afu_table_set(high, AFU_TABLE_HIDDEN);
	return high;
}

int afu_fd_make_room(int fd)
{
	return afu_fd_hidden(fd) ? -EBADF : 0;
}

void afu_fd_forget_slow(int fd)
{
	uintptr_t e;

	afu_table_lock();
	e = afu_fd_entry(fd);
	afu_table_set(fd, 0);
	if (e > 3 && (e & 1))
		afu_epoll_number_gone((struct afu_epoll *)(e - 1));
	afu_table_unlock();
	if (e > 3 && !(e & 1))
		afu_view_number_gone((struct afu_sock *)e, fd, -1);
}

void afu_table_forked(void)
{
	lock = (struct afu_plock){ 0 };
	for (unsigned int fd = 0; fd < afu_table_top(); fd++) {
		/* what was hidden is the parent's: bells, control channel, sockets in use by its threads */
		if (afu_fd_hidden((int)fd) && (int)fd != afu_table_kept) {
			afu_sys_close((int)fd);
			afu_table_set((int)fd, 0);
		}
	}
}
