/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Runs sequences and prints what they did: diff-run [OPTION...]
 *
 *	--seed N --first I --count N	generated ones, I to I + N - 1 of seed N
 *	--length N			of at most N operations each
 *	--types A,B			sockets of these types only
 *	--exclude WORD			no operation with that word (repeatable)
 *	--file FILE			those in the file, separated by empty lines
 *	--print				as text that --file reads, without running them
 *	--alone				each in a process of its own
 *
 * A worker process runs sequence after sequence.  The supervisor, which makes no
 * socket, notices when one hangs or crashes, says so and goes on with the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "diff.h"

enum {
	PATIENCE_MS = 4000,
	/* Where descriptors that are not the sequence's are kept. */
	HIDDEN_FD = 200,
	/* An operation in text form; less than what a pipe takes as one. */
	LINE = 512,
};

static struct sequence sequence;
static struct sequence *from_file;
static size_t from_file_n;
static int command_fd[PROCESSES] = {-1, -1, -1}, answer_fd[PROCESSES] = {-1, -1, -1};
static int child_commands = -1, child_answers = -1, shared_fd = -1;

static void aftermath_note(void);

/* Processes. */

static int hide(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HIDDEN_FD);

	close(fd);
	return high;
}

static void answer(int answers)
{
	if (write(answers, "", 1) != 1)
		_exit(0);
}

/* Operations come as text, so that a new image understands them too. */
_Noreturn static void child_loop(int commands, int answers)
{
	char text[LINE];
	struct op op;

	while (read(commands, text, sizeof(text)) == (ssize_t)sizeof(text)) {
		if (op_parse(text, &op) < 0)
			abort();
		child_commands = commands;
		child_answers = answers;
		op.process = 0;
		op_run(&op);
		answer(answers);
	}
	_exit(0);
}

_Noreturn static void child_serve(int commands, int answers)
{
	thread_forget();
	for (int i = 1; i < PROCESSES; i++) {
		if (command_fd[i] >= 0)
			close(command_fd[i]);
		if (answer_fd[i] >= 0)
			close(answer_fd[i]);
		command_fd[i] = answer_fd[i] = -1;
	}
	child_loop(commands, answers);
}

/*
 * Replaces the child's program by the same one.  What it knows of its descriptors goes
 * along as text; those that close on exec it believes to have, and finds out.
 */
long child_exec(void)
{
	char numbers[3][16], slots[SLOTS * 12] = "", self[256];
	int n = 0;
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (getpid() == shared->pid[0] || length < 0) {
		note(" refused");
		return 0;
	}
	self[length] = '\0';
	for (int i = 0; i < SLOTS; i++)
		n += snprintf(slots + n, sizeof(slots) - (size_t)n, "%d%c", fd_of[i],
			      is_socket[i] ? 's' : 'o');
	for (int i = 0; i < 3; i++) {
		int fd = (int[]){shared_fd, child_commands, child_answers}[i];

		fcntl(fd, F_SETFD, 0);
		snprintf(numbers[i], sizeof(numbers[i]), "%d", fd);
	}
	execl(self, self, "--continue", numbers[0], numbers[1], numbers[2], slots, (char *)NULL);
	return -1;
}

static int shared_map(int fd)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	shared_fd = fd;
	return shared == MAP_FAILED ? -1 : 0;
}

/* In the new image: argv is what child_exec() gave. */
_Noreturn static void child_continue(char **argv)
{
	char *slots = argv[5];

	if (shared_map(atoi(argv[2])) < 0)
		_exit(2);
	state_init(shared->unique);
	state_resume();
	signals_init();
	for (int i = 0; i < SLOTS; i++) {
		fd_of[i] = (int)strtol(slots, &slots, 10);
		is_socket[i] = *slots++ == 's';
	}
	for (int i = 2; i < 5; i++)
		fcntl(atoi(argv[i]), F_SETFD, FD_CLOEXEC);
	note(" = 0");
	aftermath_note();
	answer(atoi(argv[4]));
	child_loop(atoi(argv[3]), atoi(argv[4]));
}

long child_fork(long child)
{
	int c[2], a[2];
	pid_t pid;

	if (child < 1 || child >= PROCESSES || command_fd[child] >= 0 || getpid() != shared->pid[0]) {
		note(" refused");
		return 0;
	}
	if (pipe(c) < 0 || pipe(a) < 0)
		abort();
	for (int i = 0; i < 2; i++) {
		c[i] = hide(c[i]);
		a[i] = hide(a[i]);
	}
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		close(c[1]);
		close(a[0]);
		child_serve(c[0], a[1]);
	}
	shared->pid[child] = pid;
	close(c[0]);
	close(a[1]);
	command_fd[child] = c[1];
	answer_fd[child] = a[0];
	return 0;
}

