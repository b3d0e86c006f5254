/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The subcommand "bench": afunix and the kernel's sockets, measured side by side.
 *
 * Two entries for the table of subcommands.  afu_cli_bench() is the driver: it starts
 * workers, collects their figures and reports; it opens no socket itself.
 * afu_cli_bench_worker() is the hidden subcommand "bench-worker", a program which
 * takes one figure with the calls of POSIX and does not know what carries them.
 */
#ifndef AFU_CLI_BENCH_BENCH_H
#define AFU_CLI_BENCH_BENCH_H

/* argv[0] is "bench".  0: every figure was taken; 1: some failed; 2: usage. */
int afu_cli_bench(int argc, char **argv);

/* bench-worker METRIC blocking|nonblocking [MILLISECONDS]; the figure goes to stdout. */
int afu_cli_bench_worker(int argc, char **argv);

#endif
