/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "cli/bench/bench.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what; /* NULL: not for people */
} commands[] = {
	{ "run", afu_cli_run, "run a program over afunix" },
	{ "bench", afu_cli_bench, "measure against the kernel" },
	{ "bench-worker", afu_cli_bench_worker, NULL },
	{ "errors", afu_cli_errors, "list every refusal and its cause" },
};

static int usage(FILE *to, int status)
{
	fputs("usage: afunix COMMAND [ARGUMENT...]\n\n", to);
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (commands[i].what)
			fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].what);
	}
	fputs("\n'afunix COMMAND --help' says more.\n", to);
	return status;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage(stderr, 2);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return usage(stdout, 0);
	if (!strcmp(argv[1], "--version")) {
		puts("afunix " AFUNIX_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "afunix: no command '%s'\n", argv[1]);
	return usage(stderr, 2);
}
