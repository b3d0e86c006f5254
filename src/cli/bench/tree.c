/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Processes by descent, out of /proc.
 *
 * A snapshot taken file by file: processes that start or end meanwhile may be missed, and
 * callers that must not miss any ask again.
 */
#include "cli/bench/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES = 32768 };

struct process {
	pid_t pid;
	pid_t parent;
};

/* The parent's id and the name; false if the process is gone. */
static int look_up(pid_t pid, pid_t *parent, char name[32])
{
	char path[64], line[512];
	const char *open_paren, *close_paren;
	long ppid;
	size_t n;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	n = fread(line, 1, sizeof(line) - 1, file);
	fclose(file);
	line[n] = '\0';
	/* "PID (NAME) STATE PPID": the name may hold spaces and parentheses. */
	open_paren = strchr(line, '(');
	close_paren = strrchr(line, ')');
	if (!open_paren || !close_paren || sscanf(close_paren + 1, " %*c %ld", &ppid) != 1)
		return 0;
	snprintf(name, 32, "%.*s", (int)(close_paren - open_paren - 1), open_paren + 1);
	*parent = (pid_t)ppid;
	return 1;
}

static size_t snapshot(struct process *all, size_t cap)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char name[32];
	size_t n = 0;

	if (!dir)
		return 0;
	while (n < cap && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		all[n].pid = (pid_t)atol(entry->d_name);
		if (look_up(all[n].pid, &all[n].parent, name))
			n++;
	}
	closedir(dir);
	return n;
}

static int is_among(pid_t pid, const pid_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return 1;
	return 0;
}

size_t afu_bench_tree_below(pid_t root, pid_t *pids, size_t cap)
{
	struct process *all = calloc(PROCESSES, sizeof(*all));
	size_t n, found = 0, before;

	if (!all)
		return 0;
	n = snapshot(all, PROCESSES);
	/* Generation by generation, until one adds nobody. */
	do {
		before = found;
		for (size_t i = 0; i < n && found < cap; i++)
			if ((all[i].parent == root || is_among(all[i].parent, pids, found)) &&
			    !is_among(all[i].pid, pids, found))
				pids[found++] = all[i].pid;
	} while (found != before);
	free(all);
	return found;
}

pid_t afu_bench_tree_top(void)
{
	pid_t top = getpid(), pid = top, parent;
	int others = 0;
	char name[32];

	if (!look_up(pid, &parent, name))
		return top;
	while (parent > 1 && others <= 1) {
		pid = parent;
		if (!look_up(pid, &parent, name))
			break;
		if (strncmp(name, "afunix", 6) == 0) {
			top = pid;
			others = 0;
		} else {
			others++;
		}
	}
	return top;
}
