/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * afunix errors [--json] [ERRNO|IDENTIFIER]: the table of causes.
 */
#include "cli/cli.h"

#include "base/cause.h"

#include <stdio.h>
#include <string.h>

static const char *errno_name(int error)
{
	const char *name = error ? strerrorname_np(error) : NULL;

	return name ? name : "any";
}

int afu_cli_errors(int argc, char **argv)
{
	const char *only = NULL;
	int json = 0, shown = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json")) {
			json = 1;
		} else if (!strcmp(argv[i], "--help")) {
			puts("usage: afunix errors [--json] [ERRNO|IDENTIFIER]");
			return 0;
		} else if (argv[i][0] == '-' || only) {
			fputs("usage: afunix errors [--json] [ERRNO|IDENTIFIER]\n", stderr);
			return 2;
		} else {
			only = argv[i];
		}
	}
	for (int i = 1; i < AFU_CAUSES; i++) {
		const struct afu_cause_row *row = &afu_causes[i];

		if (only && strcmp(only, row->id) && strcmp(only, errno_name(row->error)))
			continue;
		shown++;
		/* the table's texts hold no character that JSON escapes; a test says so */
		if (json)
			printf("{\"id\":\"%s\",\"errno\":\"%s\",\"calls\":\"%s\",\"text\":\"%s\"}\n", row->id,
			       errno_name(row->error), row->calls, row->text);
		else
			printf("%-16s %-24s %s\n                 %s\n", errno_name(row->error), row->id, row->calls,
			       row->text);
	}
	if (!shown) {
		fprintf(stderr, "afunix errors: no cause is called '%s'\n", only);
		return 1;
	}
	return 0;
}
