/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * afunix run [--domain NAME | --expose[=GLOB]...] [--explain[=all]] [--inject SPEC]... -- PROGRAM [ARGUMENT...]
 *
 * Without --domain the domain is PROGRAM's own: its broker lives in this process
 * and ends with PROGRAM.  The broker's thread is the main thread; PROGRAM's exit
 * status becomes ours, 128 and its number if a signal ended it.  Signals that are meant for PROGRAM are
 * passed on.
 */
#include "cli/cli.h"

#include "base/sys.h"
#include "gate/domain_path.h"
#include "daemon/globs.h"
#include "daemon/server.h"
#include "library/injection.h"
#include "library/program.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANNOT_RUN 126
#define NOT_FOUND 127
#define OWN_FAILURE 125

static volatile sig_atomic_t child_pid;

static void pass_on(int sig)
{
	if (child_pid > 0)
		kill(child_pid, sig);
}

static int usage(FILE *to, int status)
{
	fputs("usage: afunix run [--domain NAME | --expose[=GLOB]...] [--explain[=all]]\n"
	      "                  [--explain-to FILE] [--inject CALL:CAUSE[:OPTION...]]...\n"
	      "                  [--] PROGRAM [ARGUMENT...]\n\n"
	      "Runs PROGRAM with its Unix sockets in user space. Without --domain, in a\n"
	      "domain of its own, which ends with it; with --domain NAME, in the one that\n"
	      "'afunixd NAME' serves.\n\n"
	      "--expose lets programs outside the domain connect to the names in it that fit\n"
	      "GLOB, through the kernel: paths, or abstract names if it begins with @. Without\n"
	      "GLOB, to all paths.\n"
	      "--explain says on standard error, or in FILE, why each call on a Unix socket was\n"
	      "refused; with =all also those that are to be made again (EAGAIN, EINTR).\n"
	      "--inject refuses calls for that cause, which may be an identifier of 'afunix\n"
	      "errors' or an errno: each Nth (every=N), some (probability=P, seed=S), those that\n"
	      "concern a name (path=GLOB).\n\n"
	      "The exit status is PROGRAM's; 125 if afunix fails,\n"
	      "126 if PROGRAM can't be run, 127 if there is no such program.\n", to);
	return status;
}

/* The preload stands beside this executable, or where it was installed. */
static int find_preload(char *path, size_t size)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	const char *slash;

	if (n > 0) {
		self[n] = 0;
		slash = strrchr(self, '/');
		for (int i = 0; slash && i < 3; i++) {
			static const char *const beside[] = { "libafunix-preload.so", "../preload/libafunix-preload.so",
							      "src/preload/libafunix-preload.so" };

			snprintf(path, size, "%.*s/%s", (int)(slash - self), self, beside[i]);
			if (access(path, R_OK) == 0)
				return 0;
		}
	}
	snprintf(path, size, "%s", AFUNIX_PRELOAD);
	return access(path, R_OK) == 0 ? 0 : -ENOENT;
}

/* Puts ours first in LD_PRELOAD, once; not if the program would not start then. */
static int set_preload(enum afu_program program)
{
	const char *old = getenv("LD_PRELOAD");
	char path[PATH_MAX], *real, *value;
	int err = find_preload(path, sizeof path);

	if (err)
		return err;
	if (program == AFU_PROGRAM_OTHER_LIBC)
		return 0;
	real = realpath(path, NULL);
	if (!real)
		return -errno;
	if (old && strstr(old, real))
		return 0;
	if (asprintf(&value, old && *old ? "%s:%s" : "%s", real, old) < 0)
		return -ENOMEM;
	setenv("LD_PRELOAD", value, 1);
	return 0;
}

static int private_address(char *text, size_t size, struct afu_address *to)
{
	uint8_t noise[24];
	size_t at;

	if (getrandom(noise, sizeof noise, 0) != (ssize_t)sizeof noise)
		return -errno;
	at = (size_t)snprintf(text, size, "@afunix/%d-", (int)getpid());
	for (size_t i = 0; i < sizeof noise; i++)
		at += (size_t)snprintf(text + at, size - at, i == 8 ? ":%02x" : "%02x", noise[i]);
	return afu_address_parse(text, to);
}

