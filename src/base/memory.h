/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Memory that processes share: a memfd, sealed against resizing, which a process
 * maps only after checking the seals, and which a forked child does not inherit.
 * It is born with mode 0777: whoever is handed a descriptor with fewer rights could
 * re-open it through /proc, so the mode is cut to 0600 first.
 */
#ifndef AFU_BASE_MEMORY_H
#define AFU_BASE_MEMORY_H

#include <stddef.h>

/*
 * Moves a descriptor of ours out of the application's way (a high number) and
 * returns the new one; NULL in a process that has no application.
 */
extern int (*afu_hide)(int fd);
/* Closes such a descriptor; the number is the application's again. */
extern void (*afu_unhide)(int fd);
void afu_close_hidden(int fd);

/* A new one of the given size; a close-on-exec descriptor or negative errno. */
int afu_memory_make(const char *name, size_t size);
/* One that others are to write to: none of them can forbid it to the rest. */
int afu_memory_share(const char *name, size_t size);

/*
 * Maps it, shared.  -EPROTO if it may still change its size or is too short.
 * writable: or for reading only.  0 or negative errno.
 */
int afu_memory_map(int fd, size_t size, int writable, void **to);

/* Forbids all writing but through mappings that exist.  0 or negative errno. */
int afu_memory_seal_writes(int fd);

#endif
