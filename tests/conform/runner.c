/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The runner: chooses cases, runs each in a process, a process group and a directory
 * of its own, and writes TAP 13.
 *
 * Never compiled against the library: its fork(), poll() and waitpid() are the real
 * ones in the library suite, and it makes no socket itself in any suite, so each case
 * begins with an afunix that nobody has used.
 */
#include "../../src/base/sys.h"
#include "report.h"

#include <dirent.h>
#include <fnmatch.h>
#include <ftw.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifdef CONFORM_LIBRARY
#define DEFAULT_SUITE "library"
#else
#define DEFAULT_SUITE "kernel"
#endif

/* Descriptors at the top belong to the library: see README.md. */
#define LIBRARY_DESCRIPTORS 512
#define SEEN_MAX 4096

enum verdict { PASSED, FAILED, SKIPPED };

struct difference {
	char name[128];
	char reason[256];
	struct difference *next;
};

static struct conform_case *cases;
static struct conform_role *roles;
static struct difference *differences;
static const char *suite = DEFAULT_SUITE;
static int alarm_seconds = 10;

void conform_register(struct conform_case *c)
{
	c->next = cases;
	cases = c;
}

void conform_register_role(struct conform_role *r)
{
	r->next = roles;
	roles = r;
}

const char *conform_suite(void)
{
	return suite;
}

/* By file, then by line: the order of the constructors is the linker's. */
static bool comes_before(const struct conform_case *a, const struct conform_case *b)
{
	int c = strcmp(a->file, b->file);

	return c ? c < 0 : a->line < b->line || (a->line == b->line && strcmp(a->name, b->name) > 0);
}

static void sort_cases(void)
{
	struct conform_case *sorted = NULL;

	while (cases) {
		struct conform_case *c = cases, **at = &sorted;

		cases = c->next;
		while (*at && comes_before(*at, c))
			at = &(*at)->next;
		c->next = *at;
		*at = c;
	}
	cases = sorted;
}

static bool is_chosen(const struct conform_case *c, char **patterns)
{
	if (!*patterns)
		return true;
	for (; *patterns; patterns++) {
		if (strpbrk(*patterns, "*?[") ? !fnmatch(*patterns, c->name, 0)
					      : !!strstr(c->name, *patterns))
			return true;
		/* A subject, as in "names" for names.c. */
		const char *base = strrchr(c->file, '/');
		base = base ? base + 1 : c->file;
		size_t n = strlen(*patterns);
		if (!strncmp(base, *patterns, n) && !strcmp(base + n, ".c"))
			return true;
	}
	return false;
}

/* Lines "SUITE CASE reason"; # begins a comment. */
static void read_differences(const char *path)
{
	char line[512], in_suite[32];
	FILE *f = fopen(path, "re");

	if (!f) {
		fprintf(stderr, "conform: no list of differences at %s: %s\n", path, strerror(errno));
		return;
	}
	while (fgets(line, sizeof line, f)) {
		struct difference *d = calloc(1, sizeof *d);

		if (d && line[0] != '#' &&
		    sscanf(line, "%31s %127s %255[^\n]", in_suite, d->name, d->reason) == 3 &&
		    !strcmp(in_suite, suite)) {
			d->next = differences;
			differences = d;
		} else {
			free(d);
		}
	}
	fclose(f);
}

/* A line that names no case hides nothing and helps nobody. */
static void report_stale_differences(void)
{
	for (struct difference *d = differences; d; d = d->next) {
		struct conform_case *c = cases;

		while (c && strcmp(c->name, d->name))
			c = c->next;
		if (!c)
			printf("# the list of differences names no case: %s\n", d->name);
	}
}

static const char *difference_of(const char *name)
{
	for (struct difference *d = differences; d; d = d->next)
		if (!strcmp(d->name, name))
			return d->reason;
	return NULL;
}

/* Numbers of open descriptors below the library's; the one that looks is left out. */
static size_t open_descriptors(int limit, int *seen, size_t max)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	if (!d)
		conform_fail(HERE, "/proc/self/fd: %s", strerror(errno));
	for (struct dirent *e; (e = readdir(d));) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] != '.' && fd != dirfd(d) && fd < limit && n < max)
			seen[n++] = fd;
	}
	closedir(d);
	return n;
}

static void report_new_descriptors(int limit, const int *before, size_t n_before)
{
	static int after[SEEN_MAX];
	size_t n = open_descriptors(limit, after, SEEN_MAX);

	for (size_t i = 0; i < n; i++) {
		bool known = false;
		char link[64], target[256];

		for (size_t j = 0; j < n_before; j++)
			known = known || before[j] == after[i];
		if (known)
			continue;
		snprintf(link, sizeof link, "/proc/self/fd/%d", after[i]);
		ssize_t len = readlink(link, target, sizeof target - 1);
		target[len > 0 ? len : 0] = '\0';
		conform_note("leaked descriptor %d: %s", after[i], target);
		atomic_fetch_add(&conform_report->failures, 1);
	}
}