/* Whether somebody serves the domain.  0 or negative errno. */
static int probe(const struct afu_address *address)
{
	long fd = afu_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return (int)fd;
	err = afu_sys(SYS_connect, fd, &address->un, address->length);
	afu_sys_close((int)fd);
	return (int)err;
}

/* PROGRAM as the shell would find it; says what is wrong.  0 or the exit status. */
static int check_program(const char *name)
{
	const char *path = getenv("PATH");
	char copy[PATH_MAX];
	int denied = 0;

	if (!path)
		path = "/usr/local/bin:/usr/bin:/bin";
	if (strchr(name, '/')) {
		struct stat st;

		if (access(name, X_OK) == 0 && stat(name, &st) == 0 && S_ISREG(st.st_mode))
			return 0;
		denied = access(name, F_OK) == 0;
	} else {
		for (const char *at = path; at;) {
			const char *end = strchrnul(at, ':');

			snprintf(copy, sizeof copy, "%.*s/%s", (int)(end - at), at, name);
			if (access(copy, X_OK) == 0)
				return 0;
			denied |= access(copy, F_OK) == 0;
			at = *end ? end + 1 : NULL;
		}
	}
	fprintf(stderr, "afunix: cannot run '%s': %s\n", name, denied ? "permission denied" : "no such program");
	return denied ? CANNOT_RUN : NOT_FOUND;
}

static void become(char **argv)
{
	execvp(argv[0], argv);
	fprintf(stderr, "afunix: cannot run '%s': %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* As a shell shows it. */
static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_private(char **argv, const struct afu_globs *exposed)
{
	static const int passed[] = { SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT };
	struct afu_server *server;
	struct afu_address address;
	struct rlimit files, more;
	char text[160];
	int err, pidfd, status;

	err = private_address(text, sizeof text, &address);
	if (!err)
		err = afu_server_new(&address, &server);
	if (err) {
		fprintf(stderr, "afunix: cannot start a domain: %s\n", strerror(-err));
		return OWN_FAILURE;
	}
	err = exposed->length ? afu_server_expose(server, exposed->bytes, exposed->length) : 0;
	if (err) {
		fprintf(stderr, "afunix: cannot expose names: %s\n", strerror(-err));
		afu_server_free(server);
		return OWN_FAILURE;
	}
	setenv("AFUNIX_DOMAIN", text, 1);
	/* the broker holds descriptors for everybody; the program keeps its own limit */
	getrlimit(RLIMIT_NOFILE, &files);
	more = (struct rlimit){ files.rlim_max, files.rlim_max };
	fflush(NULL);
	child_pid = fork();
	if (child_pid == 0)
		become(argv);
	setrlimit(RLIMIT_NOFILE, &more);
	pidfd = child_pid > 0 ? (int)afu_sys(SYS_pidfd_open, child_pid, 0) : -1;
	if (pidfd < 0) {
		fprintf(stderr, "afunix: cannot start '%s': %s\n", argv[0], strerror(errno));
		afu_server_free(server);
		return OWN_FAILURE;
	}
	signal(SIGIO, SIG_IGN); /* a broken lease of the broker's */
	for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
		/* from a terminal, the program's group gets these two by itself */
		signal(passed[i], passed[i] == SIGINT || passed[i] == SIGQUIT ? SIG_IGN : pass_on);
	}
	err = afu_server_run(server, pidfd);
	if (err)
		fprintf(stderr, "afunix: the broker failed: %s\n", strerror(-err));
	while (waitpid(child_pid, &status, 0) < 0 && errno == EINTR)
		;
	afu_server_free(server);
	return err ? OWN_FAILURE : exit_status(status);
}

static int run_in(const char *domain, char **argv)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct afu_address address;
	int err;

	if (afu_domain_path(domain, path, sizeof path) < 0 || afu_address_parse(path, &address) < 0) {
		fprintf(stderr, "afunix: '%s' is no name for a domain\n", domain);
		return 2;
	}
	err = probe(&address);
	if (err) {
		fprintf(stderr, "afunix: no domain '%s': %s (%s); start 'afunixd %s' first\n", domain,
			err == -ECONNREFUSED ? "its daemon is gone" : strerror(-err), path, domain);
		return OWN_FAILURE;
	}
	setenv("AFUNIX_DOMAIN", path, 1);
	become(argv);
	return OWN_FAILURE;
}

