/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/pool.h"

#include <string.h>
#include <sys/mman.h>

#define SLAB 65536

void *afu_pool_get(struct afu_pool *pool)
{
	size_t step = (pool->size + 63) & ~(size_t)63;
	void *object;

	afu_plock_acquire(&pool->lock);
	if (!pool->free) {
		char *slab = afu_sys_mmap(SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

		if (!afu_sys_failed(slab)) {
			for (size_t at = 0; at + step <= SLAB; at += step) {
				*(void **)(void *)(slab + at) = pool->free;
				pool->free = slab + at;
			}
		}
	}
	object = pool->free;
	if (object)
		pool->free = *(void **)object;
	afu_plock_release(&pool->lock);
	if (object)
		memset(object, 0, pool->size);
	return object;
}

void afu_pool_put(struct afu_pool *pool, void *object)
{
	afu_plock_acquire(&pool->lock);
	*(void **)object = pool->free;
	pool->free = object;
	afu_plock_release(&pool->lock);
}