static _Noreturn void run_in_child(const struct conform_case *c, const char *directory)
{
	static int before[SEEN_MAX];
	struct rlimit files;

	setpgid(0, 0);
	/* A runner that is killed takes the case along. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (chdir(directory) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		conform_fail(HERE, "%s: %s", directory, strerror(errno));
	umask(022);
	int limit = files.rlim_cur > INT_MAX ? INT_MAX : (int)files.rlim_cur;
	limit = limit > LIBRARY_DESCRIPTORS ? limit - LIBRARY_DESCRIPTORS : limit;
	size_t n = open_descriptors(limit, before, SEEN_MAX);
	conform_at(c->file, c->line, "start");
	c->run();
	report_new_descriptors(limit, before, n);
	_exit(atomic_load(&conform_report->failures) ? CONFORM_EXIT_FAILED : 0);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static void report_left_files(const char *directory)
{
	DIR *d = opendir(directory);

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		bool declared = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");

		for (size_t i = 0; i < CONFORM_LEFT_MAX; i++)
			declared = declared || !strcmp(e->d_name, conform_report->left[i]);
		if (!declared) {
			conform_note("left file %s", e->d_name);
			atomic_fetch_add(&conform_report->failures, 1);
		}
	}
	closedir(d);
}

/* 0 when the process has ended, else it is still there after the time. */
static int await_end(pid_t pid, int seconds)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;

	if (fd < 0)
		return 0;
	do
		n = poll(&p, 1, seconds * 1000);
	while (n < 0 && errno == EINTR);
	close(fd);
	return n == 0 ? -1 : 0;
}

/* Orphans of the case are ours, as we are their subreaper; the group was killed already. */
static void reap_orphans(void)
{
	const struct timespec tick = {0, 1000000};

	for (int i = 0; i < 2000; i++) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return;
		if (pid == 0)
			nanosleep(&tick, NULL);
	}
	conform_note("left a process outside of its process group");
	atomic_fetch_add(&conform_report->failures, 1);
}

static void note_where(const char *what)
{
	const struct conform_report *r = conform_report;
	const char *base = r->file ? strrchr(r->file, '/') : NULL;

	conform_note("%s; last check: %s:%d: %s", what,
		     base      ? base + 1
		     : r->file ? r->file
			       : "?",
		     r->line, r->text ? r->text : "?");
}

static enum verdict judge(int status, bool in_time, int seconds, const char *directory)
{
	char what[96];

	if (!in_time) {
		snprintf(what, sizeof what, "still running after %d s", seconds);
		note_where(what);
		return FAILED;
	}
	if (WIFSIGNALED(status)) {
		snprintf(what, sizeof what, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
		note_where(what);
		return FAILED;
	}
	if (WEXITSTATUS(status) == CONFORM_EXIT_SKIPPED)
		return SKIPPED;
	if (WEXITSTATUS(status) != 0 && !atomic_load(&conform_report->failures)) {
		snprintf(what, sizeof what, "exit status %d", WEXITSTATUS(status));
		note_where(what);
		return FAILED;
	}
	if (WEXITSTATUS(status) == 0)
		report_left_files(directory);
	return atomic_load(&conform_report->failures) ? FAILED : PASSED;
}

static enum verdict run_case(const struct conform_case *c)
{
	const char *tmp = getenv("TMPDIR");
	char directory[256];
	int status = 0;
	int seconds = alarm_seconds * (c->flags & TAKES_LONG ? 6 : 1);