static int set_explain(const char *how)
{
	if (how && strcmp(how, "all") != 0) {
		fprintf(stderr, "afunix: --explain may be followed by =all, not by '%s'\n", how);
		return 2;
	}
	return setenv("AFUNIX_EXPLAIN", how ? how : "failures", 1);
}

/* The file is made here, so that what is wrong with it is said before PROGRAM starts. */
static int set_explain_to(const char *path)
{
	char absolute[PATH_MAX];
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

	if (fd < 0 || !realpath(path, absolute)) {
		fprintf(stderr, "afunix: cannot write to '%s': %s\n", path, strerror(errno));
		return 2;
	}
	close(fd);
	if (!getenv("AFUNIX_EXPLAIN"))
		setenv("AFUNIX_EXPLAIN", "failures", 1);
	return setenv("AFUNIX_EXPLAIN_TO", absolute, 1);
}

/* Adds one to those that are in the environment. */
static int add_injection(const char *text)
{
	const char *before = getenv(AFU_INJECTION_VARIABLE);
	static struct afu_injection parsed;
	char why[384], *all;
	int lines = 1;

	if (afu_injection_parse(text, strlen(text), &parsed, why, sizeof why) < 0) {
		fprintf(stderr, "afunix: cannot inject '%s': %s\n", text, why);
		return 2;
	}
	for (const char *at = before; at && *at; at++)
		lines += *at == '\n';
	if (before && *before && ++lines > AFU_INJECTIONS) {
		fprintf(stderr, "afunix: more than %d injections\n", AFU_INJECTIONS);
		return 2;
	}
	if (asprintf(&all, before && *before ? "%s\n%s" : "%s%s", before && *before ? before : text,
		     before && *before ? text : "") < 0)
		return OWN_FAILURE;
	setenv(AFU_INJECTION_VARIABLE, all, 1);
	free(all);
	return 0;
}

static int add_glob(struct afu_globs *to, const char *glob)
{
	int err = afu_globs_add(to, glob);

	if (err)
		fprintf(stderr, "afunix: cannot expose '%s': %s\n", glob ? glob : "",
			err == -E2BIG ? "too many names" : "no name is so short");
	return err ? 2 : 0;
}

int afu_cli_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "domain", required_argument, NULL, 'd' },
		{ "expose", optional_argument, NULL, 'x' },
		{ "explain", optional_argument, NULL, 'e' },
		{ "explain-to", required_argument, NULL, 't' },
		{ "inject", required_argument, NULL, 'i' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static struct afu_globs exposed;
	const char *domain = NULL;
	int c, err = 0;

	while (!err && (c = getopt_long(argc, argv, "+d:h", options, NULL)) != -1) {
		switch (c) {
		case 'x':
			err = add_glob(&exposed, optarg);
			break;
		case 'e':
			err = set_explain(optarg);
			break;
		case 't':
			err = set_explain_to(optarg);
			break;
		case 'i':
			err = add_injection(optarg);
			break;
		case 'd':
			domain = optarg;
			break;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, 2);
		}
	}
	if (err)
		return err;
	if (optind == argc)
		return usage(stderr, 2);
	if (domain && exposed.length) {
		fprintf(stderr, "afunix: what the domain '%s' exposes is up to its afunixd\n", domain);
		return 2;
	}
	err = check_program(argv[optind]);
	if (err)
		return err;
	err = set_preload(afu_program_named(argv[optind]));
	if (err) {
		fprintf(stderr, "afunix: libafunix-preload.so is not where it should be: %s\n", strerror(-err));
		return OWN_FAILURE;
	}
	return domain ? run_in(domain, argv + optind) : run_private(argv + optind, &exposed);
}
