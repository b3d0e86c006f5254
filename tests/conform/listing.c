/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The list of a process' own descriptors in /proc: programs count what they leak by it,
 * and close what they find in it.  Every number in it is one that the program made.
 */
#include "ancillary.h"

#include <dirent.h>
#include <sys/syscall.h>

static void need_interposed_calls(void)
{
	if (!strcmp(conform_suite(), "library"))
		SKIP("only the preload stands in for these calls");
}

/* The numbers in a list; that of the directory itself is in it and counts too. */
static int by_readdir(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	if (!d)
		conform_fail(HERE, "%s: %s", path, strerror(errno));
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		OK(fcntl(atoi(e->d_name), F_GETFD));
	}
	closedir(d);
	return n;
}

static int numbers_only(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int by_scandir(const char *path)
{
	struct dirent **list;
	int n = OK(scandir(path, &list, numbers_only, alphasort));

	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
	return n;
}

/* Through a buffer that holds a few entries only, so that some are filled by what is left out. */
static int by_getdents(const char *path)
{
	_Alignas(8) char buf[96];
	int fd = OK(open(path, O_RDONLY | O_DIRECTORY)), n = 0;

	for (long got; (got = OK(syscall(SYS_getdents64, fd, buf, sizeof buf))) > 0;)
		for (long at = 0; at < got;) {
			uint16_t length;

			memcpy(&length, buf + at + 16, sizeof length);
			n += buf[at + 19] != '.';
			at += length;
		}
	close(fd);
	return n;
}

CASE(listing_has_what_the_program_made, 0)
{
	static const char *const paths[] = {"/proc/self/fd", "/dev/fd", "/proc/self/fdinfo",
					    "/proc/thread-self/fd"};
	enum { PATHS = sizeof paths / sizeof *paths };
	int sv[2], before[PATHS], passed;

	need_interposed_calls();
	for (int i = 0; i < PATHS; i++)
		before[i] = by_readdir(paths[i]);
	OK(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv));
	EQ(send_rights(sv[0], "x", &sv[1], 1), 1);
	passed = TAKE_RIGHT(sv[1], "x");
	for (int i = 0; i < PATHS; i++) {
		EQ(by_readdir(paths[i]), before[i] + 3);
		/* It has closed its directory by then. */
		EQ(by_scandir(paths[i]), before[i] + 3);
		EQ(by_getdents(paths[i]), before[i] + 3);
	}
	OK(close(passed));
	OK(close(sv[0]));
	OK(close(sv[1]));
	for (int i = 0; i < PATHS; i++)
		EQ(by_readdir(paths[i]), before[i]);
}

CASE(listing_elsewhere_is_complete, 0)
{
	enum { FILES = 600 };
	struct rlimit r;
	char name[32];
	int n = 0;

	/* Files whose names are numbers that the library has in any process of a domain. */
	need_interposed_calls();
	OK(mkdir("numbers", 0700));
	OK(getrlimit(RLIMIT_NOFILE, &r));
	for (int i = 1; i <= FILES; i++) {
		snprintf(name, sizeof name, "numbers/%d", (int)r.rlim_cur - i);
		OK(close(OK(open(name, O_CREAT | O_WRONLY, 0600))));
	}
	EQ(by_scandir("numbers"), FILES);
	EQ(by_getdents("numbers"), FILES);
	for (int i = 1; i <= FILES; i++) {
		snprintf(name, sizeof name, "numbers/%d", (int)r.rlim_cur - i);
		n += !unlink(name);
	}
	EQ(n, FILES);
	OK(rmdir("numbers"));
}