	memset(conform_report, 0, sizeof *conform_report);
	snprintf(directory, sizeof directory, "%s/conform.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(directory)) {
		conform_note("%s: %s", directory, strerror(errno));
		return FAILED;
	}
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		run_in_child(c, directory);
	if (pid < 0) {
		conform_note("fork: %s", strerror(errno));
		rmdir(directory);
		return FAILED;
	}
	/* Both sides set the group, so that it exists whoever comes first. */
	setpgid(pid, pid);
	bool in_time = await_end(pid, seconds) == 0;
	/* The case is not reaped yet, so its group cannot be somebody else's. */
	kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	reap_orphans();
	enum verdict verdict = judge(status, in_time, seconds, directory);
	nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return verdict;
}

static void print_notes(void)
{
	char *at = conform_report->notes;

	conform_report->notes[sizeof conform_report->notes - 1] = '\0';
	for (char *line = strsep(&at, "\n"); line; line = strsep(&at, "\n"))
		if (*line)
			printf("# %s\n", line);
}

/*
 * A suite that runs on the wrong sockets would be green for nothing: ask the kernel
 * itself, behind every redirection, whether a case's socket is one of its own.
 */
static void check_target_case(void)
{
	extern int conform_socket_for_target(void);
	int fd = conform_socket_for_target(), type = 0;
	socklen_t len = sizeof type;
	/* the bare instruction: syscall() is interposed too */
	bool is_kernel = afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;

	if (is_kernel != !strcmp(suite, "kernel"))
		conform_fail(HERE, "socket() of the suite \"%s\" makes %s socket", suite,
			     is_kernel ? "a kernel" : "an afunix");
	_exit(0);
}

static bool runs_on_its_target(void)
{
	static const struct conform_case probe = {"target", __FILE__, 0, 0, check_target_case, NULL};

	return run_case(&probe) == PASSED;
}

static int run_all(char **patterns)
{
	int number = 0, passed = 0, failed = 0, skipped = 0, todo = 0;
	int plan = 0;

	for (struct conform_case *c = cases; c; c = c->next)
		plan += is_chosen(c, patterns);
	if (plan == 0) {
		fprintf(stderr, "conform: no such case\n");
		return 2;
	}
	printf("TAP version 13\n1..%d\n", plan);
	report_stale_differences();
	if (!runs_on_its_target()) {
		print_notes();
		printf("Bail out! not the sockets of the suite %s\n", suite);
		return 1;
	}
	for (struct conform_case *c = cases; c; c = c->next) {
		const char *reason = difference_of(c->name);

		if (!is_chosen(c, patterns))
			continue;
		number++;
		if (c->flags & NEEDS_PROCESSES && !strcmp(suite, "library")) {
			printf("ok %d - %s # SKIP needs a second process; embedded mode is one process\n",
			       number, c->name);
			skipped++;
			continue;
		}
		enum verdict verdict = run_case(c);
		if (reason && verdict != SKIPPED) {
			printf("%s %d - %s # TODO %s\n", verdict == PASSED ? "ok" : "not ok", number, c->name,
			       reason);
			todo++;
		} else if (verdict == SKIPPED) {
			printf("ok %d - %s # SKIP %s\n", number, c->name, conform_report->skip);
			skipped++;
		} else {
			printf("%s %d - %s\n", verdict == PASSED ? "ok" : "not ok", number, c->name);
			passed += verdict == PASSED;
			failed += verdict == FAILED;
		}
		print_notes();
		fflush(stdout);
	}
	printf("# %d passed, %d failed, %d skipped, %d todo\n", passed, failed, skipped, todo);
	return failed ? 1 : 0;
}

static int run_role(int argc, char **argv)
{
	for (struct conform_role *r = roles; r; r = r->next) {
		if (argc > 0 && !strcmp(r->name, argv[0])) {
			r->run(argc - 1, argv + 1);
			return 0;
		}
	}
	fprintf(stderr, "conform: no such role\n");
	return 2;
}

static const char *differences_path(void)
{
#ifdef CONFORM_DIFFERENCES
	return CONFORM_DIFFERENCES;
#else
	static char path[512];
	const char *slash = strrchr(__FILE__, '/');
	int n = slash ? (int)(slash - __FILE__) : 1;

	snprintf(path, sizeof path, "%.*s/differences.txt", n, slash ? __FILE__ : ".");
	return path;
#endif
}

static int usage(FILE *to, int code)
{
	fprintf(to, "usage: conform [-l] [-t SUITE] [-T SECONDS] [-d DIFFERENCES] [PATTERN...]\n"
		    "  -l  list the cases    -t  kernel, preload or library    -T  alarm for one case\n"
		    "  PATTERN  a part of a case's name, a glob, or a file without its .c\n");
	return code;
}

int main(int argc, char **argv)
{
	const char *path = differences_path();
	bool list = false;

	if (argc > 2 && !strcmp(argv[1], "--exec"))
		return run_role(argc - 2, argv + 2);
	for (int o; (o = getopt(argc, argv, "lt:T:d:h")) != -1;) {
		switch (o) {
		case 'l':
			list = true;
			break;
		case 't':
			suite = optarg;
			break;
		case 'T':
			alarm_seconds = atoi(optarg);
			break;
		case 'd':
			path = optarg;
			break;
		case 'h':
			return usage(stdout, 0);
		default:
			return usage(stderr, 2);
		}
	}
	if ((strcmp(suite, "kernel") && strcmp(suite, "preload") && strcmp(suite, "library")) ||
	    alarm_seconds <= 0)
		return usage(stderr, 2);
	sort_cases();
	if (list) {
		for (struct conform_case *c = cases; c; c = c->next)
			if (is_chosen(c, argv + optind))
				printf("%s\n", c->name);
		return 0;
	}
	conform_report =
		mmap(NULL, sizeof *conform_report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (conform_report == MAP_FAILED) {
		perror("conform: mmap");
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	read_differences(path);
	return run_all(argv + optind);
}
