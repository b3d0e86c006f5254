/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Signal handlers: sigaction() and the older calls; and those that wait for a signal.
 *
 * The library must see every handler, because it defers those that arrive inside one of
 * its critical sections and restarts calls by SA_RESTART itself.  The C library's older
 * calls use sigaction() internally, out of our sight, so they are written out here on
 * top of it; siginterrupt() shares its memory with signal(), so it is too.
 */
#include "library/async.h"
#include "preload/interpose.h"

/* Signals that siginterrupt() made interrupting: signal() leaves SA_RESTART out. */
static _Atomic(uint64_t) interrupting;

/* Set while the library, inside afunix_sigaction(), may call sigaction() itself. */
static _Thread_local int inside;

static uint64_t bit(int sig)
{
	return UINT64_C(1) << (sig - 1);
}

static int valid(int sig)
{
	return sig > 0 && sig <= 64;
}

AFU_INTERPOSE(int, sigaction, int sig, const struct sigaction *act, struct sigaction *old)
{
	int r;

	if (inside || !afu_preload_active())
		return AFU_REAL(sigaction)(sig, act, old);
	inside = 1;
	r = afunix_sigaction(sig, act, old);
	inside = 0;
	return r;
}
AFU_INTERPOSE_ALIAS(__sigaction, sigaction);

/* The handler before, or SIG_ERR. */
static sighandler_t install(int sig, sighandler_t handler, int flags, int block)
{
	struct sigaction act = {.sa_flags = flags}, old;

	if (handler == SIG_ERR || !valid(sig)) {
		errno = EINVAL;
		return SIG_ERR;
	}
	act.sa_handler = handler;
	sigemptyset(&act.sa_mask);
	if (block)
		sigaddset(&act.sa_mask, sig);
	if (afu_preload_sigaction(sig, &act, &old) < 0)
		return SIG_ERR;
	return old.sa_handler;
}

AFU_INTERPOSE(sighandler_t, signal, int sig, sighandler_t handler)
{
	int flags = SA_RESTART;

	if (!afu_preload_active())
		return AFU_REAL(signal)(sig, handler);
	if (valid(sig) && (atomic_load(&interrupting) & bit(sig)))
		flags = 0;
	return install(sig, handler, flags, 1);
}
AFU_INTERPOSE_ALIAS(bsd_signal, signal);
AFU_INTERPOSE_ALIAS(ssignal, signal);

AFU_INTERPOSE(sighandler_t, sysv_signal, int sig, sighandler_t handler)
{
	if (!afu_preload_active())
		return AFU_REAL(sysv_signal)(sig, handler);
	return install(sig, handler, (int)(SA_RESETHAND | SA_NODEFER), 0);
}
AFU_INTERPOSE_ALIAS(__sysv_signal, sysv_signal);

static sighandler_t current(int sig)
{
	struct sigaction old;

	return afu_preload_sigaction(sig, NULL, &old) < 0 ? SIG_ERR : old.sa_handler;
}

AFU_INTERPOSE(sighandler_t, sigset, int sig, sighandler_t handler)
{
	sighandler_t old;
	sigset_t set, before;

	if (!afu_preload_active())
		return AFU_REAL(sigset)(sig, handler);
	sigemptyset(&set);
	if (sigaddset(&set, sig) < 0)
		return SIG_ERR;
	if (handler == SIG_HOLD) {
		if (sigprocmask(SIG_BLOCK, &set, &before) < 0)
			return SIG_ERR;
		return sigismember(&before, sig) ? SIG_HOLD : current(sig);
	}
	old = install(sig, handler, 0, 0);
	if (old == SIG_ERR || sigprocmask(SIG_UNBLOCK, &set, &before) < 0)
		return SIG_ERR;
	return sigismember(&before, sig) ? SIG_HOLD : old;
}

AFU_INTERPOSE(int, sigignore, int sig)
{
	if (!afu_preload_active())
		return AFU_REAL(sigignore)(sig);
	return install(sig, SIG_IGN, 0, 0) == SIG_ERR ? -1 : 0;
}

AFU_INTERPOSE(int, siginterrupt, int sig, int interrupt)
{
	struct sigaction act;

	if (!afu_preload_active())
		return AFU_REAL(siginterrupt)(sig, interrupt);
	if (afu_preload_sigaction(sig, NULL, &act) < 0)
		return -1;
	if (interrupt) {
		atomic_fetch_or(&interrupting, bit(sig));
		act.sa_flags &= ~SA_RESTART;
	} else {
		atomic_fetch_and(&interrupting, ~bit(sig));
		act.sa_flags |= SA_RESTART;
	}
	return afu_preload_sigaction(sig, &act, NULL);
}

/* A signal for readiness names a bell of the library's; who asks for it is told of his socket. */
static int waited(int sig, siginfo_t *info)
{
	if (sig > 0 && info && afu_preload_active())
		afu_async_info(sig, info);
	return sig;
}

AFU_INTERPOSE(int, sigwaitinfo, const sigset_t *set, siginfo_t *info)
{
	return waited(AFU_REAL(sigwaitinfo)(set, info), info);
}

AFU_INTERPOSE(int, sigtimedwait, const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	return waited(AFU_REAL(sigtimedwait)(set, info, timeout), info);
}
