/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Processes: forking and reaping.
 *
 * Every fork goes through afunix_fork(): the child attaches to the domain as itself when
 * it first uses a socket.  vfork() is fork(): a child on its parent's memory would edit the
 * parent's table.  A wait that reaped a child returns only after the child's sockets
 * are closed, as it is in the kernel.
 */
#include "library/speaker.h"
#include "preload/interpose.h"

#include <fcntl.h>
#include <paths.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <utmp.h>

/*
 * While the library is inside afunix_fork() its own call of fork() arrives here again
 * and must reach the C library: the function that the program asked for.
 */
static _Thread_local pid_t (*forking)(void);

static pid_t fork_by(pid_t (*real)(void))
{
	pid_t pid;

	if (forking)
		return forking();
	if (!afu_preload_active())
		return real();
	forking = real;
	pid = afunix_fork();
	forking = NULL;
	return pid;
}

AFU_INTERPOSE(pid_t, fork, void)
{
	return fork_by(AFU_REAL(fork));
}
AFU_INTERPOSE_ALIAS(__fork, fork);
AFU_INTERPOSE_ALIAS(__libc_fork, fork);

/*
 * Also in a process without a domain: a function that calls vfork() must not return in
 * the child, so the real one cannot be reached from here.
 */
AFU_INTERPOSE_ALIAS(vfork, fork);
AFU_INTERPOSE_ALIAS(__vfork, fork);

/* Without the handlers of pthread_atfork(), which is what it is for. */
AFU_INTERPOSE(pid_t, _Fork, void)
{
	return fork_by(AFU_REAL(_Fork));
}

/* A clone() that is only a fork becomes one; the library cannot follow the other kinds. */
AFU_INTERPOSE(int, clone, int (*function)(void *), void *stack, int flags, void *arg, ...)
{
	void *parent_tid, *tls, *child_tid;
	va_list ap;
	pid_t pid;

	va_start(ap, arg);
	parent_tid = va_arg(ap, void *);
	tls = va_arg(ap, void *);
	child_tid = va_arg(ap, void *);
	va_end(ap);
	if (flags != SIGCHLD || !function || !stack || !afu_preload_active())
		return AFU_REAL(clone)(function, stack, flags, arg, parent_tid, tls, child_tid);
	pid = afu_preload_fork();
	if (pid == 0)
		_exit(function(arg));
	return pid;
}

/* A lasting domain's control socket stands at a path. */
AFU_INTERPOSE(int, chroot, const char *path)
{
	if (afu_preload_active())
		afu_library_attach();
	return AFU_REAL(chroot)(path);
}

/* What was told of others was in the numbers of the namespaces that are left; so is the way to the broker. */
AFU_INTERPOSE(int, unshare, int flags)
{
	int r;

	if ((flags & (CLONE_NEWNET | CLONE_NEWNS)) && afu_preload_active())
		afu_library_attach();
	r = AFU_REAL(unshare)(flags);
	if (r == 0 && afu_preload_active())
		afu_speaker_renumbered();
	return r;
}

AFU_INTERPOSE(int, setns, int fd, int type)
{
	int r;

	if (afu_preload_active())
		afu_library_attach();
	r = AFU_REAL(setns)(fd, type);
	if (r == 0 && afu_preload_active())
		afu_speaker_renumbered();
	return r;
}

static int to_null(void)
{
	int fd = AFU_REAL(open)(_PATH_DEVNULL, O_RDWR, 0);

	if (fd < 0)
		return -1;
	for (int to = STDIN_FILENO; to <= STDERR_FILENO; to++)
		if (fd != to && dup2(fd, to) < 0)
			return -1;
	if (fd > STDERR_FILENO)
		AFU_REAL(close)(fd);
	return 0;
}

/* The C library's own would fork inside. */
AFU_INTERPOSE(int, daemon, int nochdir, int noclose)
{
	if (!afu_preload_active())
		return AFU_REAL(daemon)(nochdir, noclose);
	switch (afu_preload_fork()) {
	case -1:
		return -1;
	case 0:
		break;
	default:
		_exit(0);
	}
	if (setsid() == -1)
		return -1;
	if (!nochdir && chdir("/") < 0)
		return -1;
	return noclose ? 0 : to_null();
}

/* It duplicates the terminal onto 0, 1 and 2 behind our back. */
AFU_INTERPOSE(int, login_tty, int fd)
{
	for (int to = STDIN_FILENO; afu_preload_active() && to <= STDERR_FILENO; to++)
		if (afu_fd_known(to) && to != fd)
			afunix_close(to);
	return AFU_REAL(login_tty)(fd);
}

AFU_INTERPOSE(pid_t, forkpty, int *master, char *name, const struct termios *termios,
	      const struct winsize *size)
{
	int parent, child;
	pid_t pid;

	if (!afu_preload_active())
		return AFU_REAL(forkpty)(master, name, termios, size);
	if (AFU_REAL(openpty)(&parent, &child, name, termios, size) < 0)
		return -1;
	afu_preload_fresh(parent);
	afu_preload_fresh(child);
	pid = afu_preload_fork();
	if (pid == 0) {
		AFU_REAL(close)(parent);
		if (afu_preload_login_tty(child) < 0)
			_exit(1);
		return 0;
	}
	AFU_REAL(close)(child);
	if (pid < 0)
		AFU_REAL(close)(parent);
	else
		*master = parent;
	return pid;
}

static pid_t reaped(pid_t pid, int status)
{
	if (pid > 0 && afu_preload_active() && (WIFEXITED(status) || WIFSIGNALED(status)))
		afu_library_reaped();
	return pid;
}

AFU_INTERPOSE(pid_t, waitpid, pid_t pid, int *status, int options)
{
	int own;

	status = status ? status : &own;
	pid = AFU_REAL(waitpid)(pid, status, options);
	return pid > 0 ? reaped(pid, *status) : pid;
}
AFU_INTERPOSE_ALIAS(__waitpid, waitpid);

AFU_INTERPOSE(pid_t, wait, int *status)
{
	return afu_preload_waitpid(-1, status, 0);
}
AFU_INTERPOSE_ALIAS(__wait, wait);

AFU_INTERPOSE(pid_t, wait4, pid_t pid, int *status, int options, struct rusage *usage)
{
	int own;

	status = status ? status : &own;
	pid = AFU_REAL(wait4)(pid, status, options, usage);
	return pid > 0 ? reaped(pid, *status) : pid;
}

AFU_INTERPOSE(pid_t, wait3, int *status, int options, struct rusage *usage)
{
	return afu_preload_wait4(-1, status, options, usage);
}

AFU_INTERPOSE(int, waitid, idtype_t type, id_t id, siginfo_t *info, int options)
{
	siginfo_t own;
	int r;

	info = info ? info : &own;
	info->si_pid = 0;
	r = AFU_REAL(waitid)(type, id, info, options);
	if (r == 0 && info->si_pid > 0 && afu_preload_active() &&
	    (info->si_code == CLD_EXITED || info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED))
		afu_library_reaped();
	return r;
}
