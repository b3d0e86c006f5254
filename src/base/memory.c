/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/memory.h"

#include "base/sys.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

int (*afu_hide)(int fd);
void (*afu_unhide)(int fd);

void afu_close_hidden(int fd)
{
	if (afu_unhide)
		afu_unhide(fd);
	afu_sys_close(fd);
}

static int make(const char *name, size_t size, int seals)
{
	int fd = (int)afu_sys(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return fd;
	err = (int)afu_sys(SYS_fchmod, fd, 0600);
	if (!err)
		err = (int)afu_sys(SYS_ftruncate, fd, size);
	if (!err)
		err = (int)afu_sys(SYS_fcntl, fd, F_ADD_SEALS, seals);
	if (err) {
		afu_sys_close(fd);
		return err;
	}
	return afu_hide ? afu_hide(fd) : fd;
}

int afu_memory_make(const char *name, size_t size)
{
	return make(name, size, F_SEAL_GROW | F_SEAL_SHRINK);
}

int afu_memory_share(const char *name, size_t size)
{
	return make(name, size, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
}

int afu_memory_map(int fd, size_t size, int writable, void **to)
{
	int seals = (int)afu_sys(SYS_fcntl, fd, F_GET_SEALS);
	long end = afu_sys(SYS_lseek, fd, 0, SEEK_END);
	void *p;

	if (seals < 0 || (seals & (F_SEAL_GROW | F_SEAL_SHRINK)) != (F_SEAL_GROW | F_SEAL_SHRINK) || end < 0 ||
	    (size_t)end < size)
		return -EPROTO;
	p = afu_sys_mmap(size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd);
	if (afu_sys_failed(p))
		return (int)(intptr_t)p;
	afu_sys(SYS_madvise, p, size, MADV_DONTFORK);
	*to = p;
	return 0;
}

int afu_memory_seal_writes(int fd)
{
	return (int)afu_sys(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}