long child_exit(long child, bool killed)
{
	int status = 0;

	if (child < 1 || child >= PROCESSES || command_fd[child] < 0 || getpid() != shared->pid[0]) {
		note(" refused");
		return 0;
	}
	if (killed)
		kill(shared->pid[child], SIGKILL);
	close(command_fd[child]);
	close(answer_fd[child]);
	command_fd[child] = answer_fd[child] = -1;
	while (waitpid(shared->pid[child], &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

long static_run(bool spawned)
{
	static const char program[] = "diff-static";
	char path[256], *argv[] = {path, NULL};
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(program));
	int status = 0, err;
	pid_t pid;
	char *name;

	if (n < 0)
		return -1;
	path[n] = '\0';
	name = strrchr(path, '/') + 1;
	memcpy(name, program, sizeof(program));
	if (access(path, X_OK) < 0) {
		note(" none here");
		return 0;
	}
	/* it blocks signals in this thread: SIGCHLD, which nobody wants, would wake the other */
	if (spawned && !shared->thread) {
		err = posix_spawn(&pid, path, NULL, NULL, argv, environ);
		if (err)
			return -err;
	} else {
		pid = fork();
		if (pid == 0) {
			execv(path, argv);
			_exit(127);
		}
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Operations. */

void op_result_note(const struct op *op, long r, int error)
{
	if ((op->call->flags & RETURNS_FD) && r >= 0)
		number_note(" = fd", (int)r);
	else
		note(" = %ld", r);
	if (r == -1)
		note(" %s", errno_word(error));
}

/* In a child nobody can tell whether the thread has settled. */
static void aftermath_note(void)
{
	signals_note();
	if (shared->watch && (!shared->thread || getpid() == shared->pid[0]))
		readiness_note();
}

void op_run(const struct op *op)
{
	char result[32768];
	bool tick = (op->call->flags & BLOCKS) || ((op->call->flags & MAY_BLOCK) && shared->blocking);
	size_t start = shared->out_n;
	long r;
	int error;

	if (tick)
		tick_arm(true);
	errno = 0;
	r = op->call->run(op->arg);
	error = errno;
	if (tick)
		tick_arm(false);
	/* The value first, then what the call noted. */
	size_t n = shared->out_n - start < sizeof(result) ? shared->out_n - start : sizeof(result) - 1;
	memcpy(result, shared->out + start, n);
	result[n] = '\0';
	shared->out_n = start;
	op_result_note(op, r, error);
	note("%s", result);
	if (getpid() == shared->pid[0])
		thread_settle();
	aftermath_note();
}

static void op_dispatch(unsigned char index)
{
	const struct op *op = &sequence.op[index];
	char text[LINE + 2] = {0};
	ssize_t n;

	op_format(op, text, sizeof(text));
	note("%s", text);
	if (op->process == 0) {
		op_run(op);
	} else if (op->process == THREAD) {
		thread_start(op);
		thread_settle();
		aftermath_note();
	} else if (command_fd[op->process] < 0) {
		note(" no process");
	} else {
		if (write(command_fd[op->process], text + 2, LINE) != LINE)
			note(" can't be told");
		while ((n = read(answer_fd[op->process], text, 1)) < 0 && errno == EINTR)
			;
		if (n != 1)
			note(" PROCESS GONE, status %ld", child_exit(op->process, false));
		thread_settle();
	}
	note("\n");
}

static void flush(void)
{
	for (size_t done = 0; done < shared->out_n;) {
		ssize_t n = write(STDOUT_FILENO, shared->out + done, shared->out_n - done);

		if (n < 0 && errno != EINTR)
			_exit(2);
		if (n > 0)
			done += (size_t)n;
	}
	shared->out_n = 0;
}

static void sequence_run(void)
{
	int low;

	sequence_begin(sequence.number);
	note("#SEQUENCE %llu\n", (unsigned long long)sequence.number);
	for (int i = 0; i < sequence.n; i++)
		op_dispatch((unsigned char)i);
	if (thread_join())
		note("\n");
	for (int i = 1; i < PROCESSES; i++)
		if (command_fd[i] >= 0)
			child_exit(i, false);
	sequence_end();
	low = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (low != 3)
		note("LEFT OPEN: the lowest free descriptor is %d\n", low);
	close(low);
	if (low != 3)
		for (int i = 3; i < HIDDEN_FD; i++)
			close(i);
	flush();
}

/* The run. */

struct run {
	struct plan plan;
	uint64_t first, count;
	bool alone;
};

static void sequence_get(const struct run *run, uint64_t i)
{
	if (from_file) {
		sequence = from_file[i];
		sequence.number = i;
	} else {
		generate(&run->plan, run->first + i, &sequence);
	}
}

_Noreturn static void work(const struct run *run, uint64_t from)
{
	setpgid(0, 0);
	signals_init();
	for (uint64_t i = from; i < run->count; i++) {
		sequence_get(run, i);
		shared->started = i;
		sequence_run();
		shared->finished = i + 1;
		if (run->alone)
			break;
	}
	_exit(0);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Waits for the worker's end; kills it when it makes no progress. */
static const char *worker_wait(pid_t worker)
{
	static char text[64];
	uint64_t seen = shared->finished, since = now_ms();
	sigset_t set;
	int status;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	while (waitpid(worker, &status, WNOHANG) == 0) {
		sigtimedwait(&set, NULL, &(struct timespec){0, 100 * 1000000});
		if (shared->finished != seen) {
			seen = shared->finished;
			since = now_ms();
		} else if (now_ms() - since > PATIENCE_MS) {
			kill(-worker, SIGKILL);
			waitpid(worker, &status, 0);
			return "HANG";
		}
	}
	kill(-worker, SIGKILL); /* whatever of its children is left */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	snprintf(text, sizeof(text), "CRASH status %#x", status);
	return text;
}

static void supervise(const struct run *run)
{
	uint64_t i = 0;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (i < run->count) {
		const char *trouble;
		pid_t worker = fork();

		if (worker < 0)
			exit(2);
		if (worker == 0) {
			sigprocmask(SIG_UNBLOCK, &set, NULL);
			work(run, i);
		}
		trouble = worker_wait(worker);
		i = shared->finished;
		if (trouble) {
			note("\n%s\n", trouble);
			flush();
			shared->finished = ++i;
		}
	}
}

static void read_sequences(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[1024];
	bool in = false;
	int number = 0;

	if (!f) {
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof(line), f)) {
		struct sequence *s;

		number++;
		if (line[strspn(line, " \t\n")] == '\0') {
			in = false;
			continue;
		}
		if (line[0] == '#')
			continue;
		if (!in) {
			from_file = realloc(from_file, (from_file_n + 1) * sizeof(*from_file));
			if (!from_file)
				exit(2);
			from_file[from_file_n++] = (struct sequence){0};
			in = true;
		}
		s = &from_file[from_file_n - 1];
		if (s->n == MAX_OPS - 1 || op_parse(line, &s->op[s->n++]) < 0) {
			fprintf(stderr, "%s:%d: no operation\n", path, number);
			exit(2);
		}
	}
	fclose(f);
}

static void print_sequences(const struct run *run)
{
	char text[512];

	for (uint64_t i = 0; i < run->count; i++) {
		sequence_get(run, i);
		printf("# %llu\n", (unsigned long long)sequence.number);
		for (int k = 0; k < sequence.n; k++) {
			op_format(&sequence.op[k], text, sizeof(text));
			puts(text);
		}
		putchar('\n');
	}
}

static void unique_init(void)
{
	char unique[16];

	/* The directory is not the run's own: names must differ from those of others. */
	snprintf(unique, sizeof(unique), "%08x", (unsigned int)getpid());
	memcpy(shared->unique, unique, sizeof(unique));
	state_init(unique);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},	 {"first", required_argument, NULL, 'i'},
		{"count", required_argument, NULL, 'n'}, {"length", required_argument, NULL, 'l'},
		{"types", required_argument, NULL, 't'}, {"exclude", required_argument, NULL, 'x'},
		{"file", required_argument, NULL, 'f'},	 {"print", no_argument, NULL, 'p'},
		{"alone", no_argument, NULL, 'a'},	 {NULL, 0, NULL, 0}};
	static const char *exclude[64];
	struct run run = {.plan = {.seed = 1, .length = 30, .exclude = exclude}, .count = 1};
	const char *file = NULL;
	size_t excluded = 0;
	bool print = false;
	int c;

	if (argc == 6 && !strcmp(argv[1], "--continue"))
		child_continue(argv);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			run.plan.seed = strtoull(optarg, NULL, 0);
			break;
		case 'i':
			run.first = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			run.count = strtoull(optarg, NULL, 0);
			break;
		case 'l':
			run.plan.length = atoi(optarg);
			break;
		case 't':
			run.plan.types = optarg;
			break;
		case 'x':
			if (excluded < 63)
				exclude[excluded++] = optarg;
			break;
		case 'f':
			file = optarg;
			break;
		case 'p':
			print = true;
			break;
		case 'a':
			run.alone = true;
			break;
		default:
			return 2;
		}
	}
	if (file) {
		read_sequences(file);
		run.count = from_file_n;
	}
	if (print) {
		print_sequences(&run);
		return 0;
	}
	for (int i = 3; i < HIDDEN_FD; i++)
		close(i);
	c = hide(memfd_create("diff-run", MFD_CLOEXEC));
	if (ftruncate(c, sizeof(*shared)) < 0 || shared_map(c) < 0)
		return 2;
	unique_init();
	supervise(&run);
	return 0;
}
