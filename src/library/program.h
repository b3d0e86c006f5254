/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Which programs can be preloaded.  Not those that are static, those of Go, which make their own
 * system calls, those of another C library or machine, and those that start with more rights than their caller.
 *
 * Thread-safe, and for use between fork() and exec(): nothing here allocates memory.
 */
#ifndef AFU_LIBRARY_PROGRAM_H
#define AFU_LIBRARY_PROGRAM_H

/* ALONE: it doesn't mind that it should be preloaded.  OTHER_LIBC: it would not start. */
enum afu_program { AFU_PROGRAM_OURS, AFU_PROGRAM_ALONE, AFU_PROGRAM_OTHER_LIBC };

/* By its path, as execveat() takes it.  What can't be read, or is no program, counts as OURS. */
enum afu_program afu_program_at(int dir, const char *path, int flags);
/* Where execvp() and posix_spawnp() would find it. */
enum afu_program afu_program_named(const char *file);

#endif
