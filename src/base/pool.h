/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Objects of one size, from pages of their own.
 *
 * Not malloc: socket() and accept() are async-signal-safe, and the handler may
 * have interrupted malloc.  Memory is never given back, so a stale pointer still
 * points to an object of its type.  Call inside a critical section.
 */
#ifndef AFU_BASE_POOL_H
#define AFU_BASE_POOL_H

#include "base/lock.h"

#include <stddef.h>

struct afu_pool {
	size_t size; /* of one object, in bytes; at least a pointer, at most a page */
	struct afu_plock lock;
	void *free;
};

/* Zeroed, or NULL. */
void *afu_pool_get(struct afu_pool *pool);
void afu_pool_put(struct afu_pool *pool, void *object);

#endif
